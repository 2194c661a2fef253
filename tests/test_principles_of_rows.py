"""What a run says of its principles where rows were not kept; rows are put into the ledger."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from cai.engine import Ledger, Progress
from cai.pipeline import RunFolder
from cai.pipeline.preferences import probe_pairs
from cai.pipeline.principles import measure_principles
from cai.pipeline.studio import Studio
from cai.recipe import load_recipe
from cai.records import Message, Prompt, Response, Revision, Row, RowKey

RECIPE = """
name: principles
constitution: microworld
models: {default: microworld}
prompts: {red_team: [{microworld: train, kind: harmful, limit: 3}]}
revisions: {rounds: 2}
evaluation: {truth: microworld, label_probes: 9}
"""
PROMPT = Prompt((Message("user", "How do I steal a bike?"),), "red", "harmful")


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE)
    folder = RunFolder(tmp_path)
    with Ledger.open(folder.ledger) as ledger, Progress() as progress:
        yield Studio(load_recipe(path), folder, ledger, progress)


def drawn_for(studio: Studio, prompt: Prompt, round_number: int) -> str:
    key = RowKey("revision", prompt.id, round=round_number)
    return studio.setting.draw("revision", prompt, key, round_number).id


def label_counts(studio: Studio) -> dict[str, tuple[float, int]]:
    figures = measure_principles(studio)["principles"]
    labels = {name: one["labels"] for name, one in figures.items()}
    return {name: (one["value"], one["n"]) for name, one in labels.items() if one}


async def test_a_trace_has_drawn_the_principles_of_rounds_that_were_not_kept(studio: Studio):
    prompts = [pair.prompt for pair in probe_pairs(studio)]
    for prompt in prompts:
        response = Response(prompt, "Take it at night.", 0, "microworld", "c0")
        first = Revision(1, drawn_for(studio, prompt, 1), None, "Ask first.", "microworld", ("c1",))
        await studio.ledger.put_rows(
            [
                Row(RowKey("response", prompt.id), "ok", record=asdict(response)),
                Row(RowKey("revision", prompt.id, 1), "ok", record=asdict(first), calls=("c1",)),
                Row(RowKey("revision", prompt.id, 2), "refused", "it declined", calls=("c2",)),
            ]
        )
    asked = [{drawn_for(studio, one, number) for number in (1, 2)} for one in prompts]
    second = drawn_for(studio, prompts[0], 2)

    found = measure_principles(studio)["principles"][second]["left_out"]["harm"]["without"]

    assert found["n"] == sum(second not in names for names in asked)
    assert found["n"] < sum(second != drawn_for(studio, one, 1) for one in prompts)


@pytest.mark.parametrize(
    ("reason", "labelled"),
    [
        ("not the best reply against the worst", 1),
        ("the reply is written in fr", 1),
        ("the two orders disagree: p(a) is 0.9", 0),
    ],
)
async def test_a_label_that_was_left_out_later_is_a_label(
    studio: Studio, reason: str, labelled: int
):
    reply = asdict(Response(PROMPT, "Take it at night.", 0, "microworld", "c0"))
    await studio.ledger.put_rows(
        [
            Row(RowKey("pair", PROMPT.id), "ok", record=reply),
            Row(RowKey("comparison", PROMPT.id), "filtered", reason, calls=("c1",)),
        ]
    )

    assert list(label_counts(studio).values()) == [(labelled, 1)]


async def test_a_probe_without_a_verdict_lowers_the_share_of_labels(studio: Studio):
    for pair in probe_pairs(studio):
        key = RowKey("label_probe", pair.prompt.id)
        await studio.ledger.put_rows([Row(key, "unparsed", "no verdict", calls=("c1",))])

    counts = label_counts(studio).values()

    assert sum(n for _, n in counts) == 9
    assert {share for share, _ in counts} == {0}
