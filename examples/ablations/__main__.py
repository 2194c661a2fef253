"""``python -m examples.ablations NAME…``: run, measure, and write results and figures."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import orjson

from cai.errors import CaiError
from examples.ablations.figure import draw
from examples.ablations.results import T, measure, reworded, table
from examples.ablations.runs import Workplace
from examples.ablations.table import ABLATIONS

RESULTS = Path(__file__).with_name("results")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is not done yet, print the figures, and write them with their picture."""
    options = argparse.ArgumentParser(prog="python -m examples.ablations")
    options.add_argument("names", nargs="+", choices=ABLATIONS, metavar="NAME")
    options.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    options.add_argument("--work", type=Path, default=Path("runs/ablations"), help="kept runs")
    options.add_argument("--out", type=Path, default=RESULTS, help="JSON and figures go here")
    options.add_argument("--limit", type=int, help="cut every prompt and pair set: a trial")
    options.add_argument("--set", nargs="+", default=[], help="override the recipe: a trial")
    options.add_argument(
        "--redraw", action="store_true", help="run nothing; the results in --out in today's words"
    )
    given = options.parse_args(arguments)
    if len(given.seeds) > max(T):
        options.error(f"at most {max(T)} seeds")
    # A process of its own for each core is faster than one that shares its matrices out.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    given.out.mkdir(parents=True, exist_ok=True)
    command = shlex.join(["python", "-m", "examples.ablations", *(arguments or sys.argv[1:])])
    place = Workplace(given.work, given.limit, tuple(given.set), command)
    for name in given.names:
        file = given.out / f"{name}.json"
        try:
            results = (
                reworded(file, ABLATIONS[name])
                if given.redraw
                else measure(name, ABLATIONS[name], given.seeds, place)
            )
        except CaiError as error:
            sys.exit(f"ablations: {error}")
        sys.stdout.write(f"{results['question']}\n{table(results)}")
        file.write_bytes(orjson.dumps(results, option=orjson.OPT_INDENT_2) + b"\n")
        (given.out / f"{name}.svg").write_bytes(draw(results, ABLATIONS[name].panels))


if __name__ == "__main__":
    main()
