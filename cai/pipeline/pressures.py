"""One pressure for each server that a run asks, whichever roles ask it."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field

from cai.engine import Tally
from cai.engine.pressure import Pressure
from cai.models import ModelSettings
from cai.models.limits import Allowance
from cai.recipe import Recipe


@dataclass
class Pressures:
    """The pressures of a run, each made at its server's first model.

    Args:
        recipes: the run's, and those of rows with settings of their own; a server is asked no more
            than the strictest limits that any of their roles gives for it.
        tally: is told what holds a model back.
    """

    recipes: Sequence[Recipe]
    tally: Tally
    _made: dict[tuple[str, ...], Pressure] = field(default_factory=dict[tuple[str, ...], Pressure])

    def on(self, settings: ModelSettings, identity: str) -> Pressure | None:
        """What holds calls to a model's server back; None for an in-process model.

        Args:
            settings: of the model.
            identity: of the model, for the tally.
        """
        server = settings.server
        if server is None:
            return None
        if server not in self._made:
            counts = self.tally.of(identity)

            def tell(words: str) -> None:
                counts.limit = words

            in_flight = self.recipes[0].engine.in_flight
            self._made[server] = Pressure(in_flight, self._allowance(server), tell=tell)
        return self._made[server]

    def _allowance(self, server: tuple[str, ...]) -> Allowance:
        given = [one for recipe in self.recipes for one in recipe.playing]
        allowed = (one.allowance for one in given if one.server == server)
        return functools.reduce(Allowance.strictest, allowed, Allowance())
