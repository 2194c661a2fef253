"""Constitutions: read, check, and draw principles from them."""

from cai.constitution.draw import draw, draw_many
from cai.constitution.load import Loaded, load_constitution, read_constitution
from cai.constitution.schema import (
    STAGES,
    ComparisonShot,
    Constitution,
    FewShots,
    Principle,
    RevisionShot,
    Stage,
)

__all__ = [
    "STAGES",
    "ComparisonShot",
    "Constitution",
    "FewShots",
    "Loaded",
    "Principle",
    "RevisionShot",
    "Stage",
    "draw",
    "draw_many",
    "load_constitution",
    "read_constitution",
]
