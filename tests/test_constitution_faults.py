"""A faulty constitution is refused with every fault of it: line, field, value and fix."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cai.constitution import Constitution, Principle, load_constitution
from cai.document import read_document
from cai.errors import InputError

GOOD = """\
id: mine
principles:
  - id: kind
    critique: Is it kind?
    revision: Be kind.
  - id: "true"
    comparison: Which is truer?
"""


def faults(folder: Path, content: str | bytes) -> list[str]:
    """What is said of a file, without its path."""
    path = folder / "mine.yaml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(InputError) as refused:
        load_constitution(path)
    return [line.removeprefix(f"{path}: ") for line in str(refused.value).splitlines()]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("id: mine", "id: My House", "line 1: id: is 'My House'; use small letters, digits and da"),
        ("id: mine\n", "", "line 1: id: is missing; write it"),
        ("id: mine", "id:", "line 1: id: has no value; write one or delete the key"),
        ("id: mine", "id: 7", "line 1: id: is 7, which is no text; put it in quotes"),
        ("id: mine", "id: [a]", "line 1: id: is ['a'], which is no text; write a text"),
        ("id: mine", "id: mine\nid: yours", "line 2: id: is written twice, first on line 1"),
        (
            "id: mine",
            "id: mine\ntitel: x",
            "line 2: titel: is not a key here; did you mean 'title'?",
        ),
        (
            "id: mine",
            "id: mine\nxyz: x",
            "line 2: xyz: is not a key here; delete it, or choose fro",
        ),
        ("id: mine", "id: mine\nversion: 1.0", "line 2: version: is 1.0, which is no text; put it"),
        ("id: mine", "id: mine\ncases: {}", "line 2: cases: is {}, which is no list; write"),
        (
            "id: mine",
            "id: mine\ncases: [{principle: kind, conversation: hi, better: a}]",
            "line 2: cases.0.worse: is missing; write it (or response and answer in its place)",
        ),
        (
            "id: mine",
            "id: mine\ncases: [{principle: kind, conversation: hi, response: a, answer: maybe}]",
            "line 2: cases.0.answer: is 'maybe'; choose from 'yes' or 'no'",
        ),
        (
            "id: mine",
            "id: mine\ncases: [{principle: kid, conversation: hi, better: a, worse: b}]",
            "line 2: cases.0.principle: is 'kid', which names no principle; choose from kind, true",
        ),
        (
            "id: mine",
            "id: mine\ncases: [{principle: kind, conversation: hi, better: a, worse: b}]",
            "line 2: cases.0.principle: is 'kind', which has no comparison text; write it",
        ),
        (
            "id: mine",
            "id: mine\ndefaults: {critique: Is it so?}",
            "line 2: defaults.critique: stands without a revision; write the revision too",
        ),
        (
            "id: mine",
            "id: mine\ndefaults: {id: x}",
            "line 2: defaults.id: is not a key here; delete it, or choose from critique, revision",
        ),
        (
            "id: mine",
            "id: mine\nextends: [{include: [kind]}]",
            "line 2: extends.0.constitution: is missing; write it",
        ),
        ("id: mine", "id: mine\nremove: [kind]", "line 2: remove: has nothing to remove from; wri"),
        ("id: mine", "id: !new mine", "line 1: id: has the tag !new, which is not read; delete"),
        ("id: mine", "id: mine\n[a]: b", "line 2: has a list or mapping as a key; write a word"),
        ("id: mine", "id: &x {a: *x}", "line 1: id.a: is an alias of something around it; write"),
        ("Is it kind?", "' '", "line 4: principles.0.critique: is blank; write the text or delete"),
        (
            "Is it kind?",
            "",
            "line 4: principles.0.critique: has no value; write one or delete the k",
        ),
        ("    revision: Be kind.\n", "", "line 4: principles.0.critique: stands without a revisio"),
        ("    critique: Is it kind?\n", "", "line 4: principles.0.revision: stands without a crit"),
        (
            "    comparison: Which is truer?\n",
            "",
            "line 6: principles.1: says nothing to any stage",
        ),
        (
            "  - id: kind\n    critique",
            "  - critique",
            "line 3: principles.0.id: is missing; write",
        ),
        ('"true"', "kind", "line 6: principles.1.id: is 'kind' again; choose another id"),
        ('"true"', "true", "line 6: principles.1.id: is True, which is no text; put it in quotes"),
        (
            "revision:",
            "rewrite: a\n    revision:",
            "line 5: principles.0.rewrite: is not a key her",
        ),
        (
            "revision:",
            "weight: 0\n    revision:",
            "line 5: principles.0.weight: is 0; it must be g",
        ),
        (
            "revision:",
            "weight: -1\n    revision:",
            "line 5: principles.0.weight: is -1; it must be",
        ),
        (
            "revision:",
            "weight: .inf\n    revision:",
            "line 5: principles.0.weight: is inf; it must",
        ),
        (
            "revision:",
            "weight: '2'\n    revision:",
            "line 5: principles.0.weight: is '2'; it must ",
        ),
        ("revision:", "weight: yes\n    revision:", "line 5: principles.0.weight: is 'yes'; it mu"),
        ("revision:", "tags: calm\n    revision:", "line 5: principles.0.tags: is 'calm', which i"),
        (
            "revision:",
            "applies_if: x\n    revision:",
            "line 5: principles.0.applies_if: is 'x', which is no mapping; write 'keywords: …', 'p",
        ),
        (
            "revision:",
            "applies_if: {}\n    revision:",
            "line 5: principles.0.applies_if: says no condition; write one of keywords, pattern, k",
        ),
        (
            "revision:",
            "applies_if: {pattern: '('}\n    revision:",
            "line 5: principles.0.applies_if.pattern: is '(', which is no regular expression: mis",
        ),
        (
            "revision:",
            "reasoning: Think.\n    revision:",
            "line 5: principles.0.reasoning: stands without a comparison; write the comparison too",
        ),
    ],
)
def test_one_fault_is_reported_with_line_field_value_and_fix(
    tmp_path: Path, old: str, new: str, message: str
):
    said = faults(tmp_path, GOOD.replace(old, new, 1))

    assert any(line.startswith(message) for line in said), said


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty; write 'id: …'"),
        ("# nothing\n", "is empty"),
        ("- a\n- b\n", "line 1: is ['a', 'b'], which is no mapping; write 'id: …'"),
        ("just words", "line 1: is 'just words', which is no mapping"),
        ("id: x\n", "line 1: principles: has no principle; write at least one"),
        ("id: x\nprinciples: []\n", "line 2: principles: has no principle; write at least one"),
        ("id: x\nprinciples: [a]\n", "line 2: principles.0: is 'a', which is no mapping; write"),
        ("id: x\nprinciples: {a: b}\n", "line 2: principles: is {'a': 'b'}, which is no list"),
        ("id: x\ntitle: a: b\n", "line 2: is not valid YAML: mapping values are not allowed here"),
        ("id: x\n\ttitle: y\n", "line 2: is not valid YAML: "),
        ("id: [x\n", "line 2: is not valid YAML: expected ',' or ']'"),
        ("id: 'x\n", "line 2: is not valid YAML: found unexpected end of stream"),
        ("id: *x\n", "line 1: is not valid YAML: found undefined alias 'x'; define it with &"),
        ("id: x\n---\nid: y\n", "line 2: is not valid YAML: but found another document"),
        ("[" * 5000, "is nested too deeply to read; flatten it"),
        (b"id: x\ntitle: \xff\n", "line 2: has the byte 0xff, which is not UTF-8 text; save it"),
        (b"id: x\n\x00\n", "line 2: has the character U+0000, which YAML forbids; delete it"),
    ],
)
def test_a_file_that_is_no_constitution_at_all_is_refused(
    tmp_path: Path, content: str | bytes, message: str
):
    said = faults(tmp_path, content)

    assert any(line.startswith(message) for line in said), said


def test_every_fault_is_reported_at_once_in_the_order_of_lines(tmp_path: Path):
    text = """\
id: My House
colour: red
few_shots:
  revision:
    - {conversation: hi, response: x}
  comparison:
    - {conversation: [], response_a: a, response_b: b, comparison: c, answer: C}
principles:
  - id: a
    critique: ""
    revision: Be kind.
    wieght: 2
  - id: a
    comparison: Kinder?
    weight: 0
    weight: 1
  - comparison:
"""

    said = faults(tmp_path, text)

    assert [line.split(": ")[:2] for line in said] == [
        ["line 1", "id"],
        ["line 2", "colour"],
        ["line 5", "few_shots.revision.0.critique_request"],
        ["line 5", "few_shots.revision.0.critique"],
        ["line 5", "few_shots.revision.0.revision_request"],
        ["line 5", "few_shots.revision.0.revision"],
        ["line 7", "few_shots.comparison.0.conversation"],
        ["line 7", "few_shots.comparison.0.answer"],
        ["line 10", "principles.0.critique"],
        ["line 12", "principles.0.wieght"],
        ["line 13", "principles.1.id"],
        ["line 15", "principles.1.weight"],
        ["line 16", "principles.1.weight"],
        ["line 17", "principles.2.id"],
        ["line 17", "principles.2.comparison"],
        ["line 17", "principles.2"],
    ]


@pytest.mark.parametrize(
    ("turns", "message"),
    [
        ("[]", "user and assistant must take turns, user first"),
        ("[{role: assistant, content: a}]", "user and assistant must take turns, user first"),
        ("[{role: user, content: a}, {role: user, content: b}]", "must take turns"),
        ("[{role: user, content: a}, {role: assistant, content: b}]", "the last turn must be the"),
        ("[{role: bot, content: a}]", "conversation.0.role: is 'bot'; choose from 'system', 'use"),
        ("[{role: user, content: a, name: b}]", "conversation.0.name: is not a key here"),
        ("[{role: user}]", "conversation.0.content: is missing; write it"),
        ("' '", "conversation: is blank"),
        ("[{role: system, content: a}, {role: user, content: b}]", "begins with a system turn"),
    ],
)
def test_an_example_needs_a_conversation_that_ends_with_the_user(
    tmp_path: Path, turns: str, message: str
):
    shot = "response: r, critique_request: c, critique: c, revision_request: r, revision: r"
    shots = f"few_shots: {{revision: [{{conversation: {turns}, {shot}}}]}}\n"

    said = faults(tmp_path, GOOD + shots)

    assert len(said) == 1
    assert message in said[0]


@pytest.mark.parametrize("name", ["gone.yaml", ".", "folder.yaml"])
def test_a_path_that_cannot_be_read_is_refused_without_a_trace(tmp_path: Path, name: str):
    (tmp_path / "folder.yaml").mkdir()

    with pytest.raises(InputError, match=r"is not there|cannot be read"):
        load_constitution(tmp_path / name)


def test_an_unknown_shipped_name_is_refused_with_the_names_there_are():
    with pytest.raises(InputError, match="harmles: is no shipped constitution; choose from harmle"):
        load_constitution("harmles")


def test_aliases_that_stand_for_too_many_values_are_refused(tmp_path: Path):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]

    said = faults(tmp_path, "\n".join(lines))

    assert said == ["has more than 200,000 values, its aliases followed; shorten it"]


@given(
    st.text(alphabet=st.sampled_from(list("ab:-[]{}&*!|>'\"#%@` \n\t?,~1.\u2028é")), max_size=60)
)
def test_any_text_is_read_or_refused_with_a_line_of_that_text(tmp_path_factory, text: str):
    path = tmp_path_factory.mktemp("any") / "any.yaml"
    path.write_text(text, encoding="utf-8", newline="")

    try:
        document = read_document(path)
    except InputError as error:
        lines = [fault.line for fault in error.faults if fault.line is not None]
    else:
        lines = list(document.lines.values())

    assert all(1 <= line <= len(text.splitlines()) + 2 for line in lines)


def test_a_constitution_made_in_code_obeys_the_same_rules():
    twice = Principle(id="kind", comparison="Kinder?")

    with pytest.raises(ValueError, match="is 'kind' again"):
        Constitution(id="mine", principles=(twice, twice))
    with pytest.raises(ValueError, match="stands without a revision"):
        Principle(id="kind", critique="Is it kind?")
