"""The preference model on a tiny model: it meets soft labels, and scores what it is given."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet
import pytest
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from cai.errors import InputError
from cai.microworld import MODEL
from tests.trainers_support import HARSH, KIND, SHORT, assistant, log, same_weights, user, write
from trainers.preference_model import encode_pair, train_preference_model
from trainers.rows import Dropped
from trainers.scoring import DrawnScorer, Scorer, score
from trainers.settings import LoraSettings, PreferenceModelSettings
from trainers.tokens import load_tokenizer


def test_the_preference_model_meets_the_soft_label(preference_model: Path):
    replies = [[user("Question 99"), assistant(text)] for text in (KIND, HARSH)]

    kind, harsh = score(preference_model, replies)

    assert 1 / (1 + math.exp(harsh - kind)) == pytest.approx(0.8, abs=0.03)


def test_the_preference_model_is_an_ordinary_classifier(preference_model: Path):
    model = AutoModelForSequenceClassification.from_pretrained(preference_model)
    tokenizer = AutoTokenizer.from_pretrained(preference_model)
    ids = tokenizer.apply_chat_template([user("Hi"), assistant(KIND)], return_tensors="pt")

    logits = model(**ids).logits

    found = score(preference_model, [[user("Hi"), assistant(KIND)]])
    assert logits.shape == (1, 1)
    assert found == pytest.approx([logits.item()], abs=1e-5)


def test_padding_changes_no_score(preference_model: Path):
    replies = [[user("Hi"), assistant("word " * n)] for n in (30, 1, 12)]

    together = score(preference_model, replies, batch_size=3)

    alone = [score(preference_model, [reply])[0] for reply in replies]
    assert together == pytest.approx(alone, abs=1e-5)


def test_a_conversation_too_long_for_the_preference_model_is_named(preference_model: Path):
    replies = [[user("Hi"), assistant(KIND)], [user("Hi"), assistant("word " * 600)]]

    with pytest.raises(InputError, match="conversation 1: reads 512 tokens"):
        score(preference_model, replies)


def test_what_a_policy_has_drawn_is_read_at_its_end_where_it_is_too_long(preference_model: Path):
    scorer = DrawnScorer(Scorer(preference_model))
    long = [user("Hi"), assistant("first " * 600 + "word " * 300)]
    same_end = [user("Hi"), assistant("other " * 700 + "word " * 300)]

    scores = scorer.score([[user("Hi"), assistant(KIND)], long, same_end])

    assert scores[1] == pytest.approx(scores[2], abs=1e-5)
    assert scores[0] == pytest.approx(score(preference_model, [[user("Hi"), assistant(KIND)]])[0])
    assert scorer.shortened == 2


def test_a_drawn_reply_that_the_chat_template_refuses_has_no_score_and_is_counted(
    refuses_even: Path,
):
    scorer = DrawnScorer(Scorer(refuses_even))
    spoken, blank = [user("Hi"), assistant("No.")], [user("Hi"), assistant("")]

    scores = scorer.score([blank, spoken, blank])

    assert scores == [None, pytest.approx(score(refuses_even, [spoken])[0]), None]
    assert scorer.refused == {"the chat template refuses it: even": 2}


def test_a_policy_is_no_preference_model(tiny_model: Path):
    with pytest.raises(InputError, match="2 outputs"):
        score(tiny_model, [[user("Hi"), assistant(KIND)]])


@pytest.mark.parametrize(
    "change",
    [
        {"learning_rate": 2e-3},
        {"seed": 1},
        {"epochs": 0.25},
        {"batch_size": 16},
        {"optimizer": "adafactor"},
        {"lora": {"rank": 2}},
    ],
    ids=str,
)
def test_settings_of_the_preference_model_change_its_weights(
    tiny_model: Path, pairs: Path, tmp_path: Path, change: dict[str, Any]
):
    base, settings = str(tiny_model), {"batch_size": 8, "epochs": 0.5}
    one = PreferenceModelSettings(**settings)
    train_preference_model(base, pairs, tmp_path / "one", one, inputs="a")

    two = PreferenceModelSettings(**{**settings, **change})
    train_preference_model(base, pairs, tmp_path / "two", two, inputs="a")

    assert not same_weights(tmp_path / "one", tmp_path / "two")


def test_pairs_over_the_length_are_left_out_and_counted(
    tiny_model: Path, pairs: Path, tmp_path: Path
):
    rows = parquet.read_table(pairs / "data.parquet").to_pylist()
    rows += [{**rows[0], "chosen": [assistant("a long reply " * 30)]}] * 2
    data = write(tmp_path / "data", rows)
    settings = PreferenceModelSettings(**SHORT, max_length=60)

    result = train_preference_model(str(tiny_model), data, tmp_path / "out", settings, inputs="a")

    assert (result.rows, result.dropped) == (64, {"a side is longer than max_length": 2})


def test_pairs_over_the_length_are_cut_from_the_left_where_told(
    tiny_model: Path, pairs: Path, tmp_path: Path
):
    rows = parquet.read_table(pairs / "data.parquet").to_pylist()
    rows += [{**rows[0], "prompt": [user("a long question " * 20)]}] * 2
    rows += [{**rows[0], "chosen": [assistant("a long reply " * 30)]}]
    data = write(tmp_path / "data", rows)
    settings = PreferenceModelSettings(**SHORT, max_length=60, over_length="truncate")

    result = train_preference_model(str(tiny_model), data, tmp_path / "out", settings, inputs="a")

    assert (result.rows, result.truncated) == (66, 2)
    assert result.dropped == {"a reply alone is longer than max_length": 1}


def test_a_cut_pair_keeps_both_replies_and_the_end_of_its_prompt(tiny_model: Path):
    tokenizer = load_tokenizer(str(tiny_model))
    row = {
        "prompt": [user("a long question " * 20)],
        "chosen": [assistant(KIND)],
        "rejected": [assistant(HARSH)],
    }
    settings = PreferenceModelSettings(max_length=60, over_length="truncate")

    pair = encode_pair(tokenizer, row, settings)

    chosen, rejected = (tokenizer.decode(pair[side]) for side in ("chosen_ids", "rejected_ids"))
    assert max(len(pair["chosen_ids"]), len(pair["rejected_ids"])) == 60
    assert chosen.endswith(f"assistant\n{KIND}<|im_end|>\n")
    assert rejected.endswith(f"assistant\n{HARSH}<|im_end|>\n")
    assert chosen.removesuffix(f"{KIND}<|im_end|>\n") == rejected.removesuffix(
        f"{HARSH}<|im_end|>\n"
    )


def test_words_that_both_replies_begin_with_are_no_part_of_the_prompt(tiny_model: Path):
    tokenizer = load_tokenizer(str(tiny_model))
    row = {"prompt": "Why?", "chosen": "a " * 20 + "b", "rejected": "a " * 20 + "c"}
    settings = PreferenceModelSettings(max_length=30, over_length="truncate")

    with pytest.raises(Dropped, match="a reply alone is longer"):
        encode_pair(tokenizer, row, settings)

    pair = encode_pair(
        tokenizer, {**row, "prompt": "Why? " * 20}, settings.model_copy(update={"max_length": 60})
    )
    chosen, rejected = (tokenizer.decode(pair[side]) for side in ("chosen_ids", "rejected_ids"))
    assert chosen.endswith(f"<|im_end|>\n<|im_start|>assistant\n{row['chosen']}<|im_end|>\n")
    assert rejected.endswith(f"<|im_end|>\n<|im_start|>assistant\n{row['rejected']}<|im_end|>\n")


def test_a_cut_pair_keeps_the_token_that_all_conversations_begin_with(tiny_model: Path):
    tokenizer = load_tokenizer(str(tiny_model))
    tokenizer.bos_token = "<|im_start|>"
    tokenizer.chat_template = "{{ bos_token }}" + tokenizer.chat_template
    row = {"prompt": "a long question " * 20, "chosen": KIND, "rejected": HARSH}
    settings = PreferenceModelSettings(max_length=60, over_length="truncate")

    pair = encode_pair(tokenizer, row, settings)

    assert pair["chosen_ids"][0] == pair["rejected_ids"][0] == tokenizer.bos_token_id
    assert max(len(pair["chosen_ids"]), len(pair["rejected_ids"])) == 60


def test_harmlessness_counts_lambda_times(tiny_model: Path, pairs: Path, tmp_path: Path):
    rows = parquet.read_table(pairs / "data.parquet").to_pylist()[:16]
    half = [{**row, "kind": ("harmful", "harmless")[n % 2]} for n, row in enumerate(rows)]
    data = write(tmp_path / "data", half)
    one = {"batch_size": 16, "max_steps": 1}

    for weight in (1.0, 3.0, 0.0):
        settings = PreferenceModelSettings(**one, harmless_weight=weight)
        out = tmp_path / f"{weight:.0f}"
        train_preference_model(str(tiny_model), data, out, settings, inputs="a")

    help_and_harm, thrice, help_alone = (log(tmp_path / name)[0]["loss"] for name in "130")
    assert thrice == pytest.approx(3 * help_and_harm - 2 * help_alone, rel=1e-5)
    assert 0 < help_alone < help_and_harm


def test_a_weight_needs_rows_that_say_what_they_are(pairs: Path, tmp_path: Path):
    settings = PreferenceModelSettings(harmless_weight=2)

    with pytest.raises(InputError, match="has no column 'kind'"):
        train_preference_model("no model", pairs, tmp_path / "out", settings, inputs="a")


@pytest.mark.parametrize("kind", ["Harmful", "red_team", None], ids=str)
def test_a_kind_that_is_not_known_is_no_kind_of_weight_1(
    tiny_model: Path, pairs: Path, tmp_path: Path, kind: str | None
):
    rows = parquet.read_table(pairs / "data.parquet").to_pylist()[:2]
    data = write(tmp_path / "data", [{**rows[0], "kind": "harmful"}, {**rows[1], "kind": kind}])
    settings = PreferenceModelSettings(harmless_weight=3)

    with pytest.raises(InputError, match=rf"row 2: kind must be one of .*; met {kind!r}"):
        train_preference_model(str(tiny_model), data, tmp_path / "out", settings, inputs="a")


@pytest.mark.parametrize(
    ("kind", "weight", "message"),
    [("harmless", 3, "has no pair of kind harmful"), ("harmful", 0, "nothing would be learned")],
)
def test_a_weight_that_weighs_nothing_is_refused(
    tiny_model: Path, pairs: Path, tmp_path: Path, kind: str, weight: float, message: str
):
    rows = parquet.read_table(pairs / "data.parquet").to_pylist()[:2]
    data = write(tmp_path / "data", [{**row, "kind": kind} for row in rows])
    settings = PreferenceModelSettings(harmless_weight=weight)

    with pytest.raises(InputError, match=message):
        train_preference_model(str(tiny_model), data, tmp_path / "out", settings, inputs="a")


def test_json_lines_of_another_tool_are_hard_pairs(tiny_model: Path, tmp_path: Path):
    text = json.dumps({"prompt": "Why?", "chosen": KIND, "rejected": HARSH}) + "\n"
    (tmp_path / "train.jsonl").write_text(text * 16)
    out = tmp_path / "out"

    train_preference_model(
        str(tiny_model), tmp_path / "train.jsonl", out, PreferenceModelSettings(**SHORT), inputs="a"
    )

    kind, harsh = score(out, [[user("Why?"), assistant(text)] for text in (KIND, HARSH)])
    assert kind > harsh


def test_a_preference_model_goes_on_from_one_that_has_seen_other_pairs(
    preference_model: Path, pairs: Path, tmp_path: Path
):
    settings = PreferenceModelSettings(batch_size=8, max_steps=1, learning_rate=1e-9)

    train_preference_model(str(preference_model), pairs, tmp_path / "out", settings, inputs="a")

    reply = [[user("Question 99"), assistant(KIND)]]
    assert score(tmp_path / "out", reply) == pytest.approx(score(preference_model, reply), abs=1e-4)


def test_a_preference_model_of_4_bits_learns_with_a_whole_head(pairs: Path, tmp_path: Path):
    lora = LoraSettings(rank=4, quantization="4bit")
    settings = PreferenceModelSettings(**{**SHORT, "epochs": 3}, learning_rate=1e-2, lora=lora)

    train_preference_model(str(MODEL), pairs, tmp_path / "pm", settings, inputs="a")

    kind, harsh = (
        score(tmp_path / "pm", [[user("Question 99"), assistant(text)]])[0]
        for text in (KIND, HARSH)
    )
    assert kind > harsh


def test_a_preference_model_kept_as_an_adapter_scores_as_the_merged_one(
    tiny_model: Path, pairs: Path, tmp_path: Path
):
    for merge in (True, False):
        lora = LoraSettings(rank=4, merge=merge)
        settings = PreferenceModelSettings(**SHORT, learning_rate=1e-2, lora=lora)
        out = tmp_path / str(merge)
        train_preference_model(str(tiny_model), pairs, out, settings, inputs="a")

    replies = [[user("Question 99"), assistant(text)] for text in (KIND, HARSH)]
    merged = AutoModelForSequenceClassification.from_pretrained(tmp_path / "True")
    assert merged.num_labels == 1
    assert score(tmp_path / "False", replies) == pytest.approx(
        score(tmp_path / "True", replies), abs=1e-5
    )
