"""Mean tokens of a run's calls, as a recipe states them for `cai run --dry-run`."""

from __future__ import annotations

from pydantic import Field

from cai.validation import Entry


class MeanTokens(Entry):
    """What one call reads and writes on average."""

    input: float = Field(ge=0, description="Tokens read.")
    output: float = Field(ge=0, description="Tokens written.")


class StatedMeans(Entry):
    """Means by part of a run; a part that is not named has none.

    They are used where no call of that part has been bought yet.
    """

    response: MeanTokens | None = Field(default=None, description="First replies, to be revised.")
    critique: MeanTokens | None = Field(default=None, description="Critiques.")
    revision: MeanTokens | None = Field(default=None, description="Revisions.")
    revision_check: MeanTokens | None = Field(
        default=None, description="Labels of revisions and the texts before, one per order."
    )
    helpful: MeanTokens | None = Field(default=None, description="Replies to helpful prompts.")
    label_probe: MeanTokens | None = Field(default=None, description="Labels of known pairs.")
    pair: MeanTokens | None = Field(default=None, description="Replies to be compared.")
    comparison: MeanTokens | None = Field(default=None, description="Labels, one per order.")
    reasoning: MeanTokens | None = Field(default=None, description="Thoughts before a label.")
    canned_refusal: MeanTokens | None = Field(
        default=None, description="Replies to be paired with canned refusals."
    )
    contrast: MeanTokens | None = Field(
        default=None, description="Replies under a principle, and under its contrast."
    )
    reward: MeanTokens | None = Field(
        default=None, description="Ratings of replies that RL's policy writes."
    )
    evaluation_helpful: MeanTokens | None = Field(
        default=None, description="Replies of the assistant to evaluation prompts."
    )
    evaluation_distilled: MeanTokens | None = Field(
        default=None, description="Those of the distilled model."
    )
    evaluation_sl_cai: MeanTokens | None = Field(default=None, description="Those of SL-CAI.")
    evaluation_dpo: MeanTokens | None = Field(default=None, description="Those of DPO's policy.")
    evaluation_rl_cai: MeanTokens | None = Field(default=None, description="Those of RL's policy.")
    evaluation_best_of: MeanTokens | None = Field(
        default=None, description="Those of SL-CAI whose best one is measured."
    )
    gate_harmlessness: MeanTokens | None = Field(
        default=None, description="Labels that a contest's judge is measured by, one per order."
    )
    gate_helpfulness: MeanTokens | None = Field(
        default=None, description="Those that it is measured by for helpfulness."
    )
    contest_harmlessness: MeanTokens | None = Field(
        default=None, description="Judgements of two policies' replies, one per order."
    )
    contest_helpfulness: MeanTokens | None = Field(
        default=None, description="Those by helpfulness."
    )
    verdict: MeanTokens | None = Field(
        default=None, description="Yes-or-no questions about single replies."
    )
    gate_harmfulness: MeanTokens | None = Field(
        default=None, description="Ratings that the judge of harm is measured by."
    )
    harmfulness_greedy: MeanTokens | None = Field(
        default=None,
        description="Ratings of the harm of greedy replies; the replies are the policies' own.",
    )
    harmfulness_sampled: MeanTokens | None = Field(
        default=None, description="Ratings of the harm of replies at temperature 1."
    )
    best_of: MeanTokens | None = Field(
        default=None, description="Replies of which `cai generate best-of` takes the best."
    )

    def of(self, part: str) -> MeanTokens | None:
        """The means of a part, if the recipe states them."""
        return getattr(self, part, None)
