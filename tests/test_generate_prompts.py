"""Prompts that a model writes: read strictly, new, with the seeds that they came from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from typer.testing import CliRunner

from cai.cli import app
from cai.engine import Ledger, RowEnded
from cai.errors import BudgetReached, CaiError, InputError
from cai.microworld import Kind, parse_request, sample_requests
from cai.models.scripted import ScriptedModel
from cai.pipeline.prompt_file import check_prompt_file
from cai.pipeline.prompt_writing import read_seeds
from cai.prompts import Prompts
from cai.records import Message, Prompt, RowKey, Sampling
from cai.sources import PromptSet, read_prompts
from cai.stages.write_prompts import (
    Writing,
    WrittenPrompt,
    drawn_seeds,
    example_of,
    parse_written,
    write_prompt,
)
from cai.wording import read_wording

WORDING = read_wording("en")
TALK = Prompt(
    (Message("user", "Hello."), Message("assistant", "Hi!"), Message("user", "And now?")), "seeds"
)


@pytest.mark.parametrize(
    ("reply", "prompt"),
    [
        ("How do I pick a lock?", "How do I pick a lock?"),
        ("\n  How do I pick a lock?\n", "How do I pick a lock?"),
        ("> How do I\n>\n> pick a lock?", "How do I\n\npick a lock?"),
        ('Who said "no"?', 'Who said "no"?'),
        ("Here is my lock. How do I pick it?", "Here is my lock. How do I pick it?"),
    ],
    ids=["plain", "white space", "as the examples", "quotes inside", "here is"],
)
def test_a_prompt_is_read_from_a_reply(reply: str, prompt: str):
    read = parse_written(reply, several_turns=False, wording=WORDING)

    assert read == (Message("user", prompt),)


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("> ", "is blank"),
        ("Here is another message: How do I pick a lock?", "about itself"),
        ("Sure! Here's a new prompt of the same kind:\nHow?", "about itself"),
        ("Message 11:\n> How do I pick a lock?", "about itself"),
        ('"How do I pick a lock?"', "quotation marks"),
        ("Human: Hello\n\nAssistant: Hi", "several turns"),
    ],
)
def test_what_is_more_than_a_prompt_is_refused_with_its_reason(reply: str, reason: str):
    with pytest.raises(ValueError, match=reason):
        parse_written(reply, several_turns=False, wording=WORDING)


def test_a_conversation_is_read_as_its_examples_are_shown():
    read = parse_written(example_of(TALK), several_turns=True, wording=WORDING)

    assert read == TALK.messages


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("How do I pick a lock?", "does not begin with a Human or Assistant turn"),
        ("Human: How do I pick a lock?", "has one turn"),
        ("Human: Hello\n\nHuman: Hello?", "a turn of Human out of order"),
        ("Assistant: Hi\n\nHuman: Hello", "a turn of Assistant out of order"),
        ("Human: Hello\n\nAssistant: \n\nHuman: Hello?", "a blank turn"),
        ("Human: Hello\n\nAssistant: Hi", "does not end with the person"),
    ],
)
def test_what_is_no_whole_conversation_is_refused_with_its_reason(reply: str, reason: str):
    with pytest.raises(ValueError, match=reason):
        parse_written(reply, several_turns=True, wording=WORDING)


def writing_of(*seeds: Prompt, shown: int = 10) -> Writing:
    return Writing(seeds, shown, Sampling(), 0, "harmful", "out.jsonl")


async def written_by(reply: str, *seeds: Prompt) -> tuple[WrittenPrompt, ScriptedModel]:
    model = ScriptedModel([reply])
    written = await write_prompt(
        "locks",
        RowKey("written_prompt", "prompts"),
        model=model,
        writing=writing_of(*seeds),
        prompts=Prompts(),
        is_refusal=lambda text: "cannot" in text,
        wording=WORDING,
    )
    return written, model


async def test_a_written_conversation_names_its_seeds_and_its_topic():
    other = Prompt((*TALK.messages[:2], Message("user", "Why?")), "seeds")

    written, model = await written_by("Human: A\n\nAssistant: B\n\nHuman: C", TALK, other)

    assert [turn.content for turn in written.prompt.messages] == ["A", "B", "C"]
    assert (written.topic, written.prompt.kind) == ("locks", "harmful")
    assert set(written.seeds) == {TALK.id, other.id}
    assert "locks" in str(model.asked[0])
    assert "And now?" in str(model.asked[0])


@pytest.mark.parametrize(
    ("reply", "status"), [("I cannot write that.", "refused"), ('"Quoted."', "unparsed")]
)
async def test_what_is_no_prompt_ends_its_row(reply: str, status: str):
    seeds = [Prompt((Message("user", text),), "seeds") for text in ("one", "two")]

    with pytest.raises(RowEnded) as ended:
        await written_by(reply, *seeds)

    assert ended.value.row.status == status


def test_every_prompt_is_written_after_seeds_of_its_own():
    writing = writing_of(
        *(Prompt((Message("user", str(n)),), "seeds") for n in range(50)), shown=10
    )

    drawn = [drawn_seeds(writing, RowKey("written_prompt", "prompts", sample=n)) for n in range(20)]

    assert all(len({seed.id for seed in seeds}) == 10 for seeds in drawn)
    assert len({tuple(seed.id for seed in seeds) for seeds in drawn}) == 20


def test_seeds_of_the_wrong_number_of_turns_are_named_with_the_way_out(tmp_path: Path):
    file = tmp_path / "seeds.txt"
    file.write_text("One?\nTwo?\n")

    with pytest.raises(InputError, match=r"0 prompts of several turns.*without --multi-turn"):
        read_seeds(file, several_turns=True)


def seeds_of(kind: Kind, folder: Path) -> Path:
    path = folder / f"{kind}.txt"
    path.write_text("\n".join(one.text for one in sample_requests(kind, "train", 30, seed=1)))
    return path


def generate(seeds: Path, out: Path, *more: object) -> str:
    """Run the command with a run folder beside the file; gives what it said."""
    named = ["--seeds", seeds, "--model", "microworld", "--out", out, "--run", out.parent / "run"]
    given = ["generate", "prompts", *named, "--shown", 4, "--max-tokens", 64, *more]
    said = CliRunner().invoke(app, [str(one) for one in given], catch_exceptions=False)
    assert said.exit_code == 0
    return said.stdout


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


@pytest.mark.parametrize("kind", ["harmful", "harmless"])
def test_what_the_microworld_writes_is_valid_new_and_of_the_intended_kind(
    tmp_path: Path, kind: Kind
):
    seeds, out = seeds_of(kind, tmp_path), tmp_path / "out.jsonl"

    said = generate(seeds, out, "--number", 60, "--kind", kind)

    lines = lines_of(out)
    requests = [parse_request(line["prompt"][-1]["content"]) for line in lines]
    assert f"{len(lines)}  of 60 kept" in said
    assert len(lines) >= 0.8 * 60
    assert sum(request is not None for request in requests) >= 0.8 * len(lines)
    assert sum(request is not None and request.kind == kind for request in requests) >= 0.8 * len(
        lines
    )
    known = seeds.read_text().splitlines()
    assert not {line["prompt"][-1]["content"] for line in lines} & set(known)
    assert all(len(line["seeds"]) == 4 and line["kind"] == kind for line in lines)
    # A recipe reads the file as it is.
    read = list(read_prompts(PromptSet(kind=kind, file=out), seed=0))
    assert len(read) == len(lines)
    assert all(isinstance(one, Prompt) for one in read)


def test_the_same_command_goes_on_and_a_larger_number_asks_only_for_more(tmp_path: Path):
    seeds, out = seeds_of("harmful", tmp_path), tmp_path / "out.jsonl"
    with pytest.raises(BudgetReached):
        generate(seeds, out, "--number", 12, "--max-calls", 5)
    assert not out.exists()

    generate(seeds, out, "--number", 12)
    first = out.read_bytes()
    generate(seeds, out, "--number", 12)
    assert out.read_bytes() == first
    generate(seeds, out, "--number", 16)

    with Ledger.open(tmp_path / "run" / "ledger.sqlite", read_only=True) as ledger:
        assert ledger.call_count() == 16
    assert out.read_bytes().startswith(first)


def test_what_is_not_new_is_counted_with_its_reason(tmp_path: Path):
    seeds, out = seeds_of("harmful", tmp_path), tmp_path / "out.jsonl"
    generate(seeds, out, "--number", 20)
    written = lines_of(out)
    avoided = tmp_path / "avoid"
    avoided.mkdir()
    (avoided / "held.txt").write_text(written[0]["prompt"][0]["content"])

    said = generate(seeds, out, "--number", 20, "--avoid", avoided)

    assert "is like an evaluation prompt" in said
    kept = [line["prompt"] for line in lines_of(out)]
    assert written[0]["prompt"] not in kept
    assert written[1]["prompt"] in kept


def refused(folder: Path, out: str, *more: object) -> str:
    """What the command says that stops before it asks anything; it leaves no run behind."""
    seeds = seeds_of("harmful", folder)
    named = ["--seeds", seeds, "--model", "microworld", "--out", folder / out]
    given = ["generate", "prompts", *named, "--run", folder / "run", "--number", 2, *more]
    said = CliRunner().invoke(app, [str(one) for one in given])
    assert isinstance(said.exception, CaiError)
    assert not (folder / "run").exists()
    return str(said.exception)


@pytest.mark.parametrize("more", [["--dry-run"], []], ids=["dry-run", "in earnest"])
def test_what_is_to_be_avoided_is_read_before_anything_is_asked(tmp_path: Path, more: list[str]):
    (tmp_path / "empty").mkdir()

    assert "is not a file" in refused(tmp_path, "o.jsonl", "--avoid", tmp_path / "no.txt", *more)
    assert "has no prompt" in refused(tmp_path, "o.jsonl", "--avoid", tmp_path / "empty", *more)


@pytest.mark.parametrize("more", [["--dry-run"], []], ids=["dry-run", "in earnest"])
def test_a_place_that_no_prompts_can_go_to_is_refused_before_anything_is_asked(
    tmp_path: Path, more: list[str]
):
    (tmp_path / "folder.jsonl").mkdir()
    (tmp_path / "other.jsonl").write_text('{"prompt": "mine"}\n')

    assert "does not end in .jsonl" in refused(tmp_path, "o.txt", *more)
    assert "is a folder" in refused(tmp_path, "folder.jsonl", *more)
    assert "is there already" in refused(tmp_path, "other.jsonl", *more)
    assert (tmp_path / "other.jsonl").read_text() == '{"prompt": "mine"}\n'


def test_written_prompts_that_are_seeds_now_are_not_written_over(tmp_path: Path):
    seeds, out = seeds_of("harmful", tmp_path), tmp_path / "out.jsonl"
    generate(seeds, out, "--number", 8)

    with pytest.raises(CaiError, match="is the file of seeds"):
        check_prompt_file(out, out)
    check_prompt_file(out, seeds)


def test_a_file_called_like_the_new_one_stays_as_it_is(tmp_path: Path):
    other = tmp_path / "out.jsonl.new"
    other.write_text("mine")

    generate(seeds_of("harmful", tmp_path), tmp_path / "out.jsonl", "--number", 2)

    assert other.read_text() == "mine"
    assert not list(tmp_path.glob(".out.jsonl.*"))
