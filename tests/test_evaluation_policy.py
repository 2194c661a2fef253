import pytest

from cai.errors import CaiError
from cai.evaluation import (
    Classifier,
    Verdict,
    harm_by_principle,
    harm_by_round,
    microworld_classifier,
    policy_figures,
    rate,
)
from cai.records import Message, Prompt, Response, Revision, RevisionTrace

AS_SAID = Classifier("truth", lambda _, reply: reply)  # type: ignore[arg-type,return-value]


def test_each_figure_has_its_own_prompts_and_verdicts():
    replies = [
        *(("harmful", verdict) for verdict in ["harmful", "harmful", "refusal", "evasive"]),
        *(("harmless", verdict) for verdict in ["harmless", "refusal", "evasive", "degenerate"]),
        *(("harmless", verdict) for verdict in ["harmless"] * 4),
        *(("borderline", verdict) for verdict in ["harmless", "evasive"]),
    ]

    figures = policy_figures([(ask(kind), said) for kind, said in replies], AS_SAID)

    assert figures.harmful_compliance == rate(2, 4)
    assert figures.over_refusal == rate(2, 8)
    assert figures.borderline_refusal == rate(1, 2)
    assert figures.helpfulness == rate(5, 8)
    assert figures.evasive == rate(3, 14)
    assert figures.degenerate == rate(1, 14)


def test_each_prompt_set_has_its_own_figures():
    replies = [
        (ask("harmless", source="everyday"), "harmless"),
        (ask("harmless", source="xstest"), "refusal"),
        (ask("harmful", source="xstest"), "harmful"),
    ]

    figures = policy_figures(replies, AS_SAID)

    assert figures.over_refusal == rate(1, 2)
    assert {name: one.over_refusal for name, one in figures.by_set.items()} == {
        "everyday": rate(0, 1),
        "xstest": rate(1, 1),
    }
    found = figures.to_json()["by_set"]
    assert found["everyday"]["harmful_compliance"] is None
    assert found["xstest"]["harmful_compliance"] == rate(1, 1).to_json()


def test_one_prompt_set_alone_has_no_figures_beside():
    assert policy_figures([(ask("harmless"), "harmless")] * 2, AS_SAID).by_set == {}


def test_what_was_not_measured_is_null():
    figures = policy_figures([(ask("harmful"), "refusal")], AS_SAID).to_json()

    assert figures["over_refusal"] is None
    assert figures["helpfulness"] is None
    assert figures["harmful_compliance"] == rate(0, 1).to_json()


def test_compliance_is_told_apart_by_family_of_harmful_prompts():
    replies = [
        (ask("harmful", "theft"), "harmful"),
        (ask("harmful", "privacy"), "refusal"),
        (ask("harmful", "privacy"), "harmful"),
        (ask("harmless", "bread"), "harmless"),
    ]

    figures = policy_figures(replies, AS_SAID, group=lambda prompt: prompt.messages[0].content)

    assert figures.by_family == {"privacy": rate(1, 2), "theft": rate(1, 1)}


def test_the_method_of_the_classifier_stands_beside_its_figures():
    classifier = Classifier("patterns", lambda *_: "harmless")

    assert policy_figures([(ask("harmless"), "Yes.")], classifier).to_json()["method"] == "patterns"


@pytest.mark.parametrize(
    ("kind", "reply", "verdict"),
    [
        ("harmful", "help", "harmful"),
        ("harmless", "help", "harmless"),
        ("harmful", "refusal", "refusal"),
        ("harmful", "nonsense", "degenerate"),
    ],
)
def test_in_the_microworld_the_verdict_is_its_truth(kind: str, reply: str, verdict: Verdict):
    import random

    from cai.microworld.replies import help_with, kind_refusal
    from cai.microworld.requests import sample_requests

    request = sample_requests(kind, "heldout", 1)[0]  # type: ignore[arg-type]
    say = {"help": help_with, "refusal": kind_refusal, "nonsense": lambda *_: "blue the of"}
    prompt = Prompt((Message("user", request.text),), "microworld", kind)

    assert microworld_classifier()(prompt, say[reply](request, random.Random(0))) == verdict


def test_the_microworld_judges_no_other_worlds_prompts():
    with pytest.raises(CaiError, match=r"judges its own requests alone, and .* has .What is love"):
        microworld_classifier()(ask("harmful", "What is love?"), "Who knows.")


def test_harm_is_counted_before_revision_and_after_each_round():
    traces = [trace("harmful", "harmful", "refusal"), trace("harmful", "harmless", "harmless")]

    assert harm_by_round(traces, AS_SAID) == [rate(2, 2), rate(1, 2), rate(0, 2)]


def test_a_trace_that_ended_early_counts_for_the_rounds_it_has():
    traces = [trace("harmful", "harmful"), trace("harmful"), trace("harmless", "harmless")]

    assert harm_by_round(traces, AS_SAID) == [rate(2, 3), rate(1, 2)]


def test_a_principle_is_credited_with_the_harm_that_its_revisions_removed():
    traces = [
        trace("harmful", "refusal", "refusal", principles=("theft", "tone")),
        trace("harmful", "harmful", "degenerate", principles=("theft", "theft"), asked="Why?"),
        trace("harmless", "harmless", principles=("truth",)),
    ]

    effects = harm_by_principle(traces, AS_SAID)

    # Two of the three revisions under "theft" are of one prompt.
    assert {name: one.draws for name, one in effects.items()} == {"theft": 3, "tone": 1, "truth": 1}
    fixed = {name: one.fixed for name, one in effects.items()}
    assert (fixed["theft"].value, fixed["theft"].n) == (pytest.approx(1 / 3), 2)
    assert (fixed["tone"], fixed["truth"]) == (None, None)


def ask(kind: str, text: str = "How?", source: str = "test") -> Prompt:
    return Prompt((Message("user", text),), source, kind)


def trace(
    first: str,
    *later: str,
    principles: tuple[str, ...] = ("p", "p", "p"),
    asked: str = "How?",
) -> RevisionTrace:
    revisions = [
        Revision(index, principle, None, text, "m", ())
        for index, (text, principle) in enumerate(zip(later, principles, strict=False), start=1)
    ]
    return RevisionTrace(Response(ask("harmful", asked), first, 0, "m", ""), tuple(revisions))
