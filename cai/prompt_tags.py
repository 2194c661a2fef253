"""The tags of templates: what stands between them becomes a turn, or a piece of plain text.

===========================  =========================  ==================================
tag                          in the family chat         in the family completion
===========================  =========================  ==================================
``{% messages x %}``         the turns of x             the same, or "Human: …" in a text
``{% user %}`` and others    a turn of that role        the same, or "Human: …" in a text
``{% text %}``               (none)                     a piece of text, as it stands
``{% question %}``           a turn of the user         a piece of text
``{% reply %}``              a turn of the assistant    a piece of text, after a blank
===========================  =========================  ==================================

Roles come from these tags alone. In the family completion a rendering that has nothing but turns
stays a conversation; any other is one text, in which no turn's words can spell another turn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Literal, NamedTuple, get_args

from jinja2 import nodes
from jinja2.ext import Extension
from jinja2.parser import Parser

from cai.records import Message, Role
from cai.turn_marks import ASSISTANT, HUMAN, unmarked

Family = Literal["chat", "completion"]
PieceKind = Role | Literal["text", "question", "reply"]

ROLES: tuple[Role, ...] = get_args(Role)
TEXT = "text"

TAGS = {*ROLES, TEXT, "question", "reply", "messages"}

OPENINGS: dict[str, str] = {"user": HUMAN, "assistant": ASSISTANT}


class Piece(NamedTuple):
    """What stood between two tags."""

    kind: PieceKind
    content: str


class RoleTags(Extension):
    """``{% user %}…{% enduser %}`` and the other tags, and ``{% messages x %}``."""

    tags = TAGS

    def parse(self, parser: Parser) -> nodes.Node:
        """Turn a block into a call that appends one piece to this rendering's list."""
        token = next(parser.stream)
        pieces = nodes.Name("__pieces", "load", lineno=token.lineno)
        if token.value == "messages":
            spliced = parser.parse_expression()
            call = self.call_method("_splice", [pieces, spliced], lineno=token.lineno)
            return nodes.Output([call], lineno=token.lineno)
        body = parser.parse_statements((f"name:end{token.value}",), drop_needle=True)
        _drop_last_newline(body)
        kind = nodes.Const(token.value, lineno=token.lineno)
        call = self.call_method("_append", [pieces, kind], lineno=token.lineno)
        return nodes.CallBlock(call, [], [], body, lineno=token.lineno)

    def _append(self, pieces: list[Piece], kind: PieceKind, caller: Callable[[], str]) -> str:
        pieces.append(Piece(kind, caller()))
        return ""

    def _splice(self, pieces: list[Piece], messages: Iterable[Message]) -> str:
        for message in messages:
            assert message.role != TEXT, "a conversation is made of turns"
            pieces.append(Piece(message.role, message.content))
        return ""


def as_messages(pieces: Sequence[Piece], family: Family) -> tuple[Message, ...]:
    """What a rendering comes to in a family: messages, or one text."""
    if family == "chat":
        return tuple(Message(_role(piece.kind), piece.content) for piece in pieces)
    turns = [Message(piece.kind, piece.content) for piece in pieces if piece.kind in ROLES]
    if len(turns) == len(pieces):
        return tuple(turns)
    text = "".join(_written(piece, first=not place) for place, piece in enumerate(pieces))
    return (Message(TEXT, text),)


def text_line(tree: nodes.Template) -> int | None:
    """Line of the first ``{% text %}`` of a template; None if it has none."""
    for block in tree.find_all(nodes.CallBlock):
        if any(isinstance(arg, nodes.Const) and arg.value == TEXT for arg in block.call.args):
            return block.lineno
    return None


def _role(kind: PieceKind) -> Role:
    if kind == "question":
        return "user"
    assert kind != TEXT, "a template with a text is refused in the family chat"
    return "assistant" if kind == "reply" else kind


def _written(piece: Piece, *, first: bool) -> str:
    said = piece.content
    if piece.kind == TEXT:
        return said
    if piece.kind == "question":
        return said if first else f"\n\n{said}"
    if piece.kind == "reply":
        return said if said.startswith("\n") else f" {said}"
    words = unmarked(said, begins_a_line=piece.kind == "system")
    if piece.kind == "system":
        return words if first else f"\n\n{words}"
    opening = OPENINGS[piece.kind]
    return f"{opening} {words}" if words else opening


def _drop_last_newline(body: Sequence[nodes.Node]) -> None:
    """Forget the template's line break before an end tag; what a value ends with stays."""
    last = body[-1] if body else None
    if isinstance(last, nodes.Output) and last.nodes:
        text = last.nodes[-1]
        if isinstance(text, nodes.TemplateData):
            text.data = text.data.removesuffix("\n")
