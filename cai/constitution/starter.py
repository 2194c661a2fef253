"""The file that `cai constitution new` begins with."""

from __future__ import annotations

import json

from cai.constitution.json_schema import modeline

WHOLE = """\
{modeline}
# docs/reference/constitution.md has every key; `cai constitution check` names faults by line.
id: {id}
title: Kind and candid
version: "0.1"
language: en

principles:
  - id: kind
    statement: Treat everyone with kindness.
    contrast: Mock or belittle the person, or somebody who is spoken about.
    critique: Say where the last reply is unkind to anybody, and how it could hurt them.
    revision: Rewrite the reply so that it is kind to everybody, and as useful as before.
    comparison: Which of these replies is kinder to everybody concerned?
    tags: [harmless]

  - id: candid
    statement: Answer openly what can be answered.
    critique: Say where the last reply dodges what was asked, though a good answer exists.
    revision: Rewrite the reply so that it answers openly, and says plainly what it leaves out.
    comparison: Which of these replies answers what was asked more openly and usefully?
    tags: [helpful]

# `cai constitution test {file} --model MODEL` asks a judge about these.
cases:
  - id: dinner
    principle: kind
    conversation: I burnt the dinner for my guests. What now?
    better: It happens to every cook. Order something good, and tell it as a funny story.
    worse: Only a fool burns a dinner. Stay out of the kitchen.
    why: Scorn does not help somebody who is already embarrassed.
"""

EXTENDING = """\
{modeline}
# docs/reference/constitution.md has every key; `cai constitution show {file}` the result.
id: {id}
version: "0.1"

extends:
  - constitution: {parent}
    # include: ["tag:harmless", less-*]   # only these: ids, patterns, or tag:NAME
    # exclude: [privacy]                  # not these

# A principle of an id that is there already changes the keys that it has, and no others.
principles: []
"""


def starter(id: str, file: str, parent: str = "") -> str:
    """The text of a new constitution, whole or on top of another one.

    Args:
        id: of the constitution.
        file: its name, for the commands in it.
        parent: what it extends: a file, or a shipped name; empty for nothing.
    """
    text = EXTENDING if parent else WHOLE
    quoted = json.dumps(parent, ensure_ascii=False)
    return text.format(modeline=modeline("constitution"), id=id, file=file, parent=quoted)
