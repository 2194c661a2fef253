"""Files of other programs become constitutions and back, every text byte for byte."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from cai.cli.constitution import app
from cai.constitution import Constitution, load_constitution
from cai.constitution.exchange import ImportSettings, export_constitution, import_files
from cai.constitution.exchange.importing import Imported
from cai.constitution.shots import ComparisonShot, ReasoningShot, RevisionShot
from cai.constitution.writing import as_yaml, plain_data
from cai.document import read_document
from cai.errors import CaiError, InputError
from cai.records import Message

REAL = Path(__file__).parents[2] / "shared/data/constitutions"
real = pytest.mark.skipif(
    not REAL.is_dir(), reason="the released files are not part of the project (../shared is absent)"
)

REVISIONS = {
    "rude0": {
        "prompt": ["\n\nCritiqueRequest: Where is the last reply rude?\n\nCritique:"],
        "edit_request": "\n\nRevisionRequest:  Say it kindly…\n\nRevision:",
    }
}
COMPARISONS = ["\nWhich reply is politer? Options:", "\nWhich one is {briefer}? Options:"]
SHOT = (
    "\n\nHuman: Is it late?\n\nAssistant: Yes.\n\nHuman: So what?\n\nAssistant: Go to bed, fool."
    "\n\nCritiqueRequest: Was that rude?\n\nCritique: It was.\n\nRevisionRequest: Be kind."
    "\n\nRevision: Sleep well."
)
LOOSE = [
    {"prompt": "\n\nHuman: Hi\n\nAssistant:", "corrects": ["Hello!"], "incorrects": ["Go away."]}
]
THOUGHT = (
    "\n\nHuman: Consider the following conversation between a human (H) and an assistant (A):\n\n"
    "H: Hi\n\nA:  Hello\n\nH: Who?\n\n{}\n (A) [[[A friend.]]]\n (B) [[[Nobody.]]]\n\n"
    "Assistant: Let's think step by step: (A) is warmer.\n\nHuman:\nSo the answer is: (A)"
)
SWARM = {
    "constitutions": [{"critic": "Is it rude? ", "revision": "Say it kindly."}],
    "system_chat": [
        [
            {"role": "user", "content": "Is it late?"},
            {"role": "assistant", "content": "Go to bed, fool."},
            {"role": "user", "content": "Was that rude?"},
            {"role": "assistant", "content": "It was."},
            {"role": "user", "content": "Be kind."},
            {"role": "assistant", "content": "Sleep well."},
        ]
    ],
}


def imported(folder: Path, *contents: Any, name: str = "x.json", **options: Any) -> Imported:
    """The constitution made of files with these contents; data is written as JSON."""
    files: list[Path] = []
    for number, content in enumerate(contents):
        path = folder / f"{number}-{name}"
        text = content if isinstance(content, str) else json.dumps(content)
        path.write_bytes(text.encode())
        files.append(path)
    return import_files(files, "mine", ImportSettings(**options))


def notes(made: Imported) -> list[str]:
    return [str(note) for _, note in made.notes]


def exported(constitution: Constitution, format: str = "paper") -> dict[str, Any]:
    files = export_constitution(constitution, format).files
    return {name: json.loads(text) for name, text in files.items()}


# The paper's files


def test_critique_and_revision_requests_lose_their_markers_and_get_them_back(tmp_path: Path):
    made = imported(tmp_path, REVISIONS)

    principle = made.constitution.principle("rude0")
    assert principle.critique == "Where is the last reply rude?"
    assert principle.revision == " Say it kindly…"
    assert notes(made) == []
    assert exported(made.constitution)["CritiqueRevisionInstructions.json"] == REVISIONS


def test_comparison_questions_lose_their_options_and_get_them_back(tmp_path: Path):
    made = imported(tmp_path, COMPARISONS)

    texts = [one.comparison for one in made.constitution.principles]
    assert texts == ["Which reply is politer?", "Which one is {briefer}?"]
    assert exported(made.constitution)["RLMadisonInstructions.json"] == COMPARISONS


def test_a_text_in_another_frame_is_kept_and_reported(tmp_path: Path):
    made = imported(tmp_path, [*COMPARISONS, "Which reply is calmer?"])

    assert made.constitution.principles[2].comparison == "Which reply is calmer?"
    assert notes(made) == [
        "2: is framed in its own way, 'Which reply is calmer?'; the texts are kept, and export "
        "would write '\\nWhich reply is calmer? Options:'"
    ]


def test_a_transcript_with_a_critique_becomes_an_example_and_back(tmp_path: Path):
    made = imported(tmp_path, REVISIONS, [SHOT, SHOT + "\n\nHuman:"])

    first, second = made.constitution.few_shots.revision
    assert first == second
    assert [turn.content for turn in first.conversation] == ["Is it late?", "Yes.", "So what?"]
    assert first.response == "Go to bed, fool."
    assert notes(made) == ["1: ends with the marker of a next turn, '\\n\\nHuman:'; left out"]
    shots = exported(made.constitution)["CritiqueRevisionFewShotPrompts.json"]
    assert shots == [SHOT, SHOT]


def test_right_and_wrong_replies_become_an_example_without_order_and_back(tmp_path: Path):
    made = imported(tmp_path, COMPARISONS, LOOSE)

    (shot,) = made.constitution.few_shots.comparison
    assert (shot.better, shot.worse, shot.answer) == ("Hello!", "Go away.", None)
    assert exported(made.constitution)["RLMadisonFewShotPrompts.json"] == LOOSE


def test_thoughts_before_a_choice_become_an_example_and_back(tmp_path: Path):
    made = imported(tmp_path, COMPARISONS, [{"prompt": THOUGHT}])

    (shot,) = made.constitution.few_shots.reasoning
    assert [turn.content for turn in shot.conversation] == ["Hi", " Hello", "Who?"]
    assert (shot.reasoning, shot.answer) == ("(A) is warmer.", "A")
    written = exported(made.constitution)["RLMadisonPrecogFewShotPrompts.json"]
    assert written == [{"prompt": THOUGHT}]


@pytest.mark.parametrize(
    ("content", "note"),
    [
        ({**REVISIONS, "odd": {"prompt": [], "edit_request": "x"}}, "odd: has no place in a const"),
        ({"a": {**REVISIONS["rude0"], "by": "Ann"}}, "a.by: has no place in a constitution: 'Ann'"),
        ([*COMPARISONS, " "], "2: has no place in a constitution: ' '"),
        (
            {**SWARM, "author": "Ann"},
            "author: has no place in a constitution: 'Ann'",
        ),
        (
            {**SWARM, "system_chat": [[{"role": "user", "content": "Hi"}]]},
            "system_chat.0: has no place in a constitution: [{'role': 'user'",
        ),
        (
            {**SWARM, "constitutions": [*SWARM["constitutions"], {"critic": "Only this"}]},
            "constitutions.1: has no place in a constitution: {'critic': 'Only this'}",
        ),
    ],
)
def test_what_has_no_place_is_reported(tmp_path: Path, content: Any, note: str):
    made = imported(tmp_path, content)

    assert any(line.startswith(note) for line in notes(made)), notes(made)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not JSON: Expecting property name"),
        ("{}", "is of no known format; import reads the paper's JSON files, llm-swarm's"),
        ("[1]", "is of no known format"),
        (
            '{"a": {"prompt": "x", "edit_request": "y"}, "a": 1}',
            "has the keys a twice in one place",
        ),
        (json.dumps([SHOT]), "have worked examples alone"),
        (
            '["\\ud800 Options:"]',
            "has U\\+D800, half of a character, which no file can hold; mend it",
        ),
    ],
)
def test_a_file_that_cannot_be_a_constitution_is_refused(
    tmp_path: Path, content: str, message: str
):
    with pytest.raises(InputError, match=message):
        imported(tmp_path, content)


# llm-swarm and NeMo-Aligner


def test_an_llm_swarm_constitution_comes_back_the_same(tmp_path: Path):
    made = imported(tmp_path, SWARM)

    assert made.constitution.principles[0].critique == "Is it rude? "
    assert notes(made) == []
    assert exported(made.constitution, "llm-swarm") == {"constitution.json": SWARM}


def test_a_file_of_samples_adds_examples(tmp_path: Path):
    made = imported(tmp_path, REVISIONS, {"samples": SWARM["system_chat"]})

    assert made.constitution.few_shots.revision[0].revision == "Sleep well."


def test_the_numbered_list_of_a_judges_system_prompt_is_read(tmp_path: Path):
    prompt = (
        "You are a judge.\n1. pick one\n```CONSTITUTION\nKeep to these:\n\n"
        "  1. Choose the politer  reply.\n  2. Choose the briefer one.\n\nThat is all.\n```\n"
    )

    made = imported(tmp_path, prompt, name="system_prompt")

    texts = [one.comparison for one in made.constitution.principles]
    assert texts == ["Choose the politer  reply.", "Choose the briefer one."]
    assert "2: 1. pick one" in notes(made)[0]
    assert "9: That is all." in notes(made)[0]


# Lists and tables


def test_a_plain_list_of_rules_can_be_used_at_once(tmp_path: Path):
    made = imported(tmp_path, "- Be kind.\r\n\n- Be brief, \u2028 please.\n", name="rules.txt")

    first, second = made.constitution.principles
    assert (first.statement, second.statement) == ("Be kind.", "Be brief, \u2028 please.")
    assert first.comparison == "Which reply keeps this rule better? Be kind."
    assert first.stages == ("revision", "comparison", "classify")


def test_signs_of_a_list_belong_to_the_text_if_not_every_line_has_one(tmp_path: Path):
    made = imported(tmp_path, "- Be kind.\nBe brief.\n", name="rules.txt")

    assert made.constitution.principles[0].statement == "- Be kind."


def test_lines_can_be_questions_of_their_own(tmp_path: Path):
    made = imported(tmp_path, ["Which is kinder?"], field="comparison")

    assert plain_data(made.constitution)["principles"] == [
        {"id": "comparison-1", "comparison": "Which is kinder?"}
    ]


TABLE = 'rule,votes,group\n"Be ""kind"",\nalways",12,a\n,3,b\nBe brief,7,\n'


def test_the_named_column_of_a_table_is_read(tmp_path: Path):
    made = imported(tmp_path, TABLE, name="t.csv", column="rule", tag_columns=("group",))

    first, second = made.constitution.principles
    assert first.statement == 'Be "kind",\nalways'
    assert (first.tags, second.tags) == (("group=a",), ())
    assert notes(made) == [
        "row 3: has nothing under 'rule'; left out: ['', '3', 'b']",
        "has no place for the columns votes; --tag-column keeps one",
    ]


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (None, "has several columns; name the one with the rules: --column, of rule, votes, group"),
        ("rules", "has no column 'rules'; choose from rule, votes, group"),
    ],
)
def test_a_table_without_its_column_is_refused(tmp_path: Path, column: str | None, message: str):
    with pytest.raises(InputError, match=message):
        imported(tmp_path, TABLE, name="t.csv", column=column)


def test_an_empty_table_is_told_to_be_empty(tmp_path: Path):
    with pytest.raises(InputError, match="is empty; a table has a line with the names of its col"):
        imported(tmp_path, "", name="t.csv")


# Markdown

SPEC = """\
Draft of May.

# How we answer {#overview}

## Be *kind* {#be_kind authority=user .core}

Nobody learns  from scorn.

!!! meta "Commentary"
    Nor does the scornful.

**Example**: a burnt dinner

~~~xml
<developer>
You are a cook.
</developer>
<user>
I burnt it.
</user>
<comparison>
<assistant> <!-- GOOD: comforts -->
It happens.

# Not a heading
</assistant>
<assistant> <!-- BAD -->
Fool.
</assistant>
</comparison>
~~~

More on this.

## Be kind!

**Example**: alone
~~~xml
<user>
Hi
</user>
<comparison>
<assistant> <!-- BAD: cold -->
What?
</assistant>
</comparison>
~~~

```python
# no heading, and no example
```
"""


def test_a_heading_is_a_principle_with_its_id_tags_and_text(tmp_path: Path):
    made = imported(tmp_path, SPEC, name="spec.md")

    kind, again = made.constitution.principles
    assert (kind.id, kind.statement, kind.tags) == (
        "be_kind",
        "Be *kind*",
        ("authority=user", "core"),
    )
    assert kind.rationale is not None
    assert kind.rationale.startswith('Nobody learns  from scorn.\n\n!!! meta "Commentary"\n    Nor')
    assert kind.rationale.endswith("More on this.")
    assert (again.id, again.rationale) == (
        "be-kind",
        "```python\n# no heading, and no example\n```",
    )
    assert notes(made) == [
        "line 1: has no place in a constitution: 'Draft of May.'",
        "line 3: 'How we answer' has no text of its own, so is none",
    ]


def test_good_and_bad_examples_become_cases(tmp_path: Path):
    made = imported(tmp_path, SPEC, name="spec.md")

    pair, single = made.constitution.cases
    assert [turn.role for turn in pair.conversation] == ["system", "user"]
    assert (pair.better, pair.worse) == ("It happens.\n\n# Not a heading", "Fool.")
    assert (pair.principle, pair.why) == (("be_kind",), "a burnt dinner\ngood: comforts")
    assert (single.response, single.answer, single.why) == ("What?", "no", "alone\nbad: cold")


# Round trips of any text

unmarked = st.text(min_size=1, max_size=60).filter(
    lambda text: text.strip() and "\n\n" not in text and "]]]" not in text
)
talk = st.lists(unmarked, min_size=1, max_size=3).map(lambda texts: texts[: len(texts) | 1])


def conversation(texts: list[str]) -> tuple[Message, ...]:
    odd = texts if len(texts) % 2 else texts[:-1]
    return tuple(Message(("user", "assistant")[n % 2], text) for n, text in enumerate(odd))


revision_shots = st.builds(
    RevisionShot,
    conversation=talk.map(conversation),
    response=unmarked,
    critique_request=unmarked,
    critique=unmarked,
    revision_request=unmarked,
    revision=unmarked,
)
comparison_shots = st.builds(
    ComparisonShot, conversation=talk.map(conversation), better=unmarked, worse=unmarked
)
reasoning_shots = st.builds(
    ReasoningShot,
    conversation=talk.map(conversation),
    response_a=unmarked,
    response_b=unmarked,
    reasoning=unmarked,
    answer=st.sampled_from(["A", "B"]),
)


@st.composite
def constitutions(draw: st.DrawFn) -> Constitution:
    texts = st.text(min_size=1, max_size=80).filter(lambda text: bool(text.strip()))
    pairs = draw(st.lists(st.tuples(texts, texts), min_size=1, max_size=3))
    questions = draw(st.lists(texts, min_size=1, max_size=3))
    principles = [
        {"id": f"r{number}", "critique": critique, "revision": revision}
        for number, (critique, revision) in enumerate(pairs)
    ]
    principles += [
        {"id": f"comparison-{number + 1}", "comparison": text}
        for number, text in enumerate(questions)
    ]
    shots = {
        "revision": draw(st.lists(revision_shots, max_size=2)),
        "comparison": draw(st.lists(comparison_shots, max_size=2)),
        "reasoning": draw(st.lists(reasoning_shots, max_size=2)),
    }
    return Constitution.model_validate({"id": "any", "principles": principles, "few_shots": shots})


@settings(max_examples=40)
@given(constitutions())
def test_what_the_papers_files_hold_comes_back_from_them(tmp_path_factory, whole: Constitution):
    folder = tmp_path_factory.mktemp("paper")
    done = export_constitution(whole, "paper")
    for name, text in done.files.items():
        (folder / name).write_text(text, encoding="utf-8", newline="")

    back = import_files(sorted(folder.iterdir()), "any").constitution

    left_out = [note for note in done.notes if "left out" in note.message]
    assert sorted(one.model_dump_json() for one in back.principles) == sorted(
        one.model_dump_json() for one in whole.principles
    )
    assert left_out or back.few_shots == whole.few_shots


@settings(max_examples=40)
@given(constitutions())
def test_a_constitution_comes_back_from_its_yaml(tmp_path_factory, whole: Constitution):
    path = tmp_path_factory.mktemp("yaml") / "any.yaml"
    path.write_text(as_yaml(plain_data(whole), ["a\ncomment"]), encoding="utf-8", newline="")

    assert load_constitution(path).model_dump() == whole.model_dump()


@settings(max_examples=100)
@given(
    st.lists(
        st.text(
            alphabet=st.one_of(
                st.sampled_from(list("ab:-[]{}&*!|>'\"#%@` \n\t?,~1.\r\\\x00\x07\x85\ufeff\u2028")),
                st.characters(exclude_categories=["Cs"]),
            ),
            max_size=200,
        )
    )
)
def test_any_text_is_written_byte_for_byte(tmp_path_factory, texts: list[str]):
    path = tmp_path_factory.mktemp("text") / "any.yaml"
    path.write_text(as_yaml({"texts": texts}), encoding="utf-8", newline="")

    assert read_document(path).data == {"texts": texts}


# The released files


@real
@pytest.mark.parametrize(
    ("name", "format", "written"),
    [
        (
            "cai_paper_CritiqueRevisionInstructions.json",
            "paper",
            "CritiqueRevisionInstructions.json",
        ),
        ("cai_paper_RLMadisonInstructions.json", "paper", "RLMadisonInstructions.json"),
        ("hf_constitution_anthropic.json", "llm-swarm", "constitution.json"),
    ],
)
def test_a_released_file_comes_back_the_same(name: str, format: str, written: str):
    made = import_files([REAL / name], "real")

    assert len(made.constitution.principles) == 16
    assert notes(made) == []
    assert exported(made.constitution, format)[written] == json.loads((REAL / name).read_bytes())


@real
def test_the_released_examples_come_back_with_their_quirks_reported(tmp_path: Path):
    files = sorted(REAL.glob("cai_paper_*.json"))
    made = import_files(files, "real")
    back = exported(made.constitution)

    shots = made.constitution.few_shots
    assert (len(shots.revision), len(shots.comparison), len(shots.reasoning)) == (5, 5, 6)
    lessons = released("CritiqueRevisionFewShotPrompts")
    thoughts = [one["prompt"] for one in released("RLMadisonPrecogFewShotPrompts")]
    assert back["RLMadisonFewShotPrompts.json"] == released("RLMadisonFewShotPrompts")
    written = back["CritiqueRevisionFewShotPrompts.json"]
    assert written == [text.removesuffix("\n\nHuman:") for text in lessons]
    assert [text.removesuffix("\n\nHuman:") == text for text in lessons].count(False) == 4
    kept = [one["prompt"] for one in back["RLMadisonPrecogFewShotPrompts.json"]]
    same = [before == after for before, after in zip(thoughts, kept, strict=True)]
    assert same == [True, True, True, False, False, True]
    assert [str(note).split(":")[0] for _, note in made.notes] == [
        "0",
        "1",
        "2",
        "4",
        "3.prompt",
        "4.prompt",
    ]


def released(name: str) -> Any:
    return json.loads((REAL / f"cai_paper_{name}.json").read_bytes())


@real
@pytest.mark.parametrize("format", ["paper", "llm-swarm"])
def test_every_text_of_the_released_files_is_in_the_yaml(tmp_path: Path, format: str):
    files = sorted(REAL.glob("*.json"))
    out = tmp_path / "real.yaml"
    arguments = ["import", *map(str, files), "--out", str(out)]

    assert CliRunner().invoke(app, arguments, catch_exceptions=False).exit_code == 0

    whole = load_constitution(out)
    again = import_files(files, "real").constitution
    assert exported(whole, format) == exported(again, format)
    assert (len(whole.principles), len(whole.few_shots.revision)) == (48, 9)


# Commands


def test_what_is_not_imported_is_printed_and_kept_in_the_file(tmp_path: Path):
    source, out = tmp_path / "t.csv", tmp_path / "rules.yaml"
    source.write_text(TABLE)

    result = CliRunner().invoke(
        app, ["import", str(source), "--column", "rule", "--out", str(out)], catch_exceptions=False
    )

    told = "has no place for the columns votes, group; --tag-column keeps one"
    assert told in result.output
    text = out.read_text()
    assert text.startswith("# yaml-language-server: $schema=constitution.schema.json\n")
    assert f"# not imported: {source}: {told}\n" in text
    assert (tmp_path / "constitution.schema.json").is_file()
    assert len(load_constitution(out).principles) == 2


def test_an_export_into_a_file_is_refused(tmp_path: Path):
    (tmp_path / "file").touch()

    result = CliRunner().invoke(app, ["export", "microworld", "--out", str(tmp_path / "file")])

    assert isinstance(result.exception, CaiError)
    assert "file is a file; name a folder" in str(result.exception)


def test_an_import_overwrites_no_file(tmp_path: Path):
    (tmp_path / "x.json").write_text(json.dumps(COMPARISONS))
    (tmp_path / "mine.yaml").write_text("mine")

    result = CliRunner().invoke(
        app, ["import", str(tmp_path / "x.json"), "--out", str(tmp_path / "mine.yaml")]
    )

    assert "is there already; give another name" in str(result.exception)
    assert (tmp_path / "mine.yaml").read_text() == "mine"


def test_export_writes_files_and_says_what_they_have_no_place_for(tmp_path: Path):
    result = CliRunner().invoke(
        app,
        ["export", "microworld", "--format", "llm-swarm", "--out", str(tmp_path / "out")],
        catch_exceptions=False,
    )

    assert len(json.loads((tmp_path / "out/constitution.json").read_bytes())["constitutions"]) == 14
    assert "principles.*.comparison: has no place in the format: no-theft" in result.output
