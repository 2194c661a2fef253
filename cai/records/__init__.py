"""The records that travel from stage to stage: frozen, and each says how it was made.

A record holds what was really sent and got. "round" always means a revision round; "iteration"
counts online training (0 at first).
"""

from cai.records.answers import (
    Completion,
    Refusal,
    RefusalSign,
    Sampling,
    StopReason,
    Usage,
    Weighed,
    WeighMethod,
)
from cai.records.comparisons import Comparison, OrderWeights, Rating
from cai.records.prompts import Message, MessageRole, Prompt, Role, digest
from cai.records.revisions import Response, Revision, RevisionTrace
from cai.records.rows import BY_FALLBACK, Row, RowKey, RowStatus

__all__ = [
    "BY_FALLBACK",
    "Comparison",
    "Completion",
    "Message",
    "MessageRole",
    "OrderWeights",
    "Prompt",
    "Rating",
    "Refusal",
    "RefusalSign",
    "Response",
    "Revision",
    "RevisionTrace",
    "Role",
    "Row",
    "RowKey",
    "RowStatus",
    "Sampling",
    "StopReason",
    "Usage",
    "WeighMethod",
    "Weighed",
    "digest",
]
