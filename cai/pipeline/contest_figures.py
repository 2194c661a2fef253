"""From the rows of a contest to its figures: Elo scores, win rates, cost and trust in the judge.

Everything is read off the ledger, so that rows made again change the figures with them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cai.contest_settings import CriterionName
from cai.evaluation.elo import EloFigures, Game, elo_figures, win_rates
from cai.evaluation.intervals import Rate
from cai.evaluation.judge import Ends, LabelCost
from cai.evaluation.labels import LabelFigures, Truth, label_figures
from cai.evaluation.length_control import Contest as LengthGame
from cai.evaluation.length_control import length_controlled
from cai.evaluation.truths import microworld_truth
from cai.pipeline.asked import asked_of_judge, hash_of_model
from cai.pipeline.contest import (
    CRITERIA,
    IDENTICAL,
    contestants,
    gate_stage_of,
    judging_by,
    settings_of_contest,
    stage_of,
)
from cai.pipeline.judged_rows import ends_of, rows_between
from cai.pipeline.labeler_figures import cost_of
from cai.pipeline.labelling import Judging
from cai.pipeline.policies import StagePolicy
from cai.pipeline.readback import read_comparison
from cai.pipeline.studio import Studio
from cai.pipeline.trust import Trust, trust_in_judge
from cai.records import Comparison, Row


@dataclass(frozen=True)
class CriterionFigures:
    """What was found by one criterion.

    Args:
        prompts: that at least one judgement is about.
        elo: of the policies; None without a judgement.
        wins: by every two policies.
        ends: how judgements ended.
        identical: of those that are ok, pairs of the same text, which nobody was asked about.
        cost: of the judgements, whenever they were bought.
        trust: in the judge.
        principles: ids of those that stand for the criterion.
        asked: as of `cai.pipeline.asked.asked_of_judge`.
        against_truth: the judge's verdicts held against what is true; None where that is unknown.
        true_elo: scores by what is true, of the same pairs; None likewise.
        at_equal_length: win rates that are left where both replies are equally long, by the names
            of `wins`; without those that there is no such estimate of.
    """

    prompts: int
    elo: EloFigures | None
    wins: Sequence[tuple[str, str, Rate]]
    ends: Ends
    identical: int
    cost: LabelCost
    trust: Trust
    principles: Sequence[str] = ()
    asked: Mapping[str, str] = field(default_factory=dict[str, str])
    against_truth: LabelFigures | None = None
    true_elo: EloFigures | None = None
    at_equal_length: Mapping[tuple[str, str], Rate] = field(
        default_factory=dict[tuple[str, str], Rate]
    )

    def to_json(self) -> dict[str, Any]:
        """The shape of one of ``contest.criteria`` in `metrics.json`."""
        cost = self.cost
        known = cost.input_tokens is not None and cost.output_tokens is not None
        return {
            "prompts": self.prompts,
            "elo": _scores(self.elo),
            "notes": list(self.elo.notes) if self.elo else ["nothing was judged"],
            "wins": [
                {
                    "a": a,
                    "b": b,
                    "rate": share.to_json(),
                    "length_controlled": _json(self.at_equal_length.get((a, b))),
                }
                for a, b, share in self.wins
            ],
            **self.ends.to_json(),
            "identical": self.identical,
            "calls": cost.calls,
            "tokens": (cost.input_tokens or 0) + (cost.output_tokens or 0) if known else None,
            "dollars": cost.dollars,
            "principles": list(self.principles),
            "asked": self.asked,
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
    answering = contestants(policies)
    names = [one.stage for one in answering]
    if studio.recipe.evaluation.contest is None or len(names) < 2:
        return {}
    found = {
        name: criterion_figures(studio, names, name)
        for name in CRITERIA
        if any(True for _ in studio.ledger.rows(stage_of(name)))
    }
    told = {name: one.to_json() for name, one in found.items() if one.ends.by_status}
    if not told:
        return {}
    judge = studio.recipe.models.of("judge").name
    zero = hash_of_model(studio, answering[0].settings)
    return {"contest": {"models": names, "zero": zero, "judge": judge, "criteria": told}}


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
    rows = rows_between(studio.ledger.rows(stage_of(criterion)), names)
    constitution = judging.setting.constitution
    is_known = studio.recipe.evaluation.truth == "microworld"
    truth = microworld_truth(constitution) if is_known else None
    judged = _judged(rows, truth)

    def scores(games: Sequence[Game]) -> EloFigures | None:
        if not games:
            return None
        return elo_figures(games, names, draws=contest.draws, seed=studio.recipe.seed)

    asked = [one for one in judged.labels if one.source != IDENTICAL]
    wins, identical = win_rates(judged.games, names), len(judged.labels) - len(asked)
    return CriterionFigures(
        prompts=len({game.prompt for game in judged.games}),
        elo=scores(judged.games),
        wins=wins,
        ends=ends_of(rows, lambda record: record["source"] != IDENTICAL),
        identical=identical,
        cost=cost_of(rows, studio.ledger, studio.recipe.models.of("judge").known_prices),
        trust=trust_in_judge(
            studio,
            gate_stage_of(criterion),
            constitution,
            contest.gates if contest.criterion(criterion).gate_data else None,
        ),
        principles=[one.id for one in constitution.principles],
        asked=_asked(studio, judging),
        against_truth=label_figures(asked, truth) if truth and asked else None,
        true_elo=scores(judged.true_games),
        at_equal_length={
            (a, b): share
            for a, b, _ in wins
            if (share := _at_equal_length(judged.labels, a, b)) is not None
        },
    )


def _asked(studio: Studio, judging: Judging) -> Mapping[str, str]:
    template = "rate" if judging.label.way == "rating" else "compare"
    if judging.label.thinking is not None:
        template = "reason"
    return asked_of_judge(studio, judging.label.way, template, (judging.setting,), judging.label)


def _at_equal_length(labels: Sequence[Comparison], a: str, b: str) -> Rate | None:
    """P(a's reply is better) by these labels, were both as long, in characters."""
    games: list[LengthGame] = []
    for label in labels:
        length_a, length_b = len(label.response_a), len(label.response_b)
        named = (label.provenance["policy_a"], label.provenance["policy_b"])
        if named == (a, b):
            games.append(LengthGame(label.p_a, length_a, length_b))
        elif named == (b, a):
            games.append(LengthGame(1 - label.p_a, length_b, length_a))
    return length_controlled(games)


def _json(figure: Rate | None) -> Mapping[str, Any] | None:
    return None if figure is None else figure.to_json()


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
    kept = ("n", "accuracy", "brier", "brier_interval", "brier_floor", "ece", "ece_interval")
    return {name: told[name] for name in kept}
