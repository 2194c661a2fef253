"""Any causal language model of transformers, in this process, on CPU, CUDA or MPS."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from cai.errors import RejectedRequest
from cai.models.batching import Batcher, Deliver, Prepared
from cai.models.decoding import DrawRow
from cai.models.requests import Drawn, GenerateRequest, Generation, Token, WeighRequest
from cai.models.weighing import OptionPlan, mass, option_plan
from cai.models.weights import Loaded, folder_digest, load, resolved_folder
from cai.records import Completion, Message, Sampling, Usage, Weighed

MOST_BATCH_TOKENS = 65_536
"""Rows × positions of a batch, however much memory there is."""


class LocalModel:
    """A `LanguageModel` of weights at hand. They are read at the first call, in its own thread.

    Calls in flight together are answered in batches; what a call is answered depends on the call
    alone, but for rounding (see `cai.models.decoding`).

    Args:
        name: "microworld", a folder, or "hf:ORG/NAME".
        dtype: torch's name of the number format; None: as the weights are stored.
        device: torch's name; None: an accelerator if there is one.
        max_batch_tokens: rows × positions of one batch; None: by free memory.
    """

    def __init__(
        self,
        name: str,
        *,
        dtype: str | None = None,
        device: str | None = None,
        max_batch_tokens: int | None = None,
    ) -> None:
        """Look at nothing yet: a model that no one calls costs nothing."""
        self.name = name
        self._dtype = dtype
        self._identity: str | None = None
        self._worker = _Worker(name, dtype, device, max_batch_tokens)
        self._batcher = Batcher(self._worker)

    @property
    def identity(self) -> str:
        """Digest of weights, configs, tokenizer and chat template, whatever folder holds them.

        Raises:
            PermanentError: there is no such model.
        """
        if self._identity is None:
            digest = folder_digest(resolved_folder(self.name))
            self._identity = f"local:{digest}" + (f":{self._dtype}" if self._dtype else "")
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
        one that no single token spells, that of its own tokens one after the other.
        """
        return await self._batcher.ask(WeighRequest(tuple(messages), tuple(options)))

    async def close(self) -> None:
        """Let the thread end; the weights are freed with the object."""
        await self._batcher.close()


class _Worker:
    """Lives in the batcher's thread and owns the loaded model."""

    def __init__(
        self, name: str, dtype: str | None, device: str | None, max_batch_tokens: int | None
    ) -> None:
        self._name = name
        self._options = {"dtype": dtype, "device": device}
        self._max_batch_tokens = max_batch_tokens

    @cached_property
    def _loaded(self) -> Loaded:
        return load(resolved_folder(self._name), self._name, self._options)

    def positions(self) -> int | None:
        return self._loaded.positions

    def capacity(self) -> int:
        loaded = self._loaded
        by_memory = loaded.free_bytes // loaded.cache_bytes
        return self._max_batch_tokens or min(by_memory, MOST_BATCH_TOKENS)

    def prepare(self, request: GenerateRequest | WeighRequest) -> Prepared:
        if isinstance(request, GenerateRequest):
            return self._prepare_generation(request)
        return self._prepare_weighing(request)

    def run(self, batch: Sequence[Prepared], deliver: Deliver) -> None:
        if batch[0].kind == "generate":
            self._generate(batch, deliver)
        else:
            self._weigh(batch, deliver)

    def _prepare_generation(self, request: GenerateRequest) -> Prepared:
        prompt, sampling = request.prompt, request.sampling
        chat_format = self._loaded.format
        ids = (
            chat_format.plain(prompt)
            if isinstance(prompt, str)
            else chat_format.conversation(prompt)
        )
        self._check_length(len(ids), sampling.max_tokens)
        row = DrawRow(ids, sampling, request.alternatives)
        return Prepared("generate", len(ids) + sampling.max_tokens, 1, (row, request.tokens))

    def _prepare_weighing(self, request: WeighRequest) -> Prepared:
        chat_format = self._loaded.format
        plan = option_plan(
            chat_format.conversation(request.messages),
            request.options,
            spellings=chat_format.spellings,
            encoded=chat_format.option,
        )
        width = max(len(row.ids) for row in plan.rows)
        self._check_length(width, 0)
        return Prepared("weigh", width, len(plan.rows), plan)

    def _check_length(self, prompt: int, reply: int) -> None:
        positions = self._loaded.positions
        if positions is not None and prompt + reply > positions:
            beside = f" beside a reply of {reply}" if reply else ""
            raise RejectedRequest(
                f"too long: {prompt} tokens, the model reads at most {positions - reply}{beside}"
            )

    def _generate(self, batch: Sequence[Prepared], deliver: Deliver) -> None:
        rows: list[DrawRow] = [call.content[0] for call in batch]

        def finish(index: int, drawn: Drawn) -> None:
            deliver(index, self._generation(rows[index], drawn, batch[index].content[1]))

        self._loaded.decoder.draw(rows, finish)

    def _generation(self, row: DrawRow, drawn: Drawn, tokens: bool) -> Generation:
        written = len(drawn.ids) - drawn.ended
        cut = self._loaded.format.cut(drawn.ids[:written], row.sampling.stop)
        completion = Completion(
            cut.text,
            "stop" if drawn.ended or cut.stopped else "length",
            Usage(len(row.ids), cut.tokens + (drawn.ended and not cut.stopped)),
            self._name,
            logprobs=drawn.logprobs[: cut.tokens],
        )
        return Generation(completion, self._tokens(row, drawn, cut.tokens) if tokens else ())

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

    def _weigh(self, batch: Sequence[Prepared], deliver: Deliver) -> None:
        plans: list[OptionPlan] = [call.content for call in batch]
        scores = iter(self._loaded.decoder.score([row for plan in plans for row in plan.rows]))
        for index, plan in enumerate(plans):
            logprobs = plan.logprobs([next(scores) for _ in plan.rows])
            usage = Usage(len(plan.rows[0].ids), 0)
            deliver(index, Weighed(logprobs, mass(logprobs), "exact", usage, self._name))
