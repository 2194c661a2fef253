"""Work that is done at once ends as a whole."""

import asyncio

import pytest

from cai.at_once import all_of
from cai.engine import RowEnded
from cai.records import RowKey


async def after(turns: int, result: object, ended: list[object] | None = None) -> object:
    for _ in range(turns):
        await asyncio.sleep(0)
    if ended is not None:
        ended.append(result)
    if isinstance(result, ValueError):
        raise result
    return result


async def test_results_come_in_the_order_of_the_work_whichever_ends_first():
    assert await all_of(after(turns, turns) for turns in (9, 0, 4)) == [9, 0, 4]


async def test_all_work_has_ended_when_one_part_fails():
    ended: list[object] = []

    with pytest.raises(ValueError, match="first"):
        await all_of([after(0, ValueError("first"), ended), after(30, "last", ended)])

    assert ended[1:] == ["last"]


async def test_a_failure_that_is_given_back_is_a_result():
    end = RowEnded(RowKey("comparison", "p"), "filtered", "both replies are identical")

    assert await all_of([after(3, end), after(0, "label")]) == [end, "label"]


async def test_no_work_has_no_results():
    assert await all_of([]) == []
