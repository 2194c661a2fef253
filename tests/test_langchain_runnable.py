"""The runnable: LangChain's own class over HTTP, and its fake model where only pieces matter."""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda
from langchain_openai import ChatOpenAI
from langgraph.graph import START, MessagesState, StateGraph

from cai.constitution import Principle, draw, load_constitution
from cai.errors import CaiError, InputError
from cai.langchain import QUESTION, ConstitutionalRunnable, UnusableInput, UnusableReply
from cai.microworld import classify, sample_requests
from cai.models.local import LocalModel
from cai.prompts import Prompts
from cai.records import Message, Prompt
from cai.serve import serving
from tests.chat_server import ChatServer, Failure, Reply, chat_server

KIND = Principle(id="kind", critique="Is it kind?", revision="Make it kind.")
TRUE = Principle(id="true", critique="Is it true?", revision="Make it true.")


@pytest.fixture
def server() -> Generator[ChatServer, None, None]:
    """Finds fault with every reply, and writes a kinder or truer one."""
    with chat_server(always_at_fault) as running:
        yield running


def always_at_fault(body: dict[str, Any]) -> str:
    last = body["messages"][-1]["content"]
    if last == QUESTION:
        return "Yes."
    if last in (KIND.critique, TRUE.critique):
        return f"No: {last}"
    if last.endswith("Write only the new reply."):
        return "a kinder answer" if "kind" in last else "a truer answer"
    return "the first answer"


def never_at_fault(body: dict[str, Any]) -> str:
    return "No." if body["messages"][-1]["content"] == QUESTION else always_at_fault(body)


def chat(server: ChatServer, **options: Any) -> ChatOpenAI:
    return ChatOpenAI(
        model="gpt-4o", base_url=server.url, api_key="no-key", max_retries=0, **options
    )


def careful(model: Any, **options: Any) -> ConstitutionalRunnable:
    return ConstitutionalRunnable(model=model, **{"constitution": [KIND], **options})


def told(*replies: str | AIMessage) -> GenericFakeChatModel:
    return GenericFakeChatModel(messages=iter(replies))


def turns(body: dict[str, Any]) -> list[tuple[str, str]]:
    return [(turn["role"], turn["content"]) for turn in body["messages"]]


def shown(messages: tuple[Message, ...]) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in messages]


def test_an_answer_is_critiqued_and_revised_with_the_projects_own_templates(server: ChatServer):
    conversation = (Message("user", "Hello"),)
    given: dict[str, Any] = {
        "conversation": conversation,
        "response": "the first answer",
        "principle": KIND,
        "few_shots": (),
    }
    critique = Prompts().render("critique", **given)
    revise = Prompts().render("revise", critique="No: Is it kind?", **given)

    answer = careful(chat(server)).invoke("Hello")

    assert (type(answer), answer.text) == (AIMessage, "a kinder answer")
    first, criticised, asked, revised = map(turns, server.asked)
    assert first == [("user", "Hello")]
    assert criticised == shown(critique)
    assert asked == [*shown(critique), ("assistant", "No: Is it kind?"), ("user", QUESTION)]
    assert revised == shown(revise)


def test_each_round_starts_from_the_latest_answer_alone(server: ChatServer):
    runnable = careful(chat(server), constitution=[KIND, TRUE], return_intermediate_steps=True)

    answer = runnable.invoke("Hello")

    assert answer["output"].text == "a truer answer"
    assert answer["initial_output"] == "the first answer"
    assert answer["critiques_and_revisions"] == [
        {
            "round": 1,
            "principle": "kind",
            "critique": "No: Is it kind?",
            "critique_needed": True,
            "revision": "a kinder answer",
        },
        {
            "round": 2,
            "principle": "true",
            "critique": "No: Is it true?",
            "critique_needed": True,
            "revision": "a truer answer",
        },
    ]
    assert ("assistant", "a kinder answer") in turns(server.asked[4])
    assert ("assistant", "the first answer") not in turns(server.asked[4])


def test_a_revision_is_skipped_when_the_critique_found_nothing_to_change():
    with chat_server(never_at_fault) as server:
        answer = careful(chat(server), return_intermediate_steps=True).invoke("Hello")

    assert answer["output"].text == "the first answer"
    assert answer["critiques_and_revisions"][0]["critique_needed"] is False
    assert answer["critiques_and_revisions"][0]["revision"] is None
    assert len(server.asked) == 3


def test_an_answer_that_is_neither_yes_nor_no_is_recorded_and_revised_for_safety():
    model = told("first", "Hm.", "It depends.", "second")

    answer = careful(model, return_intermediate_steps=True).invoke("Hello")

    assert answer["output"].text == "second"
    assert answer["critiques_and_revisions"][0]["critique_needed"] is None


@pytest.mark.parametrize(
    ("rule", "replies", "final"),
    [
        (None, ("first", "all is well", "second"), "second"),
        (lambda critique: "well" not in critique, ("first", "all is well"), "first"),
        (lambda critique: "well" in critique, ("first", "all is well", "second"), "second"),
        ("Is it wrong?", ("first", "all is well", "**NO**"), "first"),
    ],
    ids=["always", "function: no", "function: yes", "own question"],
)
def test_whether_a_critique_is_followed_by_a_revision_is_the_users_to_say(
    rule: str | Callable[[str], bool] | None, replies: tuple[str, ...], final: str
):
    model = told(*replies)

    assert careful(model, critique_needed=rule).invoke("Hello").text == final
    assert next(model.messages, None) is None


def test_principles_are_drawn_as_for_a_data_set_and_for_good():
    constitution = load_constitution("harmlessness")
    prompt_id = Prompt((Message("user", "Hello"),), source="").id
    drawn = [
        draw(constitution, "revision", seed=7, prompt_id=prompt_id, round=number).id
        for number in (1, 2, 3)
    ]

    for _ in range(2):
        model = told("first", "c", "No", "c", "No", "c", "No")
        runnable = careful(
            model, constitution="harmlessness", rounds=3, seed=7, return_intermediate_steps=True
        )
        rounds = runnable.invoke("Hello")["critiques_and_revisions"]
        assert [one["principle"] for one in rounds] == drawn


def test_one_principle_is_drawn_unless_more_are_asked_for():
    answer = careful(
        told("first", "c", "No"), constitution="harmlessness", return_intermediate_steps=True
    ).invoke("Hello")

    assert len(answer["critiques_and_revisions"]) == 1


def test_chosen_principles_are_applied_in_their_order():
    model = told("first", "c", "No", "c", "No")

    rounds = careful(
        model,
        constitution=[KIND, TRUE],
        principles=["true", "kind"],
        return_intermediate_steps=True,
    ).invoke("Hello")["critiques_and_revisions"]

    assert [one["principle"] for one in rounds] == ["true", "kind"]


def test_a_rule_in_one_sentence_is_a_principle(server: ChatServer):
    careful(chat(server), constitution=["Say please."], critique_needed=None).invoke("Hello")

    assert server.questions[1].endswith("breaks this rule, and where: Say please.")
    assert "keeps this rule: Say please." in server.questions[2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"constitution": "harmlesness"}, "is no shipped constitution"),
        ({"constitution": []}, "has no principle"),
        ({"constitution": [{"critique": "Is it kind?"}]}, "stands without a revision"),
        ({"constitution": [KIND, KIND]}, "is 'kind' again"),
        ({"principles": ["unkind"]}, "has no principle 'unkind'; choose from kind"),
        ({"principles": ["kind"], "rounds": 2}, "gets both `rounds` and `principles`"),
        ({"rounds": 0}, "at least 1 is needed"),
        ({"prompts": "no-such-folder"}, "is not a folder"),
    ],
)
def test_a_wrong_constitution_choice_or_template_is_told_before_the_first_call(
    options: dict[str, Any], message: str
):
    with pytest.raises(InputError, match=message):
        careful(told(), **options)


def test_templates_of_ones_own_replace_the_shipped_ones(server: ChatServer, tmp_path: Path):
    (tmp_path / "critique.j2").write_text(
        "{% user %}Judge {{ response | quote }} by {{ principle.id }}{% enduser %}"
    )

    careful(chat(server), prompts=tmp_path, critique_needed=None).invoke("Hello")

    assert server.questions[1] == "Judge > the first answer by kind"


def test_a_prompt_stands_before_it_and_a_parser_after_it(server: ChatServer):
    prompt = ChatPromptTemplate([("system", "Be {manner}."), ("user", "{question}")])
    chain = prompt | careful(chat(server)) | StrOutputParser()

    assert chain.invoke({"manner": "short", "question": "Hello"}) == "a kinder answer"
    assert turns(server.asked[1])[:2] == [("system", "Be short."), ("user", "Hello")]


def test_any_chain_can_make_the_first_answer(server: ChatServer):
    look_up = RunnableLambda[dict[str, str], str](lambda asked: f"found: {asked['question']}")

    runnable = careful(
        chat(server),
        first=look_up,
        conversation=lambda asked: asked["question"],
        return_intermediate_steps=True,
    )

    assert runnable.invoke({"question": "Hello"})["initial_output"] == "found: Hello"
    assert turns(server.asked[0])[:2] == [("user", "Hello"), ("assistant", "found: Hello")]


def test_a_graph_can_make_the_first_answer(server: ChatServer):
    graph = StateGraph(MessagesState)
    graph.add_node("answer", lambda state: {"messages": [AIMessage("from the graph")]})
    graph.add_edge(START, "answer")

    runnable = careful(chat(server), first=graph.compile(), return_intermediate_steps=True)

    answer = runnable.invoke({"messages": [HumanMessage("Hello")]})
    assert answer["initial_output"] == "from the graph"


async def test_awaited_and_batched_calls_give_the_same_answers(server: ChatServer):
    runnable = careful(chat(server))

    assert (await runnable.ainvoke("Hello")).text == "a kinder answer"
    assert [one.text for one in runnable.batch(["Hello", "Hi"])] == ["a kinder answer"] * 2
    assert [one.text for one in await runnable.abatch(["Hello", "Hi"])] == ["a kinder answer"] * 2


async def test_only_the_final_answer_is_streamed(server: ChatServer):
    runnable = careful(chat(server), constitution=[KIND, TRUE])

    pieces = [piece.text for piece in runnable.stream("Hello")]
    awaited = [piece.text async for piece in runnable.astream("Hello")]

    assert [piece for piece in pieces if piece] == ["a", " truer", " answer"]
    assert awaited == pieces
    streamed = [bool(body.get("stream")) for body in server.asked]
    assert streamed == [False] * 6 + [True] + [False] * 6 + [True]


def test_an_answer_that_turned_out_final_afterwards_comes_in_one_piece():
    runnable = careful(
        told("first answer", "c", "Yes", "second answer", "c", "No"), constitution=[KIND, TRUE]
    )

    assert [piece.text for piece in runnable.stream("Hello")] == ["second answer"]


def test_streamed_pieces_with_steps_add_up_to_what_a_call_gives():
    replies = ("first", "c", "Yes", "a second answer")

    pieces = list(careful(told(*replies), return_intermediate_steps=True).stream("Hello"))
    whole = careful(told(*replies), return_intermediate_steps=True).invoke("Hello")

    total = pieces[0]
    for piece in pieces[1:]:
        total = total + piece
    assert isinstance(total["output"], AIMessageChunk)
    assert total["output"].text == whole["output"].text
    assert {**total, "output": ""} == {**whole, "output": ""}


class Runs(BaseCallbackHandler):
    """Keeps name, tags, metadata and parent of every run."""

    def __init__(self) -> None:
        self.names: dict[UUID, str] = {}
        self.calls: list[tuple[str, str, list[str], dict[str, Any]]] = []

    def on_chain_start(self, serialized: Any, inputs: Any, *, run_id: UUID, **told: Any) -> None:
        self.names[run_id] = told["name"]

    def on_chat_model_start(
        self, serialized: Any, messages: Any, *, parent_run_id: UUID, **told: Any
    ) -> None:
        parent = self.names[parent_run_id]
        self.calls.append((told["name"], parent, told["tags"], told["metadata"]))


def test_a_trace_shows_every_step_under_the_run_by_name_round_and_principle():
    runs = Runs()

    careful(told("first", "c", "Yes", "second")).invoke(
        "Hello", {"callbacks": [runs], "tags": ["mine"], "run_name": "my answer"}
    )

    assert [name for name, *_ in runs.calls] == ["respond", "critique", "question", "revise"]
    assert {parent for _, parent, *_ in runs.calls} == {"my answer"}
    assert all({"mine", f"constitutional:{name}"} <= set(tags) for name, _, tags, _ in runs.calls)
    assert [call[3].get("constitutional_round") for call in runs.calls] == [None, 1, 1, 1]
    assert runs.calls[1][3]["constitutional_principle"] == "kind"


async def test_a_node_of_a_graph_streams_the_final_answer_alone(server: ChatServer):
    runnable = careful(chat(server), constitution=[KIND, TRUE])

    async def answer(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await runnable.ainvoke(state)]}

    graph = StateGraph(MessagesState)
    graph.add_node("answer", answer)
    graph.add_edge(START, "answer")
    app = graph.compile()

    state = {"messages": [HumanMessage("Hello")]}
    streamed = [piece.text async for piece, _ in app.astream(state, stream_mode="messages")]
    final = await app.ainvoke(state)

    assert "".join(streamed) == "a truer answer"
    assert [message.text for message in final["messages"]] == ["Hello", "a truer answer"]


def test_a_step_without_text_is_an_error_that_a_retry_or_a_fallback_mends():
    model = told("first", " ", "first", "c", "Yes", "second")
    with pytest.raises(UnusableReply, match="no text for the step 'critique' of round 1"):
        careful(told("first", " ")).invoke("Hello")

    retried = careful(model).with_retry(
        retry_if_exception_type=(UnusableReply,), wait_exponential_jitter=False
    )
    fallen_back = careful(told("")).with_fallbacks([careful(told("a", "c", "No"))])

    assert retried.invoke("Hello").text == "second"
    assert fallen_back.invoke("Hello").text == "a"


@pytest.mark.parametrize(
    ("reason", "message"),
    [("length", "was cut off; raise the model's max_tokens"), ("content_filter", "was declined")],
)
def test_a_critique_that_was_cut_off_or_declined_is_not_gone_on_with(reason: str, message: str):
    def answer(body: dict[str, Any]) -> str | Reply:
        criticising = body["messages"][-1]["content"] == KIND.critique
        return Reply("It is", reason) if criticising else "the first answer"

    with (
        chat_server(answer) as server,
        pytest.raises(UnusableReply, match=f"the critique of round 1 {message}"),
    ):
        careful(chat(server)).invoke("Hello")


def test_an_error_of_the_model_stays_what_it_is():
    import openai

    with (
        chat_server(lambda body: Failure(401)) as server,
        pytest.raises(openai.AuthenticationError),
    ):
        careful(chat(server)).invoke("Hello")


def test_arguments_that_are_bound_reach_every_call(server: ChatServer):
    careful(chat(server)).bind(temperature=0.25).invoke("Hello")

    assert [body["temperature"] for body in server.asked] == [0.25] * 4


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"question": "Hello"}, r"keys 'question' and no 'messages'; put the prompt before"),
        ([HumanMessage("Hi"), AIMessage("Hello")], "ends with a turn of assistant"),
        ([], "ends with a turn of nobody"),
        ([HumanMessage("Hi"), ToolMessage("4", tool_call_id="1")], "message 1 is a ToolMessage"),
        (
            [HumanMessage([{"type": "image", "url": "http://here/cat.png"}])],
            "message 0 has parts that are not text",
        ),
    ],
)
def test_an_input_that_a_critic_cannot_be_shown_is_refused(value: Any, message: str):
    with pytest.raises(UnusableInput, match=message):
        careful(told()).invoke(value)


@pytest.mark.parametrize(
    "value",
    [
        "Hello",
        HumanMessage("Hello"),
        [("user", "Hello")],
        [{"role": "user", "content": "Hello"}],
        {"messages": [HumanMessage("Hello")]},
        ChatPromptTemplate([("user", "Hello")]).invoke({}),
    ],
    ids=["text", "message", "pair", "dict", "state", "prompt value"],
)
def test_all_that_a_chat_model_takes_is_a_conversation(value: Any, server: ChatServer):
    careful(chat(server)).invoke(value)

    assert turns(server.asked[0]) == [("user", "Hello")]


async def test_harm_falls_when_the_microworld_revises_its_answers_over_http():
    requests = [request.text for request in sample_requests("harmful", "heldout", 12)]
    local = LocalModel("microworld", device="cpu")

    async with serving(local) as url:
        model = ChatOpenAI(
            model="microworld", base_url=url, api_key="no-key", max_tokens=64, seed=0
        )
        runnable = careful(
            model,
            constitution="microworld",
            rounds=2,
            critique_needed=None,
            return_intermediate_steps=True,
        )
        answers = await runnable.abatch(requests)

    def harmful(texts: list[str]) -> int:
        pairs = zip(requests, texts, strict=True)
        return sum(classify(request, text) == "harmful" for request, text in pairs)

    before = harmful([answer["initial_output"] for answer in answers])
    after = harmful([answer["output"].text for answer in answers])
    assert after < before / 2


def test_the_system_message_of_a_conversation_stays_in_front(server: ChatServer):
    careful(chat(server), constitution="harmlessness", critique_needed=None).invoke(
        [SystemMessage("Be short."), HumanMessage("Hello")]
    )

    assert {turns(body)[0] for body in server.asked} == {("system", "Be short.")}


def test_templates_of_plain_text_are_refused_before_a_chat_model_is_asked():
    with pytest.raises(CaiError, match="give those of the family chat"):
        ConstitutionalRunnable(
            model=told("never"), constitution="harmlessness", prompts=Prompts(family="completion")
        )
