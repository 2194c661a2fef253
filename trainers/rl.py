"""RL-CAI: optimise the SL-CAI policy against the preference model (Bai et al. 2022, §4.2).

    R = r − β · KL(π ‖ π_SFT)   (HH-RLHF, §4.1)

The recipe's ``rl.reward`` says what r is (see `trainers.reward`), and ``rl.algorithm`` how it is
optimised: `trainers.grouped` has RLOO and GRPO, `trainers.ppo` has PPO and REINFORCE. Run it alone
with ``python -m trainers.rl recipe.yaml``.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Unpack

import typer

from cai.errors import CaiError
from cai.models.weights import NO_CODE
from trainers import command
from trainers.adapters import is_adapter
from trainers.environment import prepare_environment
from trainers.fit import Account, Job, Loop, TrainingResult, finished, fit
from trainers.pairs import COLUMNS
from trainers.reward import Rating, Reward, RewardSource, open_reward, require_one_process
from trainers.rows import Dropped, EncodedRows, Row, check_columns, encode_rows, turns_of
from trainers.settings import GROUPED, RlSettings
from trainers.snapshots import for_iterations
from trainers.tokens import Conversation, load_tokenizer, prompt_ids
from trainers.work_folder import WorkFolder

if TYPE_CHECKING:
    from cai.pipeline.folder import RunFolder
    from cai.recipe import Recipe

HeldOutOption = Annotated[
    Path | None,
    typer.Option(
        "--held-out", help="Pairs whose mean score is subtracted, instead of the run's test pairs."
    ),
]

TestPreferenceModelOption = Annotated[
    str | None,
    typer.Option(
        "--test-preference-model",
        help="One of other pairs that scores the same replies, for the log alone.",
    ),
]


def train_rl(
    policy: str,
    source: RewardSource,
    prompts: Path,
    out: Path,
    settings: RlSettings,
    **job: Unpack[Job],
) -> TrainingResult:
    """Optimise a policy against a reward, held close to where it started.

    Args:
        policy: the SFT model: it is optimised, and the KL is measured from it.
        source: where the reward comes from, as far as the settings give it weight.
        prompts: Parquet or JSON lines with the column ``prompt``, a text or turns that end with
            the user's.
        out: where the policy goes; its log has, of each rollout batch, reward, kl (nats a reply),
            sqrt_kl, entropy (nats a token), length (tokens), distinct_2, refusal, boilerplate,
            cut_off and clipped (shares), and the figures of `trainers.reward.Paid`.
        settings: the recipe's section ``rl``.
        **job: hash of the inputs, and who is told of the steps.

    Raises:
        InputError: the data, a tokenizer or the preference model cannot be used; told before the
            policy loads.
    """
    files = check_columns(prompts, ("prompt",))
    work = WorkFolder(out, job["inputs"])
    if done := finished(work):
        return done
    prepare_environment()
    tokenizer = load_tokenizer(policy)
    reply = settings.max_completion_length
    room, reward = _positions(policy) - reply, open_reward(source, settings)

    def encode(row: Row) -> Mapping[str, Any]:
        prompt = turns_of(row["prompt"], "prompt", "user")
        if len(prompt_ids(tokenizer, prompt)) > room:
            raise Dropped("prompt and reply together are longer than the policy reads")
        if not reward.has_room(prompt, reply):
            raise Dropped("prompt and reply together are longer than the preference model reads")
        return {"prompt": prompt}

    rows = encode_rows(files, ("prompt",), encode)

    def make() -> Loop:
        return _loop(policy, reward, _in_order(rows, settings), settings, work)

    models = {"policy": policy, **source.models}
    about = {"reward": reward.record}
    account = Account("rl", models, settings, rows, figures=_figures(settings), about=about)
    return fit(make, work, account, job.get("report"))


def _positions(model: str) -> int:
    from transformers import AutoConfig

    if is_adapter(model):
        from peft import PeftConfig

        model = str(PeftConfig.from_pretrained(model).base_model_name_or_path)
    config = AutoConfig.from_pretrained(model, **NO_CODE)
    return getattr(config, "max_position_embeddings", 0) or 1 << 62


def _in_order(rows: EncodedRows, settings: RlSettings) -> list[Conversation]:
    """The prompts of all rollout batches, each pass over them in an order of its own.

    TRL's own shuffling starts anew where a training is resumed; one long pass does not.
    """
    draw = random.Random(f"{settings.seed}:prompts")
    prompts: list[Conversation] = rows.dataset["prompt"][:]
    needed = settings.steps * settings.prompts_per_step
    order: list[int] = []
    while len(order) < needed:
        order += draw.sample(range(len(prompts)), len(prompts))
    return [prompts[place] for place in order[:needed]]


def _loop(
    policy: str,
    reward: Reward,
    prompts: list[Conversation],
    settings: RlSettings,
    work: WorkFolder,
) -> Loop:
    if settings.algorithm in GROUPED:
        from trainers.grouped import grouped_loop

        return grouped_loop(policy, reward, prompts, settings, work)
    from trainers.ppo import PpoLoop

    answered = [prompt for prompt in prompts for _ in range(settings.generations)]
    return PpoLoop(policy, load_tokenizer(policy), reward, answered, settings, work)


def _figures(settings: RlSettings) -> Any:
    from trainers.grouped import log_figures

    return log_figures if settings.algorithm in GROUPED else lambda entry: entry


SECTION = command.Section("rl", RlSettings, ("prompt",))


def main(
    recipe: command.RecipeIfAny = None,
    run: command.RunOption = None,
    data: command.DataOption = None,
    base: command.BaseOption = None,
    preference_model: command.PreferenceModelOption = None,
    test_preference_model: TestPreferenceModelOption = None,
    held_out: HeldOutOption = None,
    out: command.OutOption = None,
    set_: command.SetOption = None,
) -> None:
    """Optimise a run's SL-CAI model for what its recipe pays, or any model on any prompts.

    Example: python -m trainers.rl examples/microworld.yaml --set algorithm=ppo

    Or: python -m trainers.rl --base sft --preference-model pm --data prompts.jsonl --out policy
    """
    asked = command.Asked(recipe, run, data, base, out, set_)
    task = command.task_of(asked, SECTION, _places)
    if asked.recipe is not None:
        iterations = command.open_run(asked.recipe, asked.run)[0].iterations
        task = replace(task, settings=for_iterations(task.settings, iterations))
    named = RewardSource(preference_model, held_out, test_preference_model=test_preference_model)
    source = _source(asked, task.settings, named)
    with _rating(asked, task) as rating:
        models = [task.base, *source.models.values()]
        rated_by = rating.identity if rating else ""
        inputs = command.input_hash(
            task.data, models, task.settings, source.held_out, rated_by=rated_by
        )
        made = train_rl(
            task.base,
            replace(source, rating=rating),
            task.data,
            task.out,
            task.settings,
            inputs=inputs,
            report=command.progress(),
        )
    command.say(made)


def _places(_: Recipe, folder: RunFolder) -> command.Places:
    data = folder.dataset("rl") / "train"
    return command.Places(str(folder.model("sl_cai")), data, folder.model("rl_cai"))


def _source(asked: command.Asked, settings: RlSettings, named: RewardSource) -> RewardSource:
    """The preference models that were named, or the run's; none if the reward counts none."""
    if not settings.reward.preference_model:
        if named != RewardSource():
            raise CaiError(
                "--preference-model, --test-preference-model and --held-out have no use where "
                "reward.preference_model has no weight; leave them out, or give it one"
            )
        return RewardSource()
    if named.held_out is not None:
        check_columns(named.held_out, COLUMNS)
    model, test = named.preference_model, named.test_preference_model
    held_out = named.held_out
    if asked.recipe is not None:
        recipe, folder = command.open_run(asked.recipe, asked.run)
        model = model or str(folder.model("pm"))
        held_out = held_out or folder.dataset("preferences") / "test"
        if recipe.datasets.preference_halves:
            test = test or str(folder.model("pm_test"))
    if model is None:
        raise CaiError("without a recipe, give --preference-model too; see --help")
    tracked = None if test is None else command.model_path(test)
    return RewardSource(command.model_path(model), held_out, test_preference_model=tracked)


@contextmanager
def _rating(asked: command.Asked, task: command.Task[RlSettings]) -> Iterator[Rating | None]:
    """The judge of the recipe, with its ledger, while the training lasts; None if not asked for."""
    if not task.settings.reward.rating:
        yield None
        return
    if asked.recipe is None:
        raise CaiError(
            "reward.rating needs a recipe, whose judge and constitution say what a reply is worth"
        )
    require_one_process()
    from cai.pipeline.rating_reward import RatingReward

    with RatingReward(*command.open_run(asked.recipe, asked.run)) as rating:
        yield rating


if __name__ == "__main__":
    command.run_alone(main)
