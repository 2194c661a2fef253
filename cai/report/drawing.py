"""From a plate to a picture: inline SVG for the page, SVG and PNG files for papers.

The page's colours are drawn as placeholders and then handed to its style sheet, so that one picture
serves both colour schemes; files are dark on white. Text stays text, and the same data give the
same bytes.
"""

# matplotlib leaves its keyword arguments untyped.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import html
import io
import re
import textwrap
import warnings
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PNG_DOTS = 200
"""Dots per inch of a PNG file: a full-width figure is 1,360 dots wide."""


LETTERS = 14
"""Small letters that fit into an inch."""


@dataclass(frozen=True)
class Palette:
    """The colours of a picture: of text, of lines that help the eye, and of two runs."""

    ink: str
    faint: str
    first: str
    second: str


ON_PAGE = Palette("#010203", "#040506", "#070809", "#0a0b0c")
"""Placeholders, for which `PAGE_COLOURS` has what the page says."""

IN_FILE = Palette("#1c2227", "#d0d4d8", "#0f6a8b", "#b2541f")
"""The page's own colours on white."""

PAGE_COLOURS: Mapping[str, str] = {
    ON_PAGE.ink: "currentColor",
    ON_PAGE.faint: "var(--line)",
    ON_PAGE.first: "var(--first)",
    ON_PAGE.second: "var(--second)",
}

Draw = Callable[["Figure", Palette], None]


@dataclass(frozen=True)
class Plate:
    """One figure, yet to be drawn.

    Args:
        name: unique in its page; every id inside the SVG begins with it, and files are named so.
        title: what it shows, in a few words.
        alt: the same in words and numbers, for readers who do not see it.
        caption: what to look for.
        mark: why it is not to be taken as it is, which files carry in the picture; empty if it is.
        draw: puts it on an empty matplotlib figure.
        size: width and height in inches.
    """

    name: str
    title: str
    alt: str
    caption: str
    draw: Draw
    size: tuple[float, float] = (6.8, 3.0)
    mark: str = ""


def inline_svg(plate: Plate) -> str:
    """The figure as a part of the page: its colours, its fonts, ids of its own."""
    return _for_page(_drawn(plate, ON_PAGE, "svg").decode(), plate)


def svg_file(plate: Plate) -> bytes:
    """The figure as an SVG file, dark on white."""
    return _drawn(plate, IN_FILE, "svg")


def png_file(plate: Plate) -> bytes:
    """The figure as a PNG file, dark on white, at `PNG_DOTS` dots per inch."""
    return _drawn(plate, IN_FILE, "png")


def _drawn(plate: Plate, palette: Palette, form: str) -> bytes:
    with _settings(plate, palette):
        from matplotlib.figure import Figure

        figure = Figure(figsize=plate.size, layout="constrained")
        plate.draw(figure, palette)
        if plate.mark and palette is IN_FILE:  # the page has it in the caption
            lines = textwrap.fill(plate.mark, int(LETTERS * plate.size[0]))
            figure.supxlabel(lines, x=0.01, ha="left", fontsize=9, color=palette.second)
        buffer = io.BytesIO()
        nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
        metadata = nothing if form == "svg" else {"Software": None}
        figure.savefig(
            buffer,
            format=form,
            dpi=PNG_DOTS,
            transparent=palette is ON_PAGE,
            facecolor="none" if palette is ON_PAGE else "white",
            metadata=metadata,
        )
    return buffer.getvalue()


@contextmanager
def _settings(plate: Plate, palette: Palette) -> Generator[None]:
    import matplotlib

    settings: dict[Any, Any] = {
        "svg.fonttype": "none",
        "svg.hashsalt": plate.name,
        # Names of models and principles may hold a dollar sign; they are no formulas.
        "text.parse_math": False,
        "font.size": 11,
        "axes.edgecolor": palette.faint,
        "axes.labelcolor": palette.ink,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.linewidth": 1.0,
        "axes.formatter.use_mathtext": False,
        "axes.unicode_minus": True,
        "grid.color": palette.faint,
        "grid.linewidth": 0.7,
        "legend.frameon": False,
        "xtick.color": palette.faint,
        "ytick.color": palette.faint,
        "xtick.labelcolor": palette.ink,
        "ytick.labelcolor": palette.ink,
        "text.color": palette.ink,
        "lines.linewidth": 2.0,
        "lines.markersize": 6,
    }
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        # Letters that matplotlib's own font lacks are drawn by the reader's.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def _for_page(svg: str, plate: Plate) -> str:
    """Inline form: no XML head, ids that are unique in the page, the page's colours and fonts."""
    told = f"{plate.alt}. {plate.mark}" if plate.mark else plate.alt
    name, alt = html.escape(plate.name, quote=True), html.escape(told, quote=True)
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(\bid="|xlink:href="#|url\(#)', rf"\g<1>{name}-", svg)
    svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>\s*", "", svg, count=1, flags=re.DOTALL)
    svg = re.sub(r"font-family: [^;\"]*", "font-family: inherit", svg)
    for placeholder, colour in PAGE_COLOURS.items():
        svg = svg.replace(placeholder, colour)
    head = f'<svg role="img" aria-label="{alt}" class="figure"'
    return svg.replace("<svg", head, 1).replace(">", f"><title>{alt}</title>", 1)
