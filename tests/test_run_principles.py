"""What a run says of its principles, held against its rows and against a run without one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest

from cai.constitution import draw, load_constitution
from cai.engine import Ledger
from cai.pipeline import RunFolder, run_recipe
from cai.pipeline.readback import read_traces
from cai.pipeline.steps import Step
from cai.recipe import load_recipe
from cai.records import Prompt

pytestmark = pytest.mark.slow

LEFT_OUT = "no-vandalism-fraud-or-spying"
RECIPE = """
name: principles
constitution: microworld
models: {default: microworld}
prompts: {red_team: [{microworld: train, kind: harmful, limit: 14}]}
revisions: {rounds: 2, checks: {unchanged: true}}
comparisons: {responder: assistant, sampling: {temperature: 1.3}, label: {principles: 2}}
evaluation: {truth: microworld, label_probes: 0}
"""
MORE = "prompts.red_team=[{microworld: train, kind: harmful, limit: 44}]"
WITHOUT = f"id: smaller\nextends: microworld\nremove: [{LEFT_OUT}]\n"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return made(tmp_path_factory.mktemp("whole"))


def made(
    folder: Path,
    *settings: str,
    steps: Sequence[Step] = ("revisions", "preferences"),
    reuse: Sequence[Path] = (),
) -> RunFolder:
    path = folder / "recipe.yaml"
    path.write_text(RECIPE)
    run = RunFolder(folder / "run")
    run_recipe(load_recipe(path, settings), run, steps=steps, reuse=reuse)
    return run


def figures(run: RunFolder) -> dict[str, Any]:
    return orjson.loads(run.metrics.read_bytes())["principles"]


def test_every_revision_counts_for_its_principle_also_if_it_was_left_out(run: RunFolder):
    with Ledger.open(run.ledger, read_only=True) as ledger:
        asked = [row for row in ledger.rows("revision") if row.calls]

    kept = {name: one["revisions"] for name, one in figures(run).items() if one["revisions"]}

    assert sum(rate["n"] for rate in kept.values()) == len(asked)
    left_out = sum(round((1 - rate["value"]) * rate["n"]) for rate in kept.values())
    assert left_out == sum(row.status == "filtered" for row in asked) > 0


def test_every_label_counts_for_each_of_its_principles(run: RunFolder):
    with Ledger.open(run.ledger, read_only=True) as ledger:
        labelled = sum(row.status == "ok" for row in ledger.rows("comparison"))

    votes = [one["turned"]["n"] for one in figures(run).values() if one["turned"]]

    assert sum(votes) == 2 * labelled > 0


def test_rows_that_did_not_draw_a_principle_are_those_of_a_run_without_it(tmp_path: Path):
    for name in ("whole", "smaller"):
        (tmp_path / name).mkdir()
    (tmp_path / "smaller" / "smaller.yaml").write_text(WITHOUT)
    run = made(tmp_path / "whole", MORE, steps=["revisions"])
    without_it = ("constitution=smaller.yaml", MORE)
    # The same call is bought once: asked again, a text may depend on what it is batched with.
    smaller = made(tmp_path / "smaller", *without_it, steps=["revisions"], reuse=[run.ledger])

    with (
        Ledger.open(run.ledger, read_only=True) as whole,
        Ledger.open(smaller.ledger, read_only=True) as without,
    ):
        kept = [one for one in read_traces(whole) if LEFT_OUT not in drawn(one.response.prompt)]
        texts = {one.response.prompt.id: one.texts for one in read_traces(without)}

    assert len(kept) > 10
    assert all(texts[one.response.prompt.id] == one.texts for one in kept)


def drawn(prompt: Prompt) -> set[str]:
    """The principles of both rounds, whether or not their revisions were kept."""
    constitution = load_constitution("microworld")
    return {
        draw(constitution, "revision", seed=0, prompt_id=prompt.id, round=number).id
        for number in (1, 2)
    }
