"""`cai evaluate ood` and `cai evaluate coverage`: prompts unlike those that a model knows."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import orjson
import typer

from cai.cli.options import taking

if TYPE_CHECKING:
    from cai.evaluation.intervals import Rate
    from cai.models.activations import Reader
    from cai.pipeline.coverage import Reach
    from cai.pipeline.outliers import Gate, OverDraws

MOST_CHARACTERS = 100
"""Of a prompt that is shown."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Whose activations are read, and how they are told."""

    model: Annotated[str, typer.Option(help="A model: microworld, a folder or hf:ORG/NAME.")]
    layer: Annotated[
        int | None, typer.Option(min=0, help="Layer to read; the middle one by default.")
    ] = None
    last: Annotated[
        bool, typer.Option("--last", help="Read a text's last position, not the mean of all.")
    ] = False
    seed: Annotated[int, typer.Option(help="Which prompts are fitted on.")] = 0
    json: Annotated[bool, typer.Option("--json", help="Every figure, as JSON.")] = False

    def reader(self) -> Reader:
        """Where the vectors come from."""
        from cai.models.activations import Reader

        return Reader(self.model, self.layer, "last" if self.last else "mean")


@dataclass(frozen=True, kw_only=True)
class GateWanted(Reading):
    """What `cai evaluate ood` was asked for; see the options of their names."""

    ordinary: Annotated[
        list[str], typer.Option(help="File of ordinary prompts, or microworld:harmless.")
    ]
    outliers: Annotated[
        list[str], typer.Option(help="File of other prompts, or microworld:harmful.")
    ]
    column: Annotated[str | None, typer.Option(help="Column that holds the prompts.")] = None
    fitted: Annotated[int, typer.Option(help="Ordinary prompts to fit on.")] = 300
    examples: Annotated[int, typer.Option(min=0, help="Outliers that the probe is shown.")] = 10
    share: Annotated[
        float, typer.Option(min=0, max=1, help="Share of ordinary prompts that may be flagged.")
    ] = 0.05
    draws: Annotated[
        int, typer.Option(min=1, help="How often what is fitted on is drawn, seed after seed.")
    ] = 10


@dataclass(frozen=True, kw_only=True)
class CoverageWanted(Reading):
    """What `cai evaluate coverage` was asked for; see the options of their names."""

    run: Annotated[Path, typer.Option(help="Folder of a run with preference and RL data.")]


@taking(GateWanted)
def ood(wanted: GateWanted) -> None:
    """Measure how well prompts of another kind are told from ordinary ones (HH-RLHF, §5.4).

    Example: cai evaluate ood --model microworld --ordinary microworld:harmless
    --outliers microworld:harmful
    """
    from cai.cli.constitution_print import print_lines
    from cai.pipeline.outliers import GateSettings, measure_gate

    settings = GateSettings(
        fitted=wanted.fitted,
        examples=wanted.examples,
        share=wanted.share,
        seed=wanted.seed,
        draws=wanted.draws,
    )
    found = measure_gate(
        wanted.reader(), wanted.ordinary, wanted.outliers, settings, column=wanted.column
    )
    if wanted.json:
        made = {
            "command": shlex.join(["cai", *sys.argv[1:]]),
            "date": datetime.now(UTC).date().isoformat(),
        }
        told = orjson.dumps(made | found.to_json(), option=orjson.OPT_INDENT_2)
        typer.echo(told.decode())
    else:
        print_lines(_gate_lines(found))


@taking(CoverageWanted)
def coverage(wanted: CoverageWanted) -> None:
    """Tell how far a run's RL prompts and its preference data reach beyond each other.

    Example: cai evaluate coverage --run runs/microworld --model microworld
    """
    from cai.cli.constitution_print import print_lines
    from cai.pipeline.coverage import measure_coverage
    from cai.pipeline.folder import existing_run

    found = measure_coverage(wanted.reader(), existing_run(wanted.run), seed=wanted.seed)
    if wanted.json:
        typer.echo(orjson.dumps([asdict(one) for one in found], option=orjson.OPT_INDENT_2))
    else:
        print_lines(line for one in found for line in _reach_lines(one))


def _gate_lines(gate: Gate) -> Iterator[str]:
    from cai.report.contamination_wording import contamination_lines

    found, draws = gate.figures, gate.over_draws
    alarms = f"at {found.share:g} false alarms"
    yield f"fitted on {found.fitted} ordinary prompts, tried on {found.tried} others"
    yield "relative Mahalanobis distance"
    yield from _figure_lines("AUROC", found.distance, draws.get("distance"))
    yield from _figure_lines(f"outliers caught {alarms}", found.caught, draws.get("caught"))
    if found.probe is not None:
        caught = found.caught_by_probe
        yield f"linear probe, shown {found.examples} outliers as well"
        yield from _figure_lines("AUROC", found.probe, draws.get("probe"))
        yield from _figure_lines(f"outliers caught {alarms}", caught, draws.get("caught_by_probe"))
    yield "ordinary prompts that look least so:"
    yield from (f"  {_shown(text)}" for text in found.furthest)
    yield from contamination_lines(gate.contamination.to_json() if gate.contamination else None)


def _figure_lines(name: str, rate: Rate | None, over: OverDraws | None) -> Iterator[str]:
    yield f"  {name}: {_figure(rate)}"
    if over is not None and over.draws > 1:
        spread = f"{over.mean:.3f} on average, {over.lowest:.3f} to {over.highest:.3f}"
        yield f"    over {over.draws} draws: {spread}"


def _reach_lines(reach: Reach) -> Iterator[str]:
    yield (
        f"{reach.other} beyond {reach.known}: {_figure(reach.beyond)}, where {reach.expected:g} "
        f"of {reach.known} lies ({reach.known_prompts} prompts, by halves)"
    )
    yield from (f"  {_shown(text)}" for text in reach.furthest)


def _figure(rate: Rate | None) -> str:
    if rate is None:
        return "unknown"
    return f"{rate.value:.3f} ({rate.low:.3f} to {rate.high:.3f}, n = {rate.n})"


def _shown(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= MOST_CHARACTERS else line[: MOST_CHARACTERS - 1] + "…"
