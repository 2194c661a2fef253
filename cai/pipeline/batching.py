"""Which models of a run are asked in batches, and what that changes for the others."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from cai.engine import BoughtModel, Ledger, Progress, Tally
from cai.engine.batch_book import BatchedName
from cai.engine.batch_desk import BatchDesk
from cai.engine.batch_office import Polling
from cai.engine.batched import BatchedModel
from cai.errors import CaiError
from cai.models import ModelSettings
from cai.models.base import LanguageModel
from cai.models.batches import AsksInBatches
from cai.pipeline.folder import RunFolder
from cai.recipe import Recipe


class Batching:
    """Makes models whose answers are bought, at once or in batches.

    A batch of an earlier command is waited for even if its model is asked at once by now: its
    calls are paid for.

    Args:
        recipes: the run's, and those of rows with settings of their own.
        folder: of the run.
        ledger: keeps calls and batches.
        progress: shows how batches stand.
        tally: counts calls.
        sends: False if no new batch is sent, whatever the recipe says.
    """

    def __init__(
        self,
        recipes: Sequence[Recipe],
        folder: RunFolder,
        ledger: Ledger,
        progress: Progress,
        *,
        tally: Tally,
        sends: bool,
    ) -> None:
        """Ask nobody yet."""
        self._folder = folder
        self._ledger = ledger
        self._progress = progress
        self._tally = tally
        self._engine = recipes[0].engine
        playing = [one for recipe in recipes for one in recipe.playing]
        self._sends = sends and any(one.batch for one in playing)

    @property
    def in_flight(self) -> int:
        """Rows under way at once: many if a batch is to be filled from them."""
        return self._engine.batches.rows if self._sends else self._engine.in_flight

    def bought(
        self, model: LanguageModel, settings: ModelSettings, **arguments: Any
    ) -> LanguageModel:
        """A model whose answers are bought.

        Args:
            model: the one that answers.
            settings: of it.
            arguments: further ones of `BoughtModel`.

        Raises:
            CaiError: it is to be asked in batches, and cannot be.
        """
        orders = self._sends and settings.batch
        if settings.batch and not orders:
            at_once = settings.model_copy(update={"batch": False})
            arguments["prices"] = at_once.known_prices
        sent = {batch.model for batch in self._ledger.batches.open()}
        if not (self._sends or sent):
            return BoughtModel(model, self._ledger, **arguments)
        if not (orders or model.identity in sent):
            return self._desk.noted(BoughtModel(model, self._ledger, **arguments))
        if not isinstance(model, AsksInBatches):
            raise CaiError(f"{settings.name} cannot be asked in batches; set `batch: false`")
        in_batches = settings.model_copy(update={"batch": True})
        name = BatchedName(model.identity, in_batches.model_dump_json(), in_batches.known_prices)
        lane = self._desk.lane(model, name)
        bought = BatchedModel(model, self._ledger, lane, asks_at_once=not orders, **arguments)
        return bought if orders else self._desk.noted(bought)

    async def close(self) -> None:
        """Send no more batches, and say which go on."""
        if "_desk" in self.__dict__:
            await self._desk.close()

    @cached_property
    def _desk(self) -> BatchDesk:
        settings = self._engine.batches
        return BatchDesk(
            self._ledger,
            self._tally,
            Polling(settings.first_look, settings.longest_pause, settings.settle),
            say=self._progress.say,
            run=str(self._folder.path),
        )
