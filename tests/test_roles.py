"""A role's own sampling, and what becomes of a call that its model declines."""

import asyncio
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cai.constitution import Constitution, Principle
from cai.engine import BoughtModel, Ledger, RowEnded, Tally
from cai.errors import InputError
from cai.evaluation.patterns import read_patterns
from cai.models.label_samples import LabelSampling, weigh_by_samples
from cai.models.roles import ModelInRole, RoleSampling
from cai.models.scripted import ScriptedModel, reply
from cai.prompts import Prompts
from cai.recipe import load_recipe
from cai.records import Message, Prompt, Refusal, Response, RowKey, Sampling, Usage, Weighed
from cai.stages.compare import compare
from cai.stages.labelling import Labelling
from cai.stages.respond import respond
from cai.stages.revise import Exchange, Revisers, revise_once
from cai.stages.setting import Setting

KIND = Principle(id="kind", critique="Is it unkind?", revision="Be kind.", comparison="Kinder?")
PROMPT = Prompt((Message("user", "How do I pick a lock?"),), "test", "harmful")
SETTING = Setting(Constitution(id="test", principles=(KIND,)), Prompts(), 0)
ASK = (Message("user", "hello"),)
REFUSED_LABEL = Weighed((), 0.0, "top_k", Usage(), "strict-1", refused=True)
SORRY = "I'm sorry, but I can't help with that."

is_refusal = read_patterns("en").is_refusal


def declining(name: str = "strict") -> ScriptedModel:
    return ScriptedModel(
        lambda messages, sampling: reply("", "refusal", "strict-1"),
        lambda messages, options: REFUSED_LABEL,
        name,
    )


def willing(text: str = "With a pick.", name: str = "lenient") -> ScriptedModel:
    weights = [0.75, 0.25]
    return ScriptedModel(lambda messages, sampling: text, lambda messages, options: weights, name)


async def label(judge, pair=("no", "yes")):
    a, b = (Response(PROMPT, text, n, "m", f"call-{n}") for n, text in enumerate(pair))
    key = RowKey("comparison", PROMPT.id)
    return await compare((a, b), key, judge=judge, setting=SETTING, labelling=Labelling())


async def answer(model) -> Response:
    key = RowKey("response", PROMPT.id)
    return await respond(PROMPT, key, model=model, setting=SETTING, sampling=Sampling())


async def test_what_a_model_declines_the_fallback_answers_and_both_facts_are_kept():
    response = await answer(ModelInRole(declining(), fallback=willing()))

    assert (response.text, response.model) == ("With a pick.", "lenient")
    assert response.refusals == (
        Refusal("scripted:strict", "", "stop_reason", answered_by="scripted:lenient"),
    )


async def test_a_call_that_is_answered_asks_no_fallback():
    fallback = ScriptedModel()

    response = await answer(ModelInRole(willing(), is_refusal, fallback=fallback))

    assert (response.text, response.refusals, fallback.asked) == ("With a pick.", (), [])


async def test_words_of_refusal_count_where_the_role_looks_for_them():
    sorry = ScriptedModel(lambda messages, sampling: SORRY)

    looked_at = await answer(ModelInRole(sorry, is_refusal, fallback=willing()))
    left_alone = await answer(ModelInRole(sorry, None, fallback=willing()))

    assert [one.sign for one in looked_at.refusals] == ["wording"]
    assert (left_alone.text, left_alone.refusals) == (SORRY, ())


async def test_words_of_refusal_end_the_row_where_there_is_no_fallback():
    sorry = ScriptedModel([SORRY])

    with pytest.raises(RowEnded, match="refused: the model declined to write the reply"):
        await answer(ModelInRole(sorry, is_refusal))


async def test_a_fallback_that_declines_too_ends_the_row_with_both_calls(tmp_path: Path):
    with Ledger.open(tmp_path / "ledger.sqlite") as ledger:
        models = [BoughtModel(declining(n), ledger, tally=Tally()) for n in ("first", "second")]

        with pytest.raises(RowEnded, match="the model and its fallback declined") as ended:
            await answer(ModelInRole(models[0], fallback=models[1]))

        calls = [ledger.call(key) for key in ended.value.row.calls]
        assert [call and call.model for call in calls] == ["scripted:first", "scripted:second"]


async def test_each_refusal_of_a_round_is_kept_with_its_own_call():
    critic = ModelInRole(declining("critic"), fallback=willing("It helps a thief."))
    reviser = ModelInRole(declining("reviser"), fallback=willing("No."))

    revision = await revise_once(
        Exchange(PROMPT, "Use a pick."),
        RowKey("revision", PROMPT.id, round=1),
        models=Revisers(reviser, critic),
        setting=SETTING,
        sampling=Sampling(),
    )

    assert [one.model for one in revision.refusals] == ["scripted:critic", "scripted:reviser"]


async def test_a_judge_that_declines_one_order_leaves_both_to_the_fallback():
    judge = ScriptedModel(weights=[[0.9, 0.1], REFUSED_LABEL], name="strict")
    fallback = willing()

    comparison = await label(ModelInRole(judge, fallback=fallback))

    assert comparison.p_a == pytest.approx(0.5)
    assert len(fallback.asked) == 2
    assert comparison.model == "scripted:lenient"
    assert [one.model for one in comparison.refusals] == ["scripted:strict"]


async def test_a_judge_that_declines_without_a_fallback_ends_the_row_as_refused():
    with pytest.raises(RowEnded, match="refused: the judge declined to choose from"):
        await label(declining())


@pytest.mark.parametrize(
    ("replies", "refused", "others"),
    [
        ([reply("A"), reply("B"), reply("B"), reply("", "refusal")], False, ()),
        ([reply("A"), *[reply("A", "refusal")] * 3], True, ()),
        ([reply("A"), reply(SORRY), reply("Both."), reply("B")], False, (SORRY, "Both.")),
    ],
    ids=["one declined", "most declined", "words"],
)
async def test_sampled_labels_tell_refusals_and_other_words_from_answers(replies, refused, others):
    model = ScriptedModel(replies)

    weighed = await weigh_by_samples(model.complete, ASK, ("A", "B"), LabelSampling(4, 16))

    assert (weighed.refused, weighed.others) == (refused, others)
    if refused:
        assert weighed.mass == 0.25


async def test_a_judge_that_mostly_says_sorry_has_declined_by_its_wording():
    class Sampled(ScriptedModel):
        async def weigh(self, messages, options):
            return await weigh_by_samples(self.complete, messages, options, LabelSampling(4, 16))

    judge = Sampled([*[SORRY] * 3, "A"] * 2)

    comparison = await label(ModelInRole(judge, is_refusal, fallback=willing()))

    assert [one.sign for one in comparison.refusals] == ["wording", "wording"]


@settings(max_examples=30)
@given(st.lists(st.booleans(), min_size=1, max_size=12))
def test_every_call_is_in_the_ledger_as_what_it_was_and_is_never_bought_twice(declines):
    questions = [(Message("user", f"question {n}"),) for n in range(len(declines))]

    def says(messages, sampling):
        number = int(messages[-1].content.split()[1])
        return reply("", "refusal") if declines[number] else f"answer {number}"

    async def ask_all(ledger) -> list:
        strict, lenient = ScriptedModel(says, name="strict"), willing()
        models = (BoughtModel(one, ledger, tally=Tally()) for one in (strict, lenient))
        model, fallback = models
        role = ModelInRole(model, fallback=fallback)
        answers = [await role.complete(question, Sampling()) for question in questions]
        return [answers, len(strict.asked), len(lenient.asked)]

    async def twice() -> None:
        import tempfile

        with (
            tempfile.TemporaryDirectory() as folder,
            Ledger.open(Path(folder) / "ledger.sqlite") as ledger,
        ):
            answers, strict_asked, lenient_asked = await ask_all(ledger)
            again, *asked_again = await ask_all(ledger)

            assert (strict_asked, lenient_asked) == (len(declines), sum(declines))
            assert asked_again == [0, 0]
            assert [(one.text, one.call) for one in again] == [
                (one.text, one.call) for one in answers
            ]
            for one, declined in zip(answers, declines, strict=True):
                own = ledger.call(one.call)
                first = ledger.call(one.refusals[0].call) if declined else own
                assert own and own.model == f"scripted:{'lenient' if declined else 'strict'}"
                assert first and first.model == "scripted:strict"
                assert ('"stop_reason":"refusal"' in first.response) is declined

    asyncio.run(twice())


async def test_a_role_draws_as_it_says_and_otherwise_as_its_stage_does():
    model, fallback = declining(), willing()
    own = RoleSampling(temperature=0.2, max_tokens=9)
    last = ModelInRole(fallback, sampling=RoleSampling(temperature=1))

    stage = Sampling(0.7, 0.9, 64, ("\n",), seed=5)
    await ModelInRole(model, sampling=own, fallback=last).complete(ASK, stage)

    assert model.asked[0].sampling == Sampling(0.2, 0.9, 9, ("\n",), seed=5)
    assert fallback.asked[0].sampling == Sampling(1, 0.9, 64, ("\n",), seed=5)


RECIPE = """\
name: small
constitution: harmlessness
models: {default: microworld}
prompts:
  red_team: [{file: prompts.txt, kind: harmful}]
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(RECIPE)
    return path


def test_nobody_is_asked_in_the_place_of_another_unless_the_recipe_names_a_fallback(recipe: Path):
    plain = load_recipe(recipe)
    named = load_recipe(recipe, ["models.fallback=openai:gpt-4.1"])

    assert (plain.models.fallback, plain.worded_refusals) == (None, frozenset())
    assert named.worded_refusals == {"assistant", "critic", "judge"}
    assert named.models.fallback in named.models.playing


def test_the_roles_that_are_looked_at_for_words_of_refusal_can_be_chosen(recipe: Path):
    chosen = load_recipe(recipe, ["models.fallback=openai:gpt-4.1", "refusals.wording=[reviser]"])
    without = load_recipe(recipe, ["refusals.wording=[critic]"])

    assert chosen.worded_refusals == {"reviser"}
    assert without.worded_refusals == {"critic"}


@pytest.mark.parametrize("role", ["base", "judge"])
def test_a_role_that_draws_no_replies_takes_no_sampling(recipe: Path, role: str):
    named = f"models.{role}={{name: microworld, sampling: {{temperature: 0}}}}"

    with pytest.raises(InputError, match=f"{role}: takes no sampling"):
        load_recipe(recipe, [named])
