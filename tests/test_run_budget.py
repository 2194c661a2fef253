"""`--max-calls` and `--max-cost` on real processes and a real server."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from cai.datasets.parquet import folder_hash
from cai.engine import Ledger

PRICES = ("--set", "models.default.prices={input: 0, output: 20}")
"""The server writes 8 tokens, 0.00016 dollars; 256 were allowed, 0.00512 dollars."""


def generate(served, run: Path, *more: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(served.generate(run, *more), capture_output=True, text=True)


def rows_in(run: Path) -> int:
    with Ledger.open(run / "ledger.sqlite", read_only=True) as ledger:
        return sum(ledger.counts().values())


def test_a_run_stops_at_its_calls_and_a_higher_limit_ends_it_as_a_calm_one(served, tmp_path):
    calm, limited = tmp_path / "calm", tmp_path / "limited"
    before = served.answers()
    assert generate(served, calm).returncode == 0
    needed = served.answers() - before

    stopped = generate(served, limited, "--max-calls", 100)
    after = served.answers()
    went_on = generate(served, limited, "--max-calls", needed - 100)

    assert stopped.returncode == 1
    assert "cai: stopped at --max-calls 100: 100 calls were made" in stopped.stderr
    assert "the same command with a higher --max-calls goes on from here" in stopped.stderr
    assert "Traceback" not in stopped.stderr
    assert after - before - needed == 100
    assert went_on.returncode == 0
    assert served.answers() - after == needed - 100
    assert folder_hash(limited / "datasets") == folder_hash(calm / "datasets")


def test_rows_that_were_finished_before_the_limit_are_kept(served, tmp_path):
    generate(served, tmp_path / "run", "--max-calls", 100)

    assert rows_in(tmp_path / "run") > 0


def test_a_run_stops_before_it_costs_more_than_allowed(served, tmp_path):
    before = served.answers()

    stopped = generate(served, tmp_path / "run", *PRICES, "--max-cost", 0.03)

    bought = served.answers() - before
    assert stopped.returncode == 1
    assert "cai: stopped at --max-cost 0.03: $0.0" in stopped.stderr
    assert 0.03 - 0.00512 <= bought * 0.00016 <= 0.03


def test_a_model_of_unknown_price_is_refused_before_the_first_call(served, tmp_path):
    before = served.answers()

    refused = generate(served, tmp_path / "run", "--max-cost", 5)

    assert refused.returncode == 1
    assert "the prices of openai:fake are unknown" in refused.stderr
    assert "prices: {input:" in refused.stderr
    assert served.answers() == before


@pytest.mark.parametrize("option", [("--max-cost", 1), ("--max-calls", 1)])
def test_a_dry_run_takes_no_limit(served, tmp_path, option):
    run = tmp_path / "run"
    whole = served.cai("run", served.recipe, "--run", run, "--dry-run", *option)

    refused = subprocess.run(whole, capture_output=True, text=True)

    assert refused.returncode == 1
    assert "with --dry-run, --sample says how much to buy" in refused.stderr


def test_no_limit_or_price_changes_which_calls_are_found(served, tmp_path):
    run = tmp_path / "run"
    generate(served, run)
    before = served.answers()
    limits = "{requests_per_minute: 600000, input_tokens_per_minute: 100000000, concurrency: 3, "
    model = f"name: openai:fake, endpoint: {served.address}/v1"

    again = generate(
        served,
        run,
        "--set",
        f"models.default={limits} prices: {{input: 1, output: 2}}, {model}}}",
        "--max-cost",
        0,
        "--max-calls",
        0,
    )

    assert again.returncode == 0
    assert served.answers() == before
