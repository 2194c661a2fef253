"""What a run was made with, as it travels beside its data: constitution, templates, recipe.

The folder ``made_with`` needs nothing of the machine that the run was on, but for what the recipe
names and does not travel: files of prompts, of judged pairs and of ``mix``, data sets in folders,
and models in folders or on servers of its own. With these in their places,
``cai run made_with/recipe.yaml`` asks the same questions under the same principles.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from cai.constitution import Constitution, load_constitution
from cai.constitution.writing import as_yaml, plain_data
from cai.errors import RunError
from cai.movable import OWN_ENDPOINT, is_own, movable
from cai.pipeline.folder import RunFolder
from cai.pipeline.templates import templates_of
from cai.prompts import Prompts
from cai.recipe import Recipe, load_recipe
from cai.stages.setting import Setting
from cai.whole import replace_folder

CONSTITUTION, TEMPLATES, RECIPE = "constitution.yaml", "templates", "recipe.yaml"


def save_made_with(folder: RunFolder, recipe: Recipe, setting: Setting) -> None:
    """Write the folder ``made_with`` of a run anew, whole or not at all.

    Args:
        folder: the run's.
        recipe: as resolved.
        setting: with its constitution and templates.
    """
    new = folder.made_with.with_name("made_with.new")
    shutil.rmtree(new, ignore_errors=True)
    for name, path in setting.prompts.files.items():
        file = new / TEMPLATES / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(path.read_bytes())
    constitution = setting.constitution
    (new / CONSTITUTION).write_text(as_yaml(plain_data(constitution)), encoding="utf-8")
    says = (f"The recipe of the run {recipe.name}; of the files that it names, none are here.",)
    (new / RECIPE).write_text(as_yaml(_for_others(recipe), says), encoding="utf-8")
    replace_folder(new, folder.made_with)


def made_with(folder: RunFolder) -> Path:
    """The folder ``made_with`` of a run; for a run of an earlier version it is made now.

    Raises:
        RunError: constitution or templates are no longer those that the run was made with.
        InputError: recipe, constitution or templates cannot be read.
    """
    if not folder.made_with.is_dir():
        recipe = load_recipe(folder.recipe)
        constitution = load_constitution(recipe.constitution)
        prompts = templates_of(recipe, constitution)
        _check_same(folder, constitution, prompts)
        save_made_with(folder, recipe, Setting(constitution, prompts, recipe.seed))
    return folder.made_with


def _check_same(folder: RunFolder, constitution: Constitution, prompts: Prompts) -> None:
    was: Mapping[str, Any] = folder.read_metrics().get("run", {})
    now = {name: one.hash for name, one in prompts.templates.items()}
    changed = [
        name
        for name, same in (
            ("its constitution", was.get("constitution", {}).get("hash") == constitution.hash),
            ("its templates", was.get("templates") == now),
        )
        if not same
    ]
    if changed:
        raise RunError(
            f"{folder.path}: {' and '.join(changed)} changed since it was made, and it kept no "
            f"copy; run its recipe again, which buys what the change asks for: "
            f"cai run {folder.recipe} --run {folder.path}"
        )


def _for_others(recipe: Recipe) -> dict[str, Any]:
    """What the recipe says, without folders and servers of this machine."""
    data = recipe.model_dump(mode="json", exclude_none=True)
    data = cast("dict[str, Any]", _without_servers(movable(data)))
    return data | {"constitution": CONSTITUTION, "templates": TEMPLATES}


def _without_servers(value: Any) -> Any:
    if isinstance(value, dict):
        given = cast("dict[str, Any]", value)
        return {
            name: OWN_ENDPOINT if name == "endpoint" and is_own(part) else _without_servers(part)
            for name, part in given.items()
        }
    if isinstance(value, list):
        return [_without_servers(part) for part in cast("list[Any]", value)]
    return value
