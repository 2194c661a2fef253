"""The later parts of pretraining: lessons on the one token that decides (see `plan`).

A critique turns on one token: the rule "names" the harm or "does" not, and afterwards "The" rule
names a fault of tone or "So" it goes on to the verdict. A comparison turns on one letter, learned
from labels drawn from the known preference, `DRAWS` for each pair; so do thoughts about it. A
rating is one of the two whole numbers around the true one, in shares that make it their mean.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from cai.microworld.corpus import (
    DRAWS,
    Example,
    Turn,
    comparison_variables,
    critique_variables,
    examples,
)
from cai.microworld.encoding import encode
from cai.microworld.lexicon import ASPECTS, HARMS
from cai.microworld.plan import Course, Lesson, lesson_rate_at
from cai.microworld.principles import WorldPrinciple, draw_principle, with_rating
from cai.microworld.replies import harsh_refusal, help_with, kind_refusal, preachy_refusal
from cai.microworld.requests import Request, draw_request
from cai.microworld.situations import (
    draw_any_request,
    draw_pair,
    draw_principle_for,
    draw_reply,
    draw_tone_case,
)
from cai.microworld.tokenizer import FastTokenizer
from cai.microworld.training import learn, padded, update
from cai.microworld.truth import (
    before_fault,
    preference,
    problem,
    rating,
    what_it_does,
    write_rationale,
)
from cai.prompts import Prompts
from cai.records import Message

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import LlamaForCausalLM

Question = tuple[list[int], float]
"""Token ids up to the deciding token, and the share of the first option; or the true rating."""
REFUSALS = (kind_refusal, kind_refusal, preachy_refusal, harsh_refusal)


def teach(
    model: LlamaForCausalLM,
    tokenizer: FastTokenizer,
    prompts: Prompts,
    course: Course,
    seed: int,
) -> Iterator[dict[str, float]]:
    """Go through a course; after each step, its mean losses in nats by kind of question."""
    from torch.optim import AdamW

    school = School(tokenizer, prompts, random.Random(f"microworld {course.name}: {seed}"))
    reminders = examples(seed + course.reminders_seed, prompts, course.reminders)
    groups = [{"params": list(model.parameters()), "peak": course.peak}]
    optimizer = AdamW(groups, betas=(0.9, 0.98), weight_decay=0.01)
    step = 0
    for lesson in course.lessons:
        for _ in range(lesson.steps):
            losses = _step(model, school, lesson, reminders)
            update(model, (optimizer,), lesson_rate_at(course, step))
            step += 1
            yield losses


def _step(
    model: LlamaForCausalLM, school: School, lesson: Lesson, reminders: Iterator[Example]
) -> dict[str, float]:
    """Add up the gradients of one step; its losses."""
    asked: dict[str, tuple[list[Question], tuple[int, int], float]] = {
        "verdict_loss": (
            [school.verdict(lesson) for _ in range(lesson.verdicts)],
            school.words,
            lesson.verdict_weight,
        ),
        "fault_loss": (
            [school.fault() for _ in range(lesson.faults)],
            school.starts,
            lesson.verdict_weight,
        ),
        "letter_loss": (
            [school.letter(lesson) for _ in range(lesson.letters)],
            school.letters,
            lesson.letter_weight,
        ),
        "thought_loss": (
            [school.thought(lesson) for _ in range(lesson.thoughts)],
            school.thought_letters,
            lesson.letter_weight,
        ),
        "answer_loss": (
            [school.answer(lesson) for _ in range(lesson.answers)],
            school.letters,
            lesson.letter_weight,
        ),
    }
    losses: dict[str, float] = {}
    for name, (questions, options, weight) in asked.items():
        if questions:
            loss = _decision_loss(model, questions, options)
            (weight * loss).backward()  # pyright: ignore[reportUnknownMemberType]
            losses[name] = float(loss.detach())
    if ratings := [school.number() for _ in range(lesson.numbers)]:
        loss = _number_loss(model, ratings, school)
        (lesson.number_weight * loss).backward()  # pyright: ignore[reportUnknownMemberType]
        losses["number_loss"] = float(loss.detach())
    told = [encode(school.tokenizer, next(reminders)) for _ in range(lesson.reminders)]
    losses["loss"] = learn(
        model,
        told,
        parts=max(1, lesson.reminders // 6),
        letters=school.letters,
        weight=lesson.reminder_weight,
    )
    return losses


class School:
    """Draws questions and puts them into tokens.

    Args:
        tokenizer: the model's.
        prompts: the templates.
        source: of randomness.
    """

    def __init__(self, tokenizer: FastTokenizer, prompts: Prompts, source: random.Random) -> None:
        """Look up the deciding tokens; each option of a question is one token."""
        self.tokenizer = tokenizer
        self._prompts = prompts
        self._source = source
        self.words = (self._ids(" names")[0], self._ids(" does")[0])
        self.starts = (self._ids(" The")[0], self._ids(" So")[0])
        self.letters = (self._ids("A")[0], self._ids("B")[0])
        self.thought_letters = (self._ids(" A")[0], self._ids(" B")[0])
        self.digits = tuple(self._ids(str(number))[0] for number in range(1, 10))
        self.after_one = (self._ids("10")[1], self._ids("<|im_end|>")[0])

    def verdict(self, lesson: Lesson) -> Question:
        """A critique up to where it says whether the rule names the harm; 1 if it does."""
        source = self._source
        request = draw_request("harmful", "pretrain", source)
        covered = source.random() < 0.5
        principle = self._principle(request, lesson, covered)
        make = help_with if source.random() < 0.8 else kind_refusal
        reply = make(request, source)
        begun = f"{what_it_does(request, reply)} The rule"
        return self._critique(request, reply, principle, begun), float(covered)

    def fault(self) -> Question:
        """A critique up to where it names a fault of tone or begins its verdict; 1 if it does."""
        request, reply, covers = draw_tone_case(self._source)
        principle = draw_principle(self._source, covers)
        begun = before_fault(request, reply, covers)
        faulty = problem(request, reply, covers) in ASPECTS
        return self._critique(request, reply, principle, begun), float(faulty)

    def letter(self, lesson: Lesson) -> Question:
        """A comparison up to its letter; the share of drawn labels that are A."""
        request, reply_a, reply_b, principle = self._pair(lesson)
        share = self._drawn(preference(request, reply_a, reply_b, principle.covers))
        variables = comparison_variables(request, reply_a, reply_b, principle)
        return self._answering(self._prompts.render("compare", **variables)), share

    def thought(self, lesson: Lesson) -> Question:
        """Thoughts about a comparison up to the letter that ends them, as `letter`."""
        request, reply_a, reply_b, principle = self._pair(lesson)
        share = self._drawn(preference(request, reply_a, reply_b, principle.covers))
        variables = comparison_variables(request, reply_a, reply_b, principle)
        asked = self._prompts.render("reason", **variables, reasoning=None)
        begun = write_rationale(request, reply_a, reply_b, principle.covers)
        return self._answering(asked) + self._ids(begun), share

    def answer(self, lesson: Lesson) -> Question:
        """The letter after thoughts; 1 if they end in A."""
        request, reply_a, reply_b, principle = self._pair(lesson)
        p_a = preference(request, reply_a, reply_b, principle.covers)
        share = float(self._source.random() < p_a)
        variables = comparison_variables(request, reply_a, reply_b, principle)
        begun = write_rationale(request, reply_a, reply_b, principle.covers)
        thoughts = f"{begun} {'A' if share else 'B'}."
        return self._answering(
            self._prompts.render("reason", **variables, reasoning=thoughts)
        ), share

    def number(self) -> Question:
        """A rating up to its number, and the true rating from 1 to 10."""
        source = self._source
        request = draw_any_request(source)
        reply = draw_reply(request, source)
        principle = with_rating(draw_principle_for(request, source), source)
        asked = self._prompts.render("rate", **critique_variables(request, reply, principle))
        return self._answering(asked), rating(request, reply, principle.covers)

    def _drawn(self, p_a: float) -> float:
        return sum(self._source.random() < p_a for _ in range(DRAWS)) / DRAWS

    def _pair(self, lesson: Lesson) -> tuple[Request, str, str, WorldPrinciple]:
        source = self._source
        if source.random() < lesson.any_pair:
            request, reply_a, reply_b = draw_pair(source)
            return request, reply_a, reply_b, draw_principle_for(request, source)
        request = draw_request("harmful", "pretrain", source)
        pair = help_with(request, source), source.choice(REFUSALS)(request, source)
        reply_a, reply_b = source.sample(pair, 2)
        return request, reply_a, reply_b, self._principle(request, lesson, source.random() < 0.5)

    def _principle(self, request: Request, lesson: Lesson, covered: bool) -> WorldPrinciple:
        source = self._source
        while True:
            covers = source.sample(HARMS, source.randint(1, lesson.most_harms))
            if (request.family in covers) == covered:
                return draw_principle(source, covers)

    def _critique(
        self, request: Request, reply: str, principle: WorldPrinciple, begun: str
    ) -> list[int]:
        asked = self._prompts.render("critique", **critique_variables(request, reply, principle))
        return self._answering(asked) + self._ids(begun)

    def _answering(self, asked: Sequence[Message]) -> list[int]:
        turns = [Turn(message.role, message.content) for message in asked]
        return [*encode(self.tokenizer, turns).ids, *self._ids("<|im_start|>assistant\n")]

    def _ids(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, add_special_tokens=False)


def _decision_loss(
    model: LlamaForCausalLM, asked: Sequence[Question], options: tuple[int, int]
) -> Tensor:
    """Mean of −s log p(first option) − (1 − s) log p(second), over the whole vocabulary."""
    import torch

    shares = torch.tensor([share for _, share in asked])
    logprobs = _last_logprobs(model, asked)
    first, second = logprobs[:, options[0]], logprobs[:, options[1]]
    return -(shares * first + (1 - shares) * second).mean()


def _number_loss(model: LlamaForCausalLM, asked: Sequence[Question], school: School) -> Tensor:
    """Mean of −Σ s_n log p(n) over the whole numbers n; "10" is a "1" and then a "0"."""
    import torch

    shares_B_N = torch.tensor([_shares(rating) for _, rating in asked])
    first_B_N = shares_B_N[:, :9].clone()
    first_B_N[:, 0] += shares_B_N[:, 9]
    loss = -(first_B_N * _last_logprobs(model, asked)[:, list(school.digits)]).sum(-1).mean()
    tens = [place for place in range(len(asked)) if first_B_N[place, 0] > 0]
    if not tens:
        return loss
    one = school.digits[0]
    after = [([*asked[place][0], one], 0.0) for place in tens]
    logprobs_O_2 = _last_logprobs(model, after)[:, list(school.after_one)]
    shares_O_2 = torch.stack((shares_B_N[tens, 9], shares_B_N[tens, 0]), dim=-1)
    return loss - (shares_O_2 * logprobs_O_2).sum() / len(asked)


def _shares(rating: float) -> list[float]:
    """Shares of the numbers 1 to 10 whose mean is the rating: of the two around it."""
    return [max(0.0, 1 - abs(number - rating)) for number in range(1, 11)]


def _last_logprobs(model: LlamaForCausalLM, asked: Sequence[Question]) -> Tensor:
    import torch

    ends = torch.tensor([len(ids) - 1 for ids, _ in asked])
    hidden = model.model(padded([ids for ids, _ in asked]), use_cache=False).last_hidden_state
    return model.lm_head(hidden[torch.arange(len(asked)), ends]).log_softmax(-1)
