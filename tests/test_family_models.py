"""Models go on with the texts of the family completion; those that are asked in messages don't."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web
from pydantic import ValidationError
from typer.testing import CliRunner

from cai.cli import app
from cai.engine import Ledger
from cai.errors import CaiError, InputError, PermanentError
from cai.microworld import sample_requests
from cai.models import ModelSettings, open_model
from cai.models.chat_format import ChatFormat
from cai.models.local import LocalModel
from cai.models.weights import LoadOptions
from cai.pipeline import RunFolder, run_recipe
from cai.pipeline.forecast import forecast
from cai.pipeline.ingredients import policy_settings
from cai.pipeline.preview import Plan
from cai.pipeline.templates import check_same_templates
from cai.recipe import load_recipe
from cai.records import Message, Sampling
from tests.test_models_openai_completions import listing, text_reply
from tests.wire_server import answering, saying

TEXT = [Message("text", "\n\nWhich one?\n (A) [[[x]]]\n (B) [[[y]]]\n\nThe answer is:")]
LETTERS = (" (A)", " (B)")


async def test_a_text_is_sent_as_it_is_and_ends_where_its_template_says():
    async with answering(saying(text_reply(" fine")), "/v1/completions") as server:
        model = server.model(family="completion")
        said = await model.complete(TEXT, Sampling(stop=("\n\nRevision:",)))
        await model.close()

    assert server.bodies[0]["prompt"] == TEXT[0].content
    assert server.bodies[0]["stop"] == ["\n\nRevision:"]
    assert said.text == "fine"


async def test_letters_in_brackets_are_read_after_the_bracket():
    replies = {
        "is:": listing({" (": 0.8, " A": 0.1, " both": 0.1}),
        "is: (": listing({"A": 0.6, "B": 0.3, "C": 0.1}),
    }

    async def answer(request: web.Request) -> web.Response:
        prompt: str = (await request.json())["prompt"]
        return web.json_response(replies[prompt.rpartition("answer ")[2]])

    async with answering(answer, "/v1/completions") as server:
        model = server.model("vllm:m", family="completion")
        weighed = await model.weigh(TEXT, LETTERS)
        await model.close()

    assert [math.exp(one) for one in weighed.logprobs] == pytest.approx([0.48, 0.24])
    assert weighed.mass == pytest.approx(0.72)
    assert len(server.bodies) == 2


async def test_a_letter_counts_with_its_bracket_and_without_it_in_process():
    model = LocalModel("microworld", LoadOptions(format="completion"), device="cpu")
    text = TEXT[0].content

    async def after(more: str) -> float:
        before, whole = await model.read(text), await model.read(text + more)
        return math.exp(sum(token.logprob for token in whole.tokens[len(before.tokens) :]))

    weighed = await model.weigh(TEXT, LETTERS)

    for letter, logprob in zip("AB", weighed.logprobs, strict=True):
        spelled = [
            await after(form) for form in (f" ({letter}", f"({letter}", letter, f" {letter}")
        ]
        assert math.exp(logprob) == pytest.approx(sum(spelled), rel=1e-4)
    await model.close()


class OneTokenALetter:
    """A tokenizer that knows " (A" as one token, as some do."""

    chat_template = None
    eos_token_id = 0
    added_tokens_decoder: dict[int, Any] = {}  # noqa: RUF012
    known = (" (A", "(A", " (", "(", "A", " A", ")", ":")

    def __len__(self) -> int:
        return len(self.known)

    def encode(self, text: str, **_: Any) -> list[int]:
        ids: list[int] = []
        while text:
            found = max((one for one in self.known if text.startswith(one)), key=len)
            ids.append(self.known.index(found))
            text = text[len(found) :]
        return ids

    def decode(self, ids: list[int], **_: Any) -> str:
        return "".join(self.known[id] for id in ids)

    def apply_chat_template(self) -> None:
        raise NotImplementedError


def test_every_spelling_of_a_letter_in_brackets_is_found():
    tokenizer = OneTokenALetter()
    spelled = ChatFormat(tokenizer, "tiny").paths(" (A)", TEXT)

    texts = {tuple(tokenizer.known[id] for id in path) for path in spelled}

    assert texts == {("A",), (" A",), (" (A",), ("(A",)}


async def test_sampled_replies_name_letters_in_brackets():
    async with answering(saying(text_reply(" (B) is kinder")), "/v1/completions") as server:
        model = server.model(family="completion", label_samples=2)
        weighed = await model.weigh(TEXT, LETTERS)
        await model.close()

    assert weighed.logprobs[1] > weighed.logprobs[0]
    assert weighed.mass == 1


@pytest.mark.parametrize("api", ["chat", "responses"])
async def test_a_server_that_is_asked_in_messages_gets_no_text(api: str):
    async with answering(saying({}), "/v1/chat/completions") as server:
        model = server.model(api=api)
        with pytest.raises(PermanentError, match=r"openai:m is asked in messages.*family: chat"):
            await model.complete(TEXT, Sampling())
        await model.close()

    assert server.bodies == []


@pytest.mark.parametrize("name", ["anthropic:claude-opus-5", "microworld"])
async def test_a_model_that_is_asked_in_messages_gets_no_text(name: str, monkeypatch: Any):
    monkeypatch.setenv("ANTHROPIC_API_KEY", "none")
    model = open_model(ModelSettings(name=name))

    with pytest.raises(PermanentError, match="is asked in messages"):
        await model.complete(TEXT, Sampling())
    await model.close()


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"name": "anthropic:claude-opus-5"}, "anthropic:claude-opus-5 is asked in messages"),
        ({"name": "langchain:openai:gpt-x"}, "langchain:openai:gpt-x is asked in messages"),
        ({"name": "openai:gpt-4.1"}, "openai:gpt-4.1 is not known to take; set family: chat"),
        ({"name": "openai:o3", "api": "chat"}, "api is chat; set api: completions"),
        ({"name": "hf:org/base", "format": "chat"}, "format is chat; delete one of them"),
        (
            {"name": "openai:m", "endpoint": "http://x.y/v1", "capabilities": {"apis": ["chat"]}},
            "openai:m is not known to take",
        ),
    ],
    ids=["anthropic", "langchain", "chat model", "chat interface", "chat format", "stated"],
)
def test_a_model_that_takes_no_plain_text_is_refused(given: dict[str, Any], fault: str):
    with pytest.raises(ValidationError) as raised:
        ModelSettings.model_validate({**given, "family": "completion"})

    assert fault in str(raised.value)


@pytest.mark.parametrize(
    "given",
    [
        {"name": "openai:davinci-002"},
        {"name": "openai:mine", "api": "completions"},
        {"name": "openai:mine", "endpoint": "http://127.0.0.1:8000/v1"},
        {"name": "vllm:org/base", "endpoint": "http://127.0.0.1:8000/v1"},
    ],
    ids=["instruct", "stated", "some server", "vllm"],
)
def test_a_server_of_plain_text_is_asked_for_it(given: dict[str, Any]):
    model: Any = open_model(ModelSettings.model_validate({**given, "family": "completion"}))

    assert model.endpoint.used_api == "completions"


def test_weights_with_a_chat_template_are_given_plain_text_by_their_family():
    plain = LocalModel("microworld", LoadOptions(format="completion"))

    asked = open_model(ModelSettings(name="microworld", family="completion"))

    assert asked.identity == plain.identity


RECIPE = """\
name: small
constitution: microworld
models:
  default: microworld
  judge: {name: microworld, family: completion}
prompts: {red_team: [{microworld: train, kind: harmful, limit: 6}]}
revisions: {rounds: 1, critique: false}
comparisons: {responder: assistant, minimum_mass: 0, sampling: {temperature: 1.3}}
evaluation: {truth: microworld, label_probes: 0}
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(RECIPE)
    return path


def test_a_recipe_says_the_family_of_each_role(recipe: Path):
    families = load_recipe(recipe).models.families

    assert {name for name, family in families.items() if family == "completion"} == {
        *("compare", "reason", "rate", "grade", "classify", "answer"),
    }


@pytest.mark.parametrize(
    ("override", "fault"),
    [
        ("models.fallback=microworld", "some of them are of the family completion"),
        ("models.base={name: microworld, family: completion}", "base: takes no family"),
        (
            "models.judge={name: openai:davinci-002, family: completion, batch: true}",
            "a second call after its bracket",
        ),
    ],
    ids=["fallback", "base", "batch"],
)
def test_a_family_that_does_not_fit_is_refused_before_any_call(
    recipe: Path, override: str, fault: str
):
    with pytest.raises(InputError) as raised:
        load_recipe(recipe, [override])

    assert fault in str(raised.value)


def test_a_policy_has_the_format_of_its_base_and_no_family(tmp_path: Path):
    base = ModelSettings(name="microworld", family="completion")

    assert policy_settings(tmp_path, base).family is None


def test_single_rows_have_the_templates_of_their_run(recipe: Path):
    run, other = load_recipe(recipe), load_recipe(recipe, ["comparisons.label.frame=rlaif-base"])

    check_same_templates(run, [load_recipe(recipe, ["comparisons.minimum_mass=0.1"])])
    with pytest.raises(CaiError, match="single rows cannot have a family or frame"):
        check_same_templates(run, [other])


def test_a_run_keeps_the_text_that_a_base_model_was_sent_and_a_forecast_knows_it(
    recipe: Path, tmp_path: Path
):
    loaded, folder = load_recipe(recipe), RunFolder(tmp_path / "run")

    run_recipe(loaded, folder, steps=("revisions", "preferences"))

    with Ledger.open(folder.ledger, read_only=True) as ledger:
        rows = [row for row in ledger.rows("comparison") if row.status == "ok"]
        calls = [ledger.call(call) for row in rows for call in row.calls]
    requests = [call.request for call in calls if call and call.kind == "weigh"]
    assert requests
    assert all('"role":"text"' in request for request in requests)
    assert all('"options":[" (A)"," (B)"]' in request for request in requests)
    found = forecast(Plan(loaded, folder), ("revisions", "preferences"))
    assert sum(part.to_buy for part in found.parts) == 0


def roles_sent(ledger: Path) -> set[str]:
    """The roles of the last message of every call in a ledger."""
    with Ledger.open(ledger, read_only=True) as opened:
        keys = [call for row in opened.rows() for call in row.calls]
        requests = [call.request for key in keys if (call := opened.call(key))]
    return {orjson.loads(request)["messages"][-1]["role"] for request in requests}


def test_a_base_model_writes_prompts_after_a_plain_list(tmp_path: Path):
    seeds = tmp_path / "red.txt"
    seeds.write_text("\n".join(one.text for one in sample_requests("harmful", "train", 8, seed=1)))
    order = ["--seeds", seeds, "--model", "microworld", "--family", "completion", "--number", 2]

    out = tmp_path / "more.jsonl"
    said = CliRunner().invoke(
        app, ["generate", "prompts", *map(str, [*order, "--out", out, "--run", tmp_path / "run"])]
    )

    assert said.exit_code == 0, said.output
    assert roles_sent(tmp_path / "run" / "ledger.sqlite") == {"text"}


def test_a_base_model_is_measured_as_a_judge_in_plain_text(tmp_path: Path):
    order = ["--data", "microworld:heldout", "--judge", "microworld", "--family", "completion"]
    settings = ["--set", "comparisons.minimum_mass=0", "--limit", "2"]

    said = CliRunner().invoke(
        app, ["evaluate", "labeler", *order, *settings, "--out", str(tmp_path / "run")]
    )

    assert said.exit_code == 0, said.output
    assert roles_sent(tmp_path / "run" / "ledger.sqlite") == {"text"}


def test_cases_are_asked_in_plain_text_and_what_is_sent_can_be_seen(tmp_path: Path):
    ledger = tmp_path / "cases.sqlite"
    asked = ["--model", "microworld", "--family", "completion", "--ledger", str(ledger)]

    tested = CliRunner().invoke(app, ["constitution", "test", "microworld", *asked])
    shown = CliRunner().invoke(
        app, ["constitution", "preview", "microworld", "--prompt", "Hi", "--family", "completion"]
    )

    assert "judged by local:" in tested.output
    with Ledger.open(ledger, read_only=True) as opened:
        assert opened.call_count() > 0
    assert "\n\nThe answer is:\n[weighed] ' (A)', ' (B)'\n" in shown.output
    assert "\n\nCritique:\n[ends before] '\\n\\nHuman:', '\\n\\nAssistant:'" in shown.output


def test_a_fallback_of_another_family_is_refused_before_a_judge_is_asked(tmp_path: Path):
    path = tmp_path / "mine.yaml"
    own = "judge: {name: microworld, family: completion}"
    path.write_text(RECIPE.replace(own, "fallback: microworld"))
    judge = ["--judge", "microworld", "--family", "completion", "--recipe", str(path)]

    said = CliRunner().invoke(
        app, ["evaluate", "labeler", "--data", "microworld:heldout", *judge, "--limit", "2"]
    )

    assert isinstance(said.exception, CaiError)
    assert "the judge is of the family completion and the fallback of chat" in str(said.exception)
