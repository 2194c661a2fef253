"""Errors that a user can do something about; all else is a bug and keeps its trace.

CaiError
├── InputError        a file of the user's is wrong; lists every fault with line and field
├── ModelError        a language model did not answer
│   ├── TransientError    a second try may help (overload, time-out, dropped connection)
│   ├── PermanentError    no second try helps (wrong key, unknown model, malformed request)
│   │   └── UnsupportedSampling   it takes no such temperature or top_p
│   └── RejectedRequest   this one request cannot be answered (too long); others can
├── BudgetReached     the run's limit of calls or dollars is reached
├── RunError          a run folder cannot be used as asked
└── MissingDependency an extra is not installed
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cai.redaction import redacted

TransientCause = Literal["fault", "overload", "unreachable"]
"""Why a try failed: something went wrong ("fault"), the server has more to do than it can
("overload": 429, 503, a time-out), or there is no server ("unreachable")."""


class CaiError(Exception):
    """Something that the user can put right; shown as text, without a trace and without keys."""

    def __init__(self, *words: object) -> None:
        """Keep the text, without API keys that somebody's answer has repeated."""
        super().__init__(*(redacted(str(word)) for word in words))


@dataclass(frozen=True)
class Fault:
    """One thing wrong in a file: where it stands, what was met, and what to do about it.

    Args:
        message: what is wrong, with the value met and the fix.
        field: dotted path inside the file, such as ``principles.3.critique``; empty for the whole.
        line: 1-based line number; None where the file has none.
        source: where it stands, such as ``--set``; empty for the file itself.
    """

    message: str
    field: str = ""
    line: int | None = None
    source: str = ""

    def __str__(self) -> str:
        """Give ``line 12: principles.3.critique: is blank; …``."""
        place = f"line {self.line}: " if self.line is not None else ""
        return f"{place}{self.field + ': ' if self.field else ''}{self.message}"


class InputError(CaiError):
    """A file was refused; `faults` has every fault of it, not only the first."""

    def __init__(self, source: Path | str, faults: Sequence[Fault]) -> None:
        """Keep the faults and make the text: one line per fault, each beginning with the file."""
        self.source = str(source)
        self.faults = tuple(faults)
        super().__init__("\n".join(f"{fault.source or source}: {fault}" for fault in faults))


class ModelError(CaiError):
    """A language model did not answer."""


class TransientError(ModelError):
    """A second try may help.

    Args:
        message: what happened.
        retry_after: the wait in seconds that the provider asked for.
        cause: what it says of the server, see `TransientCause`.
    """

    def __init__(
        self, message: str, retry_after: float | None = None, cause: TransientCause = "fault"
    ) -> None:
        """Keep wait and cause beside the text."""
        super().__init__(message)
        self.retry_after = retry_after
        self.cause: TransientCause = cause


class PermanentError(ModelError):
    """No second try helps: the run stops and shows the provider's own message."""


class UnsupportedSampling(PermanentError):
    """The model does not take the temperature or top_p that it is asked to draw with."""


class RejectedRequest(ModelError):
    """This request cannot be answered by this model, others can; its row is *filtered*."""


class BudgetReached(CaiError):
    """The next call would go over the run's limit; all that was bought is kept."""


class RunError(CaiError):
    """A run folder cannot be used as asked (locked, of another version, not there)."""


class MissingDependency(CaiError):
    """An optional package is needed for what was asked."""

    def __init__(self, package: str, extra: str, advice: str = "") -> None:
        """Say which package is missing, the command that installs it, and advice about that."""
        super().__init__(
            f"{package} is not installed; in the checkout: {install_command(extra)}"
            + (f" {advice}" if advice else "")
        )


def install_command(extra: str = "") -> str:
    """What installs the project, typed in its checkout, with one of its extras if one is given."""
    return f"pip install --editable '.[{extra}]'" if extra else "pip install --editable ."
