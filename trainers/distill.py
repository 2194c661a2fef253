"""Context distillation: what a model does with a prompt in context, without the prompt.

    L = KL(teacher with context ‖ student without), over 50 tokens and one bucket for the rest
        (`trainers.losses.distillation_loss`)

HH-RLHF (Bai et al. 2022b), A.1. The teacher reads each conversation once, behind a context that the
template ``context.j2`` writes; what it makes of the replies' tokens is stored (`trainers.teacher`).
TRL has no such trainer. Run it alone with ``python -m trainers.distill recipe.yaml``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Unpack, cast

import typer

from cai.errors import CaiError
from cai.records import Message, Role, digest
from trainers import command
from trainers.adapters import lora_options, whole_model
from trainers.conversations import COLUMNS, OTHERS
from trainers.environment import prepare_environment
from trainers.fit import Account, Job, TrainingResult, finished, fit
from trainers.losses import distillation_loss
from trainers.presets import told
from trainers.rollouts import padded
from trainers.rows import EncodedRows, check_columns
from trainers.settings import DistillationSettings
from trainers.teacher import Teacher, teacher_rows
from trainers.tokens import Conversation, load_tokenizer
from trainers.trl_loop import TrlLoop, epoch_arguments
from trainers.work_folder import WorkFolder

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import Trainer
    from trl.trainer.sft_config import SFTConfig

    from cai.constitution import Constitution
    from cai.pipeline.folder import RunFolder
    from cai.prompts import Prompts
    from cai.recipe import Recipe

NOT_LEARNED = -100
"""The label of a token that is context."""

ConstitutionOption = Annotated[
    str | None,
    typer.Option("--constitution", help="Whose statements the teacher sees, with context set so."),
]


@dataclass(frozen=True)
class Context:
    """What a teacher sees before a conversation.

    Args:
        prompts: with the template "context".
        statements: of a constitution's principles; none: to be helpful, honest and harmless alone.
    """

    prompts: Prompts
    statements: tuple[str, ...] = ()

    def view(self, prompt: Conversation) -> Conversation:
        """The turns that the teacher sees for those of a prompt."""
        turns = [Message(cast("Role", turn["role"]), turn["content"]) for turn in prompt]
        seen = self.prompts.render("context", conversation=turns, statements=self.statements)
        return [asdict(turn) for turn in seen]

    @property
    def hash(self) -> str:
        """Of the template and the statements."""
        return digest([self.prompts.templates["context"].hash, self.statements])


def context_of(
    prompts: Prompts, constitution: Constitution, settings: DistillationSettings
) -> Context:
    """The context that the settings ask for.

    Args:
        prompts: with the template "context".
        constitution: whose statements are shown, if any are to be.
        settings: the recipe's section.

    Raises:
        CaiError: statements are to be shown, and no principle has one.
    """
    if settings.context == "hhh":
        return Context(prompts)
    statements = tuple(one.statement for one in constitution.principles if one.statement)
    if not statements:
        raise CaiError(
            f"distillation.context: constitution: no principle of {constitution.id} has a "
            "statement for the teacher to see; write some, or set context: hhh"
        )
    return Context(prompts, statements)


def train_distilled(
    base: str,
    data: Path,
    out: Path,
    settings: DistillationSettings,
    context: Context,
    **job: Unpack[Job],
) -> TrainingResult:
    """Teach a model to do without a context what a teacher does with it.

    Args:
        base: the student, and the teacher unless the settings name another: a folder, or a name on
            the hub.
        data: Parquet or JSON lines with the columns of `trainers.conversations`.
        out: where the model goes. What the teacher made of the rows is stored beside it, in
            ``<out>-teacher``, and read again by a training with the same teacher, context and rows.
        settings: the recipe's section ``distillation``.
        context: what the teacher sees.
        **job: hash of the inputs, and who is told of the steps.

    Raises:
        InputError: the data or a tokenizer cannot be used; told before any model loads.
    """
    files = check_columns(data, COLUMNS, *OTHERS)
    work = WorkFolder(out, job["inputs"])
    if done := finished(work):
        return done
    prepare_environment()
    tokenizer = load_tokenizer(base)
    teacher = Teacher(teacher_name(base, settings), context.view, context.hash)
    place = out.with_name(f"{out.name}-teacher")
    rows = teacher_rows(files, teacher, tokenizer, place, settings)

    def make() -> TrlLoop:
        return _loop(base, tokenizer, rows, settings, work)

    models = {"base": base, "teacher": teacher.model}
    return fit(make, work, Account("distillation", models, settings, rows), job.get("report"))


def teacher_name(base: str, settings: DistillationSettings) -> str:
    """What transformers calls the teacher."""
    return base if settings.teacher is None else command.model_path(settings.teacher)


def distillation_hash(
    data: Path, base: str, settings: DistillationSettings, context: Context
) -> str:
    """Hash of all that a distillation's result depends on."""
    own = command.input_hash(data, [base, teacher_name(base, settings)], settings)
    return digest([own, context.hash])


def _loop(
    base: str, tokenizer: Any, rows: EncodedRows, settings: DistillationSettings, work: WorkFolder
) -> TrlLoop:
    from trl.trainer.sft_config import SFTConfig

    config = SFTConfig(
        **epoch_arguments(settings, work),
        dataset_kwargs={"skip_prepare_dataset": True},
        remove_unused_columns=False,
    )
    options = {"processing_class": tokenizer, **lora_options(settings.lora, base, "CAUSAL_LM")}
    start = whole_model(base, work.path / "base")
    return TrlLoop(_trainer(start, config, rows.dataset, options), work)


def _trainer(base: str, config: SFTConfig, dataset: Any, options: dict[str, Any]) -> Trainer:
    """TRL's trainer of replies, with the teacher's word in place of the reply's."""
    from trl.trainer.sft_trainer import SFTTrainer

    pad = options["processing_class"].pad_token_id

    class Student(SFTTrainer):
        def compute_loss(
            self,
            model: Any,
            inputs: dict[str, Any],
            return_outputs: bool = False,
            num_items_in_batch: Any = None,
        ) -> Any:
            labels, top_ids, top_logprobs = (
                inputs[name] for name in ("labels", "top_ids", "top_logprobs")
            )
            outputs = model(
                input_ids=inputs["input_ids"],
                attention_mask=inputs["attention_mask"],
                use_cache=False,
            )
            learned = labels[:, 1:] != NOT_LEARNED
            logprobs_N_V = outputs.logits[:, :-1][learned].float().log_softmax(-1)
            nats = distillation_loss(logprobs_N_V, top_ids, top_logprobs).sum()
            if num_items_in_batch is None:
                loss = nats / learned.sum()
            else:
                # Of all processes, over which gradients are averaged once more.
                loss = nats / num_items_in_batch * self.accelerator.num_processes
            return (loss, outputs) if return_outputs else loss

    return Student(
        base,
        args=config,
        train_dataset=dataset,
        data_collator=lambda rows: collate(rows, pad),
        **options,
    )


def collate(rows: Sequence[Mapping[str, Any]], pad: int) -> dict[str, Tensor]:
    """Rows of `trainers.teacher` side by side.

    ``top_ids`` and ``top_logprobs`` are (N, K), of all learned tokens of the batch in the order of
    rows and places.

    Args:
        rows: of the stored file.
        pad: the token that fills up.
    """
    import numpy
    import torch

    ids, mask = padded([row["input_ids"] for row in rows], pad, left=False)
    labels = torch.full_like(ids, NOT_LEARNED)
    for row, ids_T in enumerate(ids):
        places = torch.as_tensor(rows[row]["places"], dtype=torch.long)
        labels[row, places] = ids_T[places]
    learned = sum(len(row["places"]) for row in rows)
    top_ids = torch.from_numpy(numpy.concatenate([row["top_ids"] for row in rows]))
    top_logprobs = torch.from_numpy(numpy.concatenate([row["top_logprobs"] for row in rows]))
    return {
        "input_ids": ids,
        "attention_mask": mask,
        "labels": labels,
        "top_ids": top_ids.view(learned, -1).long(),
        "top_logprobs": top_logprobs.view(learned, -1),
    }


SECTION = command.Section("distillation", DistillationSettings, COLUMNS, OTHERS)


def main(
    recipe: command.RecipeIfAny = None,
    run: command.RunOption = None,
    data: command.DataOption = None,
    base: command.BaseOption = None,
    constitution: ConstitutionOption = None,
    out: command.OutOption = None,
    set_: command.SetOption = None,
) -> None:
    """Teach a run's base model, or any, to do without a context what it does with one.

    Example: python -m trainers.distill examples/microworld.yaml

    Or: python -m trainers.distill --base microworld --data chats.jsonl --out model
    """
    asked = command.Asked(recipe, run, data, base, out, set_)
    task = command.task_of(asked, SECTION, _places)
    context = _context(asked, constitution, task.settings)
    made = train_distilled(
        task.base,
        task.data,
        task.out,
        task.settings,
        context,
        inputs=distillation_hash(task.data, task.base, task.settings, context),
        report=command.progress(),
    )
    command.say(made)


def _context(
    asked: command.Asked, constitution: str | None, settings: DistillationSettings
) -> Context:
    from cai.constitution import load_constitution
    from cai.pipeline.templates import templates_of
    from cai.prompts import Prompts

    if asked.recipe is None:
        loaded = load_constitution(constitution or "harmlessness")
        return context_of(Prompts(language=loaded.language), loaded, settings)
    recipe, _ = command.open_run(asked.recipe, asked.run)
    loaded = load_constitution(constitution or recipe.constitution)
    return context_of(templates_of(recipe, loaded), loaded, settings)


def _places(recipe: Recipe, folder: RunFolder) -> command.Places:
    data = folder.dataset("sft") / "train"
    return command.Places(recipe.models.of("base").name, data, folder.model("distilled"))


if __name__ == "__main__":
    command.run_alone(main, told(DistillationSettings.presets))
