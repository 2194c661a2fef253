"""SL-CAI: finetune the base model on revisions and helpful replies (Bai et al. 2022, §3.2).

Unlike plain finetuning on conversations, only the last reply is learned: it is the one that was
revised; earlier turns are context. Run it alone with ``python -m trainers.sft recipe.yaml``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from trainers import command
from trainers.environment import prepare_environment
from trainers.fit import Account, Job, TrainingResult, arguments, finished, fit
from trainers.rows import Dropped, Row, check_columns, checked_turns, encode_rows
from trainers.settings import SftSettings
from trainers.tokens import load_tokenizer, split_ids
from trainers.work_folder import WorkFolder

if TYPE_CHECKING:
    from transformers import Trainer

NOT_LEARNED = -100
"""The label of a token that is context."""


def train_sft(
    base: str, data: Path, out: Path, settings: SftSettings, **job: Unpack[Job]
) -> TrainingResult:
    """Finetune a causal language model on the last reply of each conversation.

    Args:
        base: the model to start from: a folder, or a name on the hub.
        data: Parquet or JSON lines with the column ``messages``, turns that end with a reply.
        out: where the model goes: safetensors, tokenizer, ``training.json``, log.
        settings: the recipe's section ``sft``.
        **job: hash of the inputs, and who is told of the steps.

    Raises:
        InputError: the data or the tokenizer cannot be used; told before any model loads.
    """
    files = check_columns(data, ("messages",))
    work = WorkFolder(out, job["inputs"])
    if done := finished(work):
        return done
    prepare_environment()
    tokenizer = load_tokenizer(base)

    def encode(row: Row) -> Mapping[str, Any]:
        return encode_reply(tokenizer, row, settings.max_length)

    rows = encode_rows(files, ("messages",), encode)

    def make() -> Trainer:
        from trl.trainer.sft_config import SFTConfig
        from trl.trainer.sft_trainer import SFTTrainer

        config = SFTConfig(
            **arguments(settings, work, settings.batch_size),
            num_train_epochs=settings.epochs,
            max_steps=settings.max_steps or -1,
            dataset_kwargs={"skip_prepare_dataset": True},
        )
        return SFTTrainer(base, args=config, train_dataset=rows.dataset, processing_class=tokenizer)

    return fit(make, work, Account("sft", {"base": base}, settings, rows), job.get("report"))


def encode_reply(tokenizer: Any, row: Row, max_length: int) -> Mapping[str, Any]:
    """Token ids of a conversation, and its last reply's as labels; the rest is −100.

    Args:
        tokenizer: as of `load_tokenizer`.
        row: with the column ``messages``.
        max_length: tokens past it are cut off.

    Raises:
        BadRow: the messages are no conversation that ends with a reply.
        Dropped: the prompt alone fills the length.
    """
    ids, start = split_ids(tokenizer, checked_turns(row["messages"], "messages", "assistant"))
    if start >= max_length:
        raise Dropped("the prompt alone is longer than max_length")
    labels = [NOT_LEARNED] * start + ids[start:]
    return {
        "input_ids": ids[:max_length],
        "labels": labels[:max_length],
        "truncated": len(ids) > max_length,
    }


def main(
    recipe: command.RecipeArgument,
    run: command.RunOption = None,
    data: command.DataOption = None,
    base: command.BaseOption = None,
    out: command.OutOption = None,
) -> None:
    """Finetune the base model on a run's revisions and helpful replies.

    Example: python -m trainers.sft examples/microworld.yaml
    """
    loaded, folder = command.open_run(recipe, run)
    base = command.model_path(base or loaded.models.of("base").name)
    data = data or folder.dataset("sft") / "train"
    inputs = command.input_hash(data, [base], loaded.sft)
    out = out or folder.model("sl_cai")
    report = command.progress()
    command.say(train_sft(base, data, out, loaded.sft, inputs=inputs, report=report))


if __name__ == "__main__":
    command.run_alone(main)
