"""What headers tell of a provider's limits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cai.engine import Tally
from cai.engine.need import Need
from cai.errors import InputError
from cai.models import ModelSettings, open_model
from cai.models.limits import Allowance, Announced, read_duration, read_limits
from cai.pipeline.pressures import Pressures
from cai.recipe import load_recipe

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def told(**headers: str) -> tuple[Announced, ...]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return read_limits(named, now=lambda: NOON)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1s", 1),
        ("6m0s", 360),
        ("20ms", 0.02),
        ("1h2m3.5s", 3723.5),
        ("2.5", 2.5),
        ("0", 0),
        ("120µs", 0.00012),
        ("1d", 86400),
        (" 7s ", 7),
        ("", None),
        ("soon", None),
        ("-5s", None),
        ("5 s", None),
        ("nan", None),
        ("1e3", None),
        ("٣s", None),
        ("1763726400", None),
    ],
)
def test_a_duration_is_read_as_providers_write_it(text: str, seconds: float | None):
    assert read_duration(text) == (None if seconds is None else pytest.approx(seconds))


@given(
    hours=st.integers(0, 23),
    minutes=st.integers(0, 59),
    seconds=st.integers(0, 59),
    milliseconds=st.integers(0, 999),
)
def test_every_duration_that_go_writes_is_read_back(
    hours: int, minutes: int, seconds: int, milliseconds: int
):
    text = f"{hours}h{minutes}m{seconds}.{milliseconds:03}s"

    expected = timedelta(
        hours=hours, minutes=minutes, seconds=seconds, milliseconds=milliseconds
    ).total_seconds()
    assert read_duration(text) == pytest.approx(expected)


@given(st.text())
def test_any_other_text_is_no_duration_or_a_number_of_seconds(text: str):
    seconds = read_duration(text)

    assert seconds is None or 0 <= seconds < 32 * 86400


def test_openais_headers_tell_requests_and_tokens():
    limits = told(
        x_ratelimit_limit_requests="60",
        x_ratelimit_remaining_requests="59",
        x_ratelimit_reset_requests="1s",
        x_ratelimit_limit_tokens="150000",
        x_ratelimit_remaining_tokens="149984",
        x_ratelimit_reset_tokens="6m0s",
    )

    assert limits == (
        Announced("requests", 60, 59, 1),
        Announced("tokens", 150_000, 149_984, 360),
    )


def test_anthropics_headers_tell_input_and_output_tokens_by_the_time_of_their_return():
    limits = told(
        anthropic_ratelimit_input_tokens_limit="40000",
        anthropic_ratelimit_input_tokens_remaining="39000",
        anthropic_ratelimit_input_tokens_reset="2026-11-21T12:00:30Z",
        anthropic_ratelimit_output_tokens_limit="8000",
        anthropic_ratelimit_output_tokens_remaining="0",
        anthropic_ratelimit_output_tokens_reset="2026-11-21T14:01:00+02:00",
    )

    assert limits == (
        Announced("input_tokens", 40_000, 39_000, 30),
        Announced("output_tokens", 8_000, 0, 60),
    )


def test_a_time_that_is_past_is_now():
    (limit,) = told(
        anthropic_ratelimit_requests_limit="5",
        anthropic_ratelimit_requests_remaining="5",
        anthropic_ratelimit_requests_reset="2026-11-21T11:59:59Z",
    )

    assert limit.reset == 0


@pytest.mark.parametrize(
    "changed",
    [
        {"x_ratelimit_limit_requests": "0"},
        {"x_ratelimit_limit_requests": "-1"},
        {"x_ratelimit_limit_requests": "many"},
        {"x_ratelimit_remaining_requests": "-1"},
        {"x_ratelimit_remaining_requests": ""},
        {"x_ratelimit_reset_requests": "later"},
        {"x_ratelimit_reset_requests": "2026-11-21T12:00:30"},
        {"x_ratelimit_reset_requests": "Tomorrow"},
        {"x_ratelimit_reset_requests": "9999-11-21T12:00:30Z"},
    ],
)
def test_a_limit_that_makes_no_sense_is_left_out(changed: dict[str, str]):
    whole = {
        "x_ratelimit_limit_requests": "60",
        "x_ratelimit_remaining_requests": "59",
        "x_ratelimit_reset_requests": "1s",
    }

    assert len(told(**whole)) == 1
    assert told(**{**whole, **changed}) == ()


HEADERS = st.sampled_from(["limit", "remaining", "reset"])
VALUES = st.one_of(
    st.text(),
    st.integers().map(str),
    st.floats().map(str),
    st.datetimes().map(lambda time: f"{time.isoformat()}Z"),
    st.datetimes(timezones=st.timezones()).map(datetime.isoformat),
)


@given(st.dictionaries(HEADERS, VALUES), st.dictionaries(HEADERS, VALUES))
def test_whatever_headers_say_a_limit_is_sound_or_none(openai, anthropic):
    headers = {f"x-ratelimit-{name}-tokens": value for name, value in openai.items()}
    headers |= {f"anthropic-ratelimit-tokens-{name}": v for name, v in anthropic.items()}

    for limit in read_limits(headers, now=lambda: NOON):
        assert 0 <= limit.remaining <= limit.limit
        assert limit.limit > 0
        assert 0 <= limit.reset < 32 * 86400


def test_of_two_allowances_each_limit_is_the_stricter():
    one = Allowance(requests_per_minute=5, concurrency=8)
    other = Allowance(requests_per_minute=9, input_tokens_per_minute=100)

    assert one.strictest(other) == Allowance(5, 100, None, 8)


def test_limits_in_a_models_settings_are_its_allowance():
    settings = ModelSettings(name="openai:m", requests_per_minute=60, concurrency=4)

    assert settings.allowance == Allowance(60, None, None, 4)


def test_limits_hold_for_a_model_at_an_address_and_an_account():
    here = ModelSettings(name="vllm:m", endpoint="http://here/v1", requests_per_minute=60)
    same = ModelSettings(name="vllm:m", endpoint="http://here/v1", label_samples=4)
    there = ModelSettings(name="vllm:m", endpoint="http://there/v1")

    assert here.server == same.server != there.server


def test_limits_change_no_identity():
    plain = ModelSettings(name="openai:m")
    limited = plain.model_copy(update={"requests_per_minute": 5, "concurrency": 2})

    assert open_model(limited).identity == open_model(plain).identity


RECIPE = """\
name: limited
constitution: harmlessness
models:
  default: {name: "openai:m", concurrency: 8, requests_per_minute: 100}
  judge: {name: "openai:m", requests_per_minute: 60, label_samples: 4}
  base: microworld
prompts: {red_team: [{file: prompts.txt, kind: harmful}]}
"""


def test_roles_that_ask_one_server_share_a_pressure_with_the_strictest_limits(tmp_path: Path):
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    recipe = load_recipe(tmp_path / "recipe.yaml")
    pressures = Pressures([recipe], Tally())

    critic = pressures.on(recipe.models.of("critic"), "openai:m")
    judge = pressures.on(recipe.models.of("judge"), "openai:m&label_samples=4")

    assert critic is judge
    let_in = [critic.admit_now(Need()) for _ in range(20)]
    # A second's worth of 60 a minute, and one.
    assert sum(one is not None for one in let_in) == 2


def test_models_in_this_process_have_no_pressure(tmp_path: Path):
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    recipe = load_recipe(tmp_path / "recipe.yaml")

    assert Pressures([recipe], Tally()).on(recipe.models.of("base"), "microworld") is None


def test_every_fault_of_a_models_limits_is_told_at_once(tmp_path: Path):
    path = tmp_path / "recipe.yaml"
    path.write_text(
        RECIPE.replace("concurrency: 8", "concurrency: 0, device: cpu")
        .replace("requests_per_minute: 60", "requests_per_minut: 60, timeout: -1")
        .replace("base: microworld", "base: {name: microworld, concurrency: 2}")
    )

    with pytest.raises(InputError) as refused:
        load_recipe(path)

    told = {fault.field: fault.message for fault in refused.value.faults}
    assert told["models.default.concurrency"].startswith("is 0; it must be greater")
    assert told["models.default"].startswith("device cannot be used with openai:m")
    assert "did you mean 'requests_per_minute'" in told["models.judge.requests_per_minut"]
    assert told["models.judge.timeout"].startswith("is -1")
    assert told["models.base"].startswith("concurrency cannot be used with microworld")
