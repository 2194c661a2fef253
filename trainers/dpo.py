"""DPO: a policy from preference data alone, with neither preference model nor sampling.

    L = −[ p log σ(β h) + (1 − p) log σ(−β h) ]   (`trainers.losses.dpo_loss`)

Rafailov et al. (2023). Unlike TRL's own DPO it learns from a probability per pair, as CAI's
feedback model gives it (Bai et al. 2022, §4.1), not from a winner. Run it alone with
``python -m trainers.dpo recipe.yaml``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from trainers import command
from trainers.adapters import lora_options, whole_model
from trainers.environment import prepare_environment
from trainers.fit import Account, Job, TrainingResult, finished, fit
from trainers.losses import dpo_loss, ipo_loss
from trainers.pairs import COLUMNS, LABEL, read_pair
from trainers.rows import BadRow, Dropped, Row, check_columns, encode_rows
from trainers.settings import DpoSettings
from trainers.tokens import load_tokenizer, split_ids
from trainers.trl_loop import TrlLoop, epoch_arguments, log_pairs
from trainers.work_folder import WorkFolder

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import Trainer
    from trl.trainer.dpo_config import DPOConfig

    from cai.pipeline.folder import RunFolder
    from cai.recipe import Recipe

LOSSES = {"dpo": dpo_loss, "ipo": ipo_loss}


def train_dpo(
    base: str, data: Path, out: Path, settings: DpoSettings, **job: Unpack[Job]
) -> TrainingResult:
    """Make the better reply of each pair likelier, and the worse one less, as the label has it.

    Args:
        base: the SFT model: the policy starts from it, and is held close to it.
        data: Parquet or JSON lines with the columns of `trainers.pairs`.
        out: where the policy goes; its log has label_distance, accuracy, and the margin β h of
            each step.
        settings: the recipe's section ``dpo``.
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
        return encode_replies(tokenizer, row, settings.max_length)

    rows = encode_rows(files, (*COLUMNS, LABEL), encode)

    def make() -> TrlLoop:
        from trl.trainer.dpo_config import DPOConfig

        config = DPOConfig(
            **epoch_arguments(settings, work),
            max_length=None,
            beta=settings.beta,
            loss_type=["sigmoid"],
            disable_dropout=True,
        )
        options = {"processing_class": tokenizer, **lora_options(settings.lora, base, "CAUSAL_LM")}
        start = whole_model(base, work.path / "base")
        trainer = _soft_label_trainer(start, config, settings, rows.dataset, options)
        return TrlLoop(trainer, work)

    return fit(make, work, Account("dpo", {"base": base}, settings, rows), job.get("report"))


def encode_replies(tokenizer: Any, row: Row, max_length: int) -> Mapping[str, Any]:
    """Token ids of a prompt and of both replies to it, and the label.

    Args:
        tokenizer: as of `load_tokenizer`.
        row: as `read_pair` takes it.
        max_length: a pair with a longer side is left out: cut, it would lose what is judged.

    Raises:
        BadRow: a side is no conversation that ends with a reply, or the label no probability.
        Dropped: a side is too long.
    """
    pair = read_pair(row)
    if len(pair.chosen) != 1 or len(pair.rejected) != 1:
        raise BadRow("chosen and rejected must be one reply each to the same prompt")
    chosen, start = split_ids(tokenizer, [*pair.prompt, *pair.chosen])
    rejected = split_ids(tokenizer, [*pair.prompt, *pair.rejected]).ids
    if max(len(chosen), len(rejected)) > max_length:
        raise Dropped("a side is longer than max_length")
    return {
        "prompt_ids": chosen[:start],
        "chosen_ids": chosen[start:],
        "rejected_ids": rejected[start:],
        "p_chosen": pair.p_chosen,
    }


def _soft_label_trainer(
    base: str, config: DPOConfig, settings: DpoSettings, dataset: Any, options: dict[str, Any]
) -> Trainer:
    """TRL's trainer with the label in the batch and a loss of ours."""
    import torch
    from trl.trainer.dpo_trainer import DataCollatorForPreference, DPOTrainer

    collate = DataCollatorForPreference(options["processing_class"].pad_token_id)

    def collate_with_labels(examples: list[dict[str, Any]]) -> dict[str, Tensor]:
        labels = torch.tensor([example["p_chosen"] for example in examples], dtype=torch.float32)
        return {**collate(examples), "p_chosen": labels}

    class SoftLabelTrainer(DPOTrainer):
        def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
            # Encoded already, by the one way in which text cannot forge a turn.
            return dataset

        def _set_signature_columns_if_needed(self) -> None:
            # Columns that are not named here are removed before the collator sees them.
            self._signature_columns = ["prompt_ids", "chosen_ids", "rejected_ids", "p_chosen"]

        def _compute_loss(self, model: Any, inputs: dict[str, Any], return_outputs: bool) -> Any:
            labels = inputs.pop("p_chosen")
            reference = self.compute_ref_log_probs(self.ref_model or self.model, inputs)
            mask_2B_T = inputs["completion_mask"]
            # TRL's fused head gives one log-probability a token, and 0 for those not labelled.
            outputs = model(
                input_ids=inputs["input_ids"],
                attention_mask=inputs["attention_mask"],
                labels=inputs["input_ids"].masked_fill(mask_2B_T == 0, -100),
                fused_lm_head=True,
                use_cache=False,
            )
            ratio_2B = outputs.log_probs.sum(1) - torch.cat(reference)
            if settings.loss == "ipo":
                ratio_2B = ratio_2B / mask_2B_T.sum(1)
            chosen, rejected = ratio_2B.chunk(2)
            margin = chosen - rejected
            loss = LOSSES[settings.loss](margin, labels, settings.beta)
            self._log_figures(model.training, settings.beta * margin.detach(), labels)
            return (loss, outputs) if return_outputs else loss

        def _log_figures(self, training: bool, score: Tensor, labels: Tensor) -> None:
            gathered: Any = self.accelerator.gather_for_metrics((score, labels))
            margin, p = gathered
            logged = self._metrics["train" if training else "eval"]
            logged["margin"] += [margin.mean().item()] * len(p)
            log_pairs(logged, margin, torch.zeros_like(margin), p)

    return SoftLabelTrainer(
        base,
        args=config,
        train_dataset=dataset,
        data_collator=collate_with_labels,
        **options,
    )


SECTION = command.Section("dpo", DpoSettings, COLUMNS)


def main(
    recipe: command.RecipeIfAny = None,
    run: command.RunOption = None,
    data: command.DataOption = None,
    base: command.BaseOption = None,
    out: command.OutOption = None,
    set_: command.SetOption = None,
) -> None:
    """Optimise a run's SL-CAI model on its preference labels directly, or any model on any pairs.

    Example: python -m trainers.dpo examples/microworld.yaml

    Or: python -m trainers.dpo --base microworld --data pairs.jsonl --out policy
    """
    asked = command.Asked(recipe, run, data, base, out, set_)
    task = command.task_of(asked, SECTION, _places)
    report = command.progress()
    made = train_dpo(
        task.base, task.data, task.out, task.settings, inputs=task.inputs, report=report
    )
    command.say(made)


def _places(_: Recipe, folder: RunFolder) -> command.Places:
    data = folder.dataset("preferences") / "train"
    return command.Places(str(folder.model("sl_cai")), data, folder.model("dpo"))


if __name__ == "__main__":
    command.run_alone(main)
