"""Score judged pairs with a preference model: a run's on its test split, or any on any file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, cast

from cai.errors import CaiError
from cai.evaluation.scored_pairs import ScoredPair, ScoreFigures, score_figures
from cai.filters.contamination import Overlap
from cai.models.weights import local_path
from cai.pipeline.contamination import model_held_against
from cai.pipeline.folder import RunFolder
from cai.records import Comparison, Message
from cai.sources.files import read_rows
from cai.sources.pairs import PairSet, read_pairs
from cai.sources.prompt_sets import Unreadable
from cai.sources.questions import MICROWORLD_PAIRS, JudgedPair, is_microworld, question_of
from trainers.work_folder import RECORD

AT_ONCE = 1024
"""Pairs in memory beside their scores."""


@dataclass(frozen=True)
class ScoredFiles:
    """What a preference model is worth on some files.

    Args:
        model: what it was called.
        data: the files.
        figures: of all their pairs.
        left_out: rows that could not be scored, by reason.
        contamination: its training prompts against theirs; None where its run is not known.
    """

    model: str
    data: Sequence[str]
    figures: ScoreFigures
    left_out: Mapping[str, int]
    contamination: Overlap | None = None

    def to_json(self) -> dict[str, Any]:
        """Everything, as JSON data."""
        return {
            "model": self.model,
            "data": list(self.data),
            "left_out": dict(self.left_out),
            "contamination": self.contamination.to_json() if self.contamination else None,
            **self.figures.to_json(),
        }


def score_pairs(model: str, data: Sequence[str] = (), limit: int | None = None) -> ScoredFiles:
    """Measure a preference model.

    Args:
        model: a run folder, whose preference model is meant, a model's folder, or a name on the
            hub.
        data: files as `cai.sources.questions` reads them, with `p_chosen` and `source` if they
            have such columns, or ``microworld:heldout``; a run's own test split if there is none.
        limit: most rows of each.

    Raises:
        CaiError: there is no such model, no pair to score, or a file is broken.
    """
    from trainers.scoring import Scorer

    name, files = _named(model, data)
    scorer = Scorer(name)
    left_out: Counter[str] = Counter()
    asked: dict[str, list[Sequence[Message]]] = {}
    pairs = (pair for file in files for pair in _noted(_pairs(file, limit, left_out), file, asked))
    scored: list[ScoredPair] = []
    while part := list(islice(pairs, AT_ONCE)):
        scored += _scored(scorer, part, left_out)
    if not scored:
        why = ", ".join(f"{reason}: {number}" for reason, number in left_out.items())
        raise CaiError(f"{', '.join(files)}: no pair to score ({why or 'it is empty'})")
    shared = model_held_against(model, asked)
    return ScoredFiles(model, files, score_figures(scored), dict(left_out), shared)


def _named(model: str, data: Sequence[str]) -> tuple[str, list[str]]:
    """What transformers calls the model, and the files."""
    run = RunFolder(Path(model))
    if not run.ledger.is_file():
        if not data:
            raise CaiError(f"{model} is no run with pairs of its own; name some with --data FILE")
        place = local_path(model)
        if "/" not in place and not Path(place).is_dir():
            raise CaiError(f"{model} is no folder; a model of the hub is written ORG/NAME")
        return place, list(data)
    last = run.last_with("pm")
    folder = last.model("pm")
    if not (folder / RECORD).is_file():
        raise CaiError(
            f"{model} has no preference model yet; train it with: cai train pm {run.recipe} "
            f"--run {model}"
        )
    return str(folder), list(data) or [str(last.dataset("preferences") / "test" / "data.parquet")]


def _noted(
    pairs: Iterator[JudgedPair], file: str, asked: dict[str, list[Sequence[Message]]]
) -> Iterator[JudgedPair]:
    """The same pairs; their prompts are noted under the file's name."""
    prompts = asked.setdefault(Path(file).name, [])
    for pair in pairs:
        prompts.append(pair.pair.prompt.messages)
        yield pair


def _pairs(file: str, limit: int | None, left_out: Counter[str]) -> Iterator[JudgedPair]:
    """The pairs of a file; all else is counted."""
    rows = _microworld(file, limit) if is_microworld(file) else _rows(file, limit)
    for row in rows:
        if isinstance(row, JudgedPair):
            yield row
        elif isinstance(row, Unreadable):
            left_out[f"{row.source}: {row.reason}"] += 1
        else:
            left_out["a question whose options are no replies"] += 1


def _microworld(source: str, limit: int | None) -> Iterator[Any]:
    """Pairs of either kind: a preference model that is good at one may be bad at the other."""
    split = source.partition(":")[2]
    if split != "heldout" and split != "train":
        raise CaiError(f"{source!r} is no data; write microworld:heldout, or microworld:train")
    for kind in ("harmful", "harmless"):
        pairs = PairSet(kind=kind, microworld=split, limit=limit or MICROWORLD_PAIRS)
        for pair in read_pairs(pairs, seed=0):
            yield JudgedPair(pair, tags=(kind,)) if isinstance(pair, Comparison) else pair


def _rows(file: str, limit: int | None) -> Iterator[Any]:
    path = Path(file)
    for number, row in islice(read_rows(path), limit):
        try:
            found = question_of(row, path.name)
            yield _labelled(found, row) if isinstance(found, JudgedPair) else found
        except ValueError as error:
            yield Unreadable(path.name, number, str(error))


def _labelled(found: JudgedPair, row: Mapping[str, Any]) -> JudgedPair:
    """The pair with the row's own label, source and kind, if it has them."""
    p_chosen, source = row.get("p_chosen"), row.get("source")
    chosen_is_a = found.pair.p_a == 1
    pair = replace(
        found.pair, source=source if isinstance(source, str) else found.pair.prompt.source
    )
    if p_chosen is not None:
        if not isinstance(p_chosen, int | float) or not 0 <= p_chosen <= 1:
            raise ValueError(f"p_chosen must be a probability, from 0 to 1; met {p_chosen!r}")
        pair = replace(pair, p_a=float(p_chosen if chosen_is_a else 1 - p_chosen))
    kind = row.get("kind")
    named = isinstance(kind, str) and kind and kind not in found.tags
    return replace(found, pair=pair, tags=(*found.tags, str(kind)) if named else found.tags)


def _scored(
    scorer: Any, judged: Sequence[JudgedPair], left_out: Counter[str]
) -> Iterator[ScoredPair]:
    from trainers.rows import BadRow

    kept: list[tuple[JudgedPair, list[list[dict[str, str]]]]] = []
    for one in judged:
        both = [
            _conversation(one.pair, text) for text in (one.pair.response_a, one.pair.response_b)
        ]
        try:
            too_long = max(scorer.length(side) for side in both) > scorer.positions
        except BadRow as error:
            left_out[str(error)] += 1
            continue
        if too_long:
            left_out["a side is longer than the model reads"] += 1
        else:
            kept.append((one, both))
    scores = cast("list[float]", scorer.score([side for _, both in kept for side in both]))
    for (one, _), score_a, score_b in zip(kept, scores[::2], scores[1::2], strict=True):
        yield _pair(one, score_a, score_b)


def _pair(one: JudgedPair, score_a: float, score_b: float) -> ScoredPair:
    pair = one.pair
    return ScoredPair(
        p_a=pair.p_a,
        score_a=score_a,
        score_b=score_b,
        words_a=len(pair.response_a.split()),
        words_b=len(pair.response_b.split()),
        turns=sum(message.role == "user" for message in pair.prompt.messages),
        source=pair.source,
        prompt=pair.prompt.text_hash,
        tags=one.tags,
    )


def _conversation(pair: Comparison, reply: str) -> list[dict[str, str]]:
    asked = [asdict(message) for message in pair.prompt.messages]
    return [*asked, {"role": "assistant", "content": reply}]
