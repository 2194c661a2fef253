"""What a run was made of: hashes, versions, and the command that repeats it."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from cai.pipeline.studio import Studio
from cai.recipe import Recipe, recipe_hash
from cai.redaction import redacted
from cai.run_settings import EvaluationSettings

PACKAGES = ("constitutional-ai", "torch", "transformers", "trl", "datasets", "pyarrow")


def run_identity(studio: Studio, command: str) -> Mapping[str, Any]:
    """Name, seed, hashes of recipe, constitution and templates, commit and versions."""
    recipe, setting = studio.recipe, studio.setting
    return {
        "name": recipe.name,
        "seed": recipe.seed,
        "shard": str(studio.shard) if studio.shard else None,
        "recipe_hash": recipe_hash(recipe),
        "hash_before_evaluation": hash_before_evaluation(recipe),
        "constitution": {
            "id": setting.constitution.id,
            "hash": setting.constitution.hash,
            "title": setting.constitution.title,
            "principles": {
                one.id: one.model_dump(mode="json", exclude_none=True, exclude={"id"})
                for one in setting.constitution.principles
            },
        },
        "language": setting.constitution.language,
        "publication": recipe.publication.model_dump(mode="json"),
        "rows_with_rerun_settings": len(studio.rows_with_settings),
        "templates": {name: one.hash for name, one in setting.prompts.templates.items()},
        "commit": commit_of(Path(__file__).parents[2]),
        "versions": {"python": platform.python_version(), **_versions()},
        "command": redacted(command),
    }


def hash_before_evaluation(recipe: Recipe) -> str:
    """As `recipe_hash`, of what settles a run and its figures before any policy is evaluated."""
    kept = recipe.evaluation
    settled = EvaluationSettings(truth=kept.truth, label_probes=kept.label_probes)
    return recipe_hash(recipe.model_copy(update={"evaluation": settled}))


def commit_of(checkout: Path) -> str | None:
    """The commit that a checkout is at, with "-dirty" behind it if its files were changed.

    None for a folder that is no checkout, as of an installed package, and where there is no git.
    """
    if not (checkout / ".git").exists():
        return None  # git itself would go on to look in the folders around it
    places = ["--git-dir", str(checkout / ".git"), "--work-tree", str(checkout)]
    described = ["describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"]
    try:
        told = subprocess.run(
            ["git", *places, *described], capture_output=True, text=True, check=True
        )
    except (FileNotFoundError, subprocess.CalledProcessError):
        return None
    return told.stdout.strip()


def _versions() -> dict[str, str]:
    found: dict[str, str] = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found
