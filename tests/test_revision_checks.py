"""What leaves a revision out: each check with its reason, and the rounds that go on after it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from cai.engine import Ledger
from cai.errors import CaiError, InputError
from cai.evaluation.revisions import harm_by_round
from cai.pipeline import RunFolder, run_recipe
from cai.pipeline.forecast import forecast
from cai.pipeline.preview import Plan
from cai.pipeline.rerunning import Wanted, rerun
from cai.recipe import Recipe, load_recipe
from cai.records import Message, Prompt, Response, Revision, RevisionTrace, Row
from cai.stages.check import Checks, fault_of
from cai.wording import any_of, read_wording

WORDING = read_wording("en")
EVERY = Checks(unchanged=False, unheeded=True, preamble=True, wording=WORDING)


def revision(text: str, critique: str | None = "It is fine.", round: int = 1) -> Revision:
    return Revision(round, "kind", critique, text, "model", ("call",))


@pytest.mark.parametrize(
    "text",
    [
        "Here is the revised response: I can't help.",
        "Here's a revised version of my answer:\n\nNo.",
        "Sure! Here is the rewritten reply: No.",
        "Certainly. Here's my revised answer.",
        "**Revised response:** No.",
        "Revision: I will not help with that.",
        "The revised response is as follows. No.",
        "I have revised the response so that it is kind. No.",
        "Okay, I've rewritten the answer: No.",
        "Here is how I would rewrite the response: No.",
        "Here is my attempt at rewriting: No.",
        "Absolutely. Below is a more ethical version: No.",
        "Apologies for that. Here's a safer answer: No.",
        "As you asked, I rewrote the reply: No.",
        "I apologize for my earlier reply. Instead, talk to a friend.",
        "You're right, my previous response was harmful. I can't help with that.",
        "No revisions needed.",
        "No revision is necessary; the reply is already harmless.",
        "There is no need to revise the reply.",
        "The original reply is fine as it is.",
    ],
)
def test_a_leaked_preamble_is_recognised(text: str):
    assert WORDING.has_preamble(text)


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't help with that.",
        "Here is a recipe for bread: mix flour and water.",
        "Here's the thing: the law was revised in 1990.",
        "The revised edition of the book came out in May.",
        "Sure, preheat the oven first.",
        "This is a version of the story for children.",
        "I changed my mind about this.",
        "I edited the film last year.",
        "I'm sorry to hear that your earlier message upset her.",
        "No changes in the law are planned.",
        "There is no need to worry.",
        "The answer is fine wine.",
        "You're right that the previous law was harsher.",
    ],
)
def test_a_plain_answer_is_no_preamble(text: str):
    assert not WORDING.has_preamble(text)


@pytest.mark.parametrize(
    ("critique", "fault"),
    [
        ("The assistant's last response is harmful because it helps a thief.", True),
        ("The response encourages illegal behaviour.", True),
        ("The assistant should not have answered.", True),
        ("So the reply breaks the rule.", True),
        ("The response is not harmful, and says what the law is.", False),
        ("There is nothing harmful in the reply.", False),
        ("The reply isn't racist or sexist.", False),
        ("So the reply is fine under this rule.", False),
        ("", False),
    ],
)
def test_a_critique_that_finds_fault_is_told_from_one_that_does_not(critique: str, fault: bool):
    assert WORDING.finds_fault(critique) is fault


@pytest.mark.parametrize(
    ("checks", "made", "reason"),
    [
        (EVERY, revision("Here is the revised reply: No."), "begins with words about itself"),
        (EVERY, revision("Do it.", "That is harmful."), "calls the text harmful"),
        (EVERY, revision("Do it.", "That is fine."), None),
        (EVERY, revision("Don't.", "That is harmful."), None),
        (EVERY, revision("Do it.", None), None),
        (Checks(True, False, False, None), revision(" Do it. \n"), "unchanged"),
        (Checks(False, False, False, None), revision("Here is the revised reply: No."), None),
    ],
    ids=["preamble", "unheeded", "rightly the same", "heeded", "direct", "unchanged", "all off"],
)
def test_each_check_has_its_reason(checks: Checks, made: Revision, reason: str | None):
    found = fault_of(made, "Do it.", checks)

    assert (found is None) if reason is None else (found is not None and reason in found)


def test_a_pattern_that_is_no_expression_is_named():
    with pytest.raises(InputError, match=r"own\.yaml: preamble: .* is no regular expression"):
        any_of(Path("own.yaml"), "preamble", "fine\n(broken")


def test_harm_is_counted_for_the_rounds_that_were_kept():
    prompt = Prompt((Message("user", "How?"),), "file", "harmful")
    trace = RevisionTrace(Response(prompt, "bad", 0, "", ""), (revision("good", round=2),))
    whole = RevisionTrace(
        Response(prompt, "bad", 0, "", ""), (revision("bad"), revision("good", round=2))
    )

    rates = harm_by_round(
        [trace, whole], lambda _, text: "harmful" if text == "bad" else "harmless"
    )

    assert [(rate.value, rate.n) for rate in rates] == [(1.0, 2), (1.0, 1), (0.0, 2)]


RECIPE = """
name: checks
constitution: microworld
models: {default: microworld}
prompts: {red_team: [{microworld: train, kind: harmful, limit: 8}]}
revisions: {rounds: 3, sampling: {temperature: 0.6}}
datasets: {sft_share: 1.0}
evaluation: {truth: microworld, label_probes: 0}
"""


def recipe(folder: Path, *settings: str) -> Recipe:
    path = folder / "recipe.yaml"
    path.write_text(RECIPE)
    return load_recipe(path, settings)


def rows_of(folder: RunFolder, stage: str) -> list[Row]:
    with Ledger.open(folder.ledger, read_only=True) as ledger:
        return list(ledger.rows(stage))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run in which no revision is left out."""
    place = tmp_path_factory.mktemp("plain")
    folder, off = RunFolder(place / "run"), "revisions.checks={preamble: false}"
    run_recipe(recipe(place, off), folder, steps=("revisions",))
    return folder


def test_an_unchanged_revision_is_left_out_and_the_next_round_goes_on(
    tmp_path: Path, plain: RunFolder
):
    folder = RunFolder(tmp_path / "run")
    unchanged = "revisions.checks.unchanged=true"

    run_recipe(recipe(tmp_path, unchanged), folder, steps=("revisions",), reuse=[plain.ledger])

    before, after = rows_of(plain, "revision"), rows_of(folder, "revision")
    same = {row.key for row in before if row.record and row.record["before"] == row.record["text"]}
    left_out = [row for row in after if row.status == "filtered"]
    assert {row.key for row in left_out} == same != set()
    assert len(after) == len(before) == 24
    reason = "the revision is the text before it, unchanged"
    assert folder.read_metrics()["filtered"] == {"revision": {reason: len(same)}}
    # The text before goes on in its place: nothing that the plain run did not ask is asked.
    with Ledger.open(folder.ledger, read_only=True) as ledger:
        calls = {call for row in before for call in row.calls}
        assert {call for row in after for call in row.calls} == calls
        assert ledger.call_count() >= len(calls)


def test_a_revision_that_the_judge_likes_less_is_left_out(tmp_path: Path, plain: RunFolder):
    folder, given = RunFolder(tmp_path / "run"), recipe(tmp_path, "revisions.checks.worse=true")
    plan = Plan(given, folder, reuse=[plain.ledger])
    foretold = {part.part: part.to_buy for part in forecast(plan, ("revisions",)).parts}

    run_recipe(given, folder, steps=("revisions",), reuse=[plain.ledger])

    labels = {row.key.round: row for row in rows_of(folder, "revision_check")}
    assert labels
    for row in rows_of(folder, "revision_check"):
        assert row.record is not None
        ended = Counter(
            one.status
            for one in rows_of(folder, "revision")
            if (one.key.prompt_id, one.key.round) == (row.key.prompt_id, row.key.round)
        )
        assert ended == Counter(["filtered" if row.record["p_a"] < 0.5 else "ok"])
    assert foretold["revision_check"] > 0


def test_no_filter_looks_at_what_is_still_to_be_bought(tmp_path: Path):
    given = recipe(
        tmp_path,
        "revisions.checks.worse=true",
        "filters.language={tags: [en], certainty: 0}",
        "filters.reply_length={least: 1000}",
    )

    foretold = forecast(Plan(given, RunFolder(tmp_path / "run")), ("revisions",))

    assert {part.part: part.to_buy for part in foretold.parts}["revision_check"] == 8 * 3 * 2


def test_rows_that_were_left_out_are_made_again_without_a_call(tmp_path: Path, plain: RunFolder):
    folder, given = RunFolder(tmp_path / "run"), recipe(tmp_path, "revisions.checks.worse=true")
    run_recipe(given, folder, steps=("revisions",), reuse=[plain.ledger])

    redone = rerun(folder, Wanted(("ok", "filtered"), stage="revision_check"))

    assert (redone.calls, redone.lost, redone.after) == (0, 0, redone.before)


def test_a_language_without_patterns_is_run_unless_a_check_needs_them(tmp_path: Path):
    (tmp_path / "own.yaml").write_text("id: own\nextends: microworld\nlanguage: xx\n")
    own = f"constitution={tmp_path / 'own.yaml'}"
    limited = "prompts.red_team=[{microworld: train, kind: harmful, limit: 1}]"

    run_recipe(recipe(tmp_path, own, limited), RunFolder(tmp_path / "run"), steps=("revisions",))

    with pytest.raises(CaiError, match=r"language 'xx', only for en.*filters\.wording"):
        run_recipe(
            recipe(tmp_path, own, limited, "revisions.checks.preamble=true"),
            RunFolder(tmp_path / "other"),
            steps=("revisions",),
        )
