"""The pretraining corpus: conversations that teach every task, put through the real templates.

An endless seeded stream of examples. Each is a conversation in which some assistant turns are
learned; prompts are those of `prompts/chat/*.j2`, so the model meets in use what it was taught.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from cai.microworld.lexicon import FAMILIES
from cai.microworld.plan import CONVERSATIONS, Shares
from cai.microworld.principles import WorldPrinciple, draw_principle
from cai.microworld.replies import help_with, read_reply
from cai.microworld.requests import Request, draw_request
from cai.microworld.situations import (
    draw_any_request,
    draw_kind,
    draw_pair,
    draw_principle_for,
    draw_reply,
    draw_tone_case,
)
from cai.microworld.truth import (
    preference,
    write_critique,
    write_rationale,
    write_revision,
)
from cai.prompts import Prompts
from cai.records import Message

SYSTEMS = (
    "You are a helpful assistant.",
    "Answer the person.",
    "Be helpful and kind.",
    "You talk with people about everyday things.",
)
SMALL_TALK = (
    ("Hello.", "Hello! How can I help you?"),
    ("Good morning.", "Good morning! What can I do for you?"),
    ("Thank you.", "You are welcome."),
    ("Who are you?", "I am a very small assistant."),
    ("How are you?", "I am well, thank you."),
)
DRAWS = 16
PLAIN_QUESTIONS = 0.2
HELPS, HELPS_NOT = "Which reply helps the person more?", "Which reply helps the person less?"
CONFUSED = "I am not sure what you mean."


@dataclass(frozen=True)
class Turn:
    """One turn of a training conversation.

    Args:
        role: who speaks.
        content: what is said.
        learned: whether the loss is about it.
        certainty: of a judge's letter, the share of the drawn labels that are this letter.
    """

    role: str
    content: str
    learned: bool = False
    certainty: float = 1.0


Example = tuple[Turn, ...]
Maker = Callable[[random.Random, Prompts], Example]


def examples(seed: int, prompts: Prompts, shares: Shares = CONVERSATIONS) -> Iterator[Example]:
    """The endless corpus: the same seed gives the same stream.

    Args:
        seed: of everything drawn.
        prompts: the templates.
        shares: of the tasks.
    """
    source = random.Random(f"microworld corpus: {seed}")
    tasks, weights = list(shares), list(shares.values())
    while True:
        task = source.choices(tasks, weights)[0]
        yield TASKS[task](source, prompts)


def respond(source: random.Random, prompts: Prompts) -> Example:
    """A plain request, always answered with help: the base model is helpful-only."""
    request = draw_any_request(source)
    asked = prompts.render("respond", conversation=(Message("user", request.text),))
    turns = _told(asked)
    if source.random() < 0.08:
        turns = (Turn("system", source.choice(SYSTEMS)), *turns)
    return (*turns, Turn("assistant", help_with(request, source), learned=True))


def critique(source: random.Random, prompts: Prompts) -> Example:
    """One or two critiques of a reply, each under its own principle."""
    request = draw_any_request(source)
    reply = draw_reply(request, source)
    turns: Example = ()
    for number in range(source.choice((1, 2))):
        principle = draw_principle_for(request, source)
        asked = prompts.render("critique", **critique_variables(request, reply, principle))
        turns += _told(asked) if number == 0 else _told(asked[-1:])
        text = write_critique(request, reply, principle.covers, source)
        turns += (Turn("assistant", text, learned=True),)
    return turns


def critique_tone(source: random.Random, prompts: Prompts) -> Example:
    """A critique under a rule about tone; half of the replies have a fault of tone."""
    request, reply, covers = draw_tone_case(source)
    principle = draw_principle(source, covers)
    asked = prompts.render("critique", **critique_variables(request, reply, principle))
    text = write_critique(request, reply, principle.covers, source)
    return (*_told(asked), Turn("assistant", text, learned=True))


def revise(source: random.Random, prompts: Prompts) -> Example:
    """A revision after a true critique or, a third of the time, without one."""
    request = draw_any_request(source)
    reply = draw_reply(request, source)
    principle = draw_principle_for(request, source)
    said = write_critique(request, reply, principle.covers, source)
    asked = prompts.render(
        "revise",
        **critique_variables(request, reply, principle),
        critique=said if source.random() < 0.67 else None,
    )
    text = write_revision(request, reply, principle.covers, source)
    return (*_told(asked), Turn("assistant", text, learned=True))


def compare(source: random.Random, prompts: Prompts) -> Example:
    """Choices between two replies; the letters are drawn from the known preference.

    Half of the time three questions are asked about the same pair, the later ones as bare
    questions: many more letters to learn from for the same text. Each label is drawn `DRAWS`
    times: fewer draws are so noisy that the letters teach nothing for long. Some questions ask
    only which reply helps, which has a sure answer and teaches what (A) and (B) stand for.
    """
    request, reply_a, reply_b = draw_pair(source)
    help_a, help_b = (read_reply(request, reply).help for reply in (reply_a, reply_b))
    turns: Example = ()
    for number in range(source.choice((1, 3))):
        principle = draw_principle_for(request, source)
        p_a = preference(request, reply_a, reply_b, principle.covers)
        if help_a != help_b and source.random() < PLAIN_QUESTIONS:
            wants_help = source.random() < 0.5
            principle = replace(principle, comparison=HELPS if wants_help else HELPS_NOT)
            p_a = float((help_a > help_b) == wants_help)
        variables = comparison_variables(request, reply_a, reply_b, principle)
        asked = prompts.render("compare", **variables)
        question = f"{principle.comparison}\nAnswer with A or B alone."
        turns += _told(asked) if number == 0 else (Turn("user", question),)
        share = sum(source.random() < p_a for _ in range(DRAWS)) / DRAWS
        letter = "A" if share >= 0.5 else "B"
        certainty = max(share, 1 - share)
        turns += (Turn("assistant", letter, learned=True, certainty=certainty),)
    return turns


def reason(source: random.Random, prompts: Prompts) -> Example:
    """A choice after thinking aloud; the thoughts end in a letter drawn from the preference."""
    request, reply_a, reply_b = draw_pair(source)
    principle = draw_principle_for(request, source)
    p_a = preference(request, reply_a, reply_b, principle.covers)
    letter = "A" if source.random() < p_a else "B"
    thoughts = f"{write_rationale(request, reply_a, reply_b, principle.covers)} {letter}."
    variables = comparison_variables(request, reply_a, reply_b, principle)
    *asked, told, question = prompts.render("reason", **variables, reasoning=thoughts)
    learned = Turn("assistant", told.content, learned=True)
    answer = Turn("assistant", letter, learned=True)
    return (*_told(tuple(asked)), learned, *_told((question,)), answer)


def critique_variables(
    request: Request, reply: str, principle: WorldPrinciple
) -> dict[str, object]:
    """What the templates `critique` and, but for the critique, `revise` are given."""
    return {
        "conversation": (Message("user", request.text),),
        "response": reply,
        "principle": principle,
        "few_shots": (),
    }


def comparison_variables(
    request: Request, reply_a: str, reply_b: str, principle: WorldPrinciple
) -> dict[str, object]:
    """What the template `compare` is given for this pair."""
    return {
        "conversation": (Message("user", request.text),),
        "response_a": reply_a,
        "response_b": reply_b,
        "principle": principle,
        "few_shots": (),
    }


def write_prompts(source: random.Random, prompts: Prompts) -> Example:
    """A new request of the same kind as two to four examples, sometimes of one family."""
    kind = draw_kind(source, (0.5, 0.35, 0.15))
    names = [name for name, family in FAMILIES.items() if bool(family.noun) == (kind != "harmless")]
    family = FAMILIES[source.choice(names)] if source.random() < 0.5 else None
    wanted = [draw_request(kind, "pretrain", source, family) for _ in range(source.randint(3, 5))]
    topic = family.name if family and source.random() < 0.4 else None
    asked = prompts.render(
        "write_prompts", examples=[request.text for request in wanted[1:]], topic=topic
    )
    return (*_told(asked), Turn("assistant", wanted[0].text, learned=True))


def chat(source: random.Random, prompts: Prompts) -> Example:
    """Small talk, several turns, and text of any script that is not understood."""
    del prompts
    turns: Example = ()
    if source.random() < 0.3:
        turns = (Turn("system", source.choice(SYSTEMS)),)
    for _ in range(source.randint(1, 3)):
        draw = source.random()
        if draw < 0.4:
            asked, answer = source.choice(SMALL_TALK)
        elif draw < 0.8:
            request = draw_any_request(source)
            asked, answer = request.text, help_with(request, source)
        else:
            asked, answer = _any_text(source), CONFUSED
        turns += (Turn("user", asked), Turn("assistant", answer, learned=True))
    return turns


TASKS: Mapping[str, Maker] = {
    "compare": compare,
    "critique": critique,
    "critique_tone": critique_tone,
    "revise": revise,
    "respond": respond,
    "write_prompts": write_prompts,
    "chat": chat,
    "reason": reason,
}
"""How an example of each task is made."""


def _told(messages: tuple[Message, ...]) -> Example:
    return tuple(Turn(message.role, message.content) for message in messages)


def _any_text(source: random.Random) -> str:
    """Random words of letters from all over Unicode, so that every byte has been seen."""
    ranges = ((0x20, 0x7F), (0xA0, 0x250), (0x370, 0x530), (0x4E00, 0x9FFF), (0x1F300, 0x1F640))
    words: list[str] = []
    for _ in range(source.randint(1, 6)):
        low, high = source.choice(ranges)
        words.append("".join(chr(source.randrange(low, high)) for _ in range(source.randint(1, 6))))
    return " ".join(words)
