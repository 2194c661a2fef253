"""What was added is always known; of what was not, hardly anything is taken for it."""

from cai.engine.known import KnownKeys
from cai.records import digest

KEYS = [digest(number) for number in range(20_000)]


def test_a_key_that_was_added_is_never_denied():
    known = KnownKeys(KEYS[:5_000])
    for key in KEYS[5_000:10_000]:
        known.add(key)

    assert all(known.may_hold(key) for key in KEYS[:10_000])


def test_hardly_any_other_key_is_taken_for_one():
    known = KnownKeys(KEYS[:10_000])

    assert sum(known.may_hold(key) for key in KEYS[10_000:]) < 10
