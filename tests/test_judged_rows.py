"""Rows about policies' replies: whose they are, and of how many the judge was asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from cai.pipeline.judged_rows import NO_REPLY, ends_of, rows_between, rows_by_name
from cai.records import BY_FALLBACK, Row, RowKey
from cai.records.rows import RowStatus


def row(sample: int, record: Mapping[str, Any] | None = None, reason: str = "") -> Row:
    status: RowStatus = "ok" if record is not None else "refused"
    return Row(RowKey("verdict", "p", sample=sample), status, reason, record)


def about(policy: str) -> dict[str, str]:
    return {"policy": policy}


def between(a: str, b: str) -> dict[str, dict[str, str]]:
    return {"provenance": {"policy_a": a, "policy_b": b}}


def test_a_row_is_its_policys_whatever_place_that_has_today():
    rows = [row(0, about("old")), row(1, about("gone")), row(2, about("new")), row(2)]

    found = rows_by_name(rows, ["old", "new"])

    assert found == {"old": rows[:1], "new": rows[2:]}


def test_rows_of_fewer_replies_stay_with_their_policies():
    rows = [row(0, about("a")), row(1, about("b"))]

    assert rows_by_name(rows, ["a", "b"], replies=4) == {"a": rows[:1], "b": rows[1:]}


def test_a_policy_of_which_no_row_has_a_record_keeps_its_place():
    rows = [row(0, about("a")), row(1)]

    assert rows_by_name(rows, ["a", "b"]) == {"a": rows[:1], "b": rows[1:]}


def test_judgements_of_a_model_that_left_are_no_part_of_a_contest():
    rows = [row(0, between("a", "b")), row(1, between("a", "gone")), row(1), row(0)]

    assert rows_between(rows, ["a", "b"]) == [rows[0], rows[3]]


def test_shares_are_of_the_rows_that_the_judge_was_asked_in():
    same, fallback = row(0, about("same")), row(0, about("a"), BY_FALLBACK)
    silent, declined = row(0, reason=f"a{NO_REPLY}declined"), row(0, reason="declined")

    found = ends_of([same, fallback, silent, declined], lambda record: record != same.record)

    assert found.by_status == {"ok": 2, "refused": 2}
    assert found.refused is not None and found.unparsed is not None
    assert (found.refused.value, found.refused.n) == (1, 1)
    assert found.unparsed.value == pytest.approx(0)


def test_rows_of_one_prompt_are_one_case_of_what_was_declined():
    def of(prompt: str, status: RowStatus) -> Row:
        return Row(RowKey("contest", prompt), status, "", {} if status == "ok" else None)

    rows = [of(f"p{n}", "refused" if n < 3 else "ok") for n in range(20)]

    once, again = (ends_of(some, lambda _: True).refused for some in (rows, rows * 6))

    assert once is not None and again is not None
    assert again.to_json() == pytest.approx(once.to_json())


def test_nobody_asked_is_no_share():
    assert ends_of([row(0, reason=f"a{NO_REPLY}declined")]).refused is None
