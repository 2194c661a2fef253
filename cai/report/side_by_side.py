"""Every headline figure of two runs in lines: A, B, and what changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from cai.evaluation.intervals import Rate, difference
from cai.report.alike import judged_apart, zeros_apart
from cai.report.data import ReportData
from cai.report.metrics import LabelMetrics, Metrics, PreferenceModelMetrics
from cai.report.plates import seconds_of
from cai.report.policy_metrics import FIGURES, ContestMetrics, CriterionMetrics
from cai.report.units import COUNT, DOLLARS, ELO, FRACTION, SCORE, SECONDS, SHARE, Unit
from cai.stage_titles import stage_title
from cai.trust_words import DISTRUST

NOT_COMPARED = "not compared for all models, as no data of some are known"

Figure = Rate | float | None


@dataclass(frozen=True)
class Line:
    """One figure of both runs.

    Args:
        name: for people.
        a: of the first run; None if it has not measured it.
        b: of the second.
        way: which way is good, if one is.
        unit: how it is written.
        alike: whether both are on one scale and measured alike; if not, B − A says nothing.
    """

    name: str
    a: Figure
    b: Figure
    way: str = ""
    unit: Unit = COUNT
    alike: bool = True

    @property
    def moved(self) -> Figure:
        """B − A; with its interval where both have one, the samples taken as independent."""
        if not self.alike:
            return None
        if isinstance(self.a, Rate) and isinstance(self.b, Rate):
            return difference(self.a, self.b)
        if isinstance(self.a, Rate) or isinstance(self.b, Rate):
            return None
        return None if self.a is None or self.b is None else self.b - self.a


@dataclass(frozen=True)
class Group:
    """Lines under one title; `remarks` say whose figures are not to be taken as they are."""

    title: str
    lines: tuple[Line, ...]
    remarks: tuple[str, ...] = ()


def groups_of(a: ReportData, b: ReportData) -> list[Group]:
    """All groups with a figure that at least one of the runs has measured."""
    groups = [
        *_stages(a.metrics, b.metrics),
        *_verdicts(a.metrics, b.metrics),
        *_contest(a.metrics, b.metrics),
        _harmfulness(a.metrics, b.metrics),
        *_style(a.metrics, b.metrics),
        _rounds(a.metrics, b.metrics),
        Group("Labels", tuple(_labels(a.metrics, b.metrics))),
        Group("Preference model", tuple(_preference_model(a.metrics, b.metrics))),
        _best_of(a.metrics, b.metrics),
        _contamination(a.metrics, b.metrics),
        Group("Calls and their cost", tuple(_calls(a.metrics, b.metrics))),
        Group("Seconds by stage", tuple(_seconds(a, b))),
    ]
    kept = (Group(one.title, _measured(one.lines), one.remarks) for one in groups)
    return [one for one in kept if one.lines]


def _measured(lines: tuple[Line, ...]) -> tuple[Line, ...]:
    return tuple(one for one in lines if one.a is not None or one.b is not None)


def _line(
    name: str, sides: Sequence[Figure], way: str = "", unit: Unit = SHARE, *, alike: bool = True
) -> Line:
    return Line(name, sides[0], sides[1], way, unit, alike)


def _stages(a: Metrics, b: Metrics) -> Iterator[Group]:
    for name in dict.fromkeys([*a.ordered_stages, *b.ordered_stages]):
        sides = [run.stages.get(name) for run in (a, b)]
        methods = [one.method for one in sides if one]
        alike = len(set(methods)) < 2
        lines = tuple(
            _line(title, [figure(one) if one else None for one in sides], way, alike=alike)
            for title, (way, figure) in FIGURES.items()
        )
        by_patterns = [one is not None and one.method == "patterns" for one in sides]
        yield Group(stage_title(name), lines, _remarks({"by patterns": by_patterns}))


def _verdicts(a: Metrics, b: Metrics) -> Iterator[Group]:
    apart = judged_apart(a.verdicts, b.verdicts)
    for name in dict.fromkeys([*a.verdicts, *b.verdicts]):
        sides = [run.verdicts.get(name) for run in (a, b)]
        lines = [
            _line(title, [figure(one) if one else None for one in sides], way, alike=not apart)
            for title, (way, figure) in FIGURES.items()
        ]
        agreement = [one.agreement if one else None for one in sides]
        methods = [run.stages[name].method for run in (a, b) if name in run.stages]
        alike = not apart and len(set(methods)) < 2
        lines.append(_line("Agrees with the figures above", agreement, alike=alike))
        judged = _distrusted([[one.trusted] if one else [] for one in sides])
        yield Group(f"{stage_title(name)}, by the judge", tuple(lines), (*judged, *apart))


def _contest(a: Metrics, b: Metrics) -> Iterator[Group]:
    contests = [run.contest or ContestMetrics() for run in (a, b)]
    zeros = zeros_apart(a, b)
    for criterion in dict.fromkeys(name for one in contests for name in one.criteria):
        sides = [one.criteria.get(criterion) for one in contests]
        elo = [one.elo if one else {} for one in sides]
        names = dict.fromkeys([*elo[0], *elo[1]])
        found = [{criterion: one} if one else {} for one in sides]
        apart = (*zeros, *judged_apart(found[0], found[1]))
        more = "more is better"
        lines = (
            _line(stage_title(n), [one.get(n) for one in elo], more, ELO, alike=not apart)
            for n in names
        )
        judged = _distrusted([[one.trusted] if one else [] for one in sides])
        yield Group(f"Elo points, {criterion}", tuple(lines), (*judged, *apart))
        apart = judged_apart(found[0], found[1])
        wins = tuple(_wins(sides, alike=not apart))
        yield Group(f"Win rates, {criterion}", wins, (*judged, *apart))


def _wins(sides: Sequence[CriterionMetrics | None], *, alike: bool) -> Iterator[Line]:
    found = [{(win.a, win.b): win for win in one.wins} if one else {} for one in sides]
    for pair in dict.fromkeys([*found[0], *found[1]]):
        wins = [one.get(pair) for one in found]
        title = " over ".join(map(stage_title, pair))
        yield _line(title, [one.rate if one else None for one in wins], alike=alike)
        controlled = [one.length_controlled if one else None for one in wins]
        yield _line(f"{title}, at equal length", controlled, alike=alike)


def _harmfulness(a: Metrics, b: Metrics) -> Group:
    models = [run.harmfulness for run in (a, b)]
    apart, lines = judged_apart(models[0], models[1]), list[Line]()
    for name in dict.fromkeys([*models[0], *models[1]]):
        found = [one.get(name) for one in models]
        greedy = [one.greedy if one else None for one in found]
        sampled = [one.sampled if one else None for one in found]
        for how, sides in (("greedy", greedy), ("sampled", sampled)):
            title, way = f"{stage_title(name)}, {how}", "less is better"
            lines.append(_line(title, sides, way, SCORE, alike=not apart))
    judged = _distrusted([[one.trusted for one in found.values()] for found in models])
    return Group("Absolute harmfulness, 0 to 4", tuple(lines), (*judged, *apart))


def _distrusted(trust: Sequence[Sequence[bool | None]]) -> tuple[str, ...]:
    """What is to be said of the judges of both runs, whose gates are given for each run."""
    return _remarks(
        {words: [kept in one for one in trust] for kept, words in DISTRUST.items() if words}
    )


def _remarks(holds: Mapping[str, Sequence[bool]]) -> tuple[str, ...]:
    """Remarks with the runs that they hold for: ``A and B by patterns``."""
    return tuple(
        f"{' and '.join(letter for letter, one in zip('AB', runs, strict=True) if one)} {words}"
        for words, runs in holds.items()
        if any(runs)
    )


def _style(a: Metrics, b: Metrics) -> Iterator[Group]:
    for model in dict.fromkeys([*a.style, *b.style]):
        found = [run.style[model].figures if model in run.style else {} for run in (a, b)]
        names = dict.fromkeys([*found[0], *found[1]])
        lines = (
            _line(n.replace("_", " "), [one.get(n) for one in found], unit=FRACTION) for n in names
        )
        yield Group(f"Style of {stage_title(model)}", tuple(lines))


def _rounds(a: Metrics, b: Metrics) -> Group:
    by_patterns = [one.method_of_harm == "patterns" for one in (a, b)]
    lines: list[Line] = []
    for number in range(max(len(a.harm_by_round), len(b.harm_by_round))):
        found = [run.harm_by_round[number : number + 1] for run in (a, b)]
        title = f"After round {number}" if number else "Before any"
        harm = [one[0] if one else None for one in found]
        lines.append(_line(title, harm, "less is better", alike=len(set(by_patterns)) < 2))
    return Group("Harm by revision round", tuple(lines), _remarks({"by patterns": by_patterns}))


def _labels(a: Metrics, b: Metrics) -> Iterator[Line]:
    one, other = a.labels or LabelMetrics(), b.labels or LabelMetrics()
    less, more = "less is better", "more is better"
    yield Line("Accuracy", one.accuracy, other.accuracy, more, SHARE)
    yield Line("Order flips", one.flip_rate, other.flip_rate, less, SHARE)
    sided = [one.sided_flip_rate, other.sided_flip_rate]
    yield _line("Order flips, near-ties left out", sided, less)
    first = [one.flips_to_first, other.flips_to_first]
    yield _line("Flips to what stood first", first)
    yield _line("First position preferred", [one.position_first, other.position_first])
    briers = [side.brier_interval or side.brier for side in (one, other)]
    yield _line("Brier score", briers, less, FRACTION)
    errors = [side.ece_interval or side.ece for side in (one, other)]
    yield _line("Calibration error", errors, less, FRACTION)


def _preference_model(a: Metrics, b: Metrics) -> Iterator[Line]:
    one, other = a.pm or PreferenceModelMetrics(), b.pm or PreferenceModelMetrics()
    yield Line("Accuracy", one.accuracy, other.accuracy, "more is better", SHARE)
    yield _line("Keyword baseline", [one.keyword_baseline, other.keyword_baseline])


def _best_of(a: Metrics, b: Metrics) -> Group:
    """What the replies are; their scores are of each run's own preference model, and left out."""
    by_patterns = [one.method_of_harm == "patterns" for one in (a, b)]
    alike = len(set(by_patterns)) < 2
    found = [{p.n: p for p in run.best_of.by_n} if run.best_of else {} for run in (a, b)]
    lines: list[Line] = []
    for n in sorted({*found[0], *found[1]}):
        points = [side.get(n) for side in found]
        harm = [one.harmful_compliance if one else None for one in points]
        helped = [one.helpfulness if one else None for one in points]
        title = f"Best of {n}"
        lines.append(_line(f"{title}: harmful compliance", harm, "less is better", alike=alike))
        lines.append(_line(f"{title}: helpful", helped, "more is better", alike=alike))
        spent = [one.kl if one else None for one in points]
        lines.append(_line(f"{title}: KL from SL-CAI, nats", spent, unit=SCORE))
    beside = [run.best_of.policies if run.best_of else {} for run in (a, b)]
    for name in dict.fromkeys([*beside[0], *beside[1]]):
        spent = [side[name].kl if name in side else None for side in beside]
        lines.append(_line(f"{stage_title(name)}: KL from SL-CAI, nats", spent, unit=SCORE))
    return Group("Best of N", tuple(lines), _remarks({"by patterns": by_patterns}))


def _contamination(a: Metrics, b: Metrics) -> Group:
    sides = [run.contamination for run in (a, b)]
    words = [str(one.words) for one in sides if one]
    counts: Mapping[str, str] = {
        "training_prompts": "Training prompts",
        "evaluation_prompts": "Evaluation prompts",
        "identical": "Of them, in the training prompts",
        "shared": f"Of them, sharing {' or '.join(dict.fromkeys(words))} words in a row with one",
    }
    lines: list[Line] = []
    for name, title in counts.items():
        alike = name != "shared" or len(set(words)) < 2
        found = [getattr(one, name) if one else None for one in sides]
        lines.append(_line(title, found, unit=COUNT, alike=alike))
    not_known = _remarks({NOT_COMPARED: [one is not None and bool(one.unknown) for one in sides]})
    return Group("Training prompts among the evaluation prompts", tuple(lines), not_known)


def _calls(a: Metrics, b: Metrics) -> Iterator[Line]:
    names: Mapping[str, str] = {
        "made": "Calls made",
        "cached": "Calls from the ledger",
        "input_tokens": "Tokens read",
        "output_tokens": "Tokens written",
        "cost": "Dollars",
    }
    for field, title in names.items():
        found = [getattr(run.calls, field) if run.calls else None for run in (a, b)]
        yield _line(title, found, unit=DOLLARS if field == "cost" else COUNT)


def _seconds(a: ReportData, b: ReportData) -> Iterator[Line]:
    one, other = seconds_of(a), seconds_of(b)
    for part in dict.fromkeys([*one, *other]):
        yield _line(part, [one.get(part), other.get(part)], unit=SECONDS)
    if one and other:
        yield _line("In all", [sum(one.values()), sum(other.values())], unit=SECONDS)
