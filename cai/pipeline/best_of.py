"""Best-of-N in a run: replies scored by its preference model, beside what RL made of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import chain, compress, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cai.evaluation import mean_interval
from cai.evaluation.best_of import Draws, ScoredReply, best_of_points
from cai.evaluation.classifiers import Classifier
from cai.pipeline.folder import PolicyName
from cai.pipeline.ingredients import inputs_of
from cai.pipeline.policies import BEST_OF, StagePolicy, policies
from cai.pipeline.readback import read_prompt
from cai.pipeline.studio import Studio
from cai.records import Prompt, Row, digest
from cai.roles import SamplingSettings
from cai.run_settings import EvaluationSettings

if TYPE_CHECKING:
    from trainers.scoring import Scorer
    from trainers.tokens import Conversation

REPLIES = "best_of"
"""Rows with the replies of the data set that `cai generate best-of` makes."""

PROMPTS_AT_ONCE = 64
"""Prompts whose replies are in memory beside their scores."""

REMEMBERED = 100_000
"""Scores in memory: those of an evaluation, but not those of any number of rows."""


class ScoresOnce:
    """Scores each conversation once, however often it is asked for.

    Args:
        scorer: the preference model.
    """

    def __init__(self, scorer: Scorer) -> None:
        """Know no score yet."""
        self._scorer = scorer
        self._known: dict[str, float] = {}

    def score(self, conversations: Sequence[Conversation]) -> list[float]:
        """As `Scorer.score`.

        Raises:
            InputError: a conversation is longer than the model reads.
        """
        if len(self._known) > REMEMBERED:
            self._known.clear()
        names = [digest(list(one)) for one in conversations]
        new = {
            name: one
            for name, one in zip(names, conversations, strict=True)
            if name not in self._known
        }
        self._known |= zip(new, self._scorer.score(list(new.values())), strict=True)
        return [self._known[name] for name in names]

    def reads(self, conversation: Conversation) -> bool:
        """Whether it is short enough for the model.

        Raises:
            BadRow: the chat template refuses the conversation.
        """
        return self._scorer.length(conversation) <= self._scorer.positions


def open_scorer(model: Path) -> ScoresOnce:
    """The preference model of a folder."""
    from trainers.scoring import Scorer

    return ScoresOnce(Scorer(model))


def last_preference_model(studio: Studio) -> Path | None:
    """The run's preference model, of the last iteration that has one; None if there is none."""
    for iteration in reversed(range(studio.recipe.iterations)):
        folder = studio.folder.at(iteration).model("pm")
        if inputs_of(folder) is not None:
            return folder
    return None


def evaluation_draws(studio: Studio, scorer: ScoresOnce) -> list[Draws]:
    """The replies that best-of-N chose from, at each evaluation prompt that has all of them."""
    replies = studio.recipe.evaluation.replies_to_choose_from
    if replies == 1:
        return []
    drawn = [
        one
        for one in drawn_replies(studio.ledger.rows(stage=f"evaluation_{BEST_OF}", status="ok"))
        if len(one[1]) == replies
    ]
    left_out = Counter[str]()
    draws = [draws for draws, _ in scored(scorer, drawn, left_out)]
    studio.note_unmeasured(left_out)
    return draws


def drawn_replies(rows: Iterable[Row]) -> Iterator[tuple[Prompt, list[Row]]]:
    """Rows with replies, by prompt.

    Args:
        rows: in the order of their keys.
    """
    together: list[Row] = []
    for row in rows:
        if together and together[0].key.prompt_id != row.key.prompt_id:
            yield _prompt(together[0]), together
            together = []
        together.append(row)
    if together:
        yield _prompt(together[0]), together


def scored(
    scorer: ScoresOnce, drawn: Iterable[tuple[Prompt, Sequence[Row]]], left_out: Counter[str]
) -> Iterator[tuple[Draws, Sequence[Row]]]:
    """The same replies with their scores, and their rows; equal texts have equal scores.

    Args:
        scorer: gives the scores.
        drawn: as of `drawn_replies`; some are in memory at a time.
        left_out: gets the prompts that have a reply which the model cannot read, by reason.
    """
    prompts = iter(drawn)
    while part := list(islice(prompts, PROMPTS_AT_ONCE)):
        asked_of = [[conversation(prompt, _text(row)) for row in rows] for prompt, rows in part]
        kept = [is_readable(scorer, replies, left_out) for replies in asked_of]
        readable = [*compress(part, kept)]
        asked = [*chain.from_iterable(compress(asked_of, kept))]
        scores = iter(scorer.score(asked))
        for prompt, rows in readable:
            replies = tuple(ScoredReply(_text(row), next(scores)) for row in rows)
            yield Draws(prompt, replies), rows


def is_readable(
    scorer: ScoresOnce, conversations: Sequence[Conversation], left_out: Counter[str]
) -> bool:
    """Whether the model can read each of some replies.

    Args:
        scorer: the model.
        conversations: what it would be asked for together.
        left_out: gets one more, by reason, if it cannot.
    """
    from trainers.rows import BadRow

    try:
        readable = all(map(scorer.reads, conversations))
    except BadRow as error:
        left_out[str(error)] += 1
        return False
    if not readable:
        left_out["a reply is longer than the preference model reads"] += 1
    return readable


def measure_beside(
    studio: Studio, draws: Sequence[Draws], classifier: Classifier, scorer: ScoresOnce
) -> Mapping[str, Any]:
    """Best-of-n for n = 1, 2, 4, …, and each trained policy's own score and KL beside it.

    Args:
        studio: of the run.
        draws: as of `evaluation_draws`.
        classifier: says what a reply is.
        scorer: the run's preference model.

    Returns:
        ``best_of`` of `metrics.json`; without draws only why there are none, if settings are.
    """
    notes = _unmeasured(studio.recipe.evaluation)
    if not draws:
        return {"n": studio.recipe.evaluation.best_of, "notes": notes} if notes else {}
    points = [point.to_json() for point in best_of_points(draws, classifier)]
    beside = {
        policy.stage: _beside(studio, policy, scorer)
        for policy in policies(studio)
        if policy.trained in ("dpo", "rl_cai")  # They start from SL-CAI, as best-of-N does.
    }
    told = {"n": len(draws[0].replies), "prompts": len(draws), "by_n": points}
    return {**told, "policies": beside, "notes": notes}


def _unmeasured(evaluation: EvaluationSettings) -> list[str]:
    """What the way in which replies are drawn leaves unmeasured, and why."""
    if evaluation.replies_to_choose_from < evaluation.best_of:
        return [
            f"Best of {evaluation.best_of} is not measured: replies were drawn at temperature 0, "
            "and all replies to a prompt are then the same."
        ]
    if evaluation.best_of > 1 and not _is_whole(evaluation.sampling):
        return [
            "The KL of trained policies is not measured: replies were drawn with top_p "
            f"{evaluation.sampling.top_p:g}, and both policies are then cut to their likeliest "
            "tokens, each to its own."
        ]
    return []


def _is_whole(sampling: SamplingSettings) -> bool:
    """Whether each token was drawn with the probability that the model's softmax gives it."""
    return sampling.temperature > 0 and sampling.top_p == 1


def _beside(studio: Studio, policy: StagePolicy, scorer: ScoresOnce) -> Mapping[str, Any]:
    """Mean score of a policy's replies to the same prompts, and its KL from SL-CAI."""
    from trainers.divergence import Replies, reply_divergences

    rows = studio.ledger.rows(stage=policy.row_stage, status="ok")
    rows = [row for row in rows if row.key.iteration == policy.iteration]
    asked = [conversation(_prompt(row), _text(row)) for row in rows]
    ended = [row.record is not None and row.record["stop_reason"] == "stop" for row in rows]
    sampling, nats = studio.recipe.evaluation.sampling, list[float]()
    left_out = Counter[str]()
    if _is_whole(sampling):
        folder = studio.folder.at(policy.iteration)
        own, reference = folder.model(_trained(policy)), folder.model("sl_cai")
        found = reply_divergences(own, reference, Replies(asked, ended), sampling.temperature)
        nats = [one for one in found if one is not None]
        if refused := len(found) - len(nats):
            left_out["the policy's chat template refuses its reply"] = refused
    readable = [one for one in asked if is_readable(scorer, [one], left_out)]
    studio.note_unmeasured(left_out)
    return {"score": _mean(scorer.score(readable)), "kl": _mean(nats)}


def _trained(policy: StagePolicy) -> PolicyName:
    assert policy.trained is not None, "its folder is a model of the run"
    return policy.trained


def _mean(values: Sequence[float]) -> Mapping[str, Any] | None:
    return mean_interval(values).to_json() if len(values) > 1 else None


def conversation(prompt: Prompt, reply: str) -> list[dict[str, str]]:
    """Turns as trainers read them, the reply's the last."""
    turns = [asdict(message) for message in prompt.messages]
    return [*turns, {"role": "assistant", "content": reply}]


def _prompt(row: Row) -> Prompt:
    assert row.record is not None, "a row with status ok has a record"
    return read_prompt(row.record["prompt"])


def _text(row: Row) -> str:
    assert row.record is not None, "a row with status ok has a record"
    return row.record["text"]
