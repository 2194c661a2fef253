"""The judges that scorers of another program have open: each recipe's, over its own ledger."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from cai.engine import Ledger
from cai.errors import RunError
from cai.models import ModelSettings
from cai.pipeline.aside import quiet
from cai.pipeline.folder import RunFolder
from cai.pipeline.studio import Studio
from cai.recipe import Recipe, save_recipe

BOUGHT = "bought"
"""The one figure of a judge's folder: what its answers cost."""


@dataclass(frozen=True)
class JudgeSource:
    """Where a judge comes from.

    Args:
        recipe: whose judge it is.
        folder: keeps what it is asked; its own, for its recipe and its costs are written there.

    Raises:
        RunError: the folder is that of a run, or of another evaluation.
    """

    recipe: Recipe
    folder: Path

    def __post_init__(self) -> None:
        """Refuse a folder whose recipe and figures would be written over."""
        if set(RunFolder(self.folder).read_metrics()) - {BOUGHT}:
            raise RunError(
                f"{self.folder} has the figures of a run, and a judge would write its own over "
                "them; name a folder of the judge's own, such as "
                f"{self.folder.with_name(f'judge-{self.folder.name}')}"
            )


@dataclass
class _Opened:
    source: JudgeSource
    studio: Studio
    loop: asyncio.AbstractEventLoop
    files: ExitStack


class OpenJudges:
    """Owns the open judges. A folder has one ledger, and so one judge at a time."""

    def __init__(self) -> None:
        """Open none yet."""
        self._opened: dict[Path, _Opened] = {}

    def studio(self, source: JudgeSource) -> Studio:
        """The studio of a judge, opened at its first use in the running event loop.

        Raises:
            CaiError: the recipe's constitution or a template has faults, or somebody else writes
                to the folder: another process, or another recipe's judge.
        """
        place, loop = source.folder.resolve(), asyncio.get_running_loop()
        known = self._opened.get(place)
        if known is not None and known.loop is loop:
            if known.source != source:
                raise RunError(f"{place} is in use by the judge of another recipe; name another")
            return known.studio
        if known is not None:
            # Its connections are of a loop that is gone; what was bought over them is on disk.
            self._opened.pop(place).files.close()
        self._opened[place] = opened = _open(source, loop)
        return opened.studio

    async def close(self) -> None:
        """Close every judge of the running event loop and its ledger, and note what it cost."""
        loop = asyncio.get_running_loop()
        here = [place for place, one in self._opened.items() if one.loop is loop]
        for opened in map(self._opened.pop, here):
            with opened.files:
                await opened.studio.close()
                studio = opened.studio
                judge = studio.recipe.models.of("judge").name
                studio.folder.write_metrics({BOUGHT: {"judge": judge, **studio.tally.to_json()}})


def _open(source: JudgeSource, loop: asyncio.AbstractEventLoop) -> _Opened:
    folder, recipe = RunFolder(source.folder), _alone(source)
    folder.make()
    with ExitStack() as files:
        ledger = files.enter_context(Ledger.open(folder.ledger))
        save_recipe(recipe, folder.recipe)
        studio = Studio(recipe, folder, ledger, files.enter_context(quiet()))
        return _Opened(source, studio, loop, files.pop_all())


def _alone(source: JudgeSource) -> Recipe:
    """The recipe with models that are asked at once: a scorer waits for each of its answers."""

    def at_once(settings: ModelSettings | None) -> ModelSettings | None:
        return settings and settings.model_copy(update={"batch": False})

    models = source.recipe.models
    changed = {role: at_once(getattr(models, role)) for role in ("default", "judge", "fallback")}
    return source.recipe.model_copy(update={"models": models.model_copy(update=changed)})
