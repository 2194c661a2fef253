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


def test_the_shipped_constitution_gives_no_warning():
    assert warnings(read_constitution("harmlessness")) == []


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
        ["kind", "revision", "1", ""],
        ["candid", "comparison", "2.5", "[red]honest[/red]"],
    ]


def test_show_prints_the_texts_of_one_principle(tmp_path: Path):
    result = invoke("show", str(write(tmp_path, TEXT)), "--principle", "kind")

    assert result.output == (
        "critique:\n  Is the reply kind?\nrevision:\n  Write it more kindly.\n"
    )
