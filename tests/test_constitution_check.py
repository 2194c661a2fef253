"""`cai constitution` names what an author can hardly mean, and shows what is there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cai.cli.constitution import app
from cai.constitution import Constitution, Principle, read_constitution
from cai.constitution.check import UnknownWords, unknown_words, warnings
from cai.errors import CaiError, InputError

TEXT = """\
id: mine
few_shots:
  comparison:
    - {conversation: hi, response_a: a, response_b: b, comparison: c, answer: A}
    - {conversation: ho, response_a: a, response_b: b, comparison: c, answer: B}
principles:
  - id: kind
    critique: Is the reply kind?
    revision: Write it more kindly.
  - id: candid
    comparison: Which reply is more candid?
    weight: 2.5
    tags: ["[red]honest[/red]"]
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments], env={"COLUMNS": "200"})


def test_a_sound_constitution_gives_no_warning(tmp_path: Path):
    assert warnings(read_constitution(write(tmp_path, TEXT))) == []


@pytest.mark.parametrize("name", ["harmlessness", "helpfulness", "summarization"])
def test_a_shipped_constitution_gives_no_warning(name: str):
    assert warnings(read_constitution(name)) == []


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ("Kinder? Options:", "begins or ends with 'Options:'; delete it"),
        ("options : Kinder?", "begins or ends with 'Options:'; delete it"),
        ("Kinder, {}?", "has '{}'; a text is no template"),
        ("Kinder, {{ name }}?", "has '{{ name }}'; a text is no template"),
        ("Kinder }?", "has '}'; a text is no template"),
        ("Kinder?\n", "begins or ends with a blank, which is sent too"),
    ],
)
def test_an_odd_text_is_warned_of_with_its_line(tmp_path: Path, text: str, warning: str):
    path = write(tmp_path, TEXT.replace("Which reply is more candid?", json.dumps(text)))

    found = [str(fault) for fault in warnings(read_constitution(path))]

    assert len(found) == 1
    assert found[0].startswith(f"line 11: candid.comparison: {warning}")


def test_options_named_within_a_sentence_are_no_fault(tmp_path: Path):
    path = write(tmp_path, TEXT.replace("more candid", "kinder about the options"))

    assert warnings(read_constitution(path)) == []


def test_examples_that_all_have_the_same_answer_are_warned_of(tmp_path: Path):
    path = write(tmp_path, TEXT.replace("answer: B", "answer: A"))

    found = [str(fault) for fault in warnings(read_constitution(path))]

    assert found == ["few_shots.comparison: all 2 examples answer A; swap the replies of half"]


def test_a_near_copy_of_another_principle_is_warned_of(tmp_path: Path):
    copy = "  - id: copy\n    comparison: Which reply is  more candid.\n"
    path = write(tmp_path, TEXT + copy)

    found = [str(fault) for fault in warnings(read_constitution(path))]

    assert found == ["line 15: copy.comparison: is 96% the same as that of 'candid'; reword it"]


def test_a_stage_without_texts_is_warned_of(tmp_path: Path):
    path = write(tmp_path, "id: x\nprinciples:\n  - {id: a, comparison: Kinder?}\n")

    found = [str(fault) for fault in warnings(read_constitution(path))]

    assert found == ["principles: have no revision text; without one no revisions can be made"]


def test_words_that_are_not_known_are_named_once_with_text_and_line(tmp_path: Path):
    loaded = read_constitution(write(tmp_path, TEXT))
    known = {"is", "the", "reply", "kind", "write", "it", "more", "which"}

    found = unknown_words(loaded.constitution, known, loaded.lines)

    assert found == [
        UnknownWords("kind", "revision", 9, ("kindly",)),
        UnknownWords("candid", "comparison", 11, ("candid",)),
    ]


@pytest.mark.parametrize(
    ("text", "unknown"),
    [
        ("DON'T don’t", ()),
        ("can't", ("can't",)),
        ("well-known, 1984!", ("well", "known")),
        ("naïve Straße", ("naïve", "straße")),
        ("odd odd ODD", ("odd",)),
    ],
)
def test_a_word_is_a_run_of_letters_in_any_case(text: str, unknown: tuple[str, ...]):
    principle = Principle(id="x", comparison=text)
    constitution = Constitution(id="x", principles=(principle,))

    found = unknown_words(constitution, {"don", "t"})

    assert tuple(word for entry in found for word in entry.words) == unknown


def test_check_tells_size_and_hash_of_a_sound_file(tmp_path: Path):
    path = write(tmp_path, TEXT)

    result = invoke("check", str(path))

    hashed = read_constitution(path).constitution.hash
    assert result.output == f"{path}: 2 principles, hash {hashed}\n"
    assert result.exit_code == 0


def test_check_prints_warnings_and_still_succeeds(tmp_path: Path):
    path = write(tmp_path, TEXT.replace("kindly.", "kindly {[bold]}."))

    result = invoke("check", str(path))

    assert "warning: line 9: kind.revision: has '{[bold]}'" in result.output
    assert result.exit_code == 0


def test_check_fails_with_every_fault_of_the_file(tmp_path: Path):
    path = write(tmp_path, TEXT.replace("weight", "wait").replace("id: kind", "id: Kind"))

    result = invoke("check", str(path))

    assert result.exit_code == 1
    assert isinstance(result.exception, InputError)
    assert [fault.line for fault in result.exception.faults] == [7, 12]


def test_check_for_the_microworld_names_words_that_its_model_never_saw(tmp_path: Path):
    path = write(tmp_path, TEXT.replace("candid?", "zygomorphic?"))

    result = invoke("check", str(path), "--model", "microworld")

    assert "line 11: candid.comparison: has words that microworld never saw: " in result.output
    assert "zygomorphic" in result.output
    assert result.exit_code == 0


def test_check_for_a_model_without_a_word_list_is_refused(tmp_path: Path):
    result = invoke("check", str(write(tmp_path, TEXT)), "--model", "gpt")

    assert isinstance(result.exception, CaiError)
    assert "the words of 'gpt' are not known" in str(result.exception)


def test_show_lists_each_principle_with_stages_weight_and_tags_as_written(tmp_path: Path):
    result = invoke("show", str(write(tmp_path, TEXT)))

    rows = [line.split("│")[1:-1] for line in result.output.splitlines() if "│" in line]
    assert [[cell.strip() for cell in row] for row in rows] == [
        ["kind", "revision", "1", "", "mine.yaml:7"],
        ["candid", "comparison", "2.5", "[red]honest[/red]", "mine.yaml:10"],
    ]


def test_show_prints_the_texts_of_one_principle(tmp_path: Path):
    result = invoke("show", str(write(tmp_path, TEXT)), "--principle", "kind")

    assert result.output == (
        "critique:  # mine.yaml:8\n  Is the reply kind?\n"
        "revision:  # mine.yaml:9\n  Write it more kindly.\n"
    )


def child(folder: Path, text: str) -> Path:
    write(folder, TEXT)
    path = folder / "child.yaml"
    path.write_text(f"id: child\nextends: mine.yaml\n{text}")
    return path


def test_show_says_where_each_inherited_and_filled_in_field_was_written(tmp_path: Path):
    text = "defaults: {rating: How good?}\nprinciples:\n  - {id: candid, weight: 3}\n"
    path = child(tmp_path, text)

    whole = invoke("show", str(path)).output
    one = invoke("show", str(path), "--principle", "candid").output

    assert "child.yaml:5, mine.yaml" in whole
    assert "comparison:  # mine.yaml:11" in one
    assert "weight:  # child.yaml:5\n  3.0" in one
    assert "rating:  # child.yaml:3 (defaults)\n  How good?" in one


def test_show_writes_the_whole_as_a_file_of_its_own(tmp_path: Path):
    # The marks of a text that runs from right to left belong to it.
    added = "  - {id: marked, critique: '\u202bIs it?\u202c', revision: Mend it.}\n"
    text = f"remove: [kind]\ndefaults: {{rating: 'How {{statement}}?'}}\nprinciples:\n{added}"
    path = child(tmp_path, text)
    before = read_constitution(path).constitution

    printed = invoke("show", str(path), "--yaml").output

    alone = tmp_path / "alone.yaml"
    alone.write_text(printed)
    assert "extends" not in printed
    assert read_constitution(alone).constitution.hash == before.hash


# More that can hardly be meant

MANY = """id: many
principles:
  - {id: a, comparison: Which reply is more open about money?, rating: How open?}
  - {id: b, comparison: Which reply is less open about money?}
  - {id: c, statement: Be brief., contrast: Ramble on and on., comparison: Which is briefer?}
  - {id: d, statement: Ramble on and on., comparison: Which has more words?}
  - {id: e, critique: Was that so?, revision: Mend it., classify: Is it so?}
"""


def lint(folder: Path, text: str) -> list[str]:
    path = folder / "lint.yaml"
    path.write_text(text)
    return [str(fault) for fault in warnings(read_constitution(path))]


def test_pairs_that_contradict_each_other_are_named(tmp_path: Path):
    said = lint(tmp_path, MANY)

    assert "line 4: b.comparison: asks for the opposite of that of 'a'; keep one of them" in said
    assert "line 6: d.statement: is what 'c' has as its contrast; keep one of them" in said


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (
            "Which reply shows contempt for the reader?",
            "Which reply shows no contempt for the reader?",
        ),
        ("Choose the reply that helps the thief.", "Choose the reply that never helps the thief."),
        ("Does it answer with a warning?", "Doesn’t it answer with a warning?"),
    ],
)
def test_a_negation_makes_a_contradiction(tmp_path: Path, first: str, second: str):
    principles = [{"id": "a", "comparison": first}, {"id": "b", "comparison": second}]

    said = lint(tmp_path, json.dumps({"id": "x", "principles": principles}))

    assert any("b.comparison: asks for the opposite of that of 'a'" in line for line in said)


def test_texts_about_different_things_do_not_contradict(tmp_path: Path):
    principles = [
        {"id": "a", "comparison": "Which reply gives less help with theft?"},
        {"id": "b", "comparison": "Which reply gives more help with cooking?"},
    ]

    said = lint(tmp_path, json.dumps({"id": "x", "principles": principles}))

    assert not any("opposite" in line for line in said)


def test_a_text_that_only_some_have_is_named(tmp_path: Path):
    said = lint(tmp_path, MANY)

    assert (
        "principles: b, c, d have a comparison but no rating text, as others do; write them, or "
        "write one for all under defaults"
    ) in said


@pytest.mark.parametrize(
    ("texts", "warned"),
    [
        (["Less {}?", "Not {}?", "No {}?", "Which avoids {}?"], True),
        (["Less {}?", "Not {}?", "No {}?", "Which is kinder about {}?"], False),
        (["Less {}?", "Not {}?", "No {}?"], False),
    ],
)
def test_comparisons_that_only_avoid_are_one_sided(tmp_path: Path, texts: list[str], warned: bool):
    subjects = ["theft of cars", "poison in food", "blows to people", "lies in court"]
    principles = [
        {"id": f"p{number}", "comparison": text.format(subject)}
        for number, (text, subject) in enumerate(zip(texts, subjects, strict=False))
    ]

    said = lint(tmp_path, json.dumps({"id": "x", "principles": principles}))

    assert any("name only what to avoid, so saying nothing" in line for line in said) == warned


def test_tags_and_weights_on_one_side_are_named(tmp_path: Path):
    subjects = ["theft of cars", "poison in food", "blows to people", "lies in court"]
    principles = [
        {
            "id": f"p{number}",
            "comparison": f"Which is better about {subject}?",
            "tags": ["harmless"],
            "weight": 9 if number == 2 else 1,
        }
        for number, subject in enumerate(subjects)
    ]

    said = lint(tmp_path, json.dumps({"id": "x", "principles": principles}))

    assert "principles: 4 are tagged 'harmless' and none 'helpful'; add one, or its tag" in said
    assert any(
        "p2.weight: takes 75% of the draws for comparison; lower it" in line for line in said
    )


# New


@pytest.mark.parametrize("parent", ["", "harmlessness"])
def test_a_new_constitution_is_sound_and_brings_its_schema(tmp_path: Path, parent: str):
    path = tmp_path / "Our House.yaml"

    result = invoke("new", str(path), *(["--extends", parent] if parent else []))

    loaded = read_constitution(path)
    assert result.exit_code == 0
    assert loaded.constitution.id == "our-house"
    assert warnings(loaded) == []
    assert len(loaded.constitution.principles) == (32 if parent else 2)
    first = path.read_text().splitlines()[0]
    assert first == "# yaml-language-server: $schema=constitution.schema.json"
    assert (tmp_path / "constitution.schema.json").is_file()


def test_a_new_constitution_names_its_parent_as_seen_from_its_own_folder(tmp_path: Path):
    write(tmp_path, TEXT)
    (tmp_path / "layers").mkdir()
    path = tmp_path / "layers/top.yaml"

    invoke("new", str(path), "--extends", str(tmp_path / "mine.yaml"))

    assert '- constitution: "../mine.yaml"' in path.read_text()
    assert len(read_constitution(path).constitution.principles) == 2


def test_a_new_constitution_overwrites_nothing(tmp_path: Path):
    path = write(tmp_path, TEXT)

    assert "is there already; give another name" in str(invoke("new", str(path)).exception)
    assert path.read_text() == TEXT


# Preview


def test_the_preview_shows_what_the_stages_send(tmp_path: Path):
    text = TEXT.replace("critique: Is", "classify: Is it so?\n    rating: How?\n    critique: Is")
    path = str(write(tmp_path, text))

    shown = invoke("preview", path, "--prompt", "Hello [b]you[/b]?", "--response", "Go.").output

    titles = [line for line in shown.splitlines() if line.startswith("──")]
    assert titles == [
        "── respond",
        "── critique under kind",
        "── revision, after the critique under kind",
        "── comparison, the reply at (A) under candid",
        "── comparison, the reply at (B) under candid",
        "── rating under kind",
        "── classify under kind",
    ]
    assert "[user]\nHello [b]you[/b]?\n[assistant]\nGo.\n[user]\nIs the reply kind?\n" in shown


def test_the_preview_is_what_a_stage_sends(tmp_path: Path):
    from cai.prompts import Prompts
    from cai.records import Message, Prompt, Response, RowKey
    from cai.stages.choose import comparison_questions
    from cai.stages.setting import Setting

    path = write(tmp_path, TEXT)
    constitution = read_constitution(path).constitution
    prompt = Prompt((Message("user", "Hello?"),), "preview")
    pair = (Response(prompt, "Hi.", 0, "", ""), Response(prompt, "Go.", 1, "", ""))
    sent, _ = comparison_questions(
        pair,
        constitution.principle("candid"),
        RowKey("comparison", prompt.id),
        Setting(constitution, Prompts()),
    )

    options = ["--prompt", "Hello?", "--response", "Hi.", "--other", "Go."]
    chosen = ["--principle", "candid", "--stage", "comparison"]
    shown = invoke("preview", str(path), *options, *chosen).output

    first = shown.split("\n\n── comparison, the reply at (B)")[0]
    assert first == "── comparison, the reply at (A) under candid\n" + "\n".join(
        f"[{turn.role}]\n{turn.content}" for turn in sent
    )


def test_the_preview_says_which_stage_no_principle_applies_to(tmp_path: Path):
    text = TEXT.replace("weight: 2.5", "applies_if: {keywords: [money]}")
    path = str(write(tmp_path, text))

    assert "── comparison: no principle for comparison applies to the prompt" in (
        invoke("preview", path, "--prompt", "Hello?").output
    )
    assert "── comparison, the reply at (A) under candid" in (
        invoke("preview", path, "--prompt", "No money?").output
    )
