"""Exports to llm-swarm's columns and to argilla, each read by the library itself."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from cai.datasets.parquet import SplitWriter
from cai.datasets.preferences import preference_features
from cai.datasets.sft import sft_features
from cai.engine import Ledger
from cai.errors import CaiError
from cai.export.llm_swarm import (
    COLUMNS,
    HELPFUL,
    MIXED,
    SEVERAL,
    SWARM_SPLITS,
    UNCHANGED,
    UNKNOWN,
)
from cai.export.run_export import export_run
from cai.records import Message, Prompt, Response, Revision, Row, RowKey
from cai.untyped import untyped
from tests.argilla_server import ArgillaServer, argilla_server

PROMPTS = 24
SEVERAL_TURNS = (Message("user", "Hi"), Message("assistant", "Hello"), Message("user", "Go on"))


def turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def question(number: int) -> Prompt:
    return Prompt((Message("user", f"Question {number}?"),), "red.jsonl", "harmful")


def conversation(prompt: Prompt, reply: str, **fields: Any) -> dict[str, Any]:
    messages = [asdict(one) for one in prompt.messages]
    return {
        "messages": [*messages, turn("assistant", reply)],
        "prompt_id": prompt.id,
        "source": prompt.source,
        "kind": prompt.kind,
        "origin": "revision",
        "model": "judge",
        **fields,
    }


def pair(prompt: Prompt, p_chosen: float) -> dict[str, Any]:
    return {
        "prompt": [asdict(one) for one in prompt.messages],
        "chosen": [turn("assistant", "good")],
        "rejected": [turn("assistant", "bad")],
        "p_chosen": p_chosen,
        "prompt_id": prompt.id,
        "source": "ai",
        "principle": "kind",
        "model": "judge",
    }


async def fill(ledger: Ledger, traces: list[tuple[Prompt, list[str]]]) -> None:
    for prompt, (first, *revised) in traces:
        said = asdict(Response(prompt, first, 0, "writer", "c"))
        await ledger.put_rows([Row(RowKey("response", prompt.id), "ok", record=said)])
        for number, text in enumerate(revised, start=1):
            made = Revision(number, "kind", f"critique {number}", text, "writer", ())
            record = {**asdict(made), "prompt": asdict(prompt)}
            key = RowKey("revision", prompt.id, round=number)
            await ledger.put_rows([Row(key, "ok", record=record)])


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Two rounds of revisions, a helpful reply, and pairs of every strength."""
    folder = tmp_path / "run"
    asked = [question(number) for number in range(PROMPTS)]
    several = Prompt(SEVERAL_TURNS, "red.jsonl", "harmful")
    traces = [(prompt, ["first", "better", "best"]) for prompt in asked]
    folder.mkdir()
    with Ledger.open(folder / "ledger.sqlite") as ledger:
        asyncio.run(fill(ledger, [*traces, (several, ["first", "better"])]))
    rows = [
        ("test" if number % 4 == 0 else "train", conversation(prompt, text, round=place))
        for number, prompt in enumerate(asked)
        for place, text in ((1, "better"), (2, "best"))
    ]
    rows.append(("train", conversation(several, "better", round=1)))
    rows.append(("train", conversation(question(99), "helps", origin="helpful", round=0)))
    rows.append(("train", conversation(question(99), "else", origin="mixed", round=0)))
    rows.append(("train", conversation(question(99), "lost", round=1)))
    datasets = folder / "datasets"
    SplitWriter(datasets / "sft", sft_features()).write(rows)
    pairs = [("train", pair(question(n), p)) for n, p in enumerate([0.5, 0.75, 0.9, 1.0])]
    SplitWriter(datasets / "preferences", preference_features()).write(pairs)
    texts = {"kind": {"critique": "Is it kind?", "revision": "Write it kindly."}}
    constitution = {"id": "kind", "hash": "ab", "principles": texts}
    about = {"name": "demo", "seed": 0, "recipe_hash": "cd", "constitution": constitution}
    metrics = {"run": about}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    return folder


def swarm(run: Path, out: Path, file_type: Any = "jsonl") -> Any:
    return export_run(run, out, "llm-swarm", minimum_margin=0, file_type=file_type)


def swarm_rows(out: Path) -> dict[str, list[dict[str, Any]]]:
    return {
        split: [json.loads(line) for line in (out / f"{split}.jsonl").read_text().splitlines()]
        for split in SWARM_SPLITS
    }


# Columns and splits are those of the hub's HuggingFaceH4/cai-conversation-harmless (the head of its
# card), and of what llm-swarm's generate_dataset.py pushes.
@pytest.mark.parametrize("file_type", ["jsonl", "parquet"])
def test_datasets_loads_the_four_splits_with_the_columns_of_the_hubs_sets(
    run: Path, tmp_path: Path, file_type: str
):
    from datasets import List, Value, load_dataset

    swarm(run, tmp_path / "out", file_type)

    files = {split: f"{split}.{file_type}" for split in SWARM_SPLITS}
    found = load_dataset(str(tmp_path / "out"), data_files=files, cache_dir=str(tmp_path / "cache"))
    assert tuple(found) == SWARM_SPLITS
    features = found["train_prefs"].features
    turns = List({"role": Value("string"), "content": Value("string")})
    lists = {"messages", "chosen", "rejected"}
    for column in COLUMNS:
        assert features[column] == (turns if column in lists else Value("string")), column


def test_a_row_stands_for_one_revision_and_what_it_revised(run: Path, tmp_path: Path):
    swarm(run, tmp_path / "out")

    rows = [row for some in swarm_rows(tmp_path / "out").values() for row in some]
    (second,) = [row for row in rows if row["prompt"] == "Question 0?" and row["round"] == 2]
    asked = turn("user", "Question 0?")
    assert {name: second[name] for name in COLUMNS} == {
        "init_prompt": "Question 0?",
        "init_response": "better",
        "critic_prompt": "Is it kind?",
        "critic_response": "critique 2",
        "revision_prompt": "Write it kindly.",
        "revision_response": "best",
        "prompt": "Question 0?",
        "messages": [asked, turn("assistant", "best")],
        "chosen": [asked, turn("assistant", "best")],
        "rejected": [asked, turn("assistant", "first")],
    }


def test_no_prompt_is_in_two_splits_and_held_out_ones_stay_so(run: Path, tmp_path: Path):
    swarm(run, tmp_path / "out")

    rows = swarm_rows(tmp_path / "out")
    prompts = {split: {row["prompt"] for row in some} for split, some in rows.items()}
    assert sum(len(some) for some in prompts.values()) == PROMPTS
    held_out = {f"Question {number}?" for number in range(0, PROMPTS, 4)}
    assert prompts["test_sft"] | prompts["test_prefs"] == held_out


def test_what_has_no_place_among_them_is_counted(run: Path, tmp_path: Path):
    exported = swarm(run, tmp_path / "out")

    assert exported.left_out == {HELPFUL: 1, MIXED: 1, SEVERAL: 1, UNKNOWN: 1}


def test_a_revision_that_changed_nothing_is_no_pair(tmp_path: Path, run: Path):
    with Ledger.open(run / "ledger.sqlite") as ledger:
        same = [(question(number), ["best", "better", "best"]) for number in range(PROMPTS)]
        asyncio.run(fill(ledger, same))

    exported = swarm(run, tmp_path / "out")

    pairs = [
        row for name in ("train_prefs", "test_prefs") for row in swarm_rows(tmp_path / "out")[name]
    ]
    assert exported.left_out[UNCHANGED] == len(pairs) > 0
    assert all(row["chosen"] != row["rejected"] for row in pairs)


@pytest.mark.parametrize("format", ["llm-swarm", "argilla"])
def test_a_margin_is_refused_where_no_label_leaves_a_pair_out(
    run: Path, tmp_path: Path, format: str
):
    with pytest.raises(CaiError, match="leave --minimum-margin out"):
        export_run(run, tmp_path / "out", format, minimum_margin=0.1, file_type="jsonl")


def test_argilla_has_no_other_kind_of_file(run: Path, tmp_path: Path):
    with pytest.raises(CaiError, match="leave --file-type out"):
        export_run(run, tmp_path / "out", "argilla", minimum_margin=0, file_type="parquet")


@pytest.fixture
def server() -> Iterator[ArgillaServer]:
    with argilla_server() as one:
        yield one


def argilla_dataset(name: str, run: Path, out: Path, server: ArgillaServer) -> Any:
    """What argilla's own client makes of an exported folder."""
    argilla = untyped("argilla")
    export_run(run, out, "argilla", minimum_margin=0, file_type="jsonl")
    client = argilla.Argilla(api_url=server.url, api_key="key")
    with closing(client.http_client):
        return argilla.Dataset.from_disk(str(out / name), workspace="mine", client=client)


@pytest.mark.filterwarnings("ignore")  # argilla 2.8 is older than the pydantic beside it
@pytest.mark.parametrize(("name", "rows"), [("sft", 52), ("preferences", 4)])
def test_argilla_makes_the_data_set_of_an_exported_folder(
    run: Path, tmp_path: Path, server: ArgillaServer, name: str, rows: int
):
    dataset = argilla_dataset(name, run, tmp_path / "out", server)

    assert dataset.name == f"run-{name}"
    assert len(server.made["records"]) == rows
    assert len({one["external_id"] for one in server.made["records"]}) == rows
    questions = {"sft": ["keep", "rewrite"], "preferences": ["better"]}
    assert [one["name"] for one in server.made["questions"]] == questions[name]


@pytest.mark.filterwarnings("ignore")
def test_argilla_shows_the_judges_label_as_a_suggestion_on_the_side_where_it_stands(
    run: Path, tmp_path: Path, server: ArgillaServer
):
    argilla_dataset("preferences", run, tmp_path / "out", server)

    (question_id,) = [one["id"] for one in server.made["questions"]]
    assert question_id
    for record in server.made["records"]:
        (suggestion,) = record["suggestions"]
        fields = record["fields"]
        better = {"a": fields["response_a"], "b": fields["response_b"], "tie": "good"}
        assert better[suggestion["value"]] == "good"
        assert (suggestion["value"] == "tie") == (suggestion["score"] == 0.5)
        assert suggestion["agent"] == "judge"


@pytest.mark.parametrize("name", ["sft", "preferences"])
def test_what_argilla_reads_has_the_shape_of_its_documentation(
    run: Path, tmp_path: Path, name: str
):
    # docs.argilla.io, "Import and export datasets": what `to_disk` leaves, and `Record.to_dict`.
    export_run(run, tmp_path / "out", "argilla", minimum_margin=0, file_type="jsonl")

    folder = tmp_path / "out" / name
    settings = json.loads((folder / ".argilla/settings.json").read_bytes())
    fields = {one["name"] for one in settings["fields"]}
    metadata = {one["name"] for one in settings["metadata"]}
    questions = {one["name"] for one in settings["questions"]}
    for record in json.loads((folder / "records.json").read_bytes()):
        assert set(record) == {*("id", "fields", "metadata", "suggestions", "responses", "vectors")}
        assert set(record["fields"]) == fields
        assert set(record["metadata"]) <= metadata
        assert set(record["suggestions"]) <= questions
