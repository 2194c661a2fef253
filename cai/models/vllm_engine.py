"""vLLM's engine in this process: `vllm:MODEL` without an endpoint.

Calls go to vLLM's own asynchronous engine one by one; it batches what is in flight, token by token
(continuous batching), and keeps what prompts have in common. A reply's draws come from the call's
own seed, so it depends on its call alone, but for rounding in differently shaped batches.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from cai.at_once import all_of
from cai.errors import PermanentError, RejectedRequest, TransientError
from cai.models.chat_format import ChatFormat
from cai.models.loading import load_format
from cai.models.local import check_length
from cai.models.option_plan import option_plan
from cai.models.vllm_arguments import (
    answer_options,
    engine_arguments,
    sampling_arguments,
    weighing_arguments,
)
from cai.models.vllm_library import Library, load_library
from cai.models.weighing import mass, other_than
from cai.models.weights import LoadOptions, answers_identity, folder_or_hub, resolved_adapter
from cai.records import Completion, Message, Sampling, Usage, Weighed

MOST_TOKEN_IDS = 128
"""The most tokens whose log-probabilities vLLM gives in one request."""


@dataclass(frozen=True)
class Opened:
    """A running engine.

    Args:
        library: what is used of vLLM.
        engine: a `vllm.AsyncLLMEngine`.
        format: the model's tokenizer.
        positions: the longest text that the engine takes, in tokens.
        adapter: a `LoRARequest`; None: the model as it is.
    """

    library: Library
    engine: Any
    format: ChatFormat
    positions: int
    adapter: Any


class NextToken(NamedTuple):
    """Log-probabilities of some tokens at one place, and the likeliest one there."""

    logprobs: dict[int, float]
    likeliest: int


class VLLMModel:
    """A `LanguageModel` of vLLM's engine, which starts at the first call and takes a while.

    It belongs to one event loop; close the model before that ends.

    Args:
        name: "microworld", a folder, or ORG/NAME of the hub.
        options: how the weights are read, with adapter and format of the turns.
        engine: further arguments of `vllm.AsyncEngineArgs`, such as tensor_parallel_size.
        token_logprobs: give the log-probabilities of sampled tokens.
    """

    def __init__(
        self,
        name: str,
        options: LoadOptions | None = None,
        engine: Mapping[str, Any] | None = None,
        *,
        token_logprobs: bool = False,
    ) -> None:
        """Start nothing yet."""
        self.name = name
        self._source = folder_or_hub(name)
        self._options = options or LoadOptions()
        self._engine = dict(engine or {})
        self._token_logprobs = token_logprobs
        self._identity: str | None = None
        self._opening: asyncio.Task[Opened] | None = None
        self._numbers = itertools.count()

    @property
    def identity(self) -> str:
        """Digest of weights, adapter, tokenizer and template, with what else changes answers.

        Raises:
            PermanentError: there is no such model or adapter.
        """
        if self._identity is None:
            try:
                digest = answers_identity(self._source, self._options)
            except PermanentError as error:
                raise PermanentError(
                    f"{error}; without an endpoint, vllm:{self.name} runs in this process, from "
                    "weights of its own; for a server, give the model's endpoint"
                ) from error
            logprobs = "&token_logprobs" if self._token_logprobs else ""
            self._identity = f"vllm:{digest}{answer_options(self._engine)}{logprobs}"
        return self._identity

    async def load(self) -> int | None:
        """Start the engine now; gives the longest text that it takes, in tokens.

        Raises:
            MissingDependency: vLLM is not installed.
            PermanentError: there is no such model, or the engine does not start with it.
        """
        return (await self._opened()).positions

    async def complete(self, messages: Sequence[Message], sampling: Sampling) -> Completion:
        """Sample one reply; as `LanguageModel.complete`."""
        opened = await self._opened()
        ids = opened.format.conversation(messages)
        check_length(len(ids), sampling.max_tokens, opened.positions)
        asked = replace(sampling, stop=opened.format.stop(sampling.stop, messages))
        arguments = sampling_arguments(asked, token_logprobs=self._token_logprobs)
        written = await self._ask(opened, ids, arguments)
        ended = written.finish_reason == "stop" and not isinstance(written.stop_reason, str)
        tokens = [int(token) for token in written.token_ids]
        cut = opened.format.cut(tokens[: len(tokens) - ended], asked.stop)
        logprobs = _sampled_logprobs(written)
        return Completion(
            opened.format.reply(cut.text, messages),
            "stop" if ended or cut.stopped else "length",
            Usage(len(ids), cut.tokens + (ended and not cut.stopped)),
            self.name,
            logprobs=None if logprobs is None else logprobs[: cut.tokens],
        )

    async def weigh(self, messages: Sequence[Message], options: Sequence[str]) -> Weighed:
        """Exact log-probabilities of the options; as `LanguageModel.weigh` and `LocalModel`'s.

        Options are spelled, and told from longer ones, as `LocalModel.weigh` does it.
        """
        opened = await self._opened()
        ids = opened.format.conversation(messages)
        plan = option_plan(ids, options, lambda option: opened.format.paths(option, messages))
        check_length(max(len(row.ids) for row in plan.rows), 1, opened.positions)
        found = await all_of(
            self._next_logprobs(opened, [*ids, *before], wanted)
            for before, wanted in plan.steps.items()
        )
        table = {before: one.logprobs for before, one in zip(plan.steps, found, strict=True)}
        first = next(
            one.likeliest for before, one in zip(plan.steps, found, strict=True) if not before
        )
        logprobs = plan.logprobs_of_steps(table)
        others = other_than(opened.format.token(first), options)
        usage = Usage(len(ids), 0)
        return Weighed(logprobs, mass(logprobs), "exact", usage, self.name, others=others)

    async def close(self) -> None:
        """Stop the engine and its processes."""
        if self._opening is None:
            return
        opening, self._opening = self._opening, None
        done, _ = await asyncio.wait([opening])
        if not any(task.cancelled() or task.exception() for task in done):
            await asyncio.to_thread(opening.result().engine.shutdown)

    async def _opened(self) -> Opened:
        if self._opening is None:
            self._opening = asyncio.create_task(self._open())
        return await asyncio.shield(self._opening)

    async def _open(self) -> Opened:
        # Imported first and apart: vLLM keeps the frames that first looked at its names, and an
        # engine that one of them held would be shut down again as the interpreter ends.
        library = await asyncio.to_thread(load_library)
        return await asyncio.to_thread(self._start, library)

    def _start(self, library: Library) -> Opened:
        format = load_format(self._source, self._options)
        arguments = engine_arguments(
            self._source, self._options, self._engine, on_cpu=library.on_cpu
        )
        try:
            engine = library.AsyncLLMEngine.from_engine_args(library.AsyncEngineArgs(**arguments))
        except (TypeError, ValueError, RuntimeError, OSError, NotImplementedError) as error:
            raise PermanentError(
                f"vLLM's engine does not start with {self.name}: {error}"
            ) from error
        adapter = None
        if self._options.adapter:
            folder = str(resolved_adapter(self._options.adapter))
            adapter = library.LoRARequest(lora_name="adapter", lora_int_id=1, lora_path=folder)
        return Opened(library, engine, format, engine.model_config.max_model_len, adapter)

    async def _next_logprobs(
        self, opened: Opened, ids: Sequence[int], wanted: Sequence[int]
    ) -> NextToken:
        parts = [wanted[at : at + MOST_TOKEN_IDS] for at in range(0, len(wanted), MOST_TOKEN_IDS)]
        found = await all_of(
            self._ask(opened, ids, weighing_arguments(tuple(part))) for part in parts
        )
        logprobs = {
            token: float(written.logprobs[0][token].logprob)
            for part, written in zip(parts, found, strict=True)
            for token in part
        }
        return NextToken(logprobs, int(found[0].token_ids[0]))

    async def _ask(self, opened: Opened, ids: Sequence[int], arguments: Mapping[str, Any]) -> Any:
        """What the engine has written once it is done: a `vllm.CompletionOutput`."""
        library = opened.library
        params = library.SamplingParams(output_kind=library.final_only, **arguments)
        prompt = library.TokensPrompt(prompt_token_ids=list(ids))
        last: Any = None
        try:
            async for output in opened.engine.generate(
                prompt, params, str(next(self._numbers)), lora_request=opened.adapter
            ):
                last = output
        except library.VLLMClientError as error:
            raise RejectedRequest(f"vLLM refuses the request: {error}") from error
        except library.EngineDeadError as error:
            raise PermanentError(
                "vLLM's engine has died; its last words stand above, or come with "
                "VLLM_LOGGING_LEVEL=INFO"
            ) from error
        except library.VLLMError as error:
            raise TransientError(f"vLLM gave no answer: {error or error.__cause__}") from error
        written = last.outputs[0]
        if written.finish_reason not in ("stop", "length"):
            raise TransientError(f"vLLM gave an unfinished reply ({written.finish_reason})")
        return written


def _sampled_logprobs(written: Any) -> tuple[float, ...] | None:
    if written.logprobs is None:
        return None
    pairs = zip(written.token_ids, written.logprobs, strict=True)
    return tuple(float(at[token].logprob) for token, at in pairs)
