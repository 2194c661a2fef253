"""The ablations by name: what is varied, and what is read."""

from __future__ import annotations

from collections.abc import Mapping

from examples.ablations.readings import (
    BROKEN,
    DISTANCE,
    FAULTS,
    HARM,
    SCORE,
    accuracy,
    best_of,
    brier,
    gap,
    harm_by_round,
    parting_of,
    policy,
    score_by_round,
    shares_of_best_of,
    tracked,
    with_borderline,
)
from examples.ablations.records import Ablation, Panel, Variant

SHARE = "share of held-out prompts"
PAIRS = "share of held-out pairs judged right"
CANNED = (
    "comparisons.sources=[canned_refusal]",
    "comparisons.responder=assistant",
    "comparisons.canned_refusals=ablations/canned-refusal.yaml",
)
LEAN = "evaluation.best_of=1"
"""Best-of-N is not measured, where nothing is read of it."""

OPTIMISED = "train-PM, optimised"

PLAIN = "1"
"""λ of the recipe as it is."""

REVISED = (
    Panel("Revisions", "revisions", "share of texts that are harmful", harm_by_round(False)),
    Panel(
        "By the same preference model",
        "revisions",
        "score less that of the first reply",
        score_by_round("plain"),
        shares=False,
    ),
)
"""What is seen of the revisions alone, a line for each variant."""

REVISIONS = Ablation(
    question="Is the policy less harmful, the more revisions SFT learns from?",
    source="Bai et al. (2022), §3.4, Fig. 5; App. A",
    variants=(
        Variant("none", until="sft"),
        *(Variant(f"first {n}", (f"datasets.revisions=upto:{n}",), "sft") for n in (1, 2, 3)),
        Variant("all 4", until="sft"),
        Variant("both kinds", until="pm"),
        Variant("harmlessness alone", ("comparisons.human=[]",), "pm"),
        Variant("helpfulness alone", ("preference_model.harmless_weight=0",), "pm"),
    ),
    panels=(
        Panel("Revisions", "revisions", "share of texts", harm_by_round(), variants=("all 4",)),
        Panel(
            "SL-CAI by the revisions that it learns",
            "revisions",
            SHARE,
            policy({"none": "helpful", "": "sl_cai"}, HARM | BROKEN),
            variants=("none", "first 1", "first 2", "first 3", "all 4"),
        ),
        Panel(
            "Preference model by what it learned",
            "revisions",
            "score less that of the first reply",
            score_by_round("own"),
            variants=("both kinds", "harmlessness alone", "helpfulness alone"),
            shares=False,
        ),
    ),
)

LABELS = Ablation(
    question="Are soft labels better than hard ones, and what does the clamp do?",
    source="Bai et al. (2022), §4.1, §4.3",
    variants=(
        Variant("soft"),
        Variant("hard", ("comparisons.label.clamp=hard", LEAN)),
        Variant("clamped to 0.4–0.6", ("comparisons.label.clamp=[0.4, 0.6]", LEAN)),
    ),
    panels=(
        Panel("Preference model: right", "labels", PAIRS, accuracy, joined=False),
        Panel("Preference model: calibrated", "labels", "mean", brier, shares=False, joined=False),
        Panel(
            "What RL makes of it",
            "labels",
            SHARE,
            with_borderline({"": "rl_cai"}, HARM | FAULTS | BROKEN),
            joined=False,
        ),
    ),
)

PAIRS_NEEDED = Ablation(
    question="How many pairs does a preference model need?",
    source="Lee et al. (2023), first version; HH-RLHF (Bai et al. 2022b), A.3",
    variants=(
        *(
            Variant(str(32 * steps), (f"preference_model.max_steps={steps}",), "pm")
            for steps in (4, 8, 16)
        ),
        Variant("all", until="pm"),
    ),
    panels=(Panel("Preference model", "pairs learned", PAIRS, accuracy),),
)

POLICIES = Ablation(
    question="Is RL better than learning from the same labels directly?",
    source="Rafailov et al. (2023); Bai et al. (2022), §4",
    variants=(
        Variant("SL-CAI", until="sft"),
        Variant("RL"),
        Variant("DPO", until="dpo"),
    ),
    panels=(
        Panel(
            "What the policies do",
            "policy",
            SHARE,
            policy({"SL-CAI": "sl_cai", "RL": "rl_cai", "": "dpo"}, HARM | FAULTS | BROKEN),
            joined=False,
        ),
    ),
)

WEIGHT = Ablation(
    question="What does a heavier weight of harmlessness cost in help?",
    source="HH-RLHF (Bai et al. 2022b), §5.1.2, Fig. 27",
    variants=tuple(
        Variant(told, () if told == PLAIN else (f"preference_model.harmless_weight={told}", LEAN))
        for told in ("0", PLAIN, "2", "10")
    ),
    panels=(
        Panel("Preference model", "λ", PAIRS, accuracy),
        Panel("Policy of RL", "λ", SHARE, with_borderline({"": "rl_cai"}, HARM | FAULTS | BROKEN)),
        Panel(
            "Frontier of the policy",
            "λ",
            SHARE,
            policy({"": "rl_cai"}, HARM),
            frontier=(HARM["helpfulness"], HARM["harmful_compliance"]),
        ),
    ),
)

EVASION = Ablation(
    question="Do pairs that prefer one canned refusal make an evasive policy?",
    source="Bai et al. (2022), §1, §4.4; Lambert (2023)",
    variants=(
        Variant("SL-CAI", until="sft"),
        Variant("CAI, RL"),
        Variant("canned refusal, RL", CANNED),
        Variant("CAI, DPO", until="dpo"),
        Variant("canned refusal, DPO", CANNED, "dpo"),
    ),
    panels=(
        Panel(
            "What a preference model and RL make of the pairs",
            "pairs",
            SHARE,
            with_borderline({"SL-CAI": "sl_cai", "": "rl_cai"}, HARM | FAULTS | BROKEN),
            variants=("SL-CAI", "CAI, RL", "canned refusal, RL"),
            joined=False,
        ),
        Panel(
            "What DPO makes of them",
            "pairs",
            SHARE,
            with_borderline({"SL-CAI": "sl_cai", "": "dpo"}, HARM | FAULTS | BROKEN),
            variants=("SL-CAI", "CAI, DPO", "canned refusal, DPO"),
            joined=False,
        ),
    ),
)

BEST_OF = Ablation(
    question="Is RL better than the best of some replies by the same preference model?",
    source="HH-RLHF (Bai et al. 2022b), §4.3, B.6; Nakano et al. (2021)",
    variants=(Variant("best of 8", ("evaluation.best_of=8",)),),
    panels=(
        Panel("Score by distance", "", "", best_of, shares=False, frontier=(DISTANCE, SCORE)),
        Panel("What the policies do", "policy", SHARE, shares_of_best_of, joined=False),
    ),
)

CRITIQUE = Ablation(
    question="Does a critique before the revision help?",
    source="Bai et al. (2022), §3.5, Fig. 7",
    variants=(
        Variant("critique, then revision", until="pm"),
        Variant("direct revision", ("revisions.critique=false",), "revisions"),
    ),
    panels=REVISED,
)

PRINCIPLES = Ablation(
    question="Does the number of principles matter?",
    source="Bai et al. (2022), §3.4, Fig. 6",
    variants=(
        *(
            Variant(str(n), (f"constitution=ablations/principles-{n}.yaml",), "revisions")
            for n in (1, 2, 4, 8)
        ),
        Variant("all 14", until="pm"),
    ),
    panels=REVISED,
)

OPTIMISATION = Ablation(
    question="How far does the reward that RL learns from stay true, as the policy moves away?",
    source="HH-RLHF (Bai et al. 2022b), §4.2, §4.3; Gao et al. (2022)",
    variants=(Variant("two halves", ("datasets.preference_halves=true",), "rl"),),
    panels=(
        Panel(
            "Reward by distance",
            "√KL from SL-CAI, √nats",
            "standardized score",
            tracked({"sqrt_kl": "√KL", "train": OPTIMISED, "test": "test-PM"}),
            shares=False,
            frontier=("√KL", OPTIMISED, "test-PM"),
            mark=parting_of,
        ),
        Panel(
            "Scores by time",
            "rollout batches",
            "standardized score",
            tracked({"train": OPTIMISED, "test": "test-PM"}),
            shares=False,
        ),
        Panel(
            "How far they are apart",
            "rollout batches",
            "standardized score",
            gap("train-PM less test-PM"),
            shares=False,
        ),
    ),
)

ABLATIONS: Mapping[str, Ablation] = {
    "revisions": REVISIONS,
    "labels": LABELS,
    "pairs": PAIRS_NEEDED,
    "policies": POLICIES,
    "weight": WEIGHT,
    "evasion": EVASION,
    "best-of": BEST_OF,
    "critique": CRITIQUE,
    "principles": PRINCIPLES,
    "optimisation": OPTIMISATION,
}
