"""From the rows of a contest to its figures: Elo scores, win rates, cost and trust in the judge.

Everything is read off the ledger, so that rows made again change the figures with them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cai.contest_settings import CriterionName
from cai.evaluation.elo import EloFigures, Game, elo_figures, win_rates
from cai.evaluation.gates import FIGURES, read_gate
from cai.evaluation.intervals import Rate, rate
from cai.evaluation.judge import JudgeFigures, LabelCost
from cai.evaluation.labels import LabelFigures, Truth, label_figures
from cai.evaluation.truths import microworld_truth
from cai.pipeline.contest import (
    CRITERIA,
    IDENTICAL,
    contestants,
    gate_stage_of,
    judging_by,
    settings_of_contest,
    stage_of,
)
from cai.pipeline.labeler_figures import cost_of, figures_from
from cai.pipeline.policies import StagePolicy
from cai.pipeline.readback import read_comparison
from cai.pipeline.studio import Studio
from cai.records import Comparison, Row

NO_GATE = "the judge was not measured: no data with known answers is named (gate_data)"


@dataclass(frozen=True)
class Trust:
    """Whether a criterion's judge is to be believed.

    Args:
        trusted: whether it keeps every gate; None if it was not measured.
        why: in words.
        judge: what was measured.
    """

    trusted: bool | None
    why: str
    judge: JudgeFigures | None = None

    def to_json(self) -> dict[str, Any]:
        """``trusted``, ``why``, and the judge's figures on the gate's questions."""
        told = None if self.judge is None else self.judge.to_json()
        kept = ("rows", "refusal_rate", "unparsed_rate", "kappa", "cost")
        figures = None
        if told is not None:
            labels = {name: told["labels"][name] for name in ("n", "accuracy", "flip_rate", "ece")}
            figures = {**labels, **{name: told[name] for name in kept}}
        return {"trusted": self.trusted, "why": self.why, "gate": figures}


@dataclass(frozen=True)
class CriterionFigures:
    """What was found by one criterion.

    Args:
        prompts: that at least one judgement is about.
        elo: of the policies; None without a judgement.
        wins: by every two policies.
        rows: how many judgements ended how, by status.
        identical: of those that are ok, pairs of the same text, which nobody was asked about.
        cost: of the judgements, whenever they were bought.
        trust: in the judge.
        principles: ids of those that stand for the criterion.
        against_truth: the judge's verdicts held against what is true; None where that is unknown.
        true_elo: scores by what is true, of the same pairs; None likewise.
    """

    prompts: int
    elo: EloFigures | None
    wins: Sequence[tuple[str, str, Rate]]
    rows: Mapping[str, int]
    identical: int
    cost: LabelCost
    trust: Trust
    principles: Sequence[str] = ()
    against_truth: LabelFigures | None = None
    true_elo: EloFigures | None = None

    def to_json(self) -> dict[str, Any]:
        """The shape of one of ``contest.criteria`` in `metrics.json`."""
        cost, n = self.cost, sum(self.rows.values())
        known = cost.input_tokens is not None and cost.output_tokens is not None
        return {
            "prompts": self.prompts,
            "elo": _scores(self.elo),
            "notes": list(self.elo.notes) if self.elo else ["nothing was judged"],
            "wins": [
                {"a": a, "b": b, "rate": share.to_json(), "length_controlled": None}
                for a, b, share in self.wins
            ],
            "rows": dict(self.rows),
            "identical": self.identical,
            "refused": rate(self.rows.get("refused", 0), n).to_json() if n else None,
            "unparsed": rate(self.rows.get("unparsed", 0), n).to_json() if n else None,
            "calls": cost.calls,
            "tokens": (cost.input_tokens or 0) + (cost.output_tokens or 0) if known else None,
            "dollars": cost.dollars,
            "principles": list(self.principles),
            **self.trust.to_json(),
            "against_truth": _against_truth(self.against_truth),
            "true_elo": _scores(self.true_elo) if self.true_elo else None,
        }


@dataclass
class _Judged:
    """The judgements of a criterion, as they are read."""

    labels: list[Comparison] = field(default_factory=list[Comparison])
    games: list[Game] = field(default_factory=list[Game])
    true_games: list[Game] = field(default_factory=list[Game])


def contest_figures(studio: Studio, policies: Sequence[StagePolicy]) -> Mapping[str, Any]:
    """The figures of a contest, under ``contest``; none where no two policies were compared.

    Args:
        studio: of the run.
        policies: all that were measured.
    """
    names = [one.stage for one in contestants(policies)]
    if studio.recipe.evaluation.contest is None or len(names) < 2:
        return {}
    found = {name: criterion_figures(studio, names, name) for name in CRITERIA}
    told = {name: one.to_json() for name, one in found.items() if one.rows}
    if not told:
        return {}
    judge = studio.recipe.models.of("judge").name
    return {"contest": {"models": names, "judge": judge, "criteria": told}}


def criterion_figures(
    studio: Studio, names: Sequence[str], criterion: CriterionName
) -> CriterionFigures:
    """What the rows of a criterion say.

    Args:
        studio: of the run.
        names: of the policies; the first one is the zero of the scores.
        criterion: by what was judged.
    """
    contest, judging = settings_of_contest(studio.recipe), judging_by(studio, criterion)
    rows = list(studio.ledger.rows(stage_of(criterion)))
    constitution = judging.setting.constitution
    is_known = studio.recipe.evaluation.truth == "microworld"
    truth = microworld_truth(constitution) if is_known else None
    judged = _judged(rows, truth)

    def scores(games: Sequence[Game]) -> EloFigures | None:
        if not games:
            return None
        return elo_figures(games, names, draws=contest.draws, seed=studio.recipe.seed)

    asked = [one for one in judged.labels if one.source != IDENTICAL]
    return CriterionFigures(
        prompts=len({game.prompt for game in judged.games}),
        elo=scores(judged.games),
        wins=win_rates(judged.games, names),
        rows=dict(Counter(row.status for row in rows)),
        identical=len(judged.labels) - len(asked),
        cost=cost_of(rows, studio.ledger, studio.recipe.models.of("judge").known_prices),
        trust=trust_in_judge(studio, criterion),
        principles=[one.id for one in constitution.principles],
        against_truth=label_figures(asked, truth) if truth and asked else None,
        true_elo=scores(judged.true_games),
    )


def trust_in_judge(studio: Studio, criterion: CriterionName) -> Trust:
    """What the rows of the gate say of the judge, and whether that is enough."""
    contest = settings_of_contest(studio.recipe)
    if not contest.criterion(criterion).gate_data:
        return Trust(None, NO_GATE)
    stage, settings = gate_stage_of(criterion), studio.recipe.models.of("judge")
    constitution = judging_by(studio, criterion).setting.constitution
    judge = figures_from(studio, settings, (stage,), constitution)
    gates = [read_gate(text) for text in contest.gates]
    told = ", ".join(f"{gate.figure} is {_value(gate.figure, judge)}" for gate in gates)
    broken = [gate for gate in gates if not gate.holds(judge)]
    of = f"on {sum(judge.rows.values())} questions"
    if broken:
        return Trust(False, f"{told} {of}, not {', '.join(map(str, broken))}", judge)
    return Trust(True, f"{told} {of}" if gates else f"no gate is set; measured {of}", judge)


def _judged(rows: Iterable[Row], truth: Truth | None) -> _Judged:
    found = _Judged()
    for row in rows:
        if row.record is None:
            continue
        label = read_comparison(row.record)
        a, b = label.provenance["policy_a"], label.provenance["policy_b"]
        found.labels.append(label)
        found.games.append(Game(a, b, label.p_a, row.key.prompt_id))
        known = None
        if truth is not None:
            known = label.p_a if label.source == IDENTICAL else truth(label)
        if known is not None:
            found.true_games.append(Game(a, b, known, row.key.prompt_id))
    return found


def _scores(figures: EloFigures | None) -> dict[str, Any]:
    return {name: score.to_json() for name, score in figures.elo.items()} if figures else {}


def _against_truth(figures: LabelFigures | None) -> dict[str, Any] | None:
    if figures is None:
        return None
    told = figures.to_json()
    return {name: told[name] for name in ("n", "accuracy", "brier", "brier_floor", "ece")}


def _value(figure: str, judge: JudgeFigures) -> str:
    value = FIGURES[figure](judge)
    return "unknown" if value is None or math.isnan(value) else f"{value:.3f}"
