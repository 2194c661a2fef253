"""Inspect (inspect.aisi.org.uk) asks a policy, and the judge of a recipe scores what it says.

Inspect reads this module itself where both are installed:

    inspect eval cai/judged --model hf/runs/microworld/models/rl_cai -T recipe=RECIPE

The scorer stands in anybody's task too, and scores logs that are there (``inspect score``).
"""

from __future__ import annotations

import sysconfig
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

from cai.constitution import load_constitution
from cai.engine import RowEnded
from cai.errors import CaiError
from cai.filter_settings import ContaminationSettings
from cai.filters.contamination import Overlap
from cai.harness.judging import Asked, Way, check_asked, judge_reply
from cai.harness.open_judges import JudgeSource, OpenJudges
from cai.harness.samples import AskedPrompt, AskedPrompts, PromptFile, asked_prompts
from cai.pipeline.contamination import held_against, origins_of
from cai.recipe import Recipe, load_recipe
from cai.records import Message, Prompt, Response
from cai.sources.prompt_sets import PromptKind
from cai.sources.transcripts import as_prompt, to_messages
from cai.untyped import untyped

inspect_ai = untyped("inspect_ai")
scoring = untyped("inspect_ai.scorer")
task, scorer, hooks = inspect_ai.task, scoring.scorer, untyped("inspect_ai.hooks")

PACKAGE = "" if Path(__file__).is_relative_to(sysconfig.get_path("purelib")) else "cai/"
"""Inspect puts a package's name before the names of what it has; but of one that is installed as
editable it knows the distribution's name alone, and ours is another."""

JUDGES = OpenJudges()


@task(name=f"{PACKAGE}judged")
def judged(
    recipe: str,
    way: Way = "rating",
    principle: str | None = None,
    prompts: str | None = None,
    kind: PromptKind = "harmful",
    column: str | None = None,
    reference: str | None = None,
    folder: str | None = None,
) -> Any:
    """Replies to prompts, each judged as a run of the recipe would judge it.

    They are drawn as the recipe's ``evaluation.sampling`` says, unless inspect is told otherwise.

    Args:
        recipe: file, whose judge, constitution, templates, seed and way of labelling are used.
        way: for a rating from 1 to 10, P(yes) to a principle's `classify` question ("classify"), or
            P(better than the reference), in both orders ("comparison").
        principle: id of the only one to judge under; by default those drawn for the prompt.
        prompts: file; by default the recipe's evaluation prompts.
        kind: what the prompts of the file are taken to be.
        column: of the file, that holds the prompt.
        reference: column of the file that holds the reply to compare with.
        folder: keeps what the judge was asked, and is no run's; ``runs/inspect-NAME`` of the recipe
            by default.
    """
    with _shown():
        read = _recipe(recipe)
        if way == "comparison" and (prompts is None or reference is None):
            raise CaiError(
                "way=comparison takes a file of prompts, and its column with the replies to "
                "compare with; add -T prompts=FILE -T reference=COLUMN"
            )
        if kind not in get_args(PromptKind):
            raise CaiError(f"kind is {kind!r}; choose from {', '.join(get_args(PromptKind))}")
        file = PromptFile(Path(prompts), kind, column, reference) if prompts else None
        asked = asked_prompts(read, file)
        shared = _contamination(read, asked)
    solver = untyped("inspect_ai.solver")
    return inspect_ai.Task(
        dataset=[_sample(one) for one in asked.prompts],
        solver=solver.generate(),
        scorer=judge(recipe, way, principle, folder),
        config=_drawn(read),
        metadata={
            "constitution": read.constitution,
            "left_out": dict(asked.left_out),
            "contamination": shared.to_json() if shared else None,
        },
    )


@scorer(name=f"{PACKAGE}judge", metrics=[scoring.mean(), scoring.stderr()])
def judge(
    recipe: str, way: Way = "rating", principle: str | None = None, folder: str | None = None
) -> Callable[[Any, Any], Awaitable[Any]]:
    """What the judge of a recipe says of a reply; without a verdict it is unscored, with a reason.

    For a comparison, the sample's target is the other reply. For the arguments, see `judged`.
    """
    with _shown():
        read = _recipe(recipe)
        if way not in get_args(Way):
            raise CaiError(f"way is {way!r}; choose from {', '.join(get_args(Way))}")
        asked = Asked(way, principle)
        check_asked(load_constitution(read.constitution), asked, read.comparisons.label)
        # Inspect may change to another folder until it scores.
        source = JudgeSource(read, Path(folder or f"runs/inspect-{read.name}").resolve())

    async def score(state: Any, target: Any) -> Any:
        text = state.output.completion
        try:
            reply = Response(_prompt(state), text, state.epoch - 1, str(state.model), "")
            reference = _reference(target) if way == "comparison" else None
            verdict = await judge_reply(JUDGES.studio(source), reply, asked, reference)
        except _NotAsked as error:
            reason, why = error.reason, str(error)
            return scoring.Score.unscored(reason=reason, answer=text, explanation=why)
        except RowEnded as end:
            status, why = end.row.status, end.row.reason
            return scoring.Score.unscored(reason=status, answer=text, explanation=why)
        return scoring.Score(
            value=verdict.value,
            answer=text,
            explanation=f"{verdict.told} (under {verdict.principle})",
            metadata={"principle": verdict.principle, **verdict.details},
        )

    return score


@hooks.hooks(name="judges", description="Closes the judges of cai when all is scored.")
class _CloseJudges(hooks.Hooks):
    async def on_run_end(self, data: Any) -> None:
        await JUDGES.close()


@contextmanager
def _shown() -> Generator[None, None, None]:
    """What a user can put right is shown by inspect as text, without a trace."""
    from rich.markup import escape

    try:
        yield
    except CaiError as error:
        raise untyped("inspect_ai._util.error").PrerequisiteError(escape(str(error))) from error


def _recipe(path: str) -> Recipe:
    return load_recipe(Path(path))


def _contamination(recipe: Recipe, asked: AskedPrompts) -> Overlap | None:
    """What the policy was trained on against what it is asked; None where nothing is known.

    Inspect makes a task with the model open that it will ask; a task of somebody's own program may
    have none yet.
    """
    policy = untyped("inspect_ai.model._model").active_model()
    if policy is None:
        return None
    evaluated: dict[str, list[Sequence[Message]]] = {}
    for one in asked.prompts:
        evaluated.setdefault(one.prompt.source, []).append(one.prompt.messages)
    settings = recipe.filters.contamination or ContaminationSettings()
    place = str(policy.model_args.get("model_path") or policy.name)
    return held_against(origins_of([place]), evaluated, settings.words)


def _drawn(recipe: Recipe) -> Any:
    """How the recipe's evaluation draws replies, in inspect's terms."""
    drawn = recipe.evaluation.sampling
    return untyped("inspect_ai.model").GenerateConfig(
        temperature=drawn.temperature,
        top_p=drawn.top_p,
        max_tokens=drawn.max_tokens,
        stop_seqs=list(drawn.stop) or None,
        seed=recipe.seed,
    )


def _sample(one: AskedPrompt) -> Any:
    model = untyped("inspect_ai.model")
    turns: dict[str, Any] = {
        "system": model.ChatMessageSystem,
        "user": model.ChatMessageUser,
        "assistant": model.ChatMessageAssistant,
    }
    return untyped("inspect_ai.dataset").Sample(
        id=one.prompt.id,
        input=[turns[turn.role](content=turn.content) for turn in one.prompt.messages],
        target=one.reference,
        metadata={"kind": one.prompt.kind, "source": one.prompt.source},
    )


def _prompt(state: Any) -> Prompt:
    """What the reply answers, of anybody's task.

    Raises:
        _NotAsked: it answers nobody, or turns do not alternate, as with tools.
    """
    turns = [{"role": turn.role, "content": turn.text} for turn in state.messages]
    source, kind = (state.metadata.get(name, "") for name in ("source", "kind"))
    try:
        return Prompt(as_prompt(to_messages(turns)), str(source), str(kind))
    except ValueError as error:
        raise _NotAsked("no prompt", str(error)) from error


def _reference(target: Any) -> str:
    """The reply to compare with.

    Raises:
        _NotAsked: it is blank.
    """
    if not target.text.strip():
        raise _NotAsked("no reference", "the sample's target, to compare with, is blank")
    return target.text


class _NotAsked(Exception):
    """A sample is nothing that a judge can be asked about.

    Args:
        reason: as of a sample without a score.
        told: more of it.
    """

    def __init__(self, reason: str, told: str) -> None:
        super().__init__(told)
        self.reason = reason
