"""Have a judge score how harmful each policy's replies are, one by one (Bai et al. 2022, §4.5).

Each row is one reply, drawn greedily or at temperature 1, and the judge's rating of it under a
principle; the ratings of all policies' replies to a prompt are under the same one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import NamedTuple

from cai.contest_settings import KINDS
from cai.engine import RowEnded, RowLog
from cai.errors import UnsupportedSampling
from cai.harmfulness_settings import HarmfulnessSettings
from cai.label_settings import LabelSettings
from cai.pipeline.contest import contestants
from cai.pipeline.judged_rows import NO_REPLY, reply_to_judge
from cai.pipeline.judging import (
    Choice,
    GateData,
    check_gate,
    chosen_principles,
    judging_under,
    measure_by,
)
from cai.pipeline.labelling import Judging
from cai.pipeline.policies import (
    StagePolicy,
    prompts_measured_on,
    some_of_each_kind,
)
from cai.pipeline.studio import Studio
from cai.recipe import Recipe
from cai.records import Prompt, RowKey
from cai.stages.label_maths import GRADE, RATING
from cai.stages.rate import rate_replies

GREEDY, SAMPLED, GATE = "harmfulness_greedy", "harmfulness_sampled", "gate_harmfulness"
"""Stages of the rows: replies of either kind, and what the judge was measured on."""

FIELD = "evaluation.harmfulness.principles"
SCALES = {"grade": GRADE, "rating": RATING}
SELECTORS = {"grade": "tag:harmfulness", "rating": "tag:harmless-reply"}
"""Principles that are taken where none are named: the grade 4 is most harm, the rating 10 none."""


class Graded(NamedTuple):
    """A reply to be scored.

    Args:
        prompt: that it answers.
        key: of the row.
        policy: who answers.
        sample: which of the policy's replies at one temperature.
    """

    prompt: Prompt
    key: RowKey
    policy: StagePolicy
    sample: int


def settings_of_harmfulness(recipe: Recipe) -> HarmfulnessSettings:
    """Those of a recipe that asks for it."""
    settings = recipe.evaluation.harmfulness
    assert settings is not None, "asked for by a recipe that has it"
    return settings


async def measure_harm_judge(studio: Studio) -> None:
    """Have the judge rate both replies of pairs with a known better one.

    Nothing is asked where it will have nothing to score.

    Raises:
        CaiError: the data cannot be read, or cannot be asked.
    """
    gate = _gate(studio.recipe)
    scores = any(True for _ in _prompts(studio))
    gate = gate if scores else gate._replace(data=())
    await measure_by(studio, judging_of_harm(studio), gate, GATE, "measure the judge of harm")


def check_judging_of_harm(studio: Studio) -> None:
    """Make sure that the judge can be asked for a score, and measured before.

    Raises:
        CaiError: its constitution has faults or no principle, or the gate data cannot be read or
            asked.
    """
    check_gate(studio, judging_of_harm(studio), _gate(studio.recipe))


def _gate(recipe: Recipe) -> GateData:
    settings = settings_of_harmfulness(recipe)
    return GateData(settings.gate_data, settings.gate_rows, "harmful")


async def score_replies(studio: Studio, policies: Sequence[StagePolicy], stage: str) -> None:
    """Draw the replies of one kind and have the judge rate them.

    Args:
        studio: of the run, at its first iteration: policies of all of them are scored together.
        policies: in the order of the run.
        stage: `GREEDY` or `SAMPLED`.
    """
    settings, judging = settings_of_harmfulness(studio.recipe), judging_of_harm(studio)
    samples = 1 if stage == GREEDY else settings.samples
    answering = contestants(policies)

    def items() -> Iterator[Graded]:
        for prompt in _prompts(studio):
            for number, policy in enumerate(answering):
                for sample in range(samples):
                    key = RowKey(stage, prompt.id, sample=number * samples + sample)
                    if studio.takes(key):
                        yield Graded(prompt, key, policy, sample)

    title = f"score {'greedy' if stage == GREEDY else 'sampled'} replies"
    await studio.run_rows(
        title, items, lambda item, log: _score(studio, judging, item, log), stages=(stage,)
    )


def _prompts(studio: Studio) -> Iterator[Prompt]:
    most = settings_of_harmfulness(studio.recipe).prompts
    of_kinds = (one for one in prompts_measured_on(studio) if one.kind in KINDS["harmlessness"])
    return some_of_each_kind(of_kinds, most, studio.setting.seed)


def judging_of_harm(studio: Studio) -> Judging:
    """How the judge is asked for a score.

    Raises:
        InputError: its constitution has faults, or no principle for harmfulness.
    """
    settings = settings_of_harmfulness(studio.recipe)
    choice = Choice(settings.principles or (SELECTORS[settings.scale],), "rating", FIELD)
    constitution = chosen_principles(settings.constitution, choice)
    label, scale = LabelSettings(way="rating"), SCALES[settings.scale]
    return judging_under(studio, constitution, label, settings.minimum_mass, scale)


async def _score(studio: Studio, judging: Judging, item: Graded, log: RowLog) -> None:
    prompt, key, policy, sample = item
    temperature = 0.0 if key.stage == GREEDY else 1.0
    try:
        reply = await reply_to_judge(
            studio, policy, prompt, key, sample=sample, temperature=temperature
        )
    except UnsupportedSampling as error:
        # No setting of the recipe would help, and the model is measured by its other replies.
        reason = f"{policy.stage}{NO_REPLY}it is not drawn at temperature {temperature:g}: {error}"
        raise RowEnded(key, "filtered", reason) from error
    principle = judging.setting.draw("rating", prompt, key, 0)
    rated = await rate_replies(
        [reply],
        principle,
        key,
        judge=studio.model("judge", key),
        setting=judging.setting,
        minimum_mass=settings_of_harmfulness(studio.recipe_for(key)).minimum_mass,
        scale=judging.scale,
    )
    (rating,) = rated.ratings
    record = {
        "prompt": asdict(prompt),
        "policy": policy.stage,
        "text": reply.text,
        "rating": asdict(rating),
        "call": reply.call,
    }
    await log.ok(key, record, (rating.call,), rated.refusals)
