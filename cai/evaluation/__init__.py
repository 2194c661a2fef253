"""What a run is measured by: rates with intervals of policies, labels and preference models."""

from cai.evaluation.classifiers import (
    Classifier,
    Verdict,
    microworld_classifier,
    pattern_classifier,
)
from cai.evaluation.intervals import Rate, difference, mean_interval, rate
from cai.evaluation.labels import label_figures
from cai.evaluation.policy import policy_figures
from cai.evaluation.preference_model import preference_model_figures, refusal_score
from cai.evaluation.revisions import harm_by_principle, harm_by_round

__all__ = [
    "Classifier",
    "Rate",
    "Verdict",
    "difference",
    "harm_by_principle",
    "harm_by_round",
    "label_figures",
    "mean_interval",
    "microworld_classifier",
    "pattern_classifier",
    "policy_figures",
    "preference_model_figures",
    "rate",
    "refusal_score",
]
