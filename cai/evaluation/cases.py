"""Ask a judge about a constitution's cases: does it read the principles as they were meant?

Pairs are asked about as labels are, by the same stage, in both presentation orders. Under pytest::

    from cai.evaluation.cases import judge_cases

    def test_the_judge_reads_the_constitution_as_it_was_meant():
        assert judge_cases("mine.yaml", model="microworld").failed == ()
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from cai.at_once import all_of
from cai.constitution import Loaded, Principle, read_constitution
from cai.constitution.case import Case
from cai.constitution.case_files import Cases, PlacedCase, beside_of, read_cases
from cai.engine import BoughtModel, Ledger, RowEnded, Tally
from cai.errors import CaiError
from cai.models import LanguageModel, ModelSettings, open_model
from cai.models.family import check_fallback
from cai.models.roles import IsRefusal, ModelInRole
from cai.models.settings import settings_of
from cai.prompts import Family, Frame, Prompts
from cai.records import Prompt, Refusal, Response, RowKey
from cai.stages.classify import classify_under
from cai.stages.compare import compare_under
from cai.stages.labelling import Labelling
from cai.stages.setting import Setting

AT_ONCE = 16
"""Cases under way at once."""

MINIMUM_MASS = 0.5
"""As a recipe's `comparisons.minimum_mass` is by default."""


@dataclass(frozen=True)
class CaseResult:
    """What the judge said of one case under one principle.

    Args:
        name: of the case: its id, or file and line.
        principle: its id.
        p: probability of what was expected, in [0, 1]; None if there was no verdict.
        least: p must be above this.
        reason: why there was no verdict; empty if there was one.
        why: of the case.
        answered_by: identity of the fallback, if the judge declined and it answered.
    """

    name: str
    principle: str
    p: float | None
    least: float
    reason: str = ""
    why: str = ""
    answered_by: str = ""

    @property
    def passed(self) -> bool:
        """Whether the judge said what was expected."""
        return self.p is not None and self.p > self.least

    def __str__(self) -> str:
        """Give ``shelf under no-theft: p = 0.31, not above 0.5``, and why."""
        if self.p is None:
            told = f"no verdict, {self.reason}"
        elif self.passed:
            told = f"p = {self.p:.3f}"
        else:
            told = f"p = {self.p:.3f}, not above {self.least:g}"
        return f"{self.name} under {self.principle}: {told}{f' ({self.why})' if self.why else ''}"


@dataclass(frozen=True)
class CaseReport:
    """What the judge said of all cases.

    Args:
        constitution: its id.
        judge: identity of the model.
        results: in the order of the cases, and of the principles within one.
        untested: principles that no case asks about.
        left_out: inherited cases whose principles were removed.
    """

    constitution: str
    judge: str
    results: tuple[CaseResult, ...]
    untested: tuple[str, ...]
    left_out: int = 0

    @property
    def failed(self) -> tuple[CaseResult, ...]:
        """Those in which the judge did not say what was expected."""
        return tuple(result for result in self.results if not result.passed)


@dataclass(frozen=True)
class CaseSettings:
    """How cases are asked.

    Args:
        templates: a folder whose templates replace shipped ones; None for none.
        minimum_mass: least total probability of the two answers, in [0, 1].
        ledger: a file that keeps what was bought, so that the next time buys only what changed;
            None for a new one each time.
        files: more files of cases.
        fallback: is asked where the judge declines; None: such cases have no verdict.
        wording: tells refusals by their wording; None: by the provider's own sign alone.
        frame: how the judge is asked.
    """

    templates: Path | None = None
    minimum_mass: float = MINIMUM_MASS
    ledger: Path | None = None
    files: tuple[Path, ...] = ()
    fallback: ModelSettings | None = None
    wording: IsRefusal | None = None
    frame: Frame = "cai"


class Judging(NamedTuple):
    """Who is asked, with what, and how much of its probability must be an answer."""

    judge: LanguageModel
    setting: Setting
    minimum_mass: float


def judge_cases(
    constitution: str | Path,
    *,
    model: str | ModelSettings | LanguageModel,
    settings: CaseSettings | None = None,
) -> CaseReport:
    """Ask a model about every case of a constitution; for scripts and tests.

    Args:
        constitution: a path, or a shipped name.
        model: the judge: its name as in a recipe, settings, or a model that is open already.
        settings: how to ask.

    Raises:
        InputError: the constitution, a file of cases or a template has faults.
        CaiError: there are no cases, or the model cannot be asked.
    """
    settings = settings or CaseSettings()
    return asyncio.run(_ask(questions_of(constitution, settings, model), model, settings))


class Questions(NamedTuple):
    """What is asked: the cases of a constitution, and the templates that ask."""

    loaded: Loaded
    cases: Cases
    setting: Setting


def questions_of(
    constitution: str | Path, settings: CaseSettings, judge: str | ModelSettings | LanguageModel
) -> Questions:
    """Read a constitution and its cases, and the templates of the judge's family.

    Raises:
        InputError: the constitution, a file of cases or a template has faults.
        CaiError: there are no cases.
    """
    loaded = read_constitution(constitution)
    cases = read_cases(loaded, settings.files)
    if not cases.placed:
        beside = beside_of(loaded.path)
        raise CaiError(f"{loaded.path} has no cases; write them under cases:, or in {beside}")
    named = judge if isinstance(judge, ModelSettings) else None
    check_fallback(named, settings.fallback)
    family: Family = (named and named.family) or "chat"
    language, frame = loaded.constitution.language, settings.frame
    prompts = Prompts(settings.templates, family, language=language, frame=frame)
    return Questions(loaded, cases, Setting(loaded.constitution, prompts))


async def _ask(
    questions: Questions, model: str | ModelSettings | LanguageModel, settings: CaseSettings
) -> CaseReport:
    loaded, cases, setting = questions
    with ExitStack() as opened:
        place = settings.ledger
        if place is None:
            folder = opened.enter_context(tempfile.TemporaryDirectory(prefix="cai-cases-"))
            place = Path(folder) / "ledger.sqlite"
        ledger = opened.enter_context(Ledger.open(place))
        judge, last = _bought(model, ledger), None
        if settings.fallback is not None:
            bought = _bought(settings.fallback, ledger)
            last = ModelInRole(bought, settings.wording, settings.fallback.sampling)
        playing = ModelInRole(judge, settings.wording, fallback=last)
        own = isinstance(model, str | ModelSettings)
        try:
            judging = Judging(playing, setting, settings.minimum_mass)
            results = await ask_cases(cases.placed, judging)
        finally:
            for one in (judge if own else None, last):
                if one is not None:
                    await one.close()
    asked = {result.principle for result in results}
    principles = loaded.constitution.principles
    untested = tuple(one.id for one in principles if one.id not in asked)
    id = loaded.constitution.id
    return CaseReport(id, judge.identity, results, untested, cases.left_out)


async def ask_cases(cases: Sequence[PlacedCase], judging: Judging) -> tuple[CaseResult, ...]:
    """Ask a judge about each case, under each of its principles."""
    at_once = asyncio.Semaphore(AT_ONCE)

    async def ask(name: str, case: Case, principle: Principle) -> CaseResult:
        async with at_once:
            return await _result(name, case, principle, judging)

    return tuple(
        await all_of(
            ask(placed.case.id or placed.place or f"case {number}", placed.case, principle)
            for number, placed in enumerate(cases, start=1)
            for principle in placed.principles
        )
    )


async def _result(name: str, case: Case, principle: Principle, judging: Judging) -> CaseResult:
    p, reason, refusals = None, "", ()
    try:
        p, refusals = await _probability(case, principle, judging)
    except RowEnded as ended:
        reason = f"{ended.row.status}: {ended.row.reason}"
    by = refusals[-1].answered_by if refusals else ""
    return CaseResult(name, principle.id, p, case.least, reason, case.why or "", by)


async def _probability(
    case: Case, principle: Principle, judging: Judging
) -> tuple[float, tuple[Refusal, ...]]:
    """Probability of what the case expects, and who declined to say so."""
    prompt = Prompt(case.conversation, "cases")
    key = RowKey("case", prompt.id)
    judge, setting, minimum_mass = judging
    if case.better is not None and case.worse is not None:
        compared = await compare_under(
            (principle,),
            (_reply(prompt, case.better, 0), _reply(prompt, case.worse, 1)),
            key,
            judge=judge,
            setting=setting,
            labelling=Labelling(minimum_mass=minimum_mass),
        )
        return compared.p_a, compared.refusals
    classified = await classify_under(
        principle,
        _reply(prompt, case.response or "", 0),
        key,
        judge=judge,
        setting=setting,
        minimum_mass=minimum_mass,
    )
    p = classified.p_yes if case.answer == "yes" else 1 - classified.p_yes
    return p, classified.refusals


def _reply(prompt: Prompt, text: str, sample: int) -> Response:
    return Response(prompt, text, sample, "", "")


def _bought(model: str | ModelSettings | LanguageModel, ledger: Ledger) -> BoughtModel:
    if isinstance(model, str):
        model = settings_of(model)
    if isinstance(model, ModelSettings):
        prices = model.known_prices
        return BoughtModel(open_model(model), ledger, tally=Tally(), prices=prices)
    return BoughtModel(model, ledger, tally=Tally())
