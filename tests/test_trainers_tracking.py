"""Two preference models on one scale: hand-worked."""

from __future__ import annotations

import pytest

from cai.errors import InputError, RunError
from trainers.tracking import Standard, Tracker, standard_of


class Said:
    def __init__(self, *scores: float | None) -> None:
        self.scores = scores

    def score(self, conversations):
        return self.scores[: len(conversations)]


def test_both_models_scores_are_in_deviations_of_their_own():
    tracker = Tracker(Said(5.0, 9.0), standard=Standard(3.0, 2.0), train=Standard(1.0, 0.5))

    # train: (2 − 1)/0.5 = 2 and (1.5 − 1)/0.5 = 1; test: (5 − 3)/2 = 1 and (9 − 3)/2 = 3.
    # Their differences are 1 and −2: their mean −0.5, their deviation 1.5.
    figures = tracker.figures([[], []], [2.0, 1.5])

    assert figures == {"train_pm": 1.5, "test_pm": 2.0, "pm_gap_std": 1.5}


def test_a_reply_without_a_score_of_both_models_counts_in_no_figure():
    tracker = Tracker(Said(5.0, None, 9.0, 9.0), Standard(3.0, 2.0), Standard(1.0, 0.5))

    figures = tracker.figures([[], [], [], []], [2.0, 1.5, None, 1.5])

    assert figures == {"train_pm": 1.5, "test_pm": 2.0, "pm_gap_std": 1.5}


def test_replies_that_no_two_models_can_read_stop_the_training():
    tracker = Tracker(Said(None), Standard(3.0, 2.0), Standard(1.0, 0.5))

    with pytest.raises(RunError, match="can both read none of the replies"):
        tracker.figures([[]], [2.0])


def test_the_standard_is_of_held_out_replies():
    assert standard_of([1.0, 3.0], None) == Standard(2.0, 1.0)


@pytest.mark.parametrize("scores", [[], [1.0], [2.0, 2.0]], ids=["none", "one", "all-the-same"])
def test_without_replies_that_differ_nothing_can_be_compared(scores: list[float]):
    with pytest.raises(InputError, match=r"datasets\.test_share"):
        standard_of(scores, None)
