"""Who was asked what about policies: figures of two runs are on one scale only if it is the same.

Models and questions are told by hashes: that of a model covers its weights or its address, which
are nobody's business but the run's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from cai.label_settings import LabelSettings
from cai.models import ModelSettings
from cai.pipeline.studio import Studio
from cai.records import digest
from cai.stages.setting import Setting


def asked_of_judge(
    studio: Studio,
    way: str,
    template: str,
    settings: Iterable[Setting],
    label: LabelSettings | None = None,
) -> Mapping[str, str]:
    """What is ``asked`` in a judge's figures: the judge's name and hash, the way, the questions.

    Args:
        studio: of the run.
        way: of asking, for people: "choice", "rating", "grade" or "yes or no".
        template: that asks.
        settings: each with principles that the judge was asked under.
        label: the way to a label, where there is more to it than its name.
    """
    judge = studio.recipe.models.of("judge")
    questions = [(one.constitution.hash, one.prompts.templates[template].hash) for one in settings]
    more = None if label is None else label.model_dump(mode="json", exclude_defaults=True)
    return {
        "judge": judge.name,
        "model": hash_of_model(studio, judge),
        "way": way,
        "questions": digest([questions, more])[:16],
    }


def hash_of_model(studio: Studio, settings: ModelSettings) -> str:
    """Names what determines a model's answers, in 16 hexadecimal digits.

    Args:
        studio: of the run.
        settings: of the model.
    """
    return digest(studio.model_of(settings).identity)[:16]
