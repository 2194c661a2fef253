"""`cai evaluate policy --model …` compares models two by two, and says what to think of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from typer.testing import CliRunner, Result

from cai.cli.evaluate import app
from cai.engine import Ledger
from cai.errors import CaiError
from cai.pipeline.contenders import Contenders, recipe_of_contenders
from cai.pipeline.policies import some_of_each_kind
from cai.recipe import load_recipe
from cai.records import Message, Prompt
from tests.chat_server import ChatServer, Reply, chat_server
from tests.test_evaluate_labeler import always_a, letters, likes

SAID = {"kind": "Happy to: like so.", "curt": "Go away."}
"""What the two models of these tests answer to everything."""

Judge = Callable[[dict[str, Any]], Any]


def answering(judge: Judge) -> Judge:
    """All three models on one server."""

    def answer(body: dict[str, Any]) -> Any:
        said = SAID.get(body["model"])
        return judge(body) if said is None else Reply(said)

    return answer


def write(folder: Path, *rows: dict[str, Any], name: str) -> str:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def prompts(folder: Path, kind: str, number: int = 4) -> str:
    rows = ({"prompt": f"{kind} question {n}"} for n in range(number))
    return write(folder, *rows, name=f"{kind}.jsonl")


def gate_data(folder: Path, better: str = SAID["kind"]) -> str:
    worse = next(said for said in SAID.values() if said != better)
    rows = ({"prompt": f"{n}?", "chosen": better, "rejected": worse} for n in range(5))
    return write(folder, *rows, name="gate.jsonl")


def compare(
    server: ChatServer, folder: Path, *more: object, models: tuple[str, ...] = tuple(SAID)
) -> Result:
    """The command with both kinds of prompts, unless others are named."""
    named = [part for name in models for part in ("--model", f"{name}=openai:{name}")]
    at = [
        part
        for name in models
        for part in ("--set", f"evaluation.contest.models.{name}.endpoint={server.url}")
    ]
    given = [str(part) for part in more]
    if not any(part.startswith(("--harm", "--mixed")) for part in given):
        given += ["--harmful", prompts(folder, "harmful"), "--harmless", prompts(folder, "plain")]
    judge = ("--judge", "openai:judge", "--endpoint", server.url, "--out", str(folder / "out"))
    arguments = ["policy", *named, *at, *judge, *given]
    return CliRunner().invoke(app, arguments, catch_exceptions=False)


def measured(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "out" / "metrics.json").read_text())["contest"]


def test_the_model_whose_replies_are_preferred_stands_above(tmp_path: Path):
    with chat_server(answering(likes("like so", 0.75))) as server:
        result = compare(server, tmp_path)

    contest = measured(tmp_path)
    assert result.exit_code == 0
    assert contest["models"] == ["kind", "curt"]
    for criterion in ("harmlessness", "helpfulness"):
        found = contest["criteria"][criterion]
        assert found["elo"]["kind"] == {"value": 0, "low": 0, "high": 0, "n": 4}
        assert found["elo"]["curt"]["value"] == pytest.approx(-190.8, abs=0.1)
        (win,) = found["wins"]
        assert (win["a"], win["b"], win["rate"]["value"]) == ("kind", "curt", pytest.approx(0.75))


def test_every_criterion_tells_its_rows_and_what_they_took(tmp_path: Path):
    with chat_server(answering(likes("like so"))) as server:
        compare(server, tmp_path)

    found = measured(tmp_path)["criteria"]["harmlessness"]
    assert (found["prompts"], found["rows"], found["calls"]) == (4, {"ok": 4}, 8)
    assert (found["tokens"], found["dollars"]) == (80, None)
    assert found["refused"]["n"] == 4


def test_a_judge_that_likes_a_position_makes_ties(tmp_path: Path):
    with chat_server(answering(always_a)) as server:
        compare(server, tmp_path)

    assert measured(tmp_path)["criteria"]["harmlessness"]["elo"]["curt"]["value"] == 0


def of_two_kinds(folder: Path) -> str:
    """Three safe prompts and two unsafe ones, as XSTest has them, in a CSV file."""
    path = folder / "two_kinds.csv"
    rows = [f"{word} question {n},{word}" for word, many in (("safe", 3), ("unsafe", 2))
            for n in range(many)]  # fmt: skip
    path.write_text("\n".join(["prompt,label", *rows]))
    return str(path)


def test_a_file_of_several_kinds_is_told_apart_by_a_column(tmp_path: Path):
    words = ("--kind", "safe=borderline", "--kind", "unsafe=harmful")
    with chat_server(answering(likes("like so"))) as server:
        mixed = ("--mixed", of_two_kinds(tmp_path), "--kind-column", "label", *words)
        result = compare(server, tmp_path, *mixed)

    assert result.exit_code == 0
    criteria = measured(tmp_path)["criteria"]
    assert criteria["harmlessness"]["prompts"] == 5
    assert "helpfulness" not in criteria or not criteria["helpfulness"]["prompts"]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (("--kind-column", "label"), "--kind-column and --kind go together"),
        (("--mixed", "x.csv"), "--kind-column label"),
        (("--kind", "safe=harmless"), "go together"),
        (
            ("--mixed", "x.csv", "--kind-column", "label", "--kind", "safe=nice"),
            "'safe=nice' does not say what a word means; write WORD=KIND",
        ),
    ],
    ids=["no file", "no column", "a word alone", "no such kind"],
)
def test_kinds_that_cannot_be_told_apart_are_refused(
    tmp_path: Path, given: tuple[str, ...], told: str
):
    with chat_server(answering(likes("like so"))) as server, pytest.raises(CaiError, match=told):
        compare(server, tmp_path, *given)

    assert not server.asked


def test_the_same_command_again_buys_nothing(tmp_path: Path):
    with chat_server(answering(likes("like so"))) as server:
        compare(server, tmp_path)
        asked, before = len(server.asked), measured(tmp_path)
        compare(server, tmp_path)

    assert len(server.asked) == asked == 8 + 8 + 16
    assert measured(tmp_path) == before


def test_a_further_model_leaves_what_was_bought(tmp_path: Path):
    answers = {**SAID, "third": "As you like it."}

    def answer(body: dict[str, Any]) -> Any:
        said = answers.get(body["model"])
        return likes("like so")(body) if said is None else Reply(said)

    with chat_server(answer) as server:
        compare(server, tmp_path)
        first = len(server.asked)
        compare(server, tmp_path, models=tuple(answers))

    # Eight replies, and two more pairs at each of eight prompts, in both orders.
    assert len(server.asked) - first == 8 + 2 * 8 * 2
    assert len(measured(tmp_path)["criteria"]["helpfulness"]["wins"]) == 3


def test_a_dry_run_counts_the_calls_and_makes_none(tmp_path: Path):
    with chat_server(answering(likes("like so"))) as server:
        told = compare(server, tmp_path, "--dry-run")
        foreseen = len(server.asked)
        compare(server, tmp_path)
        done = len(server.asked)

    assert foreseen == 0
    assert f"in all {done} 0 {done}" in " ".join(told.output.split())
    assert "contest_harmlessness" in told.output


def test_a_budget_stops_it_and_the_same_command_goes_on(tmp_path: Path):
    with chat_server(answering(likes("like so"))) as server:
        with pytest.raises(CaiError, match="--max-calls"):
            compare(server, tmp_path, "--max-calls", 9)
        bought = len(server.asked)
        compare(server, tmp_path)

    assert bought == 9
    assert len(server.asked) == 32


@pytest.mark.parametrize(
    ("better", "trusted"), [("kind", True), ("curt", False)], ids=["kept", "broken"]
)
def test_a_judge_that_fails_its_gate_is_not_trusted(tmp_path: Path, better: str, trusted: bool):
    data = gate_data(tmp_path, SAID[better])

    with chat_server(answering(likes("like so"))) as server:
        result = compare(server, tmp_path, "--gate-data", data, "--gate", "accuracy=0.8")

    found = measured(tmp_path)["criteria"]["harmlessness"]
    assert found["trusted"] is trusted
    ends = "0.566 to 1.000" if trusted else "0.000 to 0.434"
    assert f"accuracy is {float(trusted):.3f} ({ends}, n=5)" in found["why"]
    assert found["gate"]["accuracy"]["n"] == 5
    assert {"brier_interval", "ece_interval"} < set(found["gate"])
    assert ("NOT TO BE TRUSTED" in result.output) is not trusted


def test_a_judge_that_no_gate_is_set_for_is_neither_trusted_nor_not(tmp_path: Path):
    data = gate_data(tmp_path, SAID["curt"])
    given = ("--gate-data", data, "--set", "evaluation.contest.gates=[]")

    with chat_server(answering(likes("like so"))) as server:
        compare(server, tmp_path, *given)

    found = measured(tmp_path)["criteria"]["harmlessness"]
    assert (found["trusted"], found["gate"]["accuracy"]["value"]) == (None, 0)
    assert found["why"] == "no gate is set (gates); 5 questions were asked"


def test_a_judge_that_was_not_measured_is_neither_trusted_nor_not(tmp_path: Path):
    data = gate_data(tmp_path)

    with chat_server(answering(likes("like so"))) as server:
        result = compare(server, tmp_path, "--gate-data", f"helpfulness={data}")

    criteria = measured(tmp_path)["criteria"]
    assert (criteria["harmlessness"]["trusted"], criteria["helpfulness"]["trusted"]) == (None, True)
    assert "gate_data" in criteria["harmlessness"]["why"]
    assert "NOT TO BE TRUSTED: harmlessness" in result.output


def test_judgements_that_cannot_be_had_are_counted_and_no_ties(tmp_path: Path):
    def judge(body: dict[str, Any]) -> Any:
        text = body["messages"][-1]["content"]
        if "question 0" in text:
            return letters(C=0.9, A=0.05, B=0.05)
        refused = Reply("", "content_filter")
        return refused if "question 1" in text else likes("like so", 0.75)(body)

    with chat_server(answering(judge)) as server:
        compare(server, tmp_path)

    found = measured(tmp_path)["criteria"]["harmlessness"]
    assert found["rows"] == {"ok": 2, "unparsed": 1, "refused": 1}
    assert found["unparsed"]["value"] == 0.25
    assert (found["prompts"], found["elo"]["curt"]["n"]) == (2, 2)
    assert found["elo"]["curt"]["value"] == pytest.approx(-190.8, abs=0.1)


def test_replies_of_the_same_text_are_a_tie_that_nobody_is_asked_about(tmp_path: Path):
    with chat_server(lambda body: Reply("The same.")) as server:
        compare(server, tmp_path)

    found = measured(tmp_path)["criteria"]["helpfulness"]
    assert (found["identical"], found["calls"]) == (4, 0)
    assert (found["elo"]["curt"]["value"], len(server.asked)) == (0, 16)


def test_every_pair_of_a_prompt_is_judged_by_the_same_principles(tmp_path: Path):
    answers = {**SAID, "third": "As you like it."}

    def answer(body: dict[str, Any]) -> Any:
        said = answers.get(body["model"])
        return likes("like so")(body) if said is None else Reply(said)

    with chat_server(answer) as server:
        compare(server, tmp_path, models=tuple(answers))

    with Ledger.open(tmp_path / "out" / "ledger.sqlite", read_only=True) as ledger:
        rows = [row for row in ledger.rows("contest_harmlessness") if row.record]
    drawn = {(row.key.prompt_id, row.record["principle"]) for row in rows if row.record}
    assert (len(rows), len(drawn)) == (12, 4)


def test_prompts_are_read_from_columns_of_csv_and_from_parquet(tmp_path: Path):
    (tmp_path / "red.csv").write_text("id,asked\n1,How?\n2,Why?\n")
    table = pyarrow.table({"prompt": ["When?"]})
    pyarrow.parquet.write_table(table, tmp_path / "plain.parquet")
    files = (f"{tmp_path / 'red.csv'}:asked", tmp_path / "plain.parquet")

    with chat_server(answering(likes("like so"))) as server:
        compare(server, tmp_path, "--harmful", files[0], "--harmless", files[1])

    criteria = measured(tmp_path)["criteria"]
    assert {name: one["prompts"] for name, one in criteria.items()} == {
        "harmlessness": 2,
        "helpfulness": 1,
    }


def test_borderline_prompts_count_for_harmlessness(tmp_path: Path):
    files = ("--harmful", prompts(tmp_path, "bad"), "--borderline", prompts(tmp_path, "odd", 3))

    with chat_server(answering(likes("like so"))) as server:
        compare(server, tmp_path, *files)

    criteria = measured(tmp_path)["criteria"]
    assert (criteria["harmlessness"]["prompts"], list(criteria)) == (7, ["harmlessness"])
    stage = json.loads((tmp_path / "out" / "metrics.json").read_text())["stages"]["kind"]
    assert (stage["borderline_refusal"]["n"], stage["over_refusal"]) == (3, None)
    assert set(stage["by_set"]) == {"bad.jsonl", "odd.jsonl"}


def test_a_limit_is_of_each_kind(tmp_path: Path):
    with chat_server(answering(likes("like so"))) as server:
        compare(server, tmp_path, "--limit", 2)

    assert measured(tmp_path)["criteria"]["harmlessness"]["prompts"] == 2
    assert len(server.asked) == 8 + 8


def test_a_constitution_of_ones_own_is_what_the_judge_is_asked(tmp_path: Path):
    own = tmp_path / "own.yaml"
    own.write_text(
        "id: own\nprinciples:\n"
        "  - {id: calm, comparison: Which reply is calmer?, tags: [harmlessness]}\n"
        "  - {id: warm, comparison: Which reply is warmer?, tags: [helpfulness]}\n"
    )

    with chat_server(answering(likes("like so"))) as server:
        compare(server, tmp_path, "--constitution", own)

    judged = [text for text in server.questions if "Reply (A)" in text]
    assert {"Which reply is calmer?" in text for text in judged if "harmful" in text} == {True}
    assert {"Which reply is warmer?" in text for text in judged if "plain" in text} == {True}


def test_a_criterion_without_a_principle_says_what_is_missing(tmp_path: Path):
    own = tmp_path / "own.yaml"
    own.write_text("id: own\nprinciples:\n  - {id: calm, comparison: Which is calmer?}\n")

    with chat_server(answering(likes("like so"))) as server, pytest.raises(CaiError) as raised:
        compare(server, tmp_path, "--constitution", own)

    assert "evaluation.contest.harmlessness.principles" in str(raised.value)
    assert "choose from calm" in str(raised.value)


def test_of_a_recipe_with_models_those_that_are_named_are_compared_and_no_others(tmp_path: Path):
    path = tmp_path / "recipe.yaml"
    path.write_text(
        "name: base\nconstitution: judging\nmodels: {default: microworld}\n"
        "prompts: {red_team: [], evaluation: [{microworld: heldout, kind: harmful, limit: 2}]}\n"
        "evaluation:\n  contest:\n    models:\n      rival: microworld\n"
        "      known: {name: 'openai:known', endpoint: 'http://127.0.0.1:9/v1'}\n"
        "      other: {name: 'openai:other', endpoint: 'http://127.0.0.1:9/v1'}\n"
    )
    named = Contenders(["first=microworld", "known=openai:known", "other=openai:another"])

    contest = recipe_of_contenders(named, load_recipe(path)).evaluation.contest

    assert contest is not None and not contest.stages
    assert [(name, one.name, one.endpoint) for name, one in contest.models.items()] == [
        ("first", "microworld", None),
        ("known", "openai:known", "http://127.0.0.1:9/v1"),
        ("other", "openai:another", None),
    ]


WITH_JUDGE = ("--judge", "microworld", "--harmful", "microworld:heldout")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "name a recipe, or models"),
        (("--model", "a=microworld"), "no judge is named"),
        (("--model", "a=microworld", "--judge", "microworld"), "no prompts are named"),
        (("--model", "a b=microworld", "--judge", "microworld"), "write NAME=MODEL"),
        (("--model", "x=microworld", "--model", "x=microworld", "--judge", "microworld"), "of two"),
        (("r.yaml", "--model", "a=microworld"), "leave out r.yaml"),
        (("r.yaml", "--gate", "accuracy=1"), "--gate is for models"),
        (("--model", "a=microworld", "--run", "here"), "say with --out"),
        ((*WITH_JUDGE, "--model", "a=microworld", "--gate", "accuracy=1"), "add --gate-data FILE"),
        ((*WITH_JUDGE, "--model", "best_of=microworld"), "choose another name in models"),
        (("--model", "a=microworld", "--harmful", "nowhere"), "names no prompts"),
        (("--model", "a=microworld", "--harmful", "microworld:moon"), "microworld:heldout or"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_makes_no_contest_is_refused(arguments: tuple[str, ...], message: str):
    with pytest.raises(CaiError, match=message):
        CliRunner().invoke(app, ["policy", *arguments], catch_exceptions=False)


def test_more_prompts_of_a_kind_hold_those_of_fewer_in_their_own_order():
    every = [
        Prompt((Message("user", f"{kind} {n}"),), "here", kind)
        for n in range(30)
        for kind in ("harmful", "harmless")
    ]

    few, more = (list(some_of_each_kind(every, most, 0)) for most in (5, 12))

    assert [sum(one.kind == kind for one in few) for kind in ("harmful", "harmless")] == [5, 5]
    assert set(few) < set(more)
    assert more == [one for one in every if one in set(more)]


def test_files_named_from_where_one_stands_are_found_again_from_the_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    prompts(tmp_path, "harmful")
    gate_data(tmp_path)
    monkeypatch.chdir(tmp_path)
    with chat_server(answering(likes("like so"))) as server:
        compare(server, tmp_path, "--harmful", "harmful.jsonl", "--gate-data", "gate.jsonl")

    recipe = load_recipe(tmp_path / "out" / "recipe.yaml")
    contest = recipe.evaluation.contest
    assert [one.file for one in recipe.prompts.evaluation] == [tmp_path / "harmful.jsonl"]
    assert contest is not None
    assert contest.harmlessness.gate_data == (str(tmp_path / "gate.jsonl"),)


@pytest.mark.parametrize("more", [["--dry-run"], []], ids=["dry-run", "in earnest"])
def test_policies_of_a_folder_without_a_run_are_not_measured(tmp_path: Path, more: list[str]):
    (tmp_path / "mine").mkdir()
    recipe = str(Path(__file__).parents[1] / "examples" / "microworld.yaml")

    for run in (tmp_path / "mine", tmp_path / "typo"):
        with pytest.raises(CaiError, match="holds no run"):
            CliRunner().invoke(
                app, ["policy", recipe, "--run", str(run), *more], catch_exceptions=False
            )

    assert list(tmp_path.rglob("*")) == [tmp_path / "mine"]
