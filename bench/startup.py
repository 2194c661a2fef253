"""How long ``cai --help`` takes, and that it loads neither torch nor a provider's SDK.

python -m bench.startup

The best is to be below 0.3 s on an idle machine. No test asks for that: on a busy one it is not.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time

HEAVY = ("torch", "transformers", "trl", "openai", "anthropic", "langchain", "aiohttp", "datasets")
TRIES = 10

_HELP = "import sys; sys.argv = ['cai', '--help']\nfrom cai.cli import main\n"
_LOADED = f"""
try:
    main()
finally:
    heavy = [name for name in {HEAVY!r} if name in sys.modules]
    print("heavy:", ",".join(heavy), file=sys.stderr)
"""


def seconds_of_help(tries: int = TRIES) -> list[float]:
    """How long a fresh ``cai --help`` took, each time, in seconds."""
    found: list[float] = []
    for _ in range(tries):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", f"{_HELP}main()"], stdout=subprocess.DEVNULL)
        found.append(time.perf_counter() - began)
    return found


def loaded_by_help() -> list[str]:
    """Which of the heavy packages ``cai --help`` has loaded."""
    ended = subprocess.run(
        [sys.executable, "-c", _HELP + _LOADED], capture_output=True, text=True, env=os.environ
    )
    last = ended.stderr.strip().splitlines()[-1]
    return [name for name in last.removeprefix("heavy:").strip().split(",") if name]


def main() -> None:
    """Print both."""
    seconds = seconds_of_help()
    sys.stdout.write(
        f"cai --help: median {statistics.median(seconds):.3f} s, best {min(seconds):.3f} s of "
        f"{len(seconds)}; heavy packages loaded: {', '.join(loaded_by_help()) or 'none'}\n"
    )


if __name__ == "__main__":
    main()
