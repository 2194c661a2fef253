"""Rows in which a judge says something of policies' replies: whose they are, and how they ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from cai.engine import RowEnded
from cai.evaluation.intervals import Rate, share_by_case
from cai.evaluation.judge import Ends
from cai.pipeline.policies import StagePolicy, reply_key, reply_of
from cai.pipeline.studio import Studio
from cai.records import Completion, Prompt, Response, Row, RowKey

NO_REPLY = " has no reply: "
"""In the reason of a row whose policy gave nothing to be judged: nobody asked the judge."""


async def reply_to_judge(
    studio: Studio,
    policy: StagePolicy,
    prompt: Prompt,
    key: RowKey,
    *,
    sample: int = 0,
    temperature: float | None = None,
) -> Response:
    """A policy's reply, for the row in which it is judged.

    Args:
        studio: of the run.
        policy: who answers.
        prompt: what is asked.
        key: of the judge's row.
        sample: which of the policy's replies.
        temperature: as of `cai.pipeline.policies.reply_of`.

    Raises:
        RowEnded: it cannot be had, or its provider declined ("refused"); that ends the judge's
            row, and says whose reply is missing.
    """
    said = await answer_to_judge(
        studio, policy, prompt, key, sample=sample, temperature=temperature
    )
    if said.stop_reason == "refusal":
        # Its call is the reply's row's: what a judge's rows name is what judging has cost.
        raise RowEnded(key, "refused", f"{policy.stage}{NO_REPLY}it was declined")
    return Response(prompt, said.text, sample, said.model, said.call)


async def answer_to_judge(
    studio: Studio,
    policy: StagePolicy,
    prompt: Prompt,
    key: RowKey,
    *,
    sample: int = 0,
    temperature: float | None = None,
) -> Completion:
    """As `reply_to_judge`, with what the provider said about it: declined ones too.

    Raises:
        RowEnded: it cannot be had.
    """
    try:
        return await reply_of(
            studio, policy, prompt, reply_key(policy, prompt, sample), temperature
        )
    except RowEnded as end:
        reason = f"{policy.stage}{NO_REPLY}{end.row.reason}"
        raise RowEnded(key, end.row.status, reason, end.row.calls) from end


def rows_by_name(
    rows: Iterable[Row], names: Sequence[str], *, replies: int = 1
) -> dict[str, list[Row]]:
    """Rows of single replies by the policy that they are about; those of other policies left out.

    Rows may be of an older set of policies. One with a record names its policy; one that ended
    without is its neighbour's, with the same number, or stands at the place that it has in
    `names` if all that is known of the others agrees with these.

    Args:
        rows: of one stage.
        names: of today's policies, in their order.
        replies: of each policy to a prompt.
    """
    listed = list(rows)
    known = {row.key.sample: str(row.record["policy"]) for row in listed if row.record is not None}
    repeated = (name for name in names for _ in range(replies))
    places = dict(enumerate(repeated))
    if all(places.get(number) == name for number, name in known.items()):
        known = places
    found: dict[str, list[Row]] = {name: [] for name in names}
    for row in listed:
        name = known.get(row.key.sample) if row.record is None else str(row.record["policy"])
        if name in found:
            found[name].append(row)
    return found


def rows_between(rows: Iterable[Row], names: Sequence[str]) -> list[Row]:
    """Rows of comparisons between these policies; those with policies of before are left out.

    Args:
        rows: of one stage.
        names: of today's policies.
    """
    listed, others = list(rows), set[int]()
    for row in listed:
        if row.record is not None:
            about = row.record["provenance"]
            if not {about["policy_a"], about["policy_b"]} <= set(names):
                others.add(row.key.sample)
    # A row without a record is of the same two policies as the others of its number.
    return [row for row in listed if row.key.sample not in others]


def ends_of(
    rows: Iterable[Row], is_asked: Callable[[Mapping[str, Any]], bool] | None = None
) -> Ends:
    """How rows ended.

    Args:
        rows: each with the judge's answers to one question.
        is_asked: tells by its record whether the judge was asked in a row that is ok; None if it
            was in every one.
    """
    listed = list(rows)
    asked = [row for row in listed if NO_REPLY not in row.reason]
    if is_asked is not None:
        asked = [row for row in asked if row.record is None or is_asked(row.record)]

    def share(has: Callable[[Row], bool]) -> Rate | None:
        return share_by_case((row.key.prompt_id, float(has(row))) for row in asked)

    return Ends(
        by_status=dict(Counter(row.status for row in listed)),
        refused=share(lambda row: row.status == "refused" or row.by_fallback),
        unparsed=share(lambda row: row.status == "unparsed"),
    )
