"""`cai generate`: the data of a recipe, without what comes after."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cai.cli.options import Spending, taking
from cai.cli.run import ForeseeableOrder, Limit, Recipe, Run, Set, carry_out
from cai.terminal import say

if TYPE_CHECKING:
    from cai.pipeline.best_of_data import BestOfTask
    from cai.pipeline.prompt_writing import Task

app = typer.Typer(help="Generate data.", no_args_is_help=True)


@app.command()
@taking(ForeseeableOrder)
def revisions(order: ForeseeableOrder) -> None:
    """Write critique and revision data, as datasets/sft of the run.

    Example: cai generate revisions examples/microworld.yaml --limit 100
    """
    carry_out(order, "revisions")


@app.command()
@taking(ForeseeableOrder)
def comparisons(order: ForeseeableOrder) -> None:
    """Write preference labels, as datasets/preferences of the run, and what they need.

    SL-CAI answers the prompts and is trained first; comparisons.responder: assistant trains none.
    Example: cai generate comparisons examples/microworld.yaml --limit 100
    """
    carry_out(order, "pairs")


@dataclass(frozen=True, kw_only=True)
class PromptsWanted(Spending):
    """What `cai generate prompts` was asked for; see the options of their names."""

    seeds: Annotated[Path, typer.Option(help="A file of prompts; some are shown as examples.")]
    model: Annotated[str, typer.Option(help="Who writes, as a recipe names models.")]
    out: Annotated[Path, typer.Option(help="The file of new prompts, ending in .jsonl.")]
    number: Annotated[int, typer.Option(min=1, help="How many to ask for.")] = 100
    kind: Annotated[
        Literal["harmful", "harmless", "borderline"],
        typer.Option(help="What they are taken to be."),
    ] = "harmful"
    topics: Annotated[str, typer.Option(help="Asked for in turn: theft,fraud")] = ""
    shown: Annotated[int, typer.Option(min=1, help="Seeds shown for each.")] = 10
    multi_turn: Annotated[
        bool, typer.Option("--multi-turn", help="Conversations, from seeds of several turns.")
    ] = False
    avoid: Annotated[
        list[Path] | None,
        typer.Option(help="Evaluation prompts to stay clear of: a file or folder, or several."),
    ] = None
    run: Annotated[
        Path | None, typer.Option(help="Folder for calls and rows; runs/<name of the file>.")
    ] = None
    endpoint: Annotated[str | None, typer.Option(help="Address of the model's server.")] = None
    family: Annotated[
        Literal["chat", "completion"] | None,
        typer.Option(help="Messages, or plain text for base models; by default messages."),
    ] = None
    temperature: Annotated[
        float, typer.Option(min=0, help="Of the softmax; 0: always the likeliest token.")
    ] = 1.0
    max_tokens: Annotated[int, typer.Option(min=1, help="Longest prompt; longer are lost.")] = 256
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Of draws and calls.")] = 0

    def task(self) -> Task:
        """What is to be written, with the seeds read.

        Raises:
            InputError: the seeds cannot be used.
            CaiError: new prompts cannot go to the file that is named.
        """
        from cai.pipeline.prompt_file import check_prompt_file
        from cai.pipeline.prompt_writing import Task, read_seeds
        from cai.records import Sampling
        from cai.stages.write_prompts import Writing

        check_prompt_file(self.out, self.seeds)
        writing = Writing(
            read_seeds(self.seeds, several_turns=self.multi_turn),
            self.shown,
            Sampling(temperature=self.temperature, max_tokens=self.max_tokens),
            self.seed,
            self.kind,
            self.out.name,
        )
        topics = tuple(topic.strip() for topic in self.topics.split(",") if topic.strip())
        return Task(writing, self.number, topics, tuple(self.avoid or ()))


@app.command()
@taking(PromptsWanted)
def prompts(wanted: PromptsWanted) -> None:
    """Let a model write new prompts after seeds, and keep those that are new.

    Example: cai generate prompts --seeds red.txt --model openai:gpt-x --out more.jsonl
    """
    from cai.cli.forecast_table import counting, print_forecast
    from cai.engine.budget import Budget
    from cai.models.settings import settings_of
    from cai.pipeline import RunFolder
    from cai.pipeline.prompt_writing import foretell_prompts, write_prompts

    model = settings_of(wanted.model, endpoint=wanted.endpoint, family=wanted.family)
    folder = RunFolder(wanted.run or Path("runs") / wanted.out.stem)
    if wanted.dry_run:
        with counting(shown=not wanted.sample):
            told = foretell_prompts(wanted.task(), model, folder, sample=wanted.sample or 0)
        print_forecast(told, sampled=bool(wanted.sample), states=False)
        return
    written = write_prompts(
        wanted.task(),
        model,
        folder,
        wanted.out,
        command=shlex.join(["cai", *sys.argv[1:]]),
        budget=Budget(wanted.max_cost, wanted.max_calls),
    )
    for reason, count in written.left_out.items():
        say(f"{count:>7}  {reason}")
    say(f"{written.kept:>7}  of {written.asked} kept in {wanted.out}; rows: {folder.path}")


@dataclass(frozen=True, kw_only=True)
class BestOfWanted(Spending):
    """What `cai generate best-of` was asked for; see the options of their names."""

    recipe: Recipe
    run: Run = None
    limit: Limit = None
    set_: Set = None
    policy: Annotated[
        Literal["helpful", "sl_cai", "dpo", "rl_cai"], typer.Option(help="Who answers.")
    ] = "sl_cai"
    n: Annotated[int, typer.Option(min=2, help="Replies to each prompt.")] = 16

    def task(self) -> BestOfTask:
        """What is wanted of which run.

        Raises:
            InputError: the recipe is wrong.
        """
        from cai.pipeline import RunFolder
        from cai.pipeline.best_of_data import BestOfTask
        from cai.recipe import load_recipe

        recipe = load_recipe(self.recipe, self.set_ or ()).limited(self.limit)
        folder = RunFolder(self.run or Path("runs") / recipe.name)
        return BestOfTask(recipe, folder, self.policy, self.n)


@app.command("best-of")
@taking(BestOfWanted)
def best_of(wanted: BestOfWanted) -> None:
    """Draw N replies of a run's policy to its prompts, and keep the best by its preference model.

    Example: cai generate best-of examples/microworld.yaml --policy sl_cai --n 16
    """
    from cai.cli.forecast_table import counting, print_forecast
    from cai.engine.budget import Budget
    from cai.pipeline.best_of_data import foretell_best_of, generate_best_of

    task = wanted.task()
    if wanted.dry_run:
        with counting(shown=not wanted.sample):
            told = foretell_best_of(task, sample=wanted.sample or 0)
        print_forecast(told, sampled=bool(wanted.sample))
        return
    command = shlex.join(["cai", *sys.argv[1:]])
    budget = Budget(wanted.max_cost, wanted.max_calls)
    written = generate_best_of(task, command=command, budget=budget)
    for reason, count in written.left_out.items():
        say(f"left out: {count} {reason}")
    for split, count in written.rows.items():
        say(f"{count:>7}  prompts in {task.folder.dataset('best_of') / split}")
    ends = {
        name: f" (95% interval {one.low:.3f} to {one.high:.3f}, n={one.n})"
        for name, one in written.intervals.items()
    }
    say(f"mean score {written.score:.3f}{ends.get('score', '')}")
    say(f"of the best {written.best_score:.3f}{ends.get('best_score', '')}")
    say(f"KL {written.kl:.3f}{ends.get('kl', '')} nats, at most {written.kl_bound:.3f}")
