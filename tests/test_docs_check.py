"""What `python -m docs.check` promises: pages say nothing of the code that is not so."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from mkdocs.commands.build import build
from mkdocs.config import load_config
from mkdocs.exceptions import Abort
from pydantic import Field

from cai.errors import CaiError
from cai.validation import Entry
from docs.commands import faults_of, wrong_commands
from docs.files import Files
from docs.links import broken_links
from docs.names import unknown_names
from docs.pages import ROOT, Code, code_of
from docs.reference import stale_pages, write_pages
from docs.reference.cli import commands_of as commands_under
from docs.reference.cli import page_of
from docs.reference.settings import keys_page
from docs.shell import commands_of


def told(text: str, *, is_block: bool = True) -> list[str]:
    """The faults of the commands in a piece of code on a page."""
    files = Files(ROOT)
    code = Code(Path("page.md"), 1, text, is_block=is_block)
    return [fault for command in commands_of(code) for fault in faults_of(command, files)]


def site(tmp_path: Path, page: str) -> Path:
    """A checkout of a few pages."""
    (tmp_path / "docs").mkdir()
    for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/tutorial.md"):
        (tmp_path / name).write_text("# A title\n")
    (tmp_path / "docs/page.md").write_text(page)
    return tmp_path


@pytest.mark.parametrize(
    ("command", "fault"),
    [
        ("cai runn examples/microworld.yaml", "there is no 'runn'"),
        ("cai rows lst RUN", "there is no 'lst'"),
        ("cai run examples/microworld.yaml --dryrun", "--dryrun"),
        ("cai run --limit 3", "recipe"),
        ("cai run examples/microworld.yaml --until never", "never"),
        ("cai run examples/microworld.yaml --limit 0", "--limit"),
        ("cai run examples/nothing.yaml", "nothing has made examples/nothing.yaml"),
        ("cai run examples/microworld.yaml --set revisions.turns=2", "revisions.turns"),
        ("cai rows list runs/never", "nothing has made runs/never"),
        ("make everything", "the Makefile has no everything"),
        ("python -m trainers.nothing RECIPE", "no module trainers.nothing"),
        ("python -m trainers.sft RECIPE --sett a=1", "--sett"),
        ("python -m trainers.sft recipe.yaml --set epoch=1", "sft.epoch"),
        ("OMP_NUM_THREADS=1 .venv/bin/python -m bench.memory --line 3", "--line"),
        ("pip install --editable '.[trains]'", "there is no extra trains"),
        ("pip install 'constitutional-ai[train]'", "constitutional-ai is on no index"),
        ('accelerate launch --cpu "$(python -m trainers.lunch cpu)"', "no module trainers.lunch"),
        ("$ cai doctor && cai doktor", "there is no 'doktor'"),
        ("python examples/nothing.py", "nothing has made examples/nothing.py"),
        ("python -m nowhere.nothing --fast", "no module nowhere.nothing"),
        ("python -m examples.real_pm PAIRS --fast", "--fast"),
        ("cd elsewhere && cai doktor", "there is no 'doktor'"),
        ("cai run \\\n    --dryrun recipe.yaml", "--dryrun"),
        ("cp constitution/microworld.yml my.yaml", "nothing has made constitution/microworld.yml"),
    ],
)
def test_a_wrong_command_is_told(command: str, fault: str):
    (found,) = told(command)

    assert fault in found


@pytest.mark.parametrize(
    "command",
    [
        "cai run examples/microworld.yaml --limit 60 --until revisions   # a comment",
        "cai run recipe.yaml --shard 1/2\ncai runs merge runs/all runs/<name>-shard-*",
        "cp constitution/microworld.yaml my.yaml\ncai constitution check my.yaml",
        "make demo\ncai rows list runs/microworld --status ok",
        "make demo RUN=runs/other\ncai runs status runs/other",
        "cai run examples/microworld.yaml --run runs/x\ncai export runs/x",
        "python -m trainers.launch NAME",
        "python examples/notebook.py",
        "python -m bench.memory --rows 60000",
        "cai: a run cannot be found",
        "ls runs/never",
    ],
)
def test_a_right_command_is_not(command: str):
    assert told(command) == []


@pytest.mark.parametrize(
    ("name", "is_right"),
    [
        ("cai run", True),
        ("cai serve … --engine vllm", True),
        ("cai train sft|pm RECIPE", True),
        ("cai train sft|pn RECIPE", False),
        ("cai rows rerun --stat", False),
    ],
)
def test_within_a_text_a_command_is_a_name_whose_words_must_be_right(name: str, is_right: bool):
    assert (told(name, is_block=False) == []) == is_right


def test_a_line_that_no_shell_takes_is_told(tmp_path: Path):
    root = site(tmp_path, "    cai rows list 'RUN\n")

    assert wrong_commands(root) == ["docs/page.md:1: is no line for a shell: No closing quotation"]


def test_commands_in_the_comments_of_a_recipe_are_looked_at_too(tmp_path: Path):
    root = site(tmp_path, "# A page\n")
    (root / "examples/papers").mkdir(parents=True)
    (root / "examples/papers/one.yaml").write_text(
        "# Make one: cai constitution import rules.csv --to rules.yaml\n"
        "name: one  # cai doktor is no command here\n"
        "  # cai generate prompts --seeds red.txt --number 3\n"
        "  # --output more.jsonl\n"
        "# Then `cai rows\n# lst RUN`.\n"
    )

    found = wrong_commands(root)

    assert [fault.split(": ")[0].rpartition(":")[2] for fault in found] == ["1", "3", "5"]
    assert all(word in told for word, told in zip(("--to", "--output", "lst"), found, strict=True))


def test_what_the_first_pages_make_is_there_on_all_others_and_on_no_other(tmp_path: Path):
    root = site(tmp_path, "    cai rows list runs/first\n    cai runs merge runs/all runs/first\n")
    (root / "docs/tutorial.md").write_text("    cai run recipe.yaml --run runs/first\n")
    (root / "docs/zebra.md").write_text("    cai rows list runs/all\n")

    assert wrong_commands(root) == [
        "docs/zebra.md:1: `cai rows list runs/all`: nothing has made runs/all"
    ]


def test_code_is_found_in_fences_in_indented_blocks_and_in_texts(tmp_path: Path):
    page = tmp_path / "page.md"
    page.write_text("Take `cai run`.\n\n```sh\ncai doctor\n```\n\n    cai runs list\n")

    found = [(code.line, code.text.strip(), code.is_block) for code in code_of(page)]

    assert found == [(1, "cai run", False), (4, "cai doctor", True), (7, "cai runs list", True)]


@pytest.mark.parametrize(
    ("name", "is_there"),
    [
        ("cai.recipe.load_recipe", True),
        ("cai.recipe.Recipe.limited", True),
        ("cai.recipe.WRONG", False),
        ("cai.recipes", False),
        ("trainers.losses", True),
        ("cai/recipe.py", True),
        ("cai/recipes.py", False),
        ("comparisons.label.orders", True),
        ("comparisons.labels", False),
        ("models.judge.options.top_k", True),
        ("datasets.load_dataset", True),
    ],
)
def test_names_of_the_code_must_be_there(tmp_path: Path, name: str, is_there: bool):
    root = site(tmp_path, f"See `{name}`.\n")

    expected = [] if is_there else [f"docs/page.md:1: there is no `{name}`"]
    assert unknown_names(root) == expected


def test_what_python_on_a_page_imports_must_be_there(tmp_path: Path):
    root = site(tmp_path, "```python\nfrom cai.recipe import load_recipe, lode_recipe\n```\n")

    assert unknown_names(root) == ["docs/page.md:2: there is no `cai.recipe.lode_recipe`"]


def test_links_beside_docs_lead_somewhere(tmp_path: Path):
    root = site(tmp_path, "# A page\n\n## Its part\n")
    (root / "README.md").write_text(
        "[a](docs/page.md#its-part) [b](docs/page.md#no-part) [c](docs/none.md) [d](https://x.org)"
    )

    assert broken_links(root) == [
        "README.md: links to docs/page.md#no-part, which is not there",
        "README.md: links to docs/none.md, which is not there",
    ]


class Inner(Entry):
    """What is inside."""

    share: float = Field(default=0.5, gt=0, le=1, description="Of all | some.")


class Outer(Entry):
    """What is outside."""

    inner: Inner = Inner()
    name: str = Field(description="A <name> for *it*.")


class Mute(Entry):
    """A setting that explains nothing."""

    speed: int = 1


def test_a_page_of_keys_has_kind_range_default_and_meaning():
    page = keys_page("# Keys\n", Outer)

    assert "| `inner` | [inner](#inner) |  | What is inside. |" in page
    assert "| `share` | number, > 0, ≤ 1 | `0.5` | Of all \\| some. |" in page
    assert "| `name` | text | *needed* | A &lt;name> for \\*it\\*. |" in page


def test_a_reference_page_that_is_not_what_the_code_says_is_told(tmp_path: Path):
    write_pages(tmp_path)
    assert stale_pages(tmp_path) == []

    (tmp_path / "cli.md").write_text("# Commands\n")
    (tmp_path / "recipe.md").unlink()

    assert stale_pages(tmp_path) == ["cli.md", "recipe.md"]


def test_a_key_without_a_description_is_refused():
    with pytest.raises(CaiError, match=r"without a description: Mute\.speed"):
        keys_page("# Keys\n", Mute)


def test_an_option_without_help_is_refused():
    app = typer.Typer()

    @app.command()
    def walk(far: int = 3) -> None:
        """Walk."""

    with pytest.raises(CaiError, match="without a description: go --far"):
        page_of(commands_under("go", typer.main.get_command(app)))


def test_links_to_the_checkout_lead_to_copies_on_the_site_and_missing_files_stop_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    root = site(tmp_path, "See [the code](../code.py) and [the tutorial](tutorial.md).\n")
    (root / "mkdocs.yml").write_text(
        f"site_name: test\nuse_directory_urls: false\nhooks: [{ROOT}/docs/hooks.py]\n"
    )
    config = load_config(str(root / "mkdocs.yml"))

    with pytest.raises(Abort):
        build(config)
    assert "page.md links to ../code.py, which is not there" in caplog.text
    (root / "code.py").write_text("print()\n")
    build(load_config(str(root / "mkdocs.yml")))

    assert 'href="checkout/code.py"' in (root / "site/page.html").read_text()
    assert (root / "site/checkout/code.py").read_text() == "print()\n"
