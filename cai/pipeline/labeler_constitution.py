"""Under which principles a judge is measured, where nobody has said so."""

from __future__ import annotations

from collections.abc import Sequence

from cai.errors import CaiError
from cai.overrides import plain_text
from cai.pipeline.folder import RunFolder
from cai.recipe import Recipe
from cai.sources.questions import JudgedChoice, JudgedPair
from cai.whole import write_whole

OWN_QUESTION = "own-question"
"""Id of the constitution that has the files' own questions in place of principles."""


def constitution_of(
    recipe: Recipe, questions: Sequence[JudgedPair | JudgedChoice], folder: RunFolder, named: bool
) -> Recipe:
    """The recipe with the constitution that the questions are asked under.

    Args:
        recipe: as it was given.
        questions: to be asked.
        folder: where the files' own questions are written down as a constitution.
        named: whether the recipe's constitution was asked for; then it stays.

    Raises:
        CaiError: none was, and the data has none of its own; or it cannot be asked in that way.
    """
    pairs = [one for one in questions if isinstance(one, JudgedPair)]
    if named or not pairs:
        return recipe
    if all(one.by_rule for one in pairs):
        return recipe.model_copy(update={"constitution": "microworld"})
    if not all(one.question for one in pairs):
        raise CaiError(
            "the data has pairs without a question of their own; say under which principles they "
            "are labelled: --constitution harmlessness, or a file of yours"
        )
    label = recipe.comparisons.label
    if label.way == "rating" or label.principles > 1:
        raise CaiError(
            "the file's own question is one, and compares two replies; to rate, or to ask under "
            "several principles, name some with --constitution"
        )
    path = folder.path / "constitution.yaml"
    asked = dict.fromkeys(one.question for one in pairs)
    principles = [
        {"id": f"question-{number}", "comparison": question}
        for number, question in enumerate(asked, 1)
    ]
    write_whole(path, plain_text({"id": OWN_QUESTION, "principles": principles}))
    return recipe.model_copy(update={"constitution": str(path.resolve())})
