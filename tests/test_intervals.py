import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cai.evaluation import Rate, difference, mean_interval, rate
from cai.evaluation.intervals import bootstrapped, mean_share, share_by_case


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [(0, 10, 0.0, 0.2775), (1, 10, 0.0179, 0.4042), (5, 10, 0.2366, 0.7634), (10, 10, 0.7225, 1.0)],
)
def test_a_rate_has_wilsons_interval(successes: int, n: int, low: float, high: float):
    found = rate(successes, n)

    assert found.value == successes / n
    assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5)


@given(n=st.integers(1, 10_000), share=st.floats(0, 1))
def test_a_rate_lies_in_its_interval_and_the_interval_in_one(n: int, share: float):
    found = rate(share * n, n)

    assert 0 <= found.low <= found.value <= found.high <= 1


@given(n=st.integers(1, 1000), data=st.data())
def test_failures_have_the_mirrored_interval_of_successes(n: int, data: st.DataObject):
    successes = data.draw(st.integers(0, n))

    found, mirrored = rate(successes, n), rate(n - successes, n)

    assert (found.low, found.high) == pytest.approx((1 - mirrored.high, 1 - mirrored.low))


@pytest.mark.parametrize("n", [30, 100, 300])
def test_the_interval_holds_the_truth_95_times_in_100(n: int):
    truths = [step / 200 for step in range(4, 197)]

    held = [coverage(n, truth) for truth in truths]

    assert sum(held) / len(held) == pytest.approx(0.95, abs=0.006)
    assert min(held) > 0.90


@pytest.mark.parametrize(("successes", "n"), [(0, 0), (-1, 3), (4, 3)])
def test_impossible_counts_are_refused(successes: int, n: int):
    with pytest.raises(ValueError, match=f"n = {n}"):
        rate(successes, n)


def test_a_mean_has_the_normal_interval():
    found = mean_interval([1, 2, 3, 4, 5])

    half = 1.959964 * math.sqrt(2.5 / 5)
    assert found.value == 3
    assert (found.low, found.high) == pytest.approx((3 - half, 3 + half))


@pytest.mark.parametrize("values", [[], [1.0]])
def test_a_mean_of_fewer_than_two_values_has_no_interval(values: list[float]):
    with pytest.raises(ValueError, match="at least two values"):
        mean_interval(values)


def test_a_difference_has_newcombes_interval():
    found = difference(rate(48, 80), rate(56, 70))

    # Newcombe (1998), Table II, contrast (a), method 10.
    assert (found.value, found.low, found.high) == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)


def test_a_rate_as_json_has_four_keys():
    assert Rate(0.5, 0.25, 0.75, 8).to_json() == {"value": 0.5, "low": 0.25, "high": 0.75, "n": 8}


def coverage(n: int, truth: float) -> float:
    return sum(
        math.comb(n, k) * truth**k * (1 - truth) ** (n - k)
        for k in range(n + 1)
        if rate(k, n).low <= truth <= rate(k, n).high
    )


def test_a_bootstrap_of_a_mean_has_about_the_interval_of_the_normal_one():
    sample = [0.0, 1.0] * 100

    found = bootstrapped(sample, lambda drawn: sum(drawn) / len(drawn))

    # z · 0.5 / √200 = 0.0693.
    assert (found.value, found.n) == (0.5, 200)
    assert (found.low, found.high) == pytest.approx((0.4307, 0.5693), abs=0.01)


def test_a_bootstrap_is_the_same_every_time():
    sample = [0.1, 0.4, 0.9, 0.2]

    assert bootstrapped(sample, max) == bootstrapped(sample, max)
    assert bootstrapped(sample, max, seed=1).value == 0.9


@pytest.mark.parametrize(("sample", "draws"), [([], 1000), ([1.0], 39)])
def test_a_bootstrap_of_nothing_is_refused(sample: list[float], draws: int):
    with pytest.raises(ValueError, match="a bootstrap needs cases"):
        bootstrapped(sample, sum, draws=draws)


@given(flags=st.lists(st.booleans(), min_size=1, max_size=200))
def test_a_mean_of_counts_has_the_interval_of_their_rate(flags: list[bool]):
    found, expected = mean_share(flags), rate(sum(flags), len(flags))

    assert found.n == expected.n
    ends = (found.value, found.low, found.high)
    assert ends == pytest.approx((expected.value, expected.low, expected.high), abs=1e-12)


@given(values=st.lists(st.floats(0, 1), min_size=1, max_size=200))
def test_values_that_vary_less_than_counts_never_have_a_wider_interval(values: list[float]):
    found, of_counts = mean_share(values), rate(min(math.fsum(values), len(values)), len(values))

    assert 0 <= found.low <= found.value <= found.high <= 1
    assert found.high - found.low <= of_counts.high - of_counts.low + 1e-9


@pytest.mark.parametrize("n", [1, 16, 29, 30, 100])
def test_a_slightly_worse_value_moves_the_interval_slightly(n: int):
    none, slightly = mean_share([0.0] * n), mean_share([0.001] + [0.0] * (n - 1))

    assert slightly.high == pytest.approx(none.high, rel=0.002)
    assert slightly.low == pytest.approx(none.low, abs=0.001)


@pytest.mark.parametrize("n", [4, 16, 29, 30, 100])
def test_values_all_alike_leave_the_more_width_the_fewer_they_are(n: int):
    found, more = mean_share([0.73] * n), mean_share([0.73] * (n + 1))

    assert found.high - found.low > more.high - more.low > 1 / (2 * n)


@pytest.mark.parametrize(
    ("common", "rare", "share"),
    [(0.02, 1.0, 0.03), (0.7, 0.0, 0.1), (0.9, 0.0, 0.05), (0.0, 0.3, 0.1)],
)
@pytest.mark.parametrize("n", [16, 30, 100])
def test_a_rare_value_far_from_the_others_is_in_the_interval_before_it_is_met(
    n: int, common: float, rare: float, share: float
):
    truth = (1 - share) * common + share * rare

    held = sum(
        math.comb(n, k) * share**k * (1 - share) ** (n - k)
        for k in range(n + 1)
        if (found := mean_share([rare] * k + [common] * (n - k))).low <= truth <= found.high
    )

    assert held > 0.94


def test_no_values_have_no_mean():
    with pytest.raises(ValueError, match="at least one value"):
        mean_share([])


@given(st.lists(st.lists(st.floats(0, 1), min_size=3, max_size=3), min_size=1, max_size=30))
def test_cases_of_one_size_have_the_interval_of_their_means(cases: list[list[float]]):
    values = [(number, value) for number, of in enumerate(cases) for value in of]

    found = share_by_case(values)

    means = mean_share([sum(of) / 3 for of in cases])
    assert found is not None
    assert found.to_json() == pytest.approx(means.to_json(), abs=1e-9)


@pytest.mark.parametrize("most", [1, 6, 30])
def test_the_interval_holds_the_truth_where_cases_fail_as_a_whole(most: int):
    source, held = random.Random(1), 0
    for _ in range(400):
        cases = [(source.randint(1, most), source.random() < 0.85) for _ in range(60)]
        found = share_by_case(
            (number, float(right)) for number, (n, right) in enumerate(cases) for _ in range(n)
        )
        assert found is not None
        held += found.low <= 0.85 <= found.high

    assert held >= 0.91 * 400


def test_one_case_that_has_most_of_the_values_is_no_sample_of_many():
    values = [("large", 1.0)] * 500 + [(str(number), 1.0) for number in range(50)]

    found = share_by_case(values)

    assert found is not None
    assert (found.value, found.n) == (1, 51)
    assert found.low < mean_share([1.0] * 2).low + 0.1


def test_no_values_of_no_case_have_no_share():
    assert share_by_case([]) is None
