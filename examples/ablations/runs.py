"""Run the variants of an ablation: each takes over what it shares with the plain run of its seed.

Calls are taken over by the ledger's `reuse`, models by a copy: a model whose ingredients are others
is trained anew, for its hash is another one.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import orjson

from cai.pipeline import STEPS, RunFolder, Step, run_recipe, steps_until
from cai.pipeline.folder import ModelName
from cai.pipeline.provenance import commit_of
from cai.recipe import Recipe, load_recipe, recipe_hash
from examples.ablations.records import Ablation, Measured, Variant

CHECKOUT = Path(__file__).parents[2]
RECIPE = CHECKOUT / "examples" / "microworld.yaml"
NOTE = "done.json"
MADE_BY: Mapping[Step, ModelName] = {"sft": "sl_cai", "pm": "pm", "dpo": "dpo", "rl": "rl_cai"}


@dataclass(frozen=True)
class Workplace:
    """Where and how large the runs are.

    Args:
        folder: holds a folder for each seed, with a run for each variant; finished runs are kept.
        limit: cut of every prompt and pair set; None for none.
        settings: overrides for all runs.
        command: how it was started.
    """

    folder: Path
    limit: int | None = None
    settings: tuple[str, ...] = ()
    command: str = ""

    def recipe(self, variant: Variant, seed: int) -> Recipe:
        """The recipe of a variant."""
        settings = (*self.settings, f"seed={seed}", *variant.settings)
        return load_recipe(RECIPE, settings).limited(self.limit)

    def run_of(self, variant: Variant, seed: int) -> RunFolder:
        """Where the run of a variant is; two variants of the same settings share it."""
        name = recipe_hash(self.recipe(variant, seed))
        return RunFolder(self.folder / f"seed-{seed}" / name)


def measured(ablation: Ablation, seed: int, place: Workplace) -> Iterator[Measured]:
    """Make the runs of an ablation that are not there yet; gives each when it is done."""
    asked = {one.until for one in ablation.variants}
    last: Step = next(step for step in reversed(STEPS) if step in asked)
    plain = finished_run(Variant("plain", until=last), seed, place)
    for variant in ablation.variants:
        yield Measured(variant, finished_run(variant, seed, place, plain), plain)


def finished_run(
    variant: Variant, seed: int, place: Workplace, plain: RunFolder | None = None
) -> RunFolder:
    """Run a variant as far as it is wanted, if that was not done before.

    Args:
        variant: what to run.
        seed: of the recipe: its prompts, its samples and its trainings.
        place: where.
        plain: the run whose calls and models may be taken over; None for none.
    """
    recipe, folder = place.recipe(variant, seed), place.run_of(variant, seed)
    steps = steps_until(variant.until, recipe.policies, recipe.comparisons)
    done = note_of(folder)
    if set(steps) <= set(done.get("steps", ())):
        return folder
    reuse: Sequence[Path] = ()
    if plain is not None and plain != folder:
        reuse = [plain.ledger]
        _take_over(plain, folder, steps)
    began, began_working = time.monotonic(), time.process_time()
    run_recipe(recipe, folder, steps=steps, command=place.command, reuse=reuse)
    note = {
        "steps": sorted({*done.get("steps", ()), *steps}, key=STEPS.index),
        "date": datetime.now(UTC).isoformat(timespec="minutes"),
        "commit": commit(),
        "seconds": round(done.get("seconds", 0) + time.monotonic() - began),
        "core_seconds": round(done.get("core_seconds", 0) + time.process_time() - began_working),
    }
    (folder.path / NOTE).write_bytes(orjson.dumps(note, option=orjson.OPT_INDENT_2))
    return folder


@cache
def commit() -> str | None:
    """The commit whose code is run, with "-dirty" behind it if files were changed by then.

    It is looked up once: what a command writes in the meantime is not its code.
    """
    return commit_of(CHECKOUT)


def is_changed(made_by: str | None) -> bool:
    """Whether files were changed since a commit, so that nobody can have that code again."""
    return (made_by or "").endswith("-dirty")


def note_of(folder: RunFolder) -> Mapping[str, Any]:
    """Steps of a run that are done, when and by which commit, and in how many seconds."""
    path = folder.path / NOTE
    return orjson.loads(path.read_bytes()) if path.is_file() else {}


def _take_over(plain: RunFolder, folder: RunFolder, steps: Sequence[Step]) -> None:
    """Copy the models that the steps would train; each appears whole."""
    for step in steps:
        if step not in MADE_BY:
            continue
        there, here = plain.model(MADE_BY[step]), folder.model(MADE_BY[step])
        if there.is_dir() and not here.exists():
            half = here.with_suffix(".half")
            shutil.rmtree(half, ignore_errors=True)
            shutil.copytree(there, half)
            half.rename(here)
