"""SL-CAI: finetune the base model on revisions and helpful replies (Bai et al. 2022, §3.2).

Unlike plain finetuning on conversations, only the last reply is learned, unless told otherwise: it
is the one that was revised; earlier turns are context. Run it alone with
``python -m trainers.sft recipe.yaml``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from trainers import command
from trainers.adapters import lora_options, whole_model
from trainers.batches import grouped_sampler, step_rows
from trainers.conversations import COLUMNS, OTHERS, READ, conversation_of
from trainers.environment import prepare_environment
from trainers.fit import Account, Job, TrainingResult, finished, fit
from trainers.packing import packed, packed_collator, refuses_seen_neighbours
from trainers.presets import told
from trainers.rows import Dropped, Row, check_columns, encode_rows
from trainers.settings import SftSettings
from trainers.tokens import load_tokenizer, reply_spans
from trainers.trl_loop import TrlLoop, epoch_arguments
from trainers.work_folder import WorkFolder

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import Trainer
    from trl.trainer.sft_config import SFTConfig

    from cai.pipeline.folder import RunFolder
    from cai.recipe import Recipe

NOT_LEARNED = -100
"""The label of a token that is context."""


def train_sft(
    base: str, data: Path, out: Path, settings: SftSettings, **job: Unpack[Job]
) -> TrainingResult:
    """Finetune a causal language model on replies, the last of each conversation or all.

    Args:
        base: the model to start from: a folder, or a name on the hub.
        data: Parquet or JSON lines with the column ``messages``, turns that end with a reply; or
            with ``prompt`` and the reply, ``completion`` or ``chosen``.
        out: where the model goes: safetensors, tokenizer, ``training.json``, log.
        settings: the recipe's section ``sft``.
        **job: hash of the inputs, and who is told of the steps.

    Raises:
        InputError: the data or the tokenizer cannot be used; told before any model loads.
        RunError: rows are to be packed, and the model would not keep them apart; told before the
            first step.
    """
    files = check_columns(data, COLUMNS, *OTHERS)
    work = WorkFolder(out, job["inputs"])
    if done := finished(work):
        return done
    prepare_environment()
    tokenizer = load_tokenizer(base)

    def encode(row: Row) -> Mapping[str, Any]:
        return encode_replies(tokenizer, row, settings)

    rows = encode_rows(files, READ, encode)

    def make() -> TrlLoop:
        from trl.trainer.sft_config import SFTConfig

        config = SFTConfig(
            **epoch_arguments(settings, work),
            dataset_kwargs={"skip_prepare_dataset": True},
            remove_unused_columns=False,
        )
        options = {"processing_class": tokenizer, **lora_options(settings.lora, base, "CAUSAL_LM")}
        start = whole_model(base, work.path / "base")
        return TrlLoop(_trainer(start, config, rows.dataset, settings, options), work)

    return fit(make, work, Account("sft", {"base": base}, settings, rows), job.get("report"))


def encode_replies(tokenizer: Any, row: Row, settings: SftSettings) -> Mapping[str, Any]:
    """Token ids of a conversation, and those of the replies to learn as labels; the rest is −100.

    Args:
        tokenizer: as of `load_tokenizer`.
        row: with the columns that `train_sft` reads.
        settings: which replies, and the length past which tokens are cut off.

    Raises:
        BadRow: the messages are no conversation that ends with a reply.
        Dropped: what comes before the first reply to learn fills the length.
    """
    turns = conversation_of(row)
    ids, spans = reply_spans(tokenizer, turns, every=settings.learned == "all_replies")
    if spans[0].start >= settings.max_length:
        raise Dropped("the prompt alone is longer than max_length")
    labels = [NOT_LEARNED] * len(ids)
    for span in spans:
        labels[span] = ids[span]
    return {
        "input_ids": ids[: settings.max_length],
        "labels": labels[: settings.max_length],
        "truncated": len(ids) > settings.max_length,
    }


def _trainer(
    base: str, config: SFTConfig, dataset: Dataset, settings: SftSettings, options: dict[str, Any]
) -> Trainer:
    """TRL's trainer, on packed rows or with rows of about one length in each step if told so."""
    from trl.trainer.sft_trainer import SFTTrainer

    if settings.packing:
        padding = options["processing_class"].pad_token_id
        return SFTTrainer(
            base,
            args=config,
            train_dataset=packed(dataset, settings.max_length),
            data_collator=packed_collator(padding, NOT_LEARNED),
            callbacks=[refuses_seen_neighbours(dataset[0]["input_ids"], padding)],
            **options,
        )
    if not settings.group_by_length:
        return SFTTrainer(base, args=config, train_dataset=dataset, **options)
    lengths = [len(ids) for ids in dataset["input_ids"]]

    class GroupedTrainer(SFTTrainer):
        def _get_train_sampler(self, train_dataset: Any = None) -> Any:
            return grouped_sampler(lengths, step_rows(self), config.seed)

    return GroupedTrainer(base, args=config, train_dataset=dataset, **options)


SECTION = command.Section("sft", SftSettings, COLUMNS, OTHERS)


def main(
    recipe: command.RecipeIfAny = None,
    run: command.RunOption = None,
    data: command.DataOption = None,
    base: command.BaseOption = None,
    out: command.OutOption = None,
    set_: command.SetOption = None,
) -> None:
    """Finetune the base model on a run's revisions and helpful replies, or on any conversations.

    Example: python -m trainers.sft examples/microworld.yaml

    Or: python -m trainers.sft --base microworld --data chats.jsonl --out model --set epochs=2
    """
    asked = command.Asked(recipe, run, data, base, out, set_)
    task = command.task_of(asked, SECTION, _places)
    report = command.progress()
    made = train_sft(
        task.base, task.data, task.out, task.settings, inputs=task.inputs, report=report
    )
    command.say(made)


def _places(recipe: Recipe, folder: RunFolder) -> command.Places:
    data = folder.dataset("sft") / "train"
    return command.Places(recipe.models.of("base").name, data, folder.model("sl_cai"))


if __name__ == "__main__":
    command.run_alone(main, told(SftSettings.presets))
