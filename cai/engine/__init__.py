"""The engine: calls that are bought once, rows that end in one way, and who watches them."""

from cai.engine.backoff import Backoff
from cai.engine.calls import BoughtModel
from cai.engine.ledger import Ledger, StoredCall
from cai.engine.progress import Progress
from cai.engine.rows import RowEnded, RowKeeper, RowLog, RowWatcher, making
from cai.engine.runner import make_rows, run_rows
from cai.engine.tally import Tally

__all__ = [
    "Backoff",
    "BoughtModel",
    "Ledger",
    "Progress",
    "RowEnded",
    "RowKeeper",
    "RowLog",
    "RowWatcher",
    "StoredCall",
    "Tally",
    "make_rows",
    "making",
    "run_rows",
]
