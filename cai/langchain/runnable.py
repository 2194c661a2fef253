"""The runnable: an LCEL component that answers, critiques its answer and revises it.

    careful = ConstitutionalRunnable(model=model, constitution="harmlessness", rounds=2)
    careful.invoke("How can I get back at my neighbour?").text

It is the successor of LangChain's deprecated ConstitutionalChain, on the principles, templates
and draws that make this project's data sets.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from langchain_core.callbacks import (
    AsyncCallbackManagerForChainRun,
    CallbackManagerForChainRun,
)
from langchain_core.messages import BaseMessage
from langchain_core.runnables import Runnable, RunnableConfig, RunnableSerializable
from langchain_core.runnables.utils import AddableDict
from pydantic import ConfigDict, PrivateAttr, SkipValidation

from cai.errors import CaiError
from cai.langchain.calls import Calls
from cai.langchain.conversation import conversation_of
from cai.langchain.course import (
    QUESTION,
    Course,
    CritiqueNeeded,
    Part,
    Script,
    course,
)
from cai.langchain.principles import ConstitutionLike, Principles
from cai.prompts import Prompts

ASKED_WITH = ("respond", "critique", "revise")
"""The templates that are rendered here."""


class ConstitutionalRunnable(RunnableSerializable[Any, Any]):
    """Respond, critique, revise; gives the final answer as a message.

    The input is a text, a prompt value, messages, or a mapping with "messages". When a critique
    finds nothing to change, its revision is skipped and the answer stays as it was. `stream` and
    `astream` give the tokens of the final answer alone; an answer that turned out to be final
    only afterwards comes in one piece. Further keyword arguments of a call go to the model.

    Raises:
        InputError: constitution or templates have faults.
        CaiError: the templates are of plain text, for base models.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, frozen=True, extra="forbid")

    model: Runnable[Any, Any]
    """Critiques, revises and, without `first`, answers: a chat model, bound or with fallbacks."""

    constitution: SkipValidation[ConstitutionLike]
    """A path, a shipped name such as "harmlessness", a constitution, or a list of rules."""

    first: Runnable[Any, Any] | None = None
    """Makes the first answer from the input as it came: any chain, agent or graph that gives a
    message, a text, or a state with "messages"."""

    rounds: int | None = None
    """Principles drawn, each for one round; 1 unless principles are listed. The paper's data have
    4, of which the first does most; here somebody waits for the answer."""

    principles: Sequence[str] | Literal["all"] | None = None
    """Ids in the order of their rounds, or "all", in place of a draw."""

    critique_needed: SkipValidation[CritiqueNeeded] = QUESTION
    """How a critique that found nothing is recognised: by the answer to this yes-or-no question,
    or by a function of its text that gives True if a revision is needed; None: every critique is
    followed by a revision, as in the paper, which saves the question. An answer that is neither
    yes nor no counts as yes."""

    prompts: SkipValidation[Prompts | Path | str | None] = None
    """Templates of your own: a folder with respond.j2, critique.j2 or revise.j2."""

    conversation: SkipValidation[Callable[[Any], Any] | None] = None
    """Picks from the input what the critic is shown; by default the input itself."""

    return_intermediate_steps: bool = False
    """Give a `ConstitutionalAnswer` with every step, in place of the answer alone."""

    seed: int = 0
    """Of the draw: the same conversation gets the same principles."""

    _principles: Principles = PrivateAttr()
    _script: Script = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        """Load constitution and templates, so that a fault shows before the first call."""
        super().model_post_init(context)
        self._principles = Principles(
            self.constitution, rounds=self.rounds, chosen=self.principles, seed=self.seed
        )
        given = self.prompts
        constitution = self._principles.constitution
        prompts = (
            given
            if isinstance(given, Prompts)
            else Prompts(Path(given) if given else None, language=constitution.language)
        )
        if any(prompts.templates[name].family != "chat" for name in ASKED_WITH):
            raise CaiError(
                "prompts are of the family completion, plain text for base models, and a chat "
                "model of LangChain is asked in messages; give those of the family chat"
            )
        few_shots = constitution.few_shots
        self._script = Script(prompts, few_shots, self.critique_needed)

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """Answer an input.

        Raises:
            UnusableInput: the input is no conversation that a critic can be shown.
            UnusableReply: a step gave nothing to go on with; see `with_retry`, `with_fallbacks`.
        """
        return self._call_with_config(self._answer, input, config, **kwargs)

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """Answer an input; as `invoke`."""
        return await self._acall_with_config(self._aanswer, input, config, **kwargs)

    def stream(
        self, input: Any, config: RunnableConfig | None = None, **kwargs: Any | None
    ) -> Iterator[Any]:
        """Answer an input, the final answer piece by piece; pieces add up to what `invoke` gives.

        Raises:
            UnusableInput, UnusableReply: as `invoke`.
        """
        inputs = iter([input])
        yield from self._transform_stream_with_config(inputs, self._pieces, config, **kwargs)

    async def astream(
        self, input: Any, config: RunnableConfig | None = None, **kwargs: Any | None
    ) -> AsyncIterator[Any]:
        """Answer an input, the final answer piece by piece; as `stream`."""

        async def inputs() -> AsyncIterator[Any]:
            yield input

        async for piece in self._atransform_stream_with_config(
            inputs(), self._apieces, config, **kwargs
        ):
            yield piece

    def _answer(
        self,
        input: Any,
        run_manager: CallbackManagerForChainRun,
        config: RunnableConfig,
        **kwargs: Any,
    ) -> Any:
        calls = Calls(self.model, self.first, input, config, kwargs)
        return self._whole(list(calls.parts(self._course(input))))

    async def _aanswer(
        self,
        input: Any,
        run_manager: AsyncCallbackManagerForChainRun,
        config: RunnableConfig,
        **kwargs: Any,
    ) -> Any:
        calls = Calls(self.model, self.first, input, config, kwargs)
        return self._whole([part async for part in calls.aparts(self._course(input))])

    def _pieces(
        self,
        inputs: Iterator[Any],
        run_manager: CallbackManagerForChainRun,
        config: RunnableConfig,
        **kwargs: Any,
    ) -> Iterator[Any]:
        for input in inputs:
            calls = Calls(self.model, self.first, input, config, kwargs, stream=True)
            for part in calls.parts(self._course(input)):
                yield from self._shown(part)

    async def _apieces(
        self,
        inputs: AsyncIterator[Any],
        run_manager: AsyncCallbackManagerForChainRun,
        config: RunnableConfig,
        **kwargs: Any,
    ) -> AsyncIterator[Any]:
        async for input in inputs:
            calls = Calls(self.model, self.first, input, config, kwargs, stream=True)
            async for part in calls.aparts(self._course(input)):
                for shown in self._shown(part):
                    yield shown

    def _course(self, input: Any) -> Course:
        picked = input if self.conversation is None else self.conversation(input)
        conversation = conversation_of(picked)
        return course(self._script, conversation, self._principles.of(conversation))

    def _shown(self, part: Part) -> Iterable[Any]:
        """What a part looks like from outside: nothing, if only the answer is wanted."""
        if self.return_intermediate_steps:
            return [AddableDict(part)]
        return [part["output"]] if "output" in part else []

    def _whole(self, parts: Sequence[Part]) -> BaseMessage | dict[str, Any]:
        outputs = [part["output"] for part in parts if "output" in part]
        if not self.return_intermediate_steps:
            return outputs[-1]
        first = [part["initial_output"] for part in parts if "initial_output" in part]
        rounds = [part.get("critiques_and_revisions", []) for part in parts]
        return {
            "output": outputs[-1],
            "initial_output": first[0],
            "critiques_and_revisions": [one for listed in rounds for one in listed],
        }
