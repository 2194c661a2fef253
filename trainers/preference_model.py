"""The preference model: scores replies so that σ(r_a − r_b) meets soft labels.

Bai et al. (2022), §4.1; HH-RLHF (Bai et al. 2022b), §3. Unlike TRL's own reward model, it learns
from a probability per pair, not from a winner. Run it alone with
``python -m trainers.preference_model recipe.yaml``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from cai.errors import CaiError, Fault, InputError
from trainers import command
from trainers.adapters import lora_options, whole_model
from trainers.batches import grouped_sampler, step_rows
from trainers.environment import prepare_environment
from trainers.fit import Account, Job, TrainingResult, finished, fit
from trainers.losses import preference_loss
from trainers.pair_batches import can_read_pairs, let_read_pairs, pair_rows, row_length
from trainers.pairs import COLUMNS, KIND, LABEL, is_harmful, read_pair
from trainers.presets import told
from trainers.rows import Dropped, Row, check_columns, encode_rows
from trainers.settings import PairSettings, PreferenceModelSettings
from trainers.tokens import conversation_ids, load_tokenizer, opening, without_first
from trainers.trl_loop import TrlLoop, epoch_arguments, log_pairs
from trainers.work_folder import WorkFolder

if TYPE_CHECKING:
    from datasets import Dataset
    from torch import Tensor
    from transformers import Trainer
    from trl.trainer.reward_config import RewardConfig

    from cai.pipeline.folder import RunFolder
    from cai.recipe import Recipe


def train_preference_model(
    base: str, data: Path, out: Path, settings: PairSettings, **job: Unpack[Job]
) -> TrainingResult:
    """Train a classifier with one output, the score, on pairs with soft labels.

    Args:
        base: the model to start from, its head replaced unless it is one of a preference model
            already: a folder, or a name on the hub.
        data: Parquet or JSON lines with the columns of `trainers.pairs`; `KIND` too, if
            harmlessness has a weight.
        out: where the model goes, an ordinary ``AutoModelForSequenceClassification``.
        settings: the recipe's section ``preference_model``, or ``preference_pretraining``.
        **job: hash of the inputs, and who is told of the steps.

    Raises:
        InputError: the data or the tokenizer cannot be used; told before any model loads.
    """
    weighted = settings.harmless_weight != 1
    files = check_columns(data, (*COLUMNS, KIND) if weighted else COLUMNS)
    work = WorkFolder(out, job["inputs"])
    if done := finished(work):
        return done
    prepare_environment()
    tokenizer = load_tokenizer(base)
    _check_beginning(tokenizer, base)

    def encode(row: Row) -> Mapping[str, Any]:
        return encode_pair(tokenizer, row, settings)

    rows = encode_rows(files, (*COLUMNS, LABEL, KIND), encode)
    if weighted:
        _check_weights(data, rows.dataset["weight"], settings.harmless_weight)

    def make() -> TrlLoop:
        from trl.trainer.reward_config import RewardConfig

        config = RewardConfig(
            **epoch_arguments(settings, work), max_length=None, remove_unused_columns=False
        )
        options = {"processing_class": tokenizer, **lora_options(settings.lora, base, "SEQ_CLS")}
        start = whole_model(base, work.path / "base")
        trainer = _soft_label_trainer(start, config, rows.dataset, options)
        return TrlLoop(trainer, work)

    account = Account("preference_model", {"base": base}, settings, rows)
    return fit(make, work, account, job.get("report"))


def _check_weights(data: Path, weights: Sequence[float], harmless_weight: float) -> None:
    """λ weighs harmlessness against helpfulness: it is refused where it would weigh nothing."""
    kinds = {weight == harmless_weight for weight in weights}
    if True not in kinds:
        fault = Fault(
            f"has no pair of kind harmful left to learn from, which harmless_weight "
            f"({harmless_weight:g}) is the weight of; set the column {KIND!r}, or leave "
            "harmless_weight out",
            KIND,
        )
        raise InputError(data, [fault])
    if harmless_weight == 0 and False not in kinds:
        fault = Fault(
            "has pairs of kind harmful alone, and harmless_weight is 0: nothing would be learned; "
            "add others, or leave harmless_weight out",
            KIND,
        )
        raise InputError(data, [fault])


def _check_beginning(tokenizer: Any, base: str) -> None:
    """An encoder such as BERT is scored at [CLS], which its chat template must begin with."""
    first = tokenizer.cls_token_id
    if first is None:
        return
    ids = conversation_ids(tokenizer, [{"role": "user", "content": "?"}])
    if ids[0] != first:
        fault = Fault(
            f"is scored at {tokenizer.cls_token}, and its chat template begins with "
            f"{tokenizer.decode(ids[:1])!r}; begin the template with {{{{ cls_token }}}}"
        )
        raise InputError(base, [fault])


def encode_pair(tokenizer: Any, row: Row, settings: PairSettings) -> Mapping[str, Any]:
    """Token ids of both conversations of a pair, its label, and what it counts for.

    Args:
        tokenizer: as of `load_tokenizer`.
        row: as `read_pair` takes it.
        settings: the length limit, and what becomes of a pair with a longer side.

    Raises:
        BadRow: a side is no conversation that ends with a reply, the label no probability, or the
            kind, where it has a weight, not known.
        Dropped: a side is too long; or, where prompts are cut, a reply alone is.
    """
    pair, room, weight = read_pair(row), settings.max_length, settings.harmless_weight
    chosen, rejected = (
        conversation_ids(tokenizer, [*pair.prompt, *side]) for side in (pair.chosen, pair.rejected)
    )
    encoded = {
        "chosen_ids": chosen,
        "rejected_ids": rejected,
        "p_chosen": pair.p_chosen,
        "weight": weight if weight != 1 and is_harmful(row) else 1.0,
    }
    surplus = max(len(chosen), len(rejected)) - room
    if surplus <= 0:
        return encoded
    if settings.over_length == "drop":
        raise Dropped("a side is longer than max_length")
    # As much off both, so that both replies still answer the same words, and off the prompt alone.
    turns = conversation_ids(tokenizer, pair.prompt)
    if surplus + opening(tokenizer, chosen) >= _common_length(turns, chosen, rejected):
        raise Dropped("a reply alone is longer than max_length")
    cut = {
        name: without_first(tokenizer, encoded[name], surplus)
        for name in ("chosen_ids", "rejected_ids")
    }
    return {**encoded, **cut, "truncated": True}


def _common_length(*sequences: Sequence[int]) -> int:
    """Tokens that all begin with: a template may end a prompt otherwise where a reply follows."""
    places = zip(*sequences, strict=False)
    return sum(1 for _ in takewhile(lambda tokens: len(set(tokens)) == 1, places))


def _soft_label_trainer(
    base: str, config: RewardConfig, dataset: Dataset, options: dict[str, Any]
) -> Trainer:
    """TRL's trainer with pairs of about one length in a step, and `preference_loss` as the loss."""
    from trl.trainer.reward_trainer import RewardTrainer

    rows: Any = dataset
    lengths = [row_length(pair) for pair in rows]

    class SoftLabelTrainer(RewardTrainer):
        def _get_train_sampler(self, train_dataset: Any = None) -> Any:
            return grouped_sampler(lengths, step_rows(self), config.seed)

        def compute_loss(
            self,
            model: Any,
            inputs: dict[str, Any],
            return_outputs: bool = False,
            num_items_in_batch: Any = None,
        ) -> Any:
            labels, weights = inputs.pop("p_chosen"), inputs.pop("weight")
            outputs = model(**inputs, use_cache=False)
            score_a, score_b = outputs.logits.squeeze(-1).float().chunk(2)
            loss = preference_loss(score_a, score_b, labels, weights)
            self._log_figures(model.training, score_a.detach(), score_b.detach(), labels)
            return (loss, outputs) if return_outputs else loss

        def _log_figures(
            self, training: bool, score_a: Tensor, score_b: Tensor, labels: Tensor
        ) -> None:
            gathered: Any = self.accelerator.gather_for_metrics((score_a, score_b, labels))
            log_pairs(self._metrics["train" if training else "eval"], *gathered)

    trainer = SoftLabelTrainer(base, args=config, train_dataset=dataset, **options)
    classifier: Any = trainer.model
    if options.get("peft_config") is not None:
        classifier = classifier.get_base_model()
    if "quantization_config" in options:
        # TRL keeps what learns beside 4 bits in 16, which a head that sums in 32 cannot read.
        for weight in classifier.parameters():
            if weight.requires_grad:
                weight.data = weight.data.float()
    trainer.data_collator = _collator(classifier, options["processing_class"].pad_token_id)
    return trainer


def _collator(classifier: Any, padding: int) -> Callable[[list[dict[str, Any]]], dict[str, Tensor]]:
    """Puts pairs in a batch: each in one row, if the classifier can be made to read that."""
    import torch
    from trl.trainer.reward_trainer import DataCollatorForPreference

    apart, together = DataCollatorForPreference(padding), can_read_pairs(classifier)
    if together:
        let_read_pairs(classifier)

    def collate(pairs: list[dict[str, Any]]) -> dict[str, Tensor]:
        batch = pair_rows(pairs, padding) if together else apart(pairs)
        for name in ("p_chosen", "weight"):
            batch[name] = torch.tensor([pair[name] for pair in pairs], dtype=torch.float32)
        return batch

    return collate


SECTION = command.Section("preference_model", PreferenceModelSettings, COLUMNS)


def main(
    recipe: command.RecipeIfAny = None,
    run: command.RunOption = None,
    data: command.DataOption = None,
    base: command.BaseOption = None,
    out: command.OutOption = None,
    set_: command.SetOption = None,
) -> None:
    """Train the preference model on a run's soft labels, from its SL-CAI model, or on any pairs.

    Example: python -m trainers.preference_model examples/microworld.yaml

    Or: python -m trainers.preference_model --base microworld --data pairs.jsonl --out pm
    """
    asked = command.Asked(recipe, run, data, base, out, set_)
    task = command.task_of(asked, SECTION, _places)
    report = command.progress()
    made = train_preference_model(
        task.base, task.data, task.out, task.settings, inputs=task.inputs, report=report
    )
    command.say(made)


def _places(recipe: Recipe, folder: RunFolder) -> command.Places:
    if recipe.preference_pretraining is not None:
        raise CaiError(
            "the recipe has preference_pretraining, whose model this one starts from: `cai train "
            "pm` makes both; to train this one alone, give --base, --data and --out in place of it"
        )
    halved = recipe.datasets.preference_halves
    data = folder.dataset("preference_halves" if halved else "preferences") / "train"
    return command.Places(str(folder.model("sl_cai")), data, folder.model("pm"))


if __name__ == "__main__":
    command.run_alone(main, told(PreferenceModelSettings.presets))
