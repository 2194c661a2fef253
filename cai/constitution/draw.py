"""Draw the principle of a row, so that editing one principle leaves the other rows as they were.

Weighted rendezvous hashing: every principle i of weight wᵢ is given a number uᵢ in (0, 1), a hash
of the row and of its own id alone, and the score −wᵢ / ln uᵢ; the highest wins. Since −ln uᵢ / wᵢ
is exponential with rate wᵢ, principle i wins with probability wᵢ / Σⱼ wⱼ. A principle that is added
or removed changes no other's score, so only the draws that go to or come from it change.

Rounds hash apart, so draws are independent across them and with replacement (Bai et al. 2022,
§3.1); the m best of one row are a draw without replacement, for ensembles (§4.1).
"""

from __future__ import annotations

import hashlib
import math

import orjson

from cai.constitution.schema import Constitution, Principle, Stage
from cai.errors import Fault, InputError


def draw(
    constitution: Constitution,
    stage: Stage,
    *,
    seed: int,
    prompt_id: str,
    round: int = 0,
    slot: int = 0,
) -> Principle:
    """One principle among those that have the stage's texts, i with probability wᵢ / Σⱼ wⱼ.

    Args:
        constitution: whose principles are drawn from; their order changes nothing.
        stage: "revision" (critique and revision) or "comparison".
        seed: the run's.
        prompt_id: the row's prompt.
        round: which revision round, from 0.
        slot: numbers further independent draws of one row, such as few-shot examples.

    Raises:
        InputError: no principle has texts for the stage.
    """
    return _ranked(constitution, stage, [seed, stage, prompt_id, round, slot])[0]


def draw_many(
    constitution: Constitution,
    stage: Stage,
    m: int,
    *,
    seed: int,
    prompt_id: str,
    round: int = 0,
) -> tuple[Principle, ...]:
    """Several different principles for one row, the one that `draw` gives first.

    Args:
        constitution: as in `draw`.
        stage: as in `draw`.
        m: how many, from 1 to the number of principles of the stage.
        seed: as in `draw`.
        prompt_id: as in `draw`.
        round: as in `draw`.

    Raises:
        InputError: fewer than m principles have texts for the stage.
        ValueError: m is below 1.
    """
    if m < 1:
        raise ValueError(f"an ensemble has at least 1 principle, not {m}")
    ranked = _ranked(constitution, stage, [seed, stage, prompt_id, round, 0])
    if m > len(ranked):
        message = f"has {len(ranked)} principles for {stage}, not {m}; ask for fewer or write more"
        raise InputError(constitution.id, [Fault(message, "principles")])
    return ranked[:m]


def _ranked(constitution: Constitution, stage: Stage, row: list[object]) -> tuple[Principle, ...]:
    principles = constitution.of_stage(stage)
    if not principles:
        message = f"has no principle for {stage}; write the {stage} text of at least one"
        raise InputError(constitution.id, [Fault(message, "principles")])
    hashed_row = hashlib.blake2b(orjson.dumps(row) + b"\n", digest_size=8)

    def score(principle: Principle) -> tuple[float, str]:
        hashed = hashed_row.copy()
        hashed.update(principle.id.encode())
        u = ((int.from_bytes(hashed.digest(), "big") >> 12) + 0.5) / 2**52
        return -principle.weight / math.log(u), principle.id

    return tuple(sorted(principles, key=score, reverse=True))
