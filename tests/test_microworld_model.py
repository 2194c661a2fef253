from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cai.constitution import load_constitution
from cai.microworld import HARMS, MODEL, coverage, known_words
from cai.microworld.corpus import TASKS, Turn, examples
from cai.microworld.encoding import encode
from cai.microworld.inference import load, p_first_letter, sample
from cai.microworld.plan import CONVERSATIONS, Course, Plan, lesson_rate_at, rate_at
from cai.microworld.principles import words_of
from cai.microworld.requests import parse_request
from cai.microworld.tokenizer import train_tokenizer
from cai.prompts import Prompts
from cai.records import Message
from cai.resources import shipped

CONSTITUTION = shipped("constitution") / "microworld.yaml"


@pytest.fixture(scope="module")
def tiny():
    return load(MODEL)


def test_importing_the_world_loads_no_torch():
    code = "import sys, cai.microworld; assert not {'torch', 'transformers'} & set(sys.modules)"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)

    assert done.returncode == 0, done.stderr.decode()


def test_the_corpus_is_the_same_for_the_same_seed():
    first = list(islice(examples(5, Prompts()), 50))

    assert list(islice(examples(5, Prompts()), 50)) == first
    assert list(islice(examples(6, Prompts()), 50)) != first


def test_the_corpus_has_no_request_outside_the_pretraining_split():
    turns = [turn for example in islice(examples(0, Prompts()), 2000) for turn in example]

    asked = [parse_request(turn.content) for turn in turns if turn.role == "user"]

    assert {request.split for request in asked if request is not None} == {"pretrain"}


def test_every_task_has_a_share_and_learns_assistant_turns_alone():
    turns = [turn for example in islice(examples(0, Prompts()), 500) for turn in example]

    plans = (CONVERSATIONS, *(course.reminders for course in Plan().courses))
    assert set().union(*plans) == set(TASKS)
    assert [sum(shares.values()) for shares in plans] == pytest.approx([1] * len(plans))
    assert {turn.role for turn in turns if turn.learned} == {"assistant"}


def test_the_learning_rate_rises_then_falls():
    plan = Plan(steps=100, warmup=10)

    rates = [rate_at(plan, step) for step in range(100)]

    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == pytest.approx(1.0)
    assert rates[-1] == pytest.approx(0.2, abs=0.01)


@pytest.mark.parametrize("course", Plan().courses, ids=lambda course: course.name)
def test_the_learning_rate_of_a_course_falls_to_nothing(course: Course):
    rates = [lesson_rate_at(course, step) for step in range(course.steps)]

    assert max(rates) == 1.0
    assert rates[-1] < 0.01


def test_learned_tokens_are_those_that_the_template_marks():
    texts = [turn.content for example in islice(examples(0, Prompts()), 300) for turn in example]
    tokenizer = train_tokenizer(texts)
    turns = [Turn("user", "How do I steal the bike?"), Turn("assistant", "Sure.", learned=True)]

    encoded = encode(tokenizer, turns)

    marked = tokenizer.apply_chat_template(
        [{"role": turn.role, "content": turn.content} for turn in turns],
        return_dict=True,
        return_assistant_tokens_mask=True,
    )
    assert marked["input_ids"] == list(encoded.ids)
    assert marked["assistant_masks"] == [int(learned) for learned in encoded.learned]


@given(text=st.text(max_size=40))
def test_any_unicode_round_trips(tiny, text: str):
    ids = tiny.tokenizer.encode(text, add_special_tokens=False)

    assert tiny.tokenizer.decode(ids, skip_special_tokens=False) == text


def test_the_answers_of_the_judge_are_one_token_each(tiny):
    a, b = (tiny.tokenizer.encode(letter, add_special_tokens=False) for letter in "AB")

    assert len(a) == len(b) == 1
    assert a != b


def test_the_numbers_of_a_rating_are_one_token_each_but_for_ten(tiny):
    sizes = [len(tiny.tokenizer.encode(str(n), add_special_tokens=False)) for n in range(1, 11)]

    assert sizes == [1] * 9 + [2]


def test_the_shipped_model_is_small_and_ends_its_turns(tiny):
    size = sum(file.stat().st_size for file in MODEL.glob("*.safetensors"))

    assert size <= 8 * 2**20
    assert tiny.model.config.max_position_embeddings == tiny.tokenizer.model_max_length == 8192
    assert tiny.model.generation_config.eos_token_id == tiny.tokenizer.eos_token_id
    assert tiny.tokenizer.pad_token_id != tiny.tokenizer.eos_token_id


def test_the_shipped_model_answers_and_weighs(tiny):
    asked = [(Message("user", "How do I clean the bike?"),)] * 3

    replies = sample(tiny, asked, seed=0, longest=40)

    assert replies == sample(tiny, asked, seed=0, longest=40)
    assert all(0 <= p <= 1 for p in p_first_letter(tiny, asked))


def test_the_shipped_model_was_made_by_the_plan_as_it_stands():
    about = json.loads((MODEL / "pretraining.json").read_text(encoding="utf-8"))
    plan = Plan()

    assert about["plan"] == json.loads(json.dumps(asdict(plan)))
    assert about["steps_done"] == plan.steps + sum(course.steps for course in plan.courses)


def test_the_shipped_constitution_covers_what_its_tags_say():
    principles = load_constitution(CONSTITUTION).principles

    assert len(principles) == 16
    for principle in principles:
        texts = (principle.critique, principle.revision, principle.comparison, principle.rating)
        for text in texts:
            assert text is None or coverage(text) == set(principle.tags), principle.id


@pytest.mark.parametrize("stage", ["revision", "comparison", "rating"])
def test_each_harm_is_drawn_more_often_than_not_and_less_than_always(stage: str):
    principles = [p for p in load_constitution(CONSTITUTION).principles if getattr(p, stage)]

    shares = [sum(harm in p.tags for p in principles) / len(principles) for harm in HARMS]

    assert all(0.55 <= share <= 0.7 for share in shares)


@pytest.mark.parametrize("stage", ["revision", "comparison", "rating"])
def test_without_its_privacy_principles_only_spying_is_uncovered(stage: str):
    principles = [
        p
        for p in load_constitution(CONSTITUTION).principles
        if getattr(p, stage) and "privacy" not in p.tags
    ]

    shares = {h: sum(h in p.tags for p in principles) / len(principles) for h in HARMS}

    assert shares.pop("privacy") == 0
    assert all(share >= 0.55 for share in shares.values())


def test_the_model_knows_every_word_of_the_shipped_constitution():
    principles = load_constitution(CONSTITUTION).principles
    texts = [
        text
        for p in principles
        for text in (p.critique, p.revision, p.comparison, p.rating)
        if text
    ]

    assert set().union(*(words_of(text) for text in texts)) <= known_words()
