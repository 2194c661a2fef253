"""Folders of work beside runs: recipe and figures are never written over those of something else.

A run is gone on with under an edited recipe. An evaluation of other models, judges that are tried,
prompts that are written: each has a folder like a run's, with a recipe that nobody gave.
"""

from __future__ import annotations

from cai.errors import RunError
from cai.pipeline.folder import RunFolder


def refuse_folder_without(folder: RunFolder, figure: str) -> None:
    """Refuse a folder with figures of another kind.

    Args:
        folder: to be written to; it need not be there.
        figure: that this kind of work alone has.

    Raises:
        RunError: there are figures, and this is none of them.
    """
    metrics = folder.read_metrics()
    if metrics and figure not in metrics:
        raise _taken(folder)


def refuse_folder_of_a_run(folder: RunFolder) -> None:
    """Refuse a folder for an evaluation of named models, unless it is that of such a one.

    Such a one has a recipe without policies of its own, and no labels.

    Args:
        folder: to be written to; it need not be there.

    Raises:
        RunError: it is the folder of a run, or of judges that were tried.
    """
    match folder.read_recipe():
        case {"evaluation": {"contest": {"stages": False}}}:
            taken = "labels" in folder.read_metrics()
        case recipe:
            taken = bool(recipe)
    if taken:
        raise _taken(folder)


def _taken(folder: RunFolder) -> RunError:
    return RunError(
        f"{folder.path} is the folder of something else, whose recipe and figures would be "
        "replaced; name another one"
    )
