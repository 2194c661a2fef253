"""The second part of pretraining: lessons on the one token that decides.

A critique turns on one token (the rule "names" the harm or "does" not), a comparison on one
letter. Among the other tokens of a mean they drown: in the first part both stay at chance. Here
they make up most of the loss: first rules of one harm, then of several, then letters, while
whole conversations keep the rest alive. Letters are learned from labels drawn from the known
preference, `DRAWS` for each pair.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cai.microworld.corpus import (
    DRAWS,
    Mixture,
    Turn,
    comparison_variables,
    critique_variables,
    examples,
)
from cai.microworld.encoding import encode
from cai.microworld.lexicon import HARMS
from cai.microworld.principles import WorldPrinciple, draw_principle
from cai.microworld.replies import harsh_refusal, help_with, kind_refusal, preachy_refusal
from cai.microworld.requests import Request, draw_request
from cai.microworld.situations import draw_pair, draw_principle_for
from cai.microworld.tokenizer import FastTokenizer
from cai.microworld.truth import preference, what_it_does
from cai.prompts import Prompts
from cai.records import Message

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import LlamaForCausalLM

REMINDERS = Mixture(
    {
        "compare": 0.0,
        "critique": 0.30,
        "revise": 0.33,
        "respond": 0.27,
        "write_prompts": 0.06,
        "chat": 0.04,
    },
    letter_weight=1.0,
    stress=1.0,
)
"""Whole conversations, so that nothing is unlearned."""
REMINDERS_PER_STEP = 12
REMINDER_WEIGHT = 0.5


@dataclass(frozen=True)
class Lesson:
    """A stretch of the second part.

    Args:
        steps: optimizer steps.
        most_harms: of a rule.
        verdicts: deciding tokens of critiques per step.
        letters: letters per step.
        letter_weight: of their mean loss beside that of the verdicts.
        any_pair: share of the letters about pairs of any kind, not only help against refusal.
    """

    steps: int
    most_harms: int
    verdicts: int
    letters: int = 0
    letter_weight: float = 1.0
    any_pair: float = 0.0


LESSONS = (
    Lesson(steps=100, most_harms=1, verdicts=48),
    Lesson(steps=200, most_harms=3, verdicts=28, letters=16),
    Lesson(steps=300, most_harms=4, verdicts=12, letters=28, letter_weight=2.0, any_pair=0.5),
)
"""The shipped model's way."""
PEAK = 1.2e-3
"""Highest learning rate (AdamW); it falls over the last two fifths of the steps."""


def teach(
    model: LlamaForCausalLM, tokenizer: FastTokenizer, prompts: Prompts, seed: int
) -> Iterator[tuple[int, float, float]]:
    """Go through the lessons; yields (steps done, mean verdict loss, mean letter loss) in nats."""
    from torch.optim import AdamW

    total = sum(lesson.steps for lesson in LESSONS)
    school = _School(tokenizer, prompts, random.Random(f"microworld lessons: {seed}"))
    reminders = examples(seed + 11, prompts, ((0, REMINDERS),))
    optimizer = AdamW(model.parameters(), lr=PEAK, betas=(0.9, 0.98), weight_decay=0.01)
    step = 0
    for lesson in LESSONS:
        for _ in range(lesson.steps):
            figures = _step(model, school, lesson, reminders)
            _update(model, optimizer, PEAK * _rate(step, total))
            step += 1
            yield (step, *figures)


def _rate(step: int, total: int) -> float:
    fall = max(0.03, (total - step) / (total * 0.4))
    return min(1.0, (step + 1) / 10, fall)


def _update(model: LlamaForCausalLM, optimizer: Any, rate: float) -> None:
    import torch

    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()
    optimizer.zero_grad()


def _step(
    model: LlamaForCausalLM,
    school: _School,
    lesson: Lesson,
    reminders: Iterator[tuple[Turn, ...]],
) -> tuple[float, float]:
    """Add up the gradients of one step; its verdict loss and letter loss."""
    verdict_loss = _decision_loss(
        model, [school.verdict(lesson) for _ in range(lesson.verdicts)], school.words
    )
    verdict_loss.backward()  # pyright: ignore[reportUnknownMemberType]
    letter_loss = 0.0
    if lesson.letters:
        asked = [school.letter(lesson) for _ in range(lesson.letters)]
        loss = _decision_loss(model, asked, school.letters)
        (lesson.letter_weight * loss).backward()  # pyright: ignore[reportUnknownMemberType]
        letter_loss = float(loss.detach())
    told = [school.encoded(next(reminders)) for _ in range(REMINDERS_PER_STEP)]
    told.sort(key=lambda one: len(one[0]))
    half = len(told) // 2
    for part in (told[:half], told[half:]):
        reminder: Any = REMINDER_WEIGHT * _token_loss(model, part)
        reminder.backward()
    return float(verdict_loss.detach()), letter_loss


class _School:
    """Draws questions and puts them into tokens."""

    def __init__(self, tokenizer: FastTokenizer, prompts: Prompts, source: random.Random) -> None:
        self._tokenizer = tokenizer
        self._prompts = prompts
        self._source = source
        self.words = (self._ids(" names")[0], self._ids(" does")[0])
        self.letters = (self._ids("A")[0], self._ids("B")[0])

    def verdict(self, lesson: Lesson) -> tuple[list[int], float]:
        """A critique up to where it says whether the rule names the harm; 1 if it does."""
        source = self._source
        request = draw_request("harmful", "pretrain", source)
        covered = source.random() < 0.5
        principle = self._principle(request, lesson, covered)
        make = help_with if source.random() < 0.8 else kind_refusal
        reply = make(request, source)
        asked = self._prompts.render("critique", **critique_variables(request, reply, principle))
        begun = f"{what_it_does(request, reply)} The rule"
        return self._answering(asked) + self._ids(begun), float(covered)

    def letter(self, lesson: Lesson) -> tuple[list[int], float]:
        """A comparison up to its letter; the share of drawn labels that are A."""
        source = self._source
        if source.random() < lesson.any_pair:
            request, reply_a, reply_b = draw_pair(source)
            principle = draw_principle_for(request, source)
        else:
            request = draw_request("harmful", "pretrain", source)
            refusals = (kind_refusal, kind_refusal, preachy_refusal, harsh_refusal)
            pair = help_with(request, source), source.choice(refusals)(request, source)
            reply_a, reply_b = source.sample(pair, 2)
            principle = self._principle(request, lesson, source.random() < 0.5)
        p_a = preference(request, reply_a, reply_b, principle.covers)
        share = sum(source.random() < p_a for _ in range(DRAWS)) / DRAWS
        variables = comparison_variables(request, reply_a, reply_b, principle)
        return self._answering(self._prompts.render("compare", **variables)), share

    def encoded(self, turns: Sequence[Turn]) -> tuple[list[int], list[bool]]:
        """Token ids of a conversation, and which of them are learned."""
        whole = encode(self._tokenizer, turns)
        return list(whole.ids), [weight > 0 for weight in whole.weights]

    def _principle(self, request: Request, lesson: Lesson, covered: bool) -> WorldPrinciple:
        source = self._source
        while True:
            covers = source.sample(HARMS, source.randint(1, lesson.most_harms))
            if (request.family in covers) == covered:
                return draw_principle(source, covers)

    def _answering(self, asked: Sequence[Message]) -> list[int]:
        turns = [Turn(message.role, message.content) for message in asked]
        head = self._ids("<|im_start|>assistant\n")
        return [*encode(self._tokenizer, turns).ids, *head]

    def _ids(self, text: str) -> list[int]:
        return self._tokenizer.encode(text, add_special_tokens=False)


def _decision_loss(
    model: LlamaForCausalLM, asked: Sequence[tuple[list[int], float]], options: tuple[int, int]
) -> Tensor:
    """Mean of −s log p(first option) − (1 − s) log p(second), over the whole vocabulary."""
    import torch

    ends = torch.tensor([len(ids) - 1 for ids, _ in asked])
    shares = torch.tensor([share for _, share in asked])
    hidden = model.model(_padded([ids for ids, _ in asked]), use_cache=False).last_hidden_state
    logprobs = model.lm_head(hidden[torch.arange(len(asked)), ends]).log_softmax(-1)
    first, second = logprobs[:, options[0]], logprobs[:, options[1]]
    return -(shares * first + (1 - shares) * second).mean()


def _token_loss(model: LlamaForCausalLM, told: Sequence[tuple[list[int], list[bool]]]) -> Tensor:
    import torch
    from torch.nn import functional

    ids = _padded([ids for ids, _ in told])
    learned = _padded([[int(one) for one in flags] for _, flags in told])[:, 1:].bool()
    hidden = model.model(ids, use_cache=False).last_hidden_state[:, :-1][learned]
    return functional.cross_entropy(model.lm_head(hidden), torch.masked_select(ids[:, 1:], learned))


def _padded(rows: Sequence[Sequence[int]]) -> Tensor:
    """Padding stands on the right, where causal attention keeps it from every learned token."""
    import torch

    padded = torch.zeros(len(rows), max(len(row) for row in rows), dtype=torch.long)
    for place, row in enumerate(rows):
        padded[place, : len(row)] = torch.tensor(row)
    return padded
