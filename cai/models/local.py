"""Any causal language model of transformers, in this process, on CPU, CUDA or MPS."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

from cai.errors import PermanentError, RejectedRequest
from cai.models.batching import Batcher, Capacity, Deliver, Prepared
from cai.models.decoding import DrawRow
from cai.models.free_memory import free_bytes
from cai.models.loading import Loaded, load
from cai.models.option_plan import OptionPlan, first_token, option_plan
from cai.models.prompt_tokens import read_tokens, reading_row
from cai.models.requests import (
    Drawn,
    GenerateRequest,
    Generation,
    ReadRequest,
    ReadText,
    Token,
    WeighRequest,
)
from cai.models.weighing import mass, other_than
from cai.models.weights import LoadOptions, answers_identity
from cai.records import Completion, Message, Sampling, Usage, Weighed

MOST_BATCH_TOKENS = 65_536
"""Rows × positions of a batch, however much memory there is."""


class LocalModel:
    """A `LanguageModel` of weights at hand. They are read at the first call, in its own thread.

    Calls in flight together are answered in batches; what a call is answered depends on the call
    alone, but for rounding (see `cai.models.decoding`).

    Args:
        name: "microworld", a folder, or "hf:ORG/NAME".
        options: how the weights are read, with adapter and format of the turns.
        device: torch's name; None: an accelerator if there is one.
        max_batch_tokens: rows × positions of one batch; None: by free memory.
    """

    def __init__(
        self,
        name: str,
        options: LoadOptions | None = None,
        *,
        device: str | None = None,
        max_batch_tokens: int | None = None,
    ) -> None:
        """Look at nothing yet: a model that no one calls costs nothing."""
        self.name = name
        self._options = options or LoadOptions()
        self._identity: str | None = None
        self._worker = _Worker(name, self._options, device, max_batch_tokens)
        self._batcher = Batcher(self._worker)

    @property
    def identity(self) -> str:
        """Digest of weights, configs, tokenizer and chat template, whatever folder holds them.

        Raises:
            PermanentError: there is no such model or adapter.
        """
        if self._identity is None:
            self._identity = f"local:{answers_identity(self.name, self._options)}"
        return self._identity

    async def load(self) -> int | None:
        """Read the weights now; gives the longest text that the model reads, in tokens.

        Raises:
            PermanentError: there is no such model, or its files cannot be loaded.
            MissingDependency: torch or transformers is not installed.
        """
        return await self._batcher.in_thread(self._worker.positions)

    async def complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        """Sample one reply; as `LanguageModel.complete`.

        The log-probabilities are the model's own, at temperature 1 and before any filter.
        """
        return (await self.generate(messages, sampling)).completion

    async def generate(
        self,
        prompt: Sequence[Message] | str,
        sampling: Sampling,
        alternatives: int = 0,
        *,
        tokens: bool = False,
    ) -> Generation:
        """Sample one reply and show its tokens.

        Args:
            prompt: a conversation; or text, continued as it stands, without a chat template.
            sampling: how to draw.
            alternatives: number of likeliest tokens to report at each position.
            tokens: report tokens; costs time that a caller of the text alone need not spend.

        Raises:
            PermanentError, RejectedRequest: as in `complete`.
        """
        return await self._batcher.ask(GenerateRequest(prompt, sampling, alternatives, tokens))

    async def weigh(self, messages: Sequence[Message], options: Sequence[str]) -> Weighed:
        """Exact log-probabilities of the options, from one forward pass; as `LanguageModel.weigh`.

        An option has the probability of all single tokens that read as it, leading spaces aside;
        one that no single token spells, that of its own tokens one after the other. What goes on to
        be a longer option counts for that one alone.
        """
        return await self._batcher.ask(WeighRequest(tuple(messages), tuple(options)))

    async def read(self, text: str, alternatives: int = 0) -> ReadText:
        """How likely each token of a text is, without a chat template.

        Args:
            text: read as it stands.
            alternatives: number of likeliest tokens to report at each position.

        Raises:
            PermanentError, RejectedRequest: as in `complete`.
        """
        return await self._batcher.ask(ReadRequest(text, alternatives))

    async def close(self) -> None:
        """Let the thread end; the weights are freed with the object."""
        await self._batcher.close()


class _Worker:
    """Lives in the batcher's thread and owns the loaded model."""

    def __init__(
        self, name: str, options: LoadOptions, device: str | None, max_batch_tokens: int | None
    ) -> None:
        self._name = name
        self._options = options
        self._device = device
        self._max_batch_tokens = max_batch_tokens

    @cached_property
    def _loaded(self) -> Loaded:
        return load(self._name, self._options, self._device)

    def positions(self) -> int | None:
        return self._loaded.positions

    def capacity(self) -> Capacity:
        if self._max_batch_tokens is not None:
            return Capacity(self._max_batch_tokens)
        loaded = self._loaded
        memory = free_bytes(loaded.device)
        return Capacity(MOST_BATCH_TOKENS, memory, loaded.position_bytes, loaded.row_bytes)

    def prepare(self, request: GenerateRequest | WeighRequest | ReadRequest) -> Prepared:
        if isinstance(request, GenerateRequest):
            return self._prepare_generation(request)
        if isinstance(request, ReadRequest):
            ids = self._loaded.format.plain(request.text)
            self._check(ids, 0)
            return Prepared("read", len(ids), 1, (ids, request.alternatives))
        return self._prepare_weighing(request)

    def run(self, batch: Sequence[Prepared], deliver: Deliver) -> None:
        if batch[0].kind == "generate":
            self._generate(batch, deliver)
        elif batch[0].kind == "read":
            self._read(batch, deliver)
        else:
            self._weigh(batch, deliver)

    def _prepare_generation(self, request: GenerateRequest) -> Prepared:
        prompt, sampling = request.prompt, request.sampling
        chat_format = self._loaded.format
        if isinstance(prompt, str):
            ids = chat_format.plain(prompt)
        else:
            ids = chat_format.conversation(prompt)
            sampling = replace(sampling, stop=chat_format.stop(sampling.stop, prompt))
        self._check(ids, sampling.max_tokens)
        row = DrawRow(ids, sampling, request.alternatives)
        return Prepared("generate", len(ids) + sampling.max_tokens, 1, (row, request))

    def _prepare_weighing(self, request: WeighRequest) -> Prepared:
        chat_format = self._loaded.format
        plan = option_plan(
            chat_format.conversation(request.messages),
            request.options,
            lambda option: chat_format.paths(option, request.messages),
        )
        longest = max((row.ids for row in plan.rows), key=len)
        self._check(longest, 0)
        return Prepared("weigh", len(longest), len(plan.rows), plan)

    def _check(self, ids: Sequence[int], reply: int) -> None:
        check_length(len(ids), reply, self._loaded.positions)
        if (unknown := max(ids)) >= self._loaded.vocabulary:
            raise PermanentError(
                f"{self._name} has no embedding of token {unknown}, which its tokenizer writes; if "
                "an adapter brings that tokenizer, take it out of the adapter's folder"
            )

    def _generate(self, batch: Sequence[Prepared], deliver: Deliver) -> None:
        rows: list[DrawRow] = [call.content[0] for call in batch]

        def finish(index: int, drawn: Drawn) -> None:
            deliver(index, self._generation(rows[index], drawn, batch[index].content[1]))

        self._loaded.decoder.draw(rows, finish)

    def _generation(self, row: DrawRow, drawn: Drawn, request: GenerateRequest) -> Generation:
        written, prompt = len(drawn.ids) - drawn.ended, request.prompt
        cut = self._loaded.format.cut(drawn.ids[:written], row.sampling.stop)
        completion = Completion(
            cut.text if isinstance(prompt, str) else self._loaded.format.reply(cut.text, prompt),
            "stop" if drawn.ended or cut.stopped else "length",
            Usage(len(row.ids), cut.tokens + (drawn.ended and not cut.stopped)),
            self._name,
            logprobs=drawn.logprobs[: cut.tokens],
        )
        tokens = self._tokens(row, drawn, cut.tokens) if request.tokens else ()
        return Generation(completion, tokens)

    def _tokens(self, row: DrawRow, drawn: Drawn, count: int) -> tuple[Token, ...]:
        text = self._loaded.format.token
        return tuple(
            Token(
                text(drawn.ids[at]),
                drawn.logprobs[at],
                tuple(
                    (text(token), logprob)
                    for token, logprob in drawn.alternatives[at][: row.alternatives]
                )
                if row.alternatives
                else (),
            )
            for at in range(count)
        )

    def _read(self, batch: Sequence[Prepared], deliver: Deliver) -> None:
        scores = self._loaded.decoder.score([reading_row(call.content[0]) for call in batch])
        for index, (call, score) in enumerate(zip(batch, scores, strict=True)):
            ids, alternatives = call.content
            deliver(index, read_tokens(ids, score, self._loaded.format.token, alternatives))

    def _weigh(self, batch: Sequence[Prepared], deliver: Deliver) -> None:
        plans: list[OptionPlan] = [call.content for call in batch]
        scores = iter(self._loaded.decoder.score([row for plan in plans for row in plan.rows]))
        for index, plan in enumerate(plans):
            own = [next(scores) for _ in plan.rows]
            logprobs, usage = plan.logprobs(own), Usage(len(plan.prompt), 0)
            others = other_than(self._loaded.format.token(first_token(own)), plan.options)
            found = Weighed(logprobs, mass(logprobs), "exact", usage, self._name, others=others)
            deliver(index, found)


def check_length(prompt: int, reply: int, positions: int | None) -> None:
    """Refuse what a model has no room for.

    Args:
        prompt: tokens to read.
        reply: tokens to write at most.
        positions: tokens that the model takes; None if it has no limit.

    Raises:
        RejectedRequest: it is too long.
    """
    if positions is not None and prompt + reply > positions:
        beside = f" beside a reply of {reply}" if reply else ""
        raise RejectedRequest(
            f"too long: {prompt} tokens, the model reads at most {positions - reply}{beside}"
        )
