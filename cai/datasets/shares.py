"""How many rows of each source a mixture holds."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction


def quotas(there: Mapping[str, int], weights: Mapping[str, float]) -> Mapping[str, int]:
    """Rows to take of each source that has a weight, none of them twice.

        n_i = round(λ w_i),   λ = min over w_i > 0 of a_i / w_i

    So the scarcest source is taken whole, and every other one is within half a row of its share.
    A source of which there is no row is left aside, so that the others keep their proportion.

    Args:
        there: a_i, the rows that there are, by source.
        weights: w_i ≥ 0, of the sources in `there` that have one.
    """
    # As they were written: the float nearest to 0.15 is less, and half of a row would be lost.
    shares = {name: Fraction(str(weight)) for name, weight in weights.items()}
    wanted = [name for name, share in shares.items() if share and there[name]]
    if not wanted:
        return dict.fromkeys(weights, 0)
    scale = min(there[name] / shares[name] for name in wanted)
    return {name: min(there[name], round(scale * share)) for name, share in shares.items()}
