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
from examples.ablations.results import T, commits_of, measure, reworded, table
from examples.ablations.runs import Workplace, commit, is_changed
from examples.ablations.table import ABLATIONS

RESULTS = Path(__file__).resolve().with_name("results")
CHANGED = "the checkout has changes that are not committed; commit them, or write to another --out"
MIXED = "its runs are of {}; say so on the page, or make them anew in another --work"


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
    if not given.redraw and given.out.resolve() == RESULTS and is_changed(commit()):
        sys.exit(f"ablations: {CHANGED}")
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
        commits = commits_of(results)
        if not given.redraw and (len(commits) > 1 or any(map(is_changed, commits))):
            sys.stderr.write(f"ablations: {name}: {MIXED.format(', '.join(commits))}\n")
        sys.stdout.write(f"{results['question']}\n{table(results)}")
        file.write_bytes(orjson.dumps(results, option=orjson.OPT_INDENT_2) + b"\n")
        (given.out / f"{name}.svg").write_bytes(draw(results, ABLATIONS[name].panels))


if __name__ == "__main__":
    main()
