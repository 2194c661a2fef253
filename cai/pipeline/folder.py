"""The run folder: where everything of one run lies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast, get_args

import orjson

from cai.document import read_document
from cai.errors import InputError, RunError
from cai.whole import write_whole
from trainers.work_folder import RECORD

PolicyName = Literal["distilled", "sl_cai", "dpo", "rl_cai"]
DataName = Literal[
    "sft", "preference_pretraining", "preferences", "preference_halves", "rl", "best_of"
]
ModelName = Literal["distilled", "sl_cai", "pm", "pm_test", "dpo", "rl_cai"]

MODELS: tuple[ModelName, ...] = get_args(ModelName)
POLICIES: tuple[PolicyName, ...] = get_args(PolicyName)
"""Policies that a run may train, in the order of their making."""


ITERATED: frozenset[DataName | ModelName] = frozenset(
    {"preferences", "preference_halves", "pm", "pm_test", "dpo", "rl_cai"}
)
"""Data sets and models that every iteration of online training makes anew."""


@dataclass(frozen=True)
class RunFolder:
    """Paths inside a run folder; nothing is made until it is written.

    Args:
        path: of the run.
        iteration: of online training whose data sets and models are meant, 0 at first. Those of
            later ones lie in folders of their own, such as ``models/iteration-1/pm``.
    """

    path: Path
    iteration: int = 0

    def at(self, iteration: int) -> RunFolder:
        """The same run at another iteration."""
        return replace(self, iteration=iteration)

    def make(self) -> None:
        """Make the folder, if it is not there.

        Raises:
            RunError: it cannot be made.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(
                f"{self.path} cannot be made: {error.strerror}; name another folder"
            ) from error

    @property
    def recipe(self) -> Path:
        """The recipe as resolved."""
        return self.path / "recipe.yaml"

    @property
    def made_with(self) -> Path:
        """Constitution, templates and recipe as others can use them; see `made_with`."""
        return self.path / "made_with"

    @property
    def ledger(self) -> Path:
        """Every call and every row."""
        return self.path / "ledger.sqlite"

    @property
    def reruns(self) -> Path:
        """Settings that reruns gave to single rows."""
        return self.path / "reruns.json"

    @property
    def log(self) -> Path:
        """What happened when, one JSON object a line."""
        return self.path / "log.jsonl"

    @property
    def metrics(self) -> Path:
        """Every figure of the run."""
        return self.path / "metrics.json"

    @property
    def report(self) -> Path:
        """The page for people."""
        return self.path / "report.html"

    def dataset(self, name: DataName) -> Path:
        """A data set, with the folders ``train`` and ``test``."""
        return self.path / "datasets" / self.place(name)

    @property
    def pretrained_preference_model(self) -> Path:
        """What the preference model starts from, if it is pretrained on ranked pairs."""
        return self.path / "models" / "pm_pretraining"

    def model(self, name: ModelName) -> Path:
        """A trained model."""
        return self.path / "models" / self.place(name)

    def place(self, name: DataName | ModelName) -> str:
        """Where a data set or a model lies among the others: ``pm``, or ``iteration-1/pm``."""
        later = self.iteration and name in ITERATED
        return f"iteration-{self.iteration}/{name}" if later else name

    @property
    def iterations(self) -> int:
        """How many iterations the run's recipe has; 1 if there is none yet.

        Raises:
            RunError: the recipe is no YAML, or no recipe.
        """
        iterations = self.read_recipe().get("iterations", 1)
        if not isinstance(iterations, int):
            told = f"iterations is {iterations!r}, no number; run the recipe again"
            raise RunError(f"{self.recipe}: {told}")
        return iterations

    def read_recipe(self) -> dict[str, Any]:
        """The recipe as it was saved, its fields unchecked; empty if there is none yet.

        Raises:
            RunError: it is no YAML, or no recipe.
        """
        if not self.recipe.is_file():
            return {}
        again = "run the recipe again"
        try:
            saved: Any = read_document(self.recipe).data
        except InputError as error:
            raise RunError(f"{error}; or {again}") from error
        if not isinstance(saved, dict):
            raise RunError(f"{self.recipe} is no recipe, but {saved!r:.60}; {again}")
        return cast("dict[str, Any]", saved)

    def is_left_over(self, path: Path) -> bool:
        """Whether a data set or a model is of an iteration that the run's recipe has no more."""
        of_recipe = {f"iteration-{number}" for number in range(1, self.iterations)}
        parts = path.relative_to(self.path).parts
        return any(part.startswith("iteration-") and part not in of_recipe for part in parts)

    def last_with(self, name: ModelName | Literal["preferences"]) -> RunFolder:
        """The run at the last iteration that has a model, or the pairs; else at the first one.

        What an earlier recipe of more iterations has left does not count.
        """
        for iteration in reversed(range(self.iterations)):
            folder = self.at(iteration)
            made = (
                folder.dataset(name).is_dir()
                if name == "preferences"
                else (folder.model(name) / RECORD).is_file()
            )
            if made:
                return folder
        return self.at(0)

    def read_metrics(self) -> dict[str, Any]:
        """The figures of the run so far; empty if there are none.

        Raises:
            RunError: the file is no JSON object.
        """
        if not self.metrics.is_file():
            return {}
        try:
            metrics: Any = orjson.loads(self.metrics.read_bytes())
        except orjson.JSONDecodeError as error:
            raise RunError(f"{self.metrics} is not JSON ({error}); delete it and rerun") from error
        if not isinstance(metrics, dict):
            told = f"{self.metrics} is no JSON object, but {metrics!r:.60}"
            raise RunError(f"{told}; delete it and rerun")
        return cast("dict[str, Any]", metrics)

    def write_metrics(self, metrics: Mapping[str, Any]) -> None:
        """Replace the figures, in one step."""
        write_whole(self.metrics, orjson.dumps(metrics, option=orjson.OPT_INDENT_2))


def existing_run(path: Path) -> RunFolder:
    """A folder that holds a run.

    Raises:
        RunError: it holds none.
    """
    folder = RunFolder(path)
    if not folder.ledger.is_file():
        raise RunError(f"{path} holds no run (no ledger.sqlite); name a folder made by `cai run`")
    return folder
