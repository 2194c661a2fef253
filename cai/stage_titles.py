"""Names for people of the policies that a run measures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

BEST_OF = "best_of"
"""Best-of-N among the policies that are measured: SL-CAI, its best reply by the PM."""

STAGE_TITLES: Mapping[str, str] = {
    "helpful": "Helpful-only",
    "distilled": "Distilled",
    "sl_cai": "SL-CAI",
    BEST_OF: "SL-CAI, best of N",
    "dpo": "DPO",
    "rl_cai": "RL-CAI",
}
"""The stages in their order, as the paper calls them."""


def stage_title(name: str) -> str:
    """The paper's name of a stage, with its iteration if it is a later one; others keep their own.

    Args:
        name: a key of `stages` in `metrics.json`, such as "rl_cai", or "rl_cai_1".
    """
    known = _known(name)
    if known is None:
        return name
    kind, iteration = known
    return f"{STAGE_TITLES[kind]}, iteration {iteration}" if iteration else STAGE_TITLES[kind]


def own_stages(names: Iterable[str]) -> list[str]:
    """Of stages, those of a run's own policies: by iteration, and within one in the paper's order.

    Others, such as the further models of a contest, are left out.
    """
    kinds = list(STAGE_TITLES)
    places = {name: _known(name) for name in names}
    own = {name: place for name, place in places.items() if place is not None}
    return sorted(own, key=lambda name: (own[name][1], kinds.index(own[name][0])))


def _known(name: str) -> tuple[str, int] | None:
    """Kind and iteration of a policy of a run's own; None for another name."""
    if name in STAGE_TITLES:
        return name, 0
    kind, _, iteration = name.rpartition("_")
    return (kind, int(iteration)) if kind in STAGE_TITLES and iteration.isdecimal() else None
