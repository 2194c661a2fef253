"""RL-CAI: optimise the SL-CAI policy against the preference model (Bai et al. 2022, §4.2).

    R = r_PM − β · KL(π ‖ π_SFT)   (HH-RLHF, §4.1)

Unlike the paper's PPO it has no value model: each reply is measured against the others to its
prompt (RLOO, Ahmadian et al. 2024), so that a constant in the score changes nothing. Run it
alone with ``python -m trainers.rl recipe.yaml``.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from trainers import command
from trainers.environment import prepare_environment
from trainers.fit import Account, Job, TrainingResult, arguments, finished, fit
from trainers.rows import Dropped, Row, check_columns, encode_rows, turns_of
from trainers.scoring import Scorer
from trainers.settings import RlSettings
from trainers.tokens import load_tokenizer, prompt_ids
from trainers.work_folder import WorkFolder

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import Trainer


def train_rl(
    policy: str,
    preference_model: Path | str,
    prompts: Path,
    out: Path,
    settings: RlSettings,
    **job: Unpack[Job],
) -> TrainingResult:
    """Optimise a policy against a preference model, held close to where it started.

    Args:
        policy: the SFT model: it is optimised, and the KL is measured from it.
        preference_model: as `train_preference_model` writes it.
        prompts: Parquet or JSON lines with the column ``prompt``, turns that end with the user's.
        out: where the policy goes; its log has reward, kl (nats a reply), entropy (nats a token)
            and length (tokens) of each rollout batch.
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
    room = _positions(policy) - settings.max_completion_length

    def encode(row: Row) -> Mapping[str, Any]:
        prompt = turns_of(row["prompt"], "prompt", "user")
        if len(prompt_ids(tokenizer, prompt)) > room:
            raise Dropped("prompt and reply together are longer than the policy reads")
        return {"prompt": prompt}

    rows = encode_rows(files, ("prompt",), encode)
    scorer = Scorer(preference_model)

    def make() -> Trainer:
        return _rloo_trainer(policy, scorer, _in_order(rows.dataset, settings), settings, work)

    models = {"policy": policy, "preference_model": str(preference_model)}
    account = Account("rl", models, settings, rows, figures=_figures)
    return fit(make, work, account, job.get("report"))


def _positions(model: str) -> int:
    from transformers import AutoConfig

    return getattr(AutoConfig.from_pretrained(model), "max_position_embeddings", 0) or 1 << 62


def _in_order(prompts: Dataset, settings: RlSettings) -> Dataset:
    """The prompts of all rollout batches, each pass over them in an order of its own.

    TRL's own shuffling starts anew where a training is resumed; one long pass does not.
    """
    draw = random.Random(f"{settings.seed}:prompts")
    needed = settings.steps * settings.prompts_per_step
    order: list[int] = []
    while len(order) < needed:
        order += draw.sample(range(len(prompts)), len(prompts))
    return prompts.select(order[:needed])


def _rloo_trainer(
    policy: str, scorer: Scorer, prompts: Dataset, settings: RlSettings, work: WorkFolder
) -> Trainer:
    from trl.trainer.rloo_config import RLOOConfig
    from trl.trainer.rloo_trainer import RLOOTrainer

    common = arguments(settings, work, settings.prompts_per_step * settings.generations)
    common["save_steps"] = settings.save_every * settings.passes
    config = RLOOConfig(
        **common,
        max_steps=settings.steps * settings.passes,
        num_generations=settings.generations,
        num_iterations=settings.passes,
        beta=settings.beta,
        max_completion_length=settings.max_completion_length,
        temperature=settings.temperature,
        shuffle_dataset=False,
        disable_dropout=True,
        chat_template_kwargs={"sanitize_control_tokens": True},
    )

    def preference_model_score(
        prompts: Sequence[list[Any]], completions: Sequence[list[Any]], **_: Any
    ) -> list[float | None]:
        pairs = zip(prompts, completions, strict=True)
        return [*scorer.score([[*prompt, *completion] for prompt, completion in pairs])]

    tokenizer = load_tokenizer(policy)
    tokenizer.padding_side = "left"
    return RLOOTrainer(
        policy,
        reward_funcs=preference_model_score,
        args=config,
        train_dataset=prompts,
        processing_class=tokenizer,
    )


def _figures(entry: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The log's figures of a rollout batch; entries of later passes over it have none."""
    if "reward" not in entry:
        return None
    length = entry["completions/mean_length"]
    return {
        "step": entry["step"],
        "reward": entry["reward"],
        "reward_std": entry["reward_std"],
        # TRL gives nats per token of the batch; per reply it is what the reward pays for.
        "kl": entry["kl"] * length if "kl" in entry else None,
        "entropy": entry["entropy"],
        "length": length,
        "cut_off": entry["completions/clipped_ratio"],
        "clipped": entry["clip_ratio/region_mean"],
        "loss": entry["loss"],
    }


def main(
    recipe: command.RecipeArgument,
    run: command.RunOption = None,
    data: command.DataOption = None,
    base: command.BaseOption = None,
    preference_model: command.PreferenceModelOption = None,
    out: command.OutOption = None,
) -> None:
    """Optimise a run's SL-CAI model against its preference model.

    Example: python -m trainers.rl examples/microworld.yaml
    """
    loaded, folder = command.open_run(recipe, run)
    policy = command.model_path(base or str(folder.model("sl_cai")))
    judge = command.model_path(preference_model or str(folder.model("pm")))
    data = data or folder.dataset("rl") / "train"
    inputs = command.input_hash(data, [policy, judge], loaded.rl)
    out = out or folder.model("rl_cai")
    report = command.progress()
    command.say(train_rl(policy, judge, data, out, loaded.rl, inputs=inputs, report=report))


if __name__ == "__main__":
    command.run_alone(main)
