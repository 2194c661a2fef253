"""Why a row is as it is, told in lines of text: from its record and from what its run has kept.

A ledger alone tells less than a whole run folder: the draw needs the constitution and the seed,
which `metrics.json` and `recipe.yaml` have.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from cai.constitution import Constitution
from cai.engine import Ledger
from cai.pipeline.explain_draw import told_draw
from cai.pipeline.explain_label import told_label
from cai.pipeline.folder import RunFolder
from cai.pipeline.readback import read_prompt
from cai.pipeline.reruns import RowSettings, read_reruns
from cai.recipe import Recipe, load_recipe, with_settings
from cai.records import Prompt, Row
from cai.splits import split_of

DATA_SETS: Mapping[str, str] = {
    "revision": "sft",
    "helpful": "sft",
    "comparison": "preferences",
}
"""Which data set rows of a stage go into, if any."""


@dataclass(frozen=True)
class Explainer:
    """Tells of the rows of one run.

    Args:
        ledger: the run's; recipe and metrics are looked for beside it.
    """

    ledger: Ledger

    def told(self, row: Row) -> Iterator[str]:
        """Everything about a row that is not in its calls."""
        settings = self._row_settings.of(row.key)
        if settings:
            yield f"settings of a rerun: {', '.join(settings)}"
        record = row.record or {}
        relatives = list(self.ledger.rows(prompt_id=row.key.prompt_id))
        prompt = _prompt_of(record, relatives)
        if prompt is not None:
            yield from _told_prompt(prompt)
        yield from _told_replies(row, record, relatives)
        yield from self._told_principles(row, record, prompt, settings)
        yield from told_label(record)
        if prompt is not None:
            yield from self._told_place(row, prompt)
        yield from _told_others(row, relatives)
        yield from self._told_costs(row)
        yield from self._told_versions(record)

    def _told_principles(
        self, row: Row, record: Mapping[str, Any], prompt: Prompt | None, settings: tuple[str, ...]
    ) -> Iterator[str]:
        named = [id for id in str(record.get("principle", "")).split(" + ") if id]
        constitution = self._constitution
        for id in named:
            text = _text_of(constitution, id, row.key.stage)
            yield f"principle {id}{f': {text}' if text else ''}"
        if not named:
            return
        recipe = self._recipe_with(settings)
        if recipe is None or constitution is None or prompt is None:
            yield "  why it was drawn is not known here: no recipe and constitution are kept beside"
            return
        yield from told_draw(row.key, named, prompt, constitution, recipe)

    def _told_place(self, row: Row, prompt: Prompt) -> Iterator[str]:
        name = DATA_SETS.get(row.key.stage)
        if name and row.status == "ok" and self._recipe is not None:
            part = split_of(prompt.messages, self._recipe.datasets.test_share)
            yield f"goes into datasets/{name}/{part}"

    def _told_costs(self, row: Row) -> Iterator[str]:
        calls = [call for key in row.calls if (call := self.ledger.call(key))]
        if not calls:
            return
        read = sum(call.usage.input_tokens for call in calls)
        written = sum(call.usage.output_tokens for call in calls)
        costs = [self._dollars(call.model, call.usage) for call in calls]
        known = [cost for cost in costs if cost is not None]
        unknown = len(costs) - len(known)
        told = [f"${sum(known):.6f}"] if known else []
        told += [f"{_count(unknown, 'call')} at an unknown price"] if unknown else []
        tokens = f"{read} tokens in, {written} out"
        yield f"cost: {_count(len(calls), 'call')}, {tokens}, {' and '.join(told)}"

    def _dollars(self, identity: str, usage: Any) -> float | None:
        if identity.startswith("local:"):
            return 0.0
        playing = () if self._recipe is None else self._recipe.playing
        for settings in playing:
            if identity.partition("@")[0] == settings.name and settings.known_prices is not None:
                return settings.known_prices.cost(usage)
        return None

    def _told_versions(self, record: Mapping[str, Any]) -> Iterator[str]:
        provenance: Mapping[str, Any] = record.get("provenance") or {}
        run: Mapping[str, Any] = self._metrics.get("run", {})
        made = {
            name: provenance[name]
            for name in ("constitution", "template", "seed")
            if name in provenance
        }
        if made:
            yield f"made with {', '.join(f'{name} {value}' for name, value in made.items())}"
        if not run:
            return
        ours: Mapping[str, Any] = run.get("constitution", {})
        yield (
            f"run {run.get('name', '')}: seed {run.get('seed')}, recipe {run.get('recipe_hash')}, "
            f"constitution {ours.get('id')} {ours.get('hash')}"
        )
        if "constitution" in made and made["constitution"] != ours.get("hash"):
            yield "the run's constitution has changed since the row was made"
        versions: Mapping[str, str] = run.get("versions", {})
        yield f"versions: {', '.join(f'{name} {number}' for name, number in versions.items())}"
        if run.get("command"):
            yield f"command: {run['command']}"

    @cached_property
    def _folder(self) -> RunFolder:
        return RunFolder(self.ledger.path.parent)

    @cached_property
    def _metrics(self) -> Mapping[str, Any]:
        return self._folder.read_metrics()

    @cached_property
    def _recipe(self) -> Recipe | None:
        return load_recipe(self._folder.recipe) if self._folder.recipe.is_file() else None

    def _recipe_with(self, settings: tuple[str, ...]) -> Recipe | None:
        if self._recipe is None or not settings:
            return self._recipe
        return with_settings(self._recipe, settings, self._folder.reruns)

    @cached_property
    def _row_settings(self) -> RowSettings:
        return RowSettings(read_reruns(self._folder.reruns).kept)

    @cached_property
    def _constitution(self) -> Constitution | None:
        """The principles that the run had, from what it has kept of them."""
        kept: Mapping[str, Any] = self._metrics.get("run", {}).get("constitution", {})
        if not kept.get("principles"):
            return None
        listed = [{"id": id, **fields} for id, fields in kept["principles"].items()]
        return Constitution.model_validate({"id": kept["id"], "principles": listed})


def _text_of(constitution: Constitution | None, id: str, stage: str) -> str:
    """What a principle asks for in a stage, as far as the run has kept it."""
    for one in () if constitution is None else constitution.principles:
        if one.id == id and stage == "revision":
            return f"{one.critique} {one.revision}"
        if one.id == id:
            return one.comparison or one.rating or ""
    return ""


def _prompt_of(record: Mapping[str, Any], relatives: Sequence[Row]) -> Prompt | None:
    """The prompt of a row, or that of another row of it: one that ended early has no record."""
    for held in (record, *(row.record or {} for row in relatives)):
        if "prompt" in held:
            return read_prompt(held["prompt"])
    return None


def _told_prompt(prompt: Prompt) -> Iterator[str]:
    about = f"{prompt.kind}, " if prompt.kind else ""
    yield f"prompt {prompt.id} ({about}from {prompt.source}):"
    yield from (_turn(turn.role, turn.content) for turn in prompt.messages)


def _told_replies(row: Row, record: Mapping[str, Any], relatives: Sequence[Row]) -> Iterator[str]:
    if row.key.stage == "revision":
        yield from _told_rounds(row, relatives)
    elif "response_a" in record:
        yield _turn(f"reply a{_where(record, 'sample_a')}", record["response_a"])
        yield _turn(f"reply b{_where(record, 'sample_b')}", record["response_b"])
    elif "text" in record:
        yield _turn("reply", record["text"])


def _told_rounds(row: Row, relatives: Sequence[Row]) -> Iterator[str]:
    """The first reply, then every round up to the row's."""
    for one in relatives:
        if one.key.stage == "response" and one.record is not None:
            yield _turn("first reply", one.record["text"])
    for one in relatives:
        if one.key.stage != "revision" or one.record is None or one.key.round > row.key.round:
            continue
        said, under = one.record, f"{one.key.round}, under {one.record.get('principle')}"
        if said.get("critique") is not None:
            yield _turn(f"critique {under}", said["critique"])
        yield _turn(f"revision {under}", said["text"])


def _where(record: Mapping[str, Any], name: str) -> str:
    provenance: Mapping[str, Any] = record.get("provenance") or {}
    written = f"call_{name[-1]}"
    if not provenance.get(written):
        return ""
    return f", pair sample {provenance[name]} by {provenance.get('responder', '')}"


def _told_others(row: Row, relatives: Sequence[Row]) -> Iterator[str]:
    """Rows of the prompt that are not there, with the reasons."""
    for one in relatives:
        if one.key != row.key and one.status != "ok":
            key = one.key
            name = f"{key.stage}/{key.prompt_id}/{key.round}/{key.sample}"
            yield f"also of this prompt: {name} {one.status}, {one.reason}"


def _turn(name: str, text: str) -> str:
    return f"[{name}]\n{text}"


def _count(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"
