"""Where the folders of models lie that a recipe names."""

from __future__ import annotations

from pathlib import Path

from cai.models.settings import ModelSettings


def anchored_model(settings: ModelSettings, folder: Path) -> ModelSettings:
    """The same model, by its whole path if it lies in a folder; so too its adapter.

    What is not there stays as it is named: a name on the hub, or a path from where a command is
    typed.

    Args:
        settings: as a recipe has them.
        folder: the recipe's.
    """
    updates: dict[str, str] = {}
    if settings.provider == "folder" and (folder / settings.name).is_dir():
        updates["name"] = str((folder / settings.name).resolve())
    if settings.adapter is not None and (folder / settings.adapter).is_dir():
        updates["adapter"] = str((folder / settings.adapter).resolve())
    return settings.model_copy(update=updates) if updates else settings
