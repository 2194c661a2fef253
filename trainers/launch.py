"""Where the shipped settings of ``accelerate launch`` are, in a checkout and in the wheel.

accelerate launch --config_file "$(python -m trainers.launch fsdp)" -m trainers.sft recipe.yaml
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cai.errors import Fault, InputError
from cai.terminal import say

FOLDER = Path(__file__).with_name("accelerate")


def launch_files() -> dict[str, Path]:
    """The shipped settings, by name."""
    return {file.stem: file for file in sorted(FOLDER.glob("*.yaml"))}


def main(
    name: Annotated[str, typer.Argument(help="cpu, multi_gpu, fsdp, deepspeed_zero2 or …_zero3.")],
) -> None:
    """Print the path of a shipped settings file of `accelerate launch`.

    Example: accelerate launch --config_file "$(python -m trainers.launch cpu)" -m trainers.sft …
    """
    files = launch_files()
    if name not in files:
        raise InputError("name", [Fault(f"must be one of {', '.join(files)}; met {name!r}")])
    say(str(files[name]))


if __name__ == "__main__":
    from trainers.command import run_alone

    run_alone(main)
