"""Ask a judge questions whose right answers are known, each in a row of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, Literal, NamedTuple

from cai.constitution import Constitution, load_constitution
from cai.constitution.values import idle, selects
from cai.engine import RowLog
from cai.errors import CaiError, Fault, InputError
from cai.evaluation.labels import Truth
from cai.evaluation.truths import microworld_truth
from cai.label_settings import LabelSettings
from cai.pipeline.labeler_items import Item, Question, items_of
from cai.pipeline.labelling import Judging
from cai.pipeline.studio import Studio
from cai.pipeline.templates import templates_of
from cai.records import Response
from cai.sources import Unreadable
from cai.sources.pairs import PairKind
from cai.sources.questions import JudgedChoice, read_questions
from cai.stages.answer import answer_question
from cai.stages.compare import calls_of, compare, compare_under
from cai.stages.label_maths import RATING, Scale
from cai.stages.setting import Setting


class Choice(NamedTuple):
    """Which principles of a constitution stand for what is judged.

    Args:
        selectors: ids, patterns of ids, or tag:NAME.
        text: that one of them must have, such as "comparison".
        field: of the recipe that says so, for errors.
    """

    selectors: Sequence[str]
    text: Literal["comparison", "rating", "classify"]
    field: str


class GateData(NamedTuple):
    """Questions with known answers that a judge is measured on before it is believed.

    Args:
        data: files, or ``microworld:heldout``.
        rows: the most of each.
        kind: of the microworld requests that they answer.
    """

    data: tuple[str, ...]
    rows: int
    kind: PairKind


def chosen_principles(name: str, choice: Choice) -> Constitution:
    """A constitution with the chosen principles alone.

    Args:
        name: of a shipped one, or a file.
        choice: which of its principles.

    Raises:
        InputError: it has faults, a selector names none of them, or none has the text.
    """
    whole = load_constitution(name)
    if strange := idle(choice.selectors, whole.principles):
        known = ", ".join(one.id for one in whole.principles)
        told = f"{strange[0][1]!r} names no principle; choose from {known}"
        raise InputError(name, [Fault(told, choice.field)])
    chosen = tuple(
        one
        for one in whole.principles
        if any(selects(selector, one) for selector in choice.selectors)
    )
    if not any(getattr(one, choice.text) for one in chosen):
        told = f"none of {', '.join(choice.selectors)} has a text for {choice.text}; write one"
        raise InputError(name, [Fault(told, choice.field)])
    return whole.model_copy(update={"principles": chosen})


def judging_under(
    studio: Studio,
    constitution: Constitution,
    label: LabelSettings,
    minimum_mass: float,
    scale: Scale = RATING,
) -> Judging:
    """How the run's judge is asked under another constitution than the run's.

    Args:
        studio: of the run; its seed and templates are used.
        constitution: with the principles.
        label: the way to a label.
        minimum_mass: least total probability of the options, in [0, 1].
        scale: of ratings.
    """
    comparisons = studio.recipe.comparisons.model_copy(update={"label": label})
    recipe = studio.recipe.model_copy(update={"comparisons": comparisons})
    # A forecast has templates of its own kind.
    prompts = templates_of(recipe, constitution, type(studio.setting.prompts))
    setting = Setting(constitution, prompts, studio.setting.seed)
    return Judging(setting, label, minimum_mass, scale)


async def measure_by(
    studio: Studio, judging: Judging, gate: GateData, stage: str, title: str
) -> None:
    """Ask the run's judge the questions of a gate, as it is to judge.

    Args:
        studio: of the run.
        judging: how it is asked.
        gate: the questions; without any, rows of before are removed.
        stage: of the rows.
        title: of the pass, for people.

    Raises:
        CaiError: the data cannot be read, or cannot be asked.
    """
    questions = _questions(studio, gate)
    if gate.data:
        check_questions(questions, judging.label, gate.data)
    items = items_of(questions, judging, each_principle=False, stage=stage) if questions else []
    await ask_questions(studio, judging, items, (stage,), title)


def check_gate(studio: Studio, judging: Judging, gate: GateData) -> None:
    """Make sure that a gate's questions can be asked, before anything is spent.

    Raises:
        CaiError: the data cannot be read, or cannot be asked.
    """
    if gate.data:
        found = [one for one in _read(studio, gate) if not isinstance(one, Unreadable)]
        check_questions(found, judging.label, gate.data)


def _questions(studio: Studio, gate: GateData) -> list[Question]:
    found: list[Question] = []
    for one in _read(studio, gate):
        if isinstance(one, Unreadable):
            studio.note_unreadable(one)
        else:
            found.append(one)
    return found


def _read(studio: Studio, gate: GateData) -> Iterator[Question | Unreadable]:
    for source in gate.data:
        seed = studio.recipe.seed
        yield from read_questions(source, limit=gate.rows, seed=seed, kind=gate.kind)


async def ask_questions(
    studio: Studio, judging: Judging, items: Sequence[Item], stages: Sequence[str], title: str
) -> None:
    """Ask the run's judge every question; each row has its answer, and beside it the right one.

    Args:
        studio: of the run.
        judging: how the judge is asked.
        items: the questions.
        stages: of their rows.
        title: of the pass, for people.
    """
    truth = microworld_truth(judging.setting.constitution)
    await studio.run_rows(
        title,
        lambda: [item for item in items if studio.takes(item.key)],
        lambda item, log: _take(studio, judging, item, truth, log),
        stages=stages,
    )


def check_questions(
    questions: Sequence[Question], label: LabelSettings, data: Sequence[str]
) -> None:
    """Refuse data that cannot be asked in a way of labelling.

    Args:
        questions: read from the data.
        label: the way.
        data: names of the files, for the message.

    Raises:
        CaiError: there is no question, or some are none of two replies and the way is for those.
    """
    if not questions:
        raise CaiError(f"{', '.join(data)} has no question whose right answer is known")
    choices = any(isinstance(one, JudgedChoice) for one in questions)
    if choices and label != LabelSettings():
        raise CaiError(
            "comparisons.label is about pairs of replies, and some of the data asks about one "
            "conversation; measure that data by itself, with --judge and no such setting"
        )


async def _take(studio: Studio, judging: Judging, item: Item, truth: Truth, log: RowLog) -> None:
    question, key, principles = item
    judge = studio.model("judge", key)
    if isinstance(question, JudgedChoice):
        answer = await answer_question(
            question.choice,
            key,
            judge=judge,
            setting=judging.setting,
            minimum_mass=judging.minimum_mass,
        )
        calls = tuple(order.call for order in answer.orders)
        await log.ok(key, {**asdict(answer), "tags": question.tags}, calls, answer.refusals)
        return
    pair = question.pair
    a = Response(pair.prompt, pair.response_a, 0, "", "")
    b = Response(pair.prompt, pair.response_b, 1, "", "")
    if pair.response_a == pair.response_b:
        log.end(key, "filtered", "both replies are identical")
    how: Mapping[str, Any] = {
        "judge": judge,
        "setting": judging.setting,
        "labelling": judging.labelling,
    }
    if principles is None:
        label = await compare((a, b), key, **how)
    else:
        label = await compare_under(principles, (a, b), key, **how)
    known = truth(label) if question.by_rule else pair.p_a
    about = {"truth": known, "judged": pair.p_a, "tags": question.tags}
    label = replace(label, provenance={**label.provenance, **about})
    await log.ok(key, asdict(label), calls_of(label), label.refusals)
