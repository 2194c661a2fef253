"""API keys stay out of every text that is written: the one place that takes them out.

A key is noted when it is read, from the environment or a keyring; from then on every error of this
program, every answer that goes to the ledger, every event of a log and every record of Python's
logging is without it. Logging and traces belong to the process, so the command line sets them up.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import traceback
from collections.abc import Mapping
from types import TracebackType
from typing import Any

HIDDEN = "[key]"
"""Stands where a key stood."""

SHORTEST = 8
"""Characters of the shortest secret; a shorter one would be found in words that are none."""

SECRET_NAMES = re.compile(r"(?:^|_)(?:KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS)$")
"""Names of environment variables whose values are secrets."""

KEY_SHAPES = re.compile(
    r"""\b(?:
        sk-[\w-]{16,}                       # OpenAI, Anthropic, OpenRouter, DeepSeek …
      | (?:gsk|xai|pplx|fw|r8|nvapi|hf|tgp|csk)[-_][\w-]{20,}
      | AIza[\w-]{30,}                      # Google
      | AKIA[0-9A-Z]{16}                    # AWS
      | eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]+   # a signed token
      | gh[pousr]_\w{30,} | github_pat_\w{20,} | glpat-[\w-]{20,}
      | xox[a-z]-[\w-]{10,}                 # Slack
    )|\bBearer\s+\S{8,}
    |-----BEGIN\ (?:[A-Z]+\ )*PRIVATE\ KEY-----""",
    re.VERBOSE,
)
"""What the keys of well-known providers look like."""

_SECRETS: list[str] = []


def note_secret(secret: str | None) -> None:
    """Keep a secret out of all that is written from now on, JSON too."""
    if secret and len(secret) >= SHORTEST:
        for text in (secret, json.dumps(secret, ensure_ascii=False)[1:-1]):
            if text not in _SECRETS:
                _SECRETS.append(text)


def note_secrets_of(environment: Mapping[str, str]) -> None:
    """Note the values of all variables that are named like secrets."""
    for name, value in environment.items():
        if SECRET_NAMES.search(name.upper()):
            note_secret(value)


def redacted(text: str) -> str:
    """The text without the secrets that were noted."""
    for secret in _SECRETS:
        if secret in text:
            text = text.replace(secret, HIDDEN)
    return text


def keys_in(text: str) -> tuple[str, ...]:
    """What in a text has the shape of a well-known provider's key."""
    return tuple(found.group() for found in KEY_SHAPES.finditer(text))


def keep_keys_out_of_logs() -> None:
    """Take secrets out of Python's log records, and of the traces of bugs; for a whole process."""
    note_secrets_of(os.environ)
    for key in keys_in(" ".join(sys.argv)):
        note_secret(key)
    made = logging.getLogRecordFactory()

    def without_secrets(*args: Any, **fields: Any) -> logging.LogRecord:
        record = made(*args, **fields)
        text = _message(record)
        if (clean := redacted(text)) != text:
            record.msg, record.args = clean, None
        if record.exc_info:
            # The formatter takes this text for the trace, in place of making one.
            record.exc_text = redacted(logging.Formatter().formatException(record.exc_info))
        return record

    logging.setLogRecordFactory(without_secrets)
    sys.excepthook = _show_bug


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError, KeyError):
        # Its arguments do not fit its text: logging tells of that when it is written.
        return ""


def _show_bug(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    sys.stderr.write(redacted("".join(traceback.format_exception(kind, error, trace))))
