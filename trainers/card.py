"""The card of a trained model: what it is, what it was made of and how, what was measured.

It is made of ``training.json`` when a training ends, and once more when the model has been
measured.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from cai.card import citation_lines, plain, read_head, table, write_card
from cai.models.weights import ADAPTER_FILES, MICROWORLD
from cai.movable import movable
from trainers.work_folder import read_record

SCORES = "preference_model"

KINDS: Mapping[str, str] = {
    "sft": "A policy finetuned on replies (SL-CAI: Bai et al. 2022, §3.2)",
    SCORES: "A preference model: its one output is the score of a conversation's last "
    "reply, and σ(r_a − r_b) the probability that a is the better one (Bai et al. 2022, §4.1)",
    "distillation": "A policy that does without a context what its teacher does with one (Bai et "
    "al. 2022, HH-RLHF, A.1)",
    "dpo": "A policy optimised on preference labels directly (Rafailov et al. 2023)",
    "rl": "A policy optimised by RL against a reward (RL-CAI: Bai et al. 2022, §4.2)",
}
"""What the models are, by the kind of their training."""

LIMITS: Mapping[str, Sequence[str]] = {
    SCORES: (
        "A score means something beside another one for the same prompt, and nothing by itself.",
        "Replies unlike those it has learned from can score high and be bad: optimise against it "
        "with a price on the distance, and look at what comes out.",
    ),
    "rl": ("It was optimised for a reward: what the reward does not see, nothing has held back.",),
}
ALL_LIMITS = (
    "What it refuses or helps with follows the constitution and the prompts that it was made with; "
    "it has not been tested for any use.",
    "It has the faults and the biases of the model that it starts from.",
)

Figure = tuple[str, str, str, str]
"""A measured figure: what, its value, its 95 % interval, and of how many."""


@dataclass(frozen=True)
class RunFacts:
    """What a run says of a model that it has made.

    Args:
        name: of the run.
        made_by: names and values, such as hash of the recipe and the command.
        figures: what was measured of the model.
        measured_on: what the figures are of, in a sentence; empty if there are none.
        language: of its constitution, such as "en"; None if not known.
        license: what its recipe states, for models whose base has none that is known.
        citation: of those who made it; None if they say none.
    """

    name: str
    made_by: Mapping[str, str]
    figures: Sequence[Figure] = ()
    measured_on: str = ""
    language: str | None = None
    license: str | None = None
    citation: str | None = None


def write_model_card(
    folder: Path,
    name: str,
    record: Mapping[str, Any],
    run: RunFacts | None = None,
    out: Path | None = None,
) -> None:
    """Write the card of a trained model.

    Args:
        folder: the model's.
        name: what it is called.
        record: of its training, as ``training.json`` has it.
        run: what its run says of it; None for a model that was trained alone.
        out: where the card goes; None for the model's folder.
    """
    adapter = all((folder / file).is_file() for file in ADAPTER_FILES)
    head = _head(record, run, library="peft" if adapter else "transformers")
    write_card(out or folder, head, _lines(name, record, run))


def root_model(record: Mapping[str, Any]) -> str:
    """What a model goes back to, through all trainings: a folder, or a name on the hub.

    A model that was trained on in its own folder goes back to that.
    """
    seen: set[Path] = set()
    earlier: Mapping[str, Any] | None = record
    name = ""
    while earlier is not None:
        name = str(next(iter(earlier["models"].values()))["name"])
        folder = Path(name).resolve()
        earlier = None if folder in seen else read_record(folder)
        seen.add(folder)
    return name


def _head(record: Mapping[str, Any], run: RunFacts | None, library: str) -> Mapping[str, Any]:
    kind, root = str(record["kind"]), root_model(record)
    data = [one["name"] for one in _data(record)]
    return {
        "base_model": _shown(root),
        "datasets": [_word(f"{run.name}-{name}" if run else name) for name in data] or None,
        "library_name": library,
        "pipeline_tag": "text-classification" if kind == SCORES else "text-generation",
        "license": root_license(root) or (run.license if run else None),
        "language": [run.language] if run and run.language else None,
        "tags": ["constitutional-ai", "trl", kind.replace("_", "-")],
    }


def _data(record: Mapping[str, Any]) -> Sequence[Mapping[str, str]]:
    """Name and hash of the rows; none in records of versions that did not keep them."""
    return [record["data"]] if "data" in record else []


def _lines(called: str, record: Mapping[str, Any], run: RunFacts | None) -> Iterator[str]:
    kind = str(record["kind"])
    yield f"# {plain(f'{called} of the run {run.name}' if run else called)}"
    what = KINDS.get(kind, f"A model trained by `trainers`, kind {plain(kind)}")
    yield from ("", f"{what}.", "")
    yield "This page is generated from `training.json`; do not edit it."
    models = ((role, _shown(one["name"]), one["digest"]) for role, one in record["models"].items())
    yield from table("Models that it was made of", ("role", "model", "digest"), models)
    rows = _number(record["rows"])
    data = ((one["name"], rows, one["hash"]) for one in _data(record))
    yield from table("Data", ("name", "rows", "hash"), data)
    left_out = {**record["dropped"]}
    if record["truncated"]:
        left_out["cut to max_length, and kept"] = record["truncated"]
    counts = ((reason, _number(count)) for reason, count in left_out.items())
    yield from table("Rows left out or cut", ("reason", "rows"), counts)
    if run is not None:
        yield from table("Run", ("what", "value"), [("name", run.name), *run.made_by.items()])
    settings = ((name, _value(value)) for name, value in record["settings"].items())
    yield from table("Settings", ("setting", "value"), settings)
    trained = ((name, _number(value)) for name, value in record["metrics"].items())
    yield from table("At the end of training", ("figure", "mean"), trained)
    yield from _measured(run)
    yield from ("", "## Limits", "")
    yield from (f"- {limit}" for limit in (*LIMITS.get(kind, ()), *ALL_LIMITS))
    yield from table("Versions", ("package", "version"), record["versions"].items())
    yield from citation_lines(run.citation if run else None)


def _measured(run: RunFacts | None) -> Iterator[str]:
    if run is None or not run.figures:
        yield from ("", "## Measured", "", "Nothing yet beside its training.")
        return
    yield from table("Measured", ("figure", "value", "95% interval", "n"), run.figures)
    yield from ("", run.measured_on)


def _shown(model: str) -> str:
    """A model's name; of a folder its last part, for a path says more of a machine than of it."""
    path = Path(model)
    if path == MICROWORLD:
        return "microworld"
    return path.name if path.is_absolute() or path.is_dir() else model


def root_license(root: str) -> str | None:
    """That of a model at the root, which holds for what is made of it; None if not known here."""
    if Path(root) == MICROWORLD:
        return "apache-2.0"  # as of the package that it is shipped with
    license = read_head(Path(root)).get("license")
    return license if isinstance(license, str) else None


def _word(name: str) -> str:
    """A name in the letters that the hub takes."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")


def _value(value: Any) -> str:
    return _shown(value) if isinstance(value, str) else orjson.dumps(movable(value)).decode()


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
