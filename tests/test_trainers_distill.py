"""Context distillation: a student without the context comes to do what its teacher does with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet
import pytest
import torch
from transformers import AutoModelForCausalLM

from cai.constitution import load_constitution
from cai.errors import CaiError, InputError
from cai.prompts import Prompts
from tests.trainers_support import KIND, SHORT, assistant, log, same_weights, user, write
from trainers.distill import Context, collate, context_of, train_distilled
from trainers.rows import BadRow
from trainers.settings import DistillationSettings
from trainers.teacher import encode_both, stored_parts
from trainers.tokens import load_tokenizer, prompt_ids
from trainers.work_folder import read_record

CHATS = [[user(f"Question {n}"), assistant(KIND)] for n in range(24)]


@pytest.fixture(scope="module")
def conversations(tmp_path_factory) -> Path:
    rows = [{"messages": chat} for chat in CHATS]
    return write(tmp_path_factory.mktemp("distill") / "train", rows)


@pytest.fixture(scope="module")
def teacher(tiny_model, conversations, tmp_path_factory) -> Path:
    """A model that has learned the replies, so that it is unlike the student."""
    from trainers.settings import SftSettings
    from trainers.sft import train_sft

    out = tmp_path_factory.mktemp("teacher") / "model"
    settings = SftSettings(epochs=6, batch_size=8, learning_rate=3e-3)
    train_sft(str(tiny_model), conversations, out, settings, inputs="teacher")
    return out


CONTEXT = Context(Prompts())


def distil(base: Path, data: Path, out: Path, context: Context = CONTEXT, **given: Any) -> Any:
    settings = DistillationSettings(**{**SHORT, **given})
    return train_distilled(str(base), data, out, settings, context, inputs="a")


def stored(out: Path) -> Path:
    (file,) = out.with_name(f"{out.name}-teacher").glob("*/*.parquet")
    return file


def test_the_student_comes_near_to_its_teacher(tiny_model, teacher, conversations, tmp_path):
    given = {"epochs": 8, "max_steps": None, "learning_rate": 3e-3, "teacher": str(teacher)}

    distil(tiny_model, conversations, tmp_path / "out", **given)

    losses = [entry["loss"] for entry in log(tmp_path / "out")]
    assert losses[-1] < losses[0] / 3


def test_what_is_stored_is_what_the_teacher_gives_behind_its_context(
    tiny_model, conversations, tmp_path
):
    distil(tiny_model, conversations, tmp_path / "out", top_k=7)

    row = parquet.read_table(stored(tmp_path / "out")).to_pylist()[0]
    tokenizer = load_tokenizer(str(tiny_model))
    before = prompt_ids(tokenizer, CONTEXT.view(CHATS[0][:1]))
    reply = [row["input_ids"][at] for at in row["places"]]
    model = AutoModelForCausalLM.from_pretrained(tiny_model).eval()
    with torch.no_grad():
        logits = model(torch.tensor([before + reply])).logits[0, len(before) - 1 : -1]
    top = logits.log_softmax(-1).topk(7)
    assert row["top_ids"] == top.indices.flatten().tolist()
    assert row["top_logprobs"] == pytest.approx(top.values.flatten().tolist(), abs=1e-4)


def test_the_loss_begins_at_the_kl_of_a_student_that_has_not_learned(
    tiny_model, conversations, tmp_path
):
    distil(tiny_model, conversations, tmp_path / "out", top_k=10_000, batch_size=24, max_steps=1)

    tokenizer, nats, tokens = load_tokenizer(str(tiny_model)), 0.0, 0
    model = AutoModelForCausalLM.from_pretrained(tiny_model).eval()
    settings = DistillationSettings()
    for chat in CHATS:
        both = encode_both(tokenizer, {"messages": chat}, CONTEXT.view, settings, 1 << 20)
        with torch.no_grad():
            own = model(torch.tensor([both["input_ids"]])).logits[0].log_softmax(-1)
            seen = model(torch.tensor([both["teacher_ids"]])).logits[0].log_softmax(-1)
        p = seen[[at - 1 for at in both["teacher_places"]]]
        q = own[[at - 1 for at in both["places"]]]
        nats, tokens = nats + (p.exp() * (p - q)).sum().item(), tokens + len(both["places"])
    assert log(tmp_path / "out")[0]["loss"] == pytest.approx(nats / tokens, rel=1e-3)


def test_the_teacher_reads_once_and_its_word_is_used_again(tiny_model, conversations, tmp_path):
    out = tmp_path / "out"
    distil(tiny_model, conversations, out)
    first = stored(out).stat().st_mtime_ns

    settings = DistillationSettings(**SHORT, learning_rate=0.01)
    again = train_distilled(
        str(tiny_model), conversations, out, settings, CONTEXT, inputs="another rate"
    )

    assert not again.was_done
    assert stored(out).stat().st_mtime_ns == first


def test_parts_that_are_stored_are_not_read_again_and_lost_ones_are(
    tiny_model, conversations, tmp_path, monkeypatch
):
    monkeypatch.setattr("trainers.teacher.ROWS_OF_A_PART", 10)
    distil(tiny_model, conversations, tmp_path / "out")
    (whole,) = tmp_path.glob("out-teacher/*/left_out.json")
    first, lost, last = stored_parts(whole.parent)
    before, times = lost.read_bytes(), [part.stat().st_mtime_ns for part in (first, last)]
    whole.unlink()
    lost.unlink()

    settings = DistillationSettings(**SHORT, learning_rate=0.01)
    train_distilled(
        str(tiny_model), conversations, tmp_path / "out", settings, CONTEXT, inputs="another rate"
    )

    assert lost.read_bytes() == before
    assert [part.stat().st_mtime_ns for part in (first, last)] == times
    record = json.loads((tmp_path / "out" / "training.json").read_text())
    assert record["rows"] == len(CHATS)


@pytest.mark.parametrize("change", ["context", "top_k", "rows"])
def test_another_input_has_the_teacher_read_anew(change, tiny_model, conversations, tmp_path):
    out, context, given = tmp_path / "out", CONTEXT, dict[str, Any]()
    distil(tiny_model, conversations, out)
    if change == "context":
        context = Context(Prompts(), ("Be kind.",))
    elif change == "top_k":
        given = {"top_k": 3}
    else:
        conversations = write(tmp_path / "more", [{"messages": chat} for chat in CHATS[:8]])

    settings = DistillationSettings(**{**SHORT, **given})
    train_distilled(str(tiny_model), conversations, out, settings, context, inputs="b")

    assert len(list(out.with_name("out-teacher").glob("*/*.parquet"))) == 2


def test_rows_that_are_left_out_stay_counted_when_the_teachers_word_is_used_again(
    tiny_model, tmp_path
):
    long = [user("word " * 200), assistant("Yes.")]
    data = write(tmp_path / "data", [{"messages": chat} for chat in [*CHATS[:8], long]])
    given = {"max_length": 64, "learning_rate": 0.01}
    distil(tiny_model, data, tmp_path / "out", max_length=64)

    settings = DistillationSettings(**SHORT, **given)
    again = train_distilled(str(tiny_model), data, tmp_path / "out", settings, CONTEXT, inputs="b")

    assert again.rows == 8
    assert again.dropped == {"the prompt alone is longer than max_length": 1}


def test_a_reply_past_the_length_is_cut_for_both(tiny_model):
    tokenizer, chat = load_tokenizer(str(tiny_model)), CHATS[0]
    whole = encode_both(
        tokenizer, {"messages": chat}, CONTEXT.view, DistillationSettings(), 1 << 20
    )
    settings = DistillationSettings(max_length=len(whole["input_ids"]) - 2)

    cut = encode_both(tokenizer, {"messages": chat}, CONTEXT.view, settings, 1 << 20)

    assert cut["truncated"]
    assert cut["places"] == whole["places"][:-2]
    assert cut["teacher_places"] == whole["teacher_places"][:-2]


def test_every_reply_is_learned_if_asked(tiny_model):
    chat = [user("One"), assistant("First."), user("Two"), assistant("Second.")]
    tokenizer = load_tokenizer(str(tiny_model))

    last, every = (
        encode_both(
            tokenizer,
            {"messages": chat},
            CONTEXT.view,
            DistillationSettings(learned=learned),
            1 << 20,
        )
        for learned in ("last_reply", "all_replies")
    )

    assert set(last["places"]) < set(every["places"])
    assert every["places"][-len(last["places"]) :] == last["places"]


def test_rows_stand_side_by_side_with_the_teachers_word_in_their_order():
    rows = [
        {
            "input_ids": [5, 6, 7],
            "places": [1, 2],
            "top_ids": [1, 2, 3, 4],
            "top_logprobs": [-1.0] * 4,
        },
        {"input_ids": [8, 9], "places": [1], "top_ids": [5, 6], "top_logprobs": [-2.0] * 2},
    ]

    batch = collate(rows, pad=0)

    assert batch["labels"].tolist() == [[-100, 6, 7], [-100, 9, -100]]
    assert batch["top_ids"].tolist() == [[1, 2], [3, 4], [5, 6]]
    assert batch["top_logprobs"][2].tolist() == [-2.0, -2.0]


def stored_row(ids: list[int], places: list[int], top: list[int], logprob: float) -> dict[str, Any]:
    logprobs = [logprob] * len(top)
    return {"input_ids": ids, "places": places, "top_ids": top, "top_logprobs": logprobs}


def test_a_lora_learns_and_is_merged(tiny_model, teacher, conversations, tmp_path):
    lora = {"rank": 4}
    distil(tiny_model, conversations, tmp_path / "out", lora=lora, teacher=str(teacher))

    assert (tmp_path / "out" / "model.safetensors").is_file()
    assert not same_weights(tiny_model, tmp_path / "out")


def test_the_record_names_student_and_teacher(tiny_model, teacher, conversations, tmp_path):
    distil(tiny_model, conversations, tmp_path / "out", teacher=str(teacher))

    record = read_record(tmp_path / "out")
    assert record is not None
    assert record["kind"] == "distillation"
    assert {role: one["name"] for role, one in record["models"].items()} == {
        "base": str(tiny_model),
        "teacher": str(teacher),
    }


def test_a_wrong_column_is_told_before_any_model_is_looked_for(tmp_path):
    data = write(tmp_path / "data", [{"text": "Hello"}])

    with pytest.raises(InputError, match="has no column 'messages'"):
        distil(tmp_path / "no-model", data, tmp_path / "out")


def test_a_teacher_of_other_tokens_is_refused(tiny_model, conversations, tmp_path):
    from cai.models import local_path

    with pytest.raises(InputError, match="another tokenizer than the student"):
        distil(tiny_model, conversations, tmp_path / "out", teacher=local_path("microworld"))


def test_a_row_that_is_no_conversation_is_bad(tiny_model):
    with pytest.raises(BadRow):
        encode_both(
            load_tokenizer(str(tiny_model)),
            {"messages": [user("Hello")]},
            CONTEXT.view,
            DistillationSettings(),
            1 << 20,
        )


def test_the_context_has_the_statements_of_a_constitution_if_asked():
    settings = DistillationSettings(context="constitution")
    context = context_of(Prompts(), load_constitution("harmlessness"), settings)

    (system, asked) = context.view([user("Hello")])

    assert "- Do no harm to the person or to anybody else." in system["content"]
    assert asked == user("Hello")


def test_a_constitution_without_statements_is_told_what_to_do():
    settings = DistillationSettings(context="constitution")

    with pytest.raises(CaiError, match="no principle of microworld has a statement"):
        context_of(Prompts(), load_constitution("microworld"), settings)


def test_a_system_turn_of_the_conversation_stays():
    system, asked = CONTEXT.view([{"role": "system", "content": "Speak as a pirate."}, user("Hi")])

    assert system["content"].endswith("Speak as a pirate.")
    assert asked == user("Hi")


def test_a_preset_has_the_papers_settings():
    settings = DistillationSettings(preset="hh_rlhf", pretraining_learning_rate=2e-4)

    assert settings.learning_rate == pytest.approx(1e-5)
    assert (settings.batch_size, settings.top_k, settings.scheduler) == (32, 50, "linear")
