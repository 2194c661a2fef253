"""Records of argilla 2.x, for people to read, rate and rewrite.

What is written is what ``rg.Dataset.to_disk`` of argilla 2.8 writes, so that
``rg.Dataset.from_disk(folder)`` makes the data set on a server: ``.argilla/settings.json`` (fields,
questions, metadata), ``.argilla/dataset.json`` and ``records.json``.

People see the two replies of a pair as A and B, in an order that the prompt's hash decides, so that
neither place says what the judge thought. Every pair is shown, ties too: what the judge was unsure
of is what people can help with.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from cai.datasets.parquet import SPLITS
from cai.errors import CaiError
from cai.export.files import write_json_list
from cai.export.source import DataSet, Source, Written
from cai.splits import position

RECORDS, SETTINGS, DATASET = "records.json", ".argilla/settings.json", ".argilla/dataset.json"

HOLDS = "Records for people to judge."

TERMS = ("source", "principle", "model", "kind", "split")
"""Metadata that people filter by; of a row without one, nothing is said."""

SFT_GUIDELINES = (
    "Is this a reply that a model should learn from? It should be helpful, honest and harmless; "
    "where it declines, it should say why. Rewrite it where you can do better. Texts may do harm."
)
PAIR_GUIDELINES = (
    "Which reply is the better one: more helpful, honest and harmless? If both are equally "
    "harmless, the less evasive one is. Texts may do harm."
)


def write_argilla(source: Source, out: Path) -> Sequence[Written]:
    """Write a folder for each data set of the run.

    Args:
        source: the run.
        out: the new folder.

    Raises:
        CaiError: a margin or a kind of file is asked for.
    """
    source.refuse_margin("argilla", "shows people every pair, ties too")
    if source.file_type != "jsonl":
        raise CaiError("--format argilla has one kind of file, JSON; leave --file-type out")
    made: list[Written] = []
    if source.has("sft"):
        made.append(_write("sft", source, out))
    if source.has("preferences"):
        made.append(_write("preferences", source, out))
    return made


def _write(name: DataSet, source: Source, out: Path) -> Written:
    counts: dict[str, int] = dict.fromkeys(SPLITS, 0)
    record = _conversation if name == "sft" else _pair
    seen: Counter[str] = Counter()

    def records() -> Iterator[dict[str, Any]]:
        for split in SPLITS:
            for row in source.rows(name, split):
                counts[split] += 1
                seen[row["prompt_id"]] += 1
                number = f"{row['prompt_id']}-{seen[row['prompt_id']]}"
                metadata = {term: row[term] for term in TERMS if row.get(term)}
                parts = record(row)
                metadata |= {"split": split, **parts.pop("metadata", {})}
                yield {"id": number, **parts, "metadata": metadata, "responses": {}, "vectors": {}}

    # argilla refuses a data set without records.
    if write_json_list(records(), out / name / RECORDS):
        _dump(_SETTINGS[name], out / name / SETTINGS)
        called = f"{source.run.path.resolve().name}-{name}"
        _dump({"name": called, **_shared(_SETTINGS[name])}, out / name / DATASET)
    return Written(name, HOLDS, name, name, counts, "")


def _conversation(row: Mapping[str, Any]) -> dict[str, Any]:
    *before, reply = row["messages"]
    return {"fields": {"prompt": before, "reply": reply["content"]}, "suggestions": {}}


def _pair(row: Mapping[str, Any]) -> dict[str, Any]:
    is_chosen_first = position(row["prompt"], "argilla") < 0.5
    texts = [row["chosen"][-1]["content"], row["rejected"][-1]["content"]]
    first, second = texts if is_chosen_first else reversed(texts)
    sure = row["p_chosen"]
    better = "tie" if sure == 0.5 else ("a" if is_chosen_first else "b")
    suggestion = {"value": better, "score": sure, "agent": row["model"] or row["source"]}
    return {
        "fields": {"prompt": row["prompt"], "response_a": first, "response_b": second},
        "suggestions": {"better": suggestion},
        "metadata": {"p_a": sure if is_chosen_first else 1 - sure},
    }


def _dump(data: Mapping[str, Any], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(orjson.dumps(data, option=orjson.OPT_INDENT_2))


def _field(name: str, kind: str, title: str) -> dict[str, Any]:
    """A field that shows its text as it is; models' texts are no markup."""
    settings = {"type": kind, "use_markdown": False}
    return {"name": name, "title": title, "required": True, "settings": settings}


def _choice(name: str, title: str, options: Mapping[str, str]) -> dict[str, Any]:
    told = [{"value": value, "text": text} for value, text in options.items()]
    settings = {"type": "label_selection", "options": told, "visible_options": None}
    return {"name": name, "title": title, "required": True, "settings": settings}


def _settings(
    guidelines: str, fields: Iterable[Any], questions: Iterable[Any], numbers: Iterable[str] = ()
) -> dict[str, Any]:
    metadata = [(term, {"type": "terms"}) for term in TERMS]
    metadata += [(name, {"type": "float", "min": 0, "max": 1}) for name in numbers]
    return {
        "guidelines": guidelines,
        "allow_extra_metadata": False,
        "distribution": {"strategy": "overlap", "min_submitted": 1},
        "fields": [_field("prompt", "chat", "Conversation"), *fields],
        "questions": list(questions),
        "metadata": [
            {"name": name, "title": name, "settings": settings, "visible_for_annotators": False}
            for name, settings in metadata
        ],
        "vectors": [],
        "mapping": None,
    }


def _shared(settings: Mapping[str, Any]) -> dict[str, Any]:
    names = ("guidelines", "allow_extra_metadata", "distribution")
    return {name: settings[name] for name in names}


_REWRITE = {
    "name": "rewrite",
    "title": "A better reply",
    "required": False,
    "settings": {"type": "text", "use_markdown": False},
}

_SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "sft": _settings(
        SFT_GUIDELINES,
        [_field("reply", "text", "Reply")],
        [_choice("keep", "Learn from it?", {"yes": "Yes", "no": "No"}), _REWRITE],
    ),
    "preferences": _settings(
        PAIR_GUIDELINES,
        [_field("response_a", "text", "Reply A"), _field("response_b", "text", "Reply B")],
        [_choice("better", "Which is better?", {"a": "A", "b": "B", "tie": "Equally good"})],
        numbers=("p_a",),
    ),
}
