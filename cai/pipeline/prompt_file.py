"""The file that written prompts go to: one JSON object a line, which a recipe reads as it is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import orjson

from cai.errors import CaiError
from cai.outputs import check_file
from cai.whole import whole_file

KIND = ".jsonl"

KEYS = ("prompt", "kind", "topic", "seeds", "model", "call")
"""What a line says."""


def check_prompt_file(out: Path, seeds: Path | None = None) -> None:
    """Refuse, before anything is asked, a file that new prompts cannot or must not go to.

    Args:
        out: the file; one of an earlier command is written anew.
        seeds: the file of seeds, which must stay; None if there is none.

    Raises:
        CaiError: its name has another ending than ``.jsonl``, it holds something else, or it
            cannot be written.
    """
    if out.suffix != KIND:
        raise CaiError(f"{out} gets JSON lines, and does not end in {KIND}; name one with --out")
    check_file(out)
    if seeds is not None and out.resolve() == seeds.resolve():
        raise CaiError(f"{out} is the file of seeds; name another with --out")
    if out.is_file() and _holds_other_lines(out):
        raise CaiError(
            f"{out} is there already, and this command has not written it; name another with --out"
        )


def _holds_other_lines(path: Path) -> bool:
    with path.open("rb") as stream:
        line = stream.readline()
    try:
        row = orjson.loads(line) if line.strip() else dict.fromkeys(KEYS)
    except orjson.JSONDecodeError:
        return True
    return not (isinstance(row, dict) and tuple(cast("dict[str, Any]", row)) == KEYS)


def write_prompt_file(records: Iterable[Mapping[str, Any]], out: Path) -> int:
    """Write prompts in their order; the file appears when it is whole.

    Args:
        records: of rows, as the ledger has them.
        out: the file.

    Returns:
        The number of lines.

    Raises:
        CaiError: it cannot be written.
    """
    written = 0
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(out) as stream:
            for record in records:
                written += 1
                stream.write(orjson.dumps(_line(record), option=orjson.OPT_APPEND_NEWLINE))
    except OSError as error:
        raise CaiError(
            f"{out} cannot be written: {error.strerror}; name another with --out"
        ) from error
    return written


def _line(record: Mapping[str, Any]) -> dict[str, Any]:
    prompt = record["prompt"]
    own = {"prompt": prompt["messages"], "kind": prompt["kind"]}
    return {name: own.get(name, record.get(name)) for name in KEYS}
