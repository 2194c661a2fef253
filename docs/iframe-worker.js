// Browsers start no worker from a file, so the search of pages opened from a folder runs in a frame.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      const frame = document.createElement("iframe");
      const answer = 'data => frameElement.dispatchEvent(new CustomEvent("answer", {detail: data}))';
      frame.hidden = true;
      frame.srcdoc =
        `<script>window.postMessage = ${answer};</script><script src="${url}"></script>`;
      frame.addEventListener("answer", ({detail}) =>
        this.dispatchEvent(new MessageEvent("message", {data: detail})));
      this.frame = frame;
      this.loaded = new Promise(done => frame.addEventListener("load", done));
      document.body.append(frame);
    }
    postMessage(data) {
      this.loaded.then(() =>
        this.frame.contentWindow.dispatchEvent(new MessageEvent("message", {data})));
    }
    terminate() {
      this.frame.remove();
    }
  };
}
