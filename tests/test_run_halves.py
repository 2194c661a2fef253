"""A second preference model tracks what the first one pays for (HH-RLHF, §4.2)."""

from __future__ import annotations

import shutil
import statistics
from pathlib import Path

import pyarrow.parquet as parquet
import pytest
from pydantic import ValidationError

from cai.datasets.halves import write_halves
from cai.datasets.preferences import preference_features
from cai.errors import InputError
from cai.pipeline import RunFolder, run_recipe
from cai.pipeline.forecast import forecast
from cai.pipeline.preview import Plan
from cai.recipe import Recipe, load_recipe
from tests.trainers_support import HARSH, KIND, assistant, log, same_weights, user, write
from trainers.reward import RewardSource
from trainers.rl import train_rl
from trainers.settings import RlSettings

EXAMPLE = Path(__file__).parents[1] / "examples" / "microworld.yaml"
TRACKED = ("train_pm", "test_pm", "pm_gap_std")


def rows(number: int, each: int = 2) -> list[dict[str, object]]:
    """Pairs on some prompts, so many of each."""
    import datasets

    features = preference_features()
    empty = {name: [] if isinstance(of, datasets.List) else None for name, of in features.items()}
    turns = {"chosen": [assistant(KIND)], "rejected": [assistant(HARSH)], "p_chosen": 0.9}
    return [
        {**empty, **turns, "prompt": [user(f"Question {prompt}")]}
        for prompt in range(number)
        for _ in range(each)
    ]


def asked(folder: Path) -> set[str]:
    read = parquet.read_table(folder).column("prompt").to_pylist()
    return {turns[0]["content"] for turns in read}


def test_each_prompt_with_all_its_pairs_is_in_one_half(tmp_path: Path):
    data = write(tmp_path / "train", rows(200))

    counts = write_halves(data, tmp_path / "halves")

    train, test = asked(tmp_path / "halves" / "train"), asked(tmp_path / "halves" / "test")
    assert not train & test
    assert len(train) + len(test) == 200
    assert sum(counts.values()) == 400
    assert 70 < len(train) < 130


def test_a_prompt_stays_in_its_half_when_others_come(tmp_path: Path):
    write_halves(write(tmp_path / "few", rows(50)), tmp_path / "before")
    write_halves(write(tmp_path / "many", rows(90)), tmp_path / "after")

    assert asked(tmp_path / "before" / "test") <= asked(tmp_path / "after" / "test")


@pytest.fixture(scope="module")
def prompts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [{"prompt": [user(f"Question {n}")]} for n in range(12)]
    return write(tmp_path_factory.mktemp("rl") / "train", rows)


@pytest.mark.parametrize("algorithm", ["rloo", "ppo"])
def test_the_test_model_is_logged_and_pays_nothing(
    tiny_model: Path,
    preference_model: Path,
    pairs: Path,
    prompts: Path,
    tmp_path: Path,
    algorithm: str,
):
    settings = RlSettings(
        algorithm=algorithm, steps=2, prompts_per_step=4, max_completion_length=6, warmup=0
    )
    plain = RewardSource(str(preference_model), pairs)
    tracked = RewardSource(
        str(preference_model), pairs, test_preference_model=str(preference_model)
    )

    train_rl(str(tiny_model), plain, prompts, tmp_path / "plain", settings, inputs="a")
    train_rl(str(tiny_model), tracked, prompts, tmp_path / "tracked", settings, inputs="a")

    assert same_weights(tmp_path / "plain", tmp_path / "tracked")
    for entry in log(tmp_path / "tracked"):
        # The same model twice: both say the same of every reply.
        assert entry["train_pm"] == pytest.approx(entry["test_pm"], abs=1e-4)
        assert entry["pm_gap_std"] == pytest.approx(0, abs=1e-4)
    assert not set(TRACKED) & set(log(tmp_path / "plain")[0])


def test_a_test_model_without_held_out_pairs_is_refused(
    tiny_model: Path, preference_model: Path, prompts: Path, tmp_path: Path
):
    source = RewardSource(str(preference_model), test_preference_model=str(preference_model))

    with pytest.raises(InputError, match="0 held-out replies"):
        train_rl(str(tiny_model), source, prompts, tmp_path / "out", RlSettings(), inputs="a")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("policies=[dpo]",), "policies must name rl"),
        (("rl.reward={preference_model: 0, rating: 1}",), "give preference_model a weight"),
        (("datasets.test_share=0",), r"datasets\.test_share \(0\).* must be more than 0"),
        (("rl.beta=0",), r"rl\.beta \(0\) must be more than 0"),
        (("rl.beta=0", "rl.algorithm=grpo"), r"rl\.beta \(0\) must be more than 0"),
    ],
    ids=["no-rl", "no-weight", "nothing-held-out", "no-kl", "no-kl-of-grpo"],
)
def test_halves_without_a_use_are_refused(settings: tuple[str, ...], message: str):
    with pytest.raises((InputError, ValidationError), match=message):
        load_recipe(EXAMPLE, ["datasets.preference_halves=true", *settings])


def test_halves_need_no_price_of_the_kl_where_it_is_measured_anyway():
    settings = ("datasets.preference_halves=true", "rl.beta=0", "rl.algorithm=ppo")

    assert load_recipe(EXAMPLE, settings).rl.logs_kl


def test_a_forecast_names_both_preference_models(tmp_path: Path):
    recipe = load_recipe(EXAMPLE, ["datasets.preference_halves=true"]).limited(4)

    told = forecast(Plan(recipe, RunFolder(tmp_path / "none")))

    assert told.to_train == ("sl_cai", "pm", "pm_test", "rl_cai")


def halved(*settings: str) -> Recipe:
    return load_recipe(EXAMPLE, ["datasets.preference_halves=true", *settings])


@pytest.fixture(scope="module")
def before_rl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with both preference models."""
    path = tmp_path_factory.mktemp("halves") / "run"
    run_recipe(halved(), RunFolder(path), steps=("revisions", "sft", "preferences", "pm"))
    return path


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["rloo", "ppo"])
def test_both_models_scores_rise_on_the_microworld(before_rl: Path, tmp_path: Path, algorithm: str):
    run = RunFolder(shutil.copytree(before_rl, tmp_path / "run"))

    metrics = run_recipe(halved(f"rl.algorithm={algorithm}"), run, steps=("rl",))

    curve = metrics["robustness"]["curve"]
    assert len(curve) == 40
    for name in ("train", "test"):
        scores = [one[name] for one in curve]
        assert statistics.fmean(scores[-5:]) > statistics.fmean(scores[:5]) + 0.1
    assert "Two preference models" in run.report.read_text()
    assert not same_weights(run.model("pm"), run.model("pm_test"))
