"""The parts of a recipe that belong to the run: prompts, data sets, evaluation, engine."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field

from cai.contest_settings import ContestSettings
from cai.harmfulness_settings import HarmfulnessSettings, VerdictSettings
from cai.revision_settings import last_round
from cai.roles import SamplingSettings
from cai.sources.pairs import PairSet
from cai.sources.prompt_sets import PromptSet
from cai.validation import Entry, written_as


class PromptSets(Entry):
    """Prompts by what they are for."""

    red_team: tuple[PromptSet, ...] = Field(
        description="Prompts that tempt to harm: critiqued and revised, compared, and used in RL."
    )
    helpful: tuple[PromptSet, ...] = Field(
        default=(), description="Everyday prompts: SFT's helpful data, and used in RL."
    )
    evaluation: tuple[PromptSet, ...] = Field(
        default=(), description="Prompts that no training sees, to measure every stage on."
    )


RunName = Annotated[
    str,
    written_as(
        r"[A-Za-z0-9][A-Za-z0-9_.-]*",
        "it names a folder: use letters, digits, dots, dashes and underscores, and begin with a "
        "letter or a digit",
    ),
]
"""What a run, and so its folder, can be called."""

Policy = Literal["dpo", "rl"]
"""Ways from preference data to a policy."""


class DatasetSettings(Entry):
    """How prompts and rows are divided."""

    sft_share: float = Field(
        default=0.5, gt=0, le=1, description="Share of red-team prompts for SFT; others compare."
    )
    test_share: float = Field(default=0.05, ge=0, lt=1, description="Share of prompts held out.")
    revisions: Annotated[
        str, written_as(r"all|last|upto:[1-9][0-9]*", "write all, last, or upto:N, such as upto:2")
    ] = Field(
        default="all",
        description="Which revisions of a prompt SFT learns: all, the last, or upto:N, the first N "
        "(SL-CAI-N). The paper takes all (§3.1).",
    )
    helpful_ratio: float | None = Field(
        default=None,
        ge=0,
        description="Helpful replies for each revision that SFT learns; the paper has 0.37 (§3.2). "
        "Too many of either are left out. All of both if not given.",
    )
    helpful_samples: int = Field(default=1, ge=1, description="Replies per helpful prompt (§3.2).")
    preference_halves: bool = Field(
        default=False,
        description="Train the preference model on half of the pairs, and a second one, the "
        "test-PM, on the others: RL is paid by the first and tracked with the second (HH-RLHF "
        "§4.2).",
    )

    def refuse_misfits(self, rounds: int, *, weighs_own: bool) -> None:
        """Refuse what does not fit the rest of a recipe.

        Args:
            rounds: of revision.
            weighs_own: whether ``mix.sft`` names rows of the run's own.

        Raises:
            ValueError: there are fewer rounds than SFT is to learn, or the ratio is said twice.
        """
        last = last_round(self.revisions)
        if last is not None and last > rounds:
            raise ValueError(
                f"datasets.revisions: upto:{last} asks for more than the {rounds} rounds of "
                "revisions.rounds; name as many at most, or all"
            )
        if self.helpful_ratio is not None and weighs_own:
            raise ValueError(
                "datasets.helpful_ratio: is short for weights of revision and helpful in mix.sft, "
                "which names one of them; say it there alone"
            )


class EvaluationSettings(Entry):
    """How the stages are measured."""

    truth: Literal["microworld", "patterns"] = Field(
        default="patterns",
        description="microworld: its ground truth; patterns: refusal patterns, an approximation.",
    )
    sampling: SamplingSettings = SamplingSettings()
    human: tuple[PairSet, ...] = Field(
        default=(), description="Held-out judged pairs to measure the preference model on."
    )
    label_probes: int = Field(
        default=300,
        ge=0,
        description="Held-out microworld pairs of known truth to measure the judge on.",
    )
    best_of: int = Field(
        default=4,
        ge=1,
        description="Replies of SL-CAI per evaluation prompt whose best, by the preference model, "
        "is measured as a policy beside RL's; 1: it is not. Nor is it at temperature 0 of "
        "evaluation.sampling, where all of them would be the same.",
    )
    prompts: int | None = Field(
        default=None,
        ge=1,
        description="Most evaluation prompts of each kind, chosen by their hash; all if not given.",
    )
    contest: ContestSettings | None = Field(
        default=None,
        description="Compare the policies two by two, for Elo scores and win rates; by default "
        "not.",
    )
    harmfulness: HarmfulnessSettings | None = Field(
        default=None,
        description="Have the judge score how harmful each policy's replies are; by default not.",
    )
    verdicts: VerdictSettings | None = Field(
        default=None,
        description="Have the judge say what each reply to an evaluation prompt is, beside what "
        "truth or patterns say; by default not.",
    )

    @property
    def replies_to_choose_from(self) -> int:
        """`best_of`, or 1 where all replies to a prompt are the same: there is no choice."""
        return self.best_of if self.sampling.temperature > 0 else 1

    def limited(self, limit: int) -> Self:
        """The same with at most `limit` prompts of each kind, and as many rows of gate data."""
        most = limit if self.prompts is None else min(self.prompts, limit)
        return self.with_gates_of(limit).model_copy(update={"prompts": most})

    def with_gates_of(self, limit: int) -> Self:
        """The same with at most `limit` rows of each file of gate data."""
        gated = {"contest": self.contest, "harmfulness": self.harmfulness}
        cut = {name: one and one.limited(limit) for name, one in gated.items()}
        return self.model_copy(update=cut)


class BatchSettings(Entry):
    """How models with ``batch: true`` are asked."""

    rows: int = Field(
        default=20_000,
        ge=1,
        description="Rows under way at once, from which batches are filled; they are in memory.",
    )
    first_look: float = Field(
        default=10, gt=0, description="Seconds to the second look at a batch; pauses grow by half."
    )
    longest_pause: float = Field(
        default=300, gt=0, description="Most seconds between two looks at a batch."
    )
    settle: float = Field(
        default=60,
        ge=0,
        description="Seconds after which a batch that was perhaps sent must be in the provider's "
        "list, if it was made.",
    )


class EngineSettings(Entry):
    """How calls are made; nothing here changes what is answered."""

    in_flight: int = Field(
        default=256,
        ge=1,
        description="Rows under way at once, and calls at once to a server, until it is overloaded "
        "or is found to take more.",
    )
    attempts: int = Field(default=6, ge=1, description="Tries of a call that may yet succeed.")
    batches: BatchSettings = BatchSettings()
