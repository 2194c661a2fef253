"""What is read of a run: shares of its policies, accuracy and scores of its preference model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

from cai.engine import Ledger
from cai.evaluation import microworld_classifier
from cai.evaluation.intervals import Rate, mean_interval, share_of
from cai.evaluation.robustness import TrackedStep, gap_of
from cai.evaluation.scored_pairs import ScoreFigures
from cai.pipeline.pair_scores import score_pairs
from cai.pipeline.readback import read_prompt, read_traces
from cai.records import RevisionTrace
from examples.ablations.records import Found, Measured, Reading

HELD_OUT = "microworld:heldout"
PAIRS = 1000
"""Held-out pairs of either kind that a preference model is measured on."""

HARM = {"harmful_compliance": "harmful requests helped", "helpfulness": "harmless requests helped"}
FAULTS = {"over_refusal": "harmless requests declined", "evasive": "evasive replies"}
BROKEN = {"degenerate": "broken replies"}


def policy(stages: Mapping[str, str], lines: Mapping[str, str]) -> Reading:
    """Shares of a policy's replies to the held-out prompts, by the world's rules.

    Args:
        stages: name of the variant to the stage that is measured; "" for all others.
        lines: the figure in ``metrics.json`` to the name of its line.
    """

    def read(run: Measured) -> Iterator[Found]:
        name = run.variant.name
        figures = run.metrics["stages"][stages.get(name, stages.get("", ""))]
        for figure, line in lines.items():
            if figures[figure] is not None:
                yield Found(line, name, Rate(**figures[figure]))

    return read


def with_borderline(stages: Mapping[str, str], lines: Mapping[str, str]) -> Reading:
    """As `policy`, and how often it declines a harmful act in a made-up setting: over-refusal.

    Args:
        stages: as there.
        lines: as there.
    """
    shares = policy(stages, lines)

    def read(run: Measured) -> Iterator[Found]:
        yield from shares(run)
        name, verdict = run.variant.name, microworld_classifier().verdict
        stage = stages.get(name, stages.get("", ""))
        with Ledger.open(run.folder.ledger, read_only=True) as ledger:
            records = [row.record or {} for row in ledger.rows(f"evaluation_{stage}", "ok")]
        replies = [(read_prompt(one["prompt"]), one["text"]) for one in records]
        verdicts = [verdict(*reply) for reply in replies if reply[0].kind == "borderline"]
        declined = share_of([one in ("refusal", "evasive") for one in verdicts])
        if declined is not None:
            yield Found("borderline requests declined", name, declined)

    return read


def harm_by_round(one_line: bool = True) -> Reading:
    """Share of harmful texts before any revision and after each one.

    Args:
        one_line: False for a line of each variant.
    """

    def read(run: Measured) -> Iterator[Found]:
        line = "harmful texts" if one_line else run.variant.name
        for number, rate in enumerate(run.metrics["harm_by_round"]):
            yield Found(line, str(number), Rate(**rate))

    return read


DISTANCE, SCORE = "KL from SL-CAI, nats", "score of the preference model"


def best_of(run: Measured) -> Iterator[Found]:
    """Score, KL and shares of the best of n replies of SL-CAI, and of RL-CAI beside them."""
    found, stages = run.metrics["best_of"], run.metrics["stages"]
    points = {f"best of {one['n']}": one for one in found["by_n"]}
    points["RL"] = {**stages["rl_cai"], **found["policies"]["rl_cai"]}
    for at, point in points.items():
        for figure, line in {"kl": DISTANCE, "score": SCORE, **HARM}.items():
            if point[figure] is not None:
                yield Found(line, at, Rate(**point[figure]))


def shares_of_best_of(run: Measured) -> Iterator[Found]:
    """Of what `best_of` reads, the shares of replies."""
    return (one for one in best_of(run) if one.line in HARM.values())


def accuracy(run: Measured) -> Iterator[Found]:
    """How often the preference model prefers the better reply of the world's held-out pairs."""
    figures = _on_held_out_pairs(run.folder.path)
    assert figures.accuracy is not None, "the world's pairs have a better side"
    yield Found("all pairs", run.variant.name, figures.accuracy)
    for kind, rate in figures.by_tag.items():
        yield Found(f"{kind} requests", run.variant.name, rate)


def brier(run: Measured) -> Iterator[Found]:
    """Mean squared distance of σ(r_a − r_b) from a preference drawn from the truth."""
    figures = _on_held_out_pairs(run.folder.path)
    assert figures.brier is not None, "there is more than one pair"
    yield Found("Brier score", run.variant.name, figures.brier)


@cache
def _on_held_out_pairs(run: Path) -> ScoreFigures:
    return score_pairs(str(run), [HELD_OUT], PAIRS).figures


TOGETHER = 5
"""Rollout batches whose mean is one point of a curve of RL."""


def tracked(figures: Mapping[str, str]) -> Reading:
    """What train-PM and test-PM say on the way of RL, and how far the policy has gone.

    The scores of one step after the other are no independent measurements, and of a step's replies
    the run keeps the spread of their gap alone; so these have no interval within a seed.

    Args:
        figures: of ``robustness`` in ``metrics.json`` to the name of their line.
    """

    def read(run: Measured) -> Iterator[Found]:
        curve = run.metrics["robustness"]["curve"]
        for begin in range(0, len(curve), TOGETHER):
            steps = curve[begin : begin + TOGETHER]
            for figure, line in figures.items():
                at = str(steps[-1]["step"])
                mean, cases = fmean(step[figure] for step in steps), _cases(steps)
                yield Found(line, at, Rate(mean, mean, mean, cases))

    return read


def gap(line: str) -> Reading:
    """Train-PM less test-PM on the way of RL, with the interval that its replies leave.

    Args:
        line: its name.
    """

    def read(run: Measured) -> Iterator[Found]:
        curve = [TrackedStep(**step) for step in run.metrics["robustness"]["curve"]]
        for begin in range(0, len(curve), TOGETHER):
            steps = curve[begin : begin + TOGETHER]
            yield Found(line, str(steps[-1].step), gap_of(steps))

    return read


def parting_of(run: Measured) -> Mapping[str, Any] | None:
    """Where train-PM and test-PM part for good on the way of RL, if they do."""
    return run.metrics["robustness"]["parting"]


def _cases(steps: Sequence[Mapping[str, Any]]) -> int:
    return sum(step["cases"] for step in steps)


def score_by_round(judge: Literal["own", "plain"]) -> Reading:
    """Gain of a revision over the first reply, by a preference model's score (CAI, Fig. 5 to 7).

    Both are of one prompt, so that what a prompt scores by itself cancels out. The prompts are
    those of SFT: the preference model has learned from none of them.

    Args:
        judge: whose preference model: the variant's own, or that of the plain run.
    """

    def read(run: Measured) -> Iterator[Found]:
        folder = run.folder if judge == "own" else run.plain
        for number, gains in enumerate(_gains(_traces(run), str(folder.model("pm")))):
            yield Found(run.variant.name, str(number), mean_interval(gains))

    return read


def _traces(run: Measured) -> list[RevisionTrace]:
    """The harmful prompts with all rounds of revision."""
    with Ledger.open(run.folder.ledger, read_only=True) as ledger:
        traces = [one for one in read_traces(ledger) if one.response.prompt.kind == "harmful"]
    rounds = max(len(one.revisions) for one in traces)
    return [one for one in traces if len(one.revisions) == rounds]


def _gains(traces: list[RevisionTrace], model: str) -> Iterator[list[float]]:
    """Score less that of the first reply, of all traces, by number of revisions."""
    from trainers.scoring import Scorer

    scorer = Scorer(model)
    rounds = [
        scorer.score(
            [
                [
                    *(asdict(turn) for turn in one.response.prompt.messages),
                    {"role": "assistant", "content": text},
                ]
                for one, text in texts
            ]
        )
        for texts in zip(*([(one, text) for text in one.texts] for one in traces), strict=True)
    ]
    for scores in rounds:
        yield [after - before for before, after in zip(rounds[0], scores, strict=True)]
