"""Measure the judge's further ways: a choice after thinking aloud, and a number for one reply."""

from __future__ import annotations

import random
from typing import Any

from cai.evaluation.intervals import mean_interval, rate
from cai.microworld.corpus import comparison_variables, critique_variables
from cai.microworld.inference import TinyModel, expected_numbers, p_first_letter, sample
from cai.microworld.principles import with_rating
from cai.microworld.requests import Request
from cai.microworld.situations import draw_any_request, draw_pair, draw_principle_for, draw_reply
from cai.microworld.truth import VERDICT, preference, rating, write_rationale
from cai.prompts import Prompts
from cai.records import Message

NEAR = 1.5
"""A number this near to the true rating counts as right: two of ten are."""


def thoughts(tiny: TinyModel, prompts: Prompts, n: int, seed: int) -> dict[str, Any]:
    """Share of true thoughts at temperature 1, and how the letter follows from them.

    The last letter of the thoughts is drawn from the judge's preference, so that a single chain is
    nearly sure of itself, and only the mean of many is calibrated.
    """
    source = random.Random(f"thoughts {seed}")
    asked: list[tuple[Message, ...]] = []
    truths: list[tuple[str, float]] = []
    given: list[dict[str, object]] = []
    for _ in range(n):
        request, reply_a, reply_b = draw_pair(source, "heldout")
        principle = draw_principle_for(request, source, held_out=True)
        given.append(comparison_variables(request, reply_a, reply_b, principle))
        asked.append(prompts.render("reason", **given[-1], reasoning=None))
        truth = write_rationale(request, reply_a, reply_b, principle.covers)
        truths.append((truth, preference(request, reply_a, reply_b, principle.covers)))
    said = sample(tiny, asked, seed=seed, longest=140)
    letters = p_first_letter(
        tiny,
        [
            prompts.render("reason", **one, reasoning=text)
            for one, text in zip(given, said, strict=True)
        ],
    )
    ends = [text.rpartition(f"{VERDICT} ")[2].strip(".") for text in said]
    sure = [max(p, 1 - p) for p in letters]
    return {
        "thoughts_correct": _rate(
            [text.startswith(truth) for text, (truth, _) in zip(said, truths, strict=True)]
        ),
        "thoughts_followed": _rate(
            [(p > 0.5) == (end == "A") for p, end in zip(letters, ends, strict=True)]
        ),
        "thoughts_certainty": mean_interval(sure).to_json(),
        "thoughts_right_side": _rate(
            [
                (end == "A") == (p > 0.5)
                for end, (_, p) in zip(ends, truths, strict=True)
                if abs(p - 0.5) > 0.4
            ]
        ),
    }


def numbers(tiny: TinyModel, prompts: Prompts, n: int, seed: int) -> dict[str, Any]:
    """How far the expected number is from the true rating, over replies of all kinds."""
    source = random.Random(f"numbers {seed}")
    asked: list[tuple[Message, ...]] = []
    truths: list[float] = []
    for _ in range(n):
        request: Request = draw_any_request(source, "heldout")
        reply = draw_reply(request, source)
        principle = draw_principle_for(request, source, held_out=True)
        principle = with_rating(principle, source, held_out=True)
        asked.append(prompts.render("rate", **critique_variables(request, reply, principle)))
        truths.append(rating(request, reply, principle.covers))
    errors = [
        abs(said - truth) for said, truth in zip(expected_numbers(tiny, asked), truths, strict=True)
    ]
    return {
        "number_error": mean_interval(errors).to_json(),
        "number_near": _rate([error <= NEAR for error in errors]),
    }


def _rate(flags: list[bool]) -> dict[str, Any]:
    return rate(sum(flags), len(flags)).to_json()
