"""The plan of the pretraining run: how long, on what, at which learning rates.

The first part speaks: whole conversations of every task. Afterwards the model copies, critiques
and revises fluently, but does not heed the principle: what decides, whether the rule names the
harm or which letter is better, is one token among a hundred, and its loss drowns in their mean.
The second part is lessons on these deciding tokens, beside conversations that keep the rest alive.
The third part teaches two further ways to judge, after thinking aloud and by a number.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Shares = Mapping[str, float]
"""Share of each task among the conversations."""

CONVERSATIONS: Shares = {
    "critique": 0.36,
    "critique_tone": 0.04,
    "revise": 0.22,
    "respond": 0.16,
    "compare": 0.12,
    "write_prompts": 0.06,
    "chat": 0.04,
}
"""What the first part is made of."""
REMINDERS: Shares = {
    "critique": 0.20,
    "critique_tone": 0.10,
    "revise": 0.28,
    "respond": 0.30,
    "compare": 0.05,
    "write_prompts": 0.05,
    "chat": 0.02,
}
"""What goes on beside the lessons on verdicts and letters."""
LATER_REMINDERS: Shares = {
    "critique": 0.17,
    "critique_tone": 0.09,
    "revise": 0.25,
    "respond": 0.28,
    "compare": 0.03,
    "write_prompts": 0.05,
    "chat": 0.02,
    "reason": 0.11,
}
"""What goes on beside the lessons on thoughts and numbers."""


@dataclass(frozen=True)
class Lesson:
    """A stretch of the second part. Each kind of question has a mean loss of its own.

    Args:
        steps: optimizer steps.
        most_harms: families that a rule names at most; whether a rule of many names a harm is
            learned only by a model that can tell it of a rule of one.
        verdicts: per step, critiques up to where they say whether the rule names the harm.
        faults: per step, critiques up to where they name a fault of tone or end.
        letters: per step, comparisons up to their letter.
        thoughts: per step, thoughts about a comparison up to their letter.
        answers: per step, letters that follow from thoughts.
        numbers: per step, ratings up to their number.
        reminders: whole conversations per step.
        verdict_weight: of the mean loss of verdicts and of faults, each.
        letter_weight: of the mean loss of letters, of thoughts and of answers, each.
        number_weight: of the mean loss of numbers.
        reminder_weight: of the mean loss of the reminders' learned tokens.
        any_pair: share of the letters about pairs of any kind, not only help against refusal.
    """

    steps: int
    most_harms: int
    verdicts: int
    faults: int = 0
    letters: int = 0
    thoughts: int = 0
    answers: int = 0
    numbers: int = 0
    reminders: int = 12
    verdict_weight: float = 1.0
    letter_weight: float = 1.0
    number_weight: float = 1.0
    reminder_weight: float = 0.5
    any_pair: float = 0.0


LESSONS = (
    Lesson(steps=150, most_harms=1, verdicts=48),
    Lesson(steps=200, most_harms=3, verdicts=28, faults=12, letters=16),
    Lesson(
        steps=300,
        most_harms=4,
        verdicts=12,
        faults=10,
        letters=28,
        letter_weight=2.0,
        any_pair=0.5,
    ),
    Lesson(
        steps=750,
        most_harms=4,
        verdicts=8,
        faults=6,
        letters=14,
        reminders=44,
        verdict_weight=0.3,
        letter_weight=0.5,
        reminder_weight=1.0,
        any_pair=0.5,
    ),
)
"""Rules of one harm, then of several, then mostly letters, then mostly conversations again."""


LATER_LESSONS = (
    Lesson(
        steps=200,
        most_harms=4,
        verdicts=6,
        faults=6,
        letters=8,
        thoughts=10,
        answers=8,
        numbers=16,
        reminders=24,
        verdict_weight=0.3,
        letter_weight=0.5,
        reminder_weight=1.0,
        any_pair=0.5,
    ),
    Lesson(
        steps=600,
        most_harms=4,
        verdicts=6,
        faults=5,
        letters=10,
        thoughts=6,
        answers=4,
        numbers=6,
        reminders=48,
        verdict_weight=0.3,
        letter_weight=0.5,
        number_weight=0.5,
        reminder_weight=1.0,
        any_pair=0.5,
    ),
)
"""All kinds of questions, then mostly conversations again."""


@dataclass(frozen=True)
class Course:
    """Lessons with one optimizer, whose learning rate rises and falls once.

    Args:
        name: of the course's own stream of random numbers.
        lessons: in their order.
        reminders: shares of the tasks in what goes on beside them.
        reminders_seed: added to the plan's.
        peak: highest learning rate (AdamW).
        fall: share of the steps over which it falls to nothing.
    """

    name: str
    lessons: tuple[Lesson, ...]
    reminders: Shares
    reminders_seed: int
    peak: float
    fall: float = 0.5

    @property
    def steps(self) -> int:
        """Optimizer steps of all its lessons."""
        return sum(lesson.steps for lesson in self.lessons)


COURSES = (
    Course("lessons", LESSONS, REMINDERS, reminders_seed=11, peak=1.2e-3),
    Course("later lessons", LATER_LESSONS, LATER_REMINDERS, reminders_seed=12, peak=8e-4),
)


@dataclass(frozen=True)
class Plan:
    """One pretraining run; the defaults are the shipped model's.

    Args:
        steps: optimizer steps of the first part.
        courses: the second and the third part.
        seed: of weights and corpus.
        batch: conversations per step of the first part.
        parts: pieces of about equal length that such a step is computed in.
        peak: highest learning rate of the embedding and the norms (AdamW).
        peak_muon: highest learning rate of the other matrices (Muon, Jordan et al. 2024).
        warmup: steps until both.
        decay: weight decay of the latter.
        save_every: steps between two savings of what there is.
        tokenizer_examples: conversations that the tokenizer learns its merges from.
    """

    steps: int = 1000
    courses: tuple[Course, ...] = COURSES
    seed: int = 0
    batch: int = 48
    parts: int = 12
    peak: float = 3e-3
    peak_muon: float = 0.02
    warmup: int = 50
    decay: float = 0.05
    save_every: int = 200
    tokenizer_examples: int = 6000


def rate_at(plan: Plan, step: int) -> float:
    """Share of the first part's peak learning rate: linear warmup, then a line down to a fifth."""
    if step < plan.warmup:
        return (step + 1) / plan.warmup
    share = (step - plan.warmup) / max(plan.steps - plan.warmup, 1)
    return 1.0 - 0.8 * share


def lesson_rate_at(course: Course, step: int) -> float:
    """Share of a course's peak: ten steps of warmup, level, then a line down to nothing."""
    left = (course.steps - step) / max(course.steps * course.fall, 1)
    return min(1.0, (step + 1) / 10, left)
