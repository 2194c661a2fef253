"""A hash is new once."""

from threading import Thread

from cai.records import digest
from cai.sources.seen import Seen


def test_a_hash_is_new_only_when_it_comes_first():
    with Seen() as seen:
        assert [seen.add(digest(number % 700)) for number in range(1000)] == [
            number < 700 for number in range(1000)
        ]


def test_two_sources_do_not_know_of_each_other():
    with Seen() as one, Seen() as other:
        assert one.add(digest("x")) and other.add(digest("x"))


def test_what_a_stopped_pass_has_seen_may_be_forgotten_by_any_thread():
    faults: list[BaseException] = []

    def forget() -> None:
        try:
            seen.__exit__(None, None, None)
        except BaseException as error:
            faults.append(error)

    seen = Seen()
    thread = Thread(target=forget)
    thread.start()
    thread.join()

    assert faults == []
