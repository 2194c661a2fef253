"""The preference model: scores replies so that σ(r_a − r_b) meets soft labels.

Bai et al. (2022), §4.1; HH-RLHF (Bai et al. 2022b), §3. Unlike TRL's own reward model, it learns
from a probability per pair, not from a winner. Run it alone with
``python -m trainers.preference_model recipe.yaml``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from trainers import command
from trainers.environment import prepare_environment
from trainers.fit import Account, Job, TrainingResult, arguments, finished, fit
from trainers.losses import brier_score, preference_accuracy, preference_loss
from trainers.pairs import COLUMNS, LABEL, read_pair
from trainers.rows import Dropped, Row, check_columns, encode_rows
from trainers.settings import PreferenceModelSettings
from trainers.tokens import conversation_ids, load_tokenizer
from trainers.work_folder import WorkFolder

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import Trainer
    from trl.trainer.reward_config import RewardConfig


def train_preference_model(
    base: str, data: Path, out: Path, settings: PreferenceModelSettings, **job: Unpack[Job]
) -> TrainingResult:
    """Train a classifier with one output, the score, on pairs with soft labels.

    Args:
        base: the model to start from, its head replaced: a folder, or a name on the hub.
        data: Parquet or JSON lines with the columns of `trainers.pairs`.
        out: where the model goes, an ordinary ``AutoModelForSequenceClassification``.
        settings: the recipe's section ``preference_model``.
        **job: hash of the inputs, and who is told of the steps.

    Raises:
        InputError: the data or the tokenizer cannot be used; told before any model loads.
    """
    files = check_columns(data, COLUMNS)
    work = WorkFolder(out, job["inputs"])
    if done := finished(work):
        return done
    prepare_environment()
    tokenizer = load_tokenizer(base)

    def encode(row: Row) -> Mapping[str, Any]:
        return encode_pair(tokenizer, row, settings.max_length)

    rows = encode_rows(files, (*COLUMNS, LABEL), encode)

    def make() -> Trainer:
        from trl.trainer.reward_config import RewardConfig

        config = RewardConfig(
            **arguments(settings, work, settings.batch_size),
            num_train_epochs=settings.epochs,
            max_steps=settings.max_steps or -1,
            max_length=None,
        )
        return _soft_label_trainer(base, config, rows.dataset, tokenizer)

    account = Account("preference_model", {"base": base}, settings, rows)
    return fit(make, work, account, job.get("report"))


def encode_pair(tokenizer: Any, row: Row, max_length: int) -> Mapping[str, Any]:
    """Token ids of both conversations of a pair, and its label.

    Args:
        tokenizer: as of `load_tokenizer`.
        row: as `read_pair` takes it.
        max_length: a pair with a longer side is left out: cut, it would lose what is judged.

    Raises:
        BadRow: a side is no conversation that ends with a reply, or the label no probability.
        Dropped: a side is too long.
    """
    pair = read_pair(row)
    chosen, rejected = (
        conversation_ids(tokenizer, [*pair.prompt, *side]) for side in (pair.chosen, pair.rejected)
    )
    if max(len(chosen), len(rejected)) > max_length:
        raise Dropped("a side is longer than max_length")
    return {"chosen_ids": chosen, "rejected_ids": rejected, "p_chosen": pair.p_chosen}


def _soft_label_trainer(base: str, config: RewardConfig, dataset: Any, tokenizer: Any) -> Trainer:
    """TRL's trainer with the label in the batch and `preference_loss` as the loss."""
    import torch
    from trl.trainer.reward_trainer import DataCollatorForPreference, RewardTrainer

    collate = DataCollatorForPreference(tokenizer.pad_token_id)

    def collate_with_labels(examples: list[dict[str, Any]]) -> dict[str, Tensor]:
        labels = torch.tensor([example["p_chosen"] for example in examples], dtype=torch.float32)
        return {**collate(examples), "p_chosen": labels}

    class SoftLabelTrainer(RewardTrainer):
        def _set_signature_columns_if_needed(self) -> None:
            # Columns that are not named here are removed before the collator sees them.
            self._signature_columns = ["chosen_ids", "rejected_ids", "p_chosen"]

        def compute_loss(
            self,
            model: Any,
            inputs: dict[str, Any],
            return_outputs: bool = False,
            num_items_in_batch: Any = None,
        ) -> Any:
            labels = inputs.pop("p_chosen")
            outputs = model(**inputs, use_cache=False)
            score_a, score_b = outputs.logits.squeeze(-1).float().chunk(2)
            loss = preference_loss(score_a, score_b, labels)
            self._log_figures(model.training, score_a.detach(), score_b.detach(), labels)
            return (loss, outputs) if return_outputs else loss

        def _log_figures(
            self, training: bool, score_a: Tensor, score_b: Tensor, labels: Tensor
        ) -> None:
            gathered: Any = self.accelerator.gather_for_metrics((score_a, score_b, labels))
            a, b, p = gathered
            logged = self._metrics["train" if training else "eval"]
            logged["brier"].append(brier_score(a, b, p).item())
            if (p != 0.5).any():
                logged["accuracy"].append(preference_accuracy(a, b, p).item())

    return SoftLabelTrainer(
        base,
        args=config,
        train_dataset=dataset,
        processing_class=tokenizer,
        data_collator=collate_with_labels,
    )


def main(
    recipe: command.RecipeArgument,
    run: command.RunOption = None,
    data: command.DataOption = None,
    base: command.BaseOption = None,
    out: command.OutOption = None,
) -> None:
    """Train the preference model on a run's soft labels, from its SL-CAI model.

    Example: python -m trainers.preference_model examples/microworld.yaml
    """
    loaded, folder = command.open_run(recipe, run)
    base = command.model_path(base or str(folder.model("sl_cai")))
    data = data or folder.dataset("preferences") / "train"
    settings = loaded.preference_model
    inputs = command.input_hash(data, [base], settings)
    out = out or folder.model("pm")
    report = command.progress()
    command.say(train_preference_model(base, data, out, settings, inputs=inputs, report=report))


if __name__ == "__main__":
    command.run_alone(main)
