"""`cai constitution import` and `export`: from and to the files of other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from cai.cli.constitution_print import counted, print_lines
from cai.errors import CaiError


def import_(
    files: Annotated[list[Path], typer.Argument(help="JSON, text, CSV or Markdown files.")],
    out: Annotated[Path, typer.Option(help="The constitution to write, ending in .yaml.")],
    column: Annotated[str | None, typer.Option(help="Of a table: the one with the rules.")] = None,
    tag_column: Annotated[
        list[str] | None, typer.Option(help="Of a table: kept as a tag; several times.")
    ] = None,
    field: Annotated[
        Literal["statement", "comparison", "rating", "classify"],
        typer.Option("--as", help="The key that a list or table fills."),
    ] = "statement",
) -> None:
    """Make one constitution of files of other programs, and report what has no place in it.

    Example: cai constitution import rules.csv --column rule --out rules.yaml
    """
    from cai.constitution.exchange import ImportSettings, import_files
    from cai.constitution.json_schema import modeline, write_beside
    from cai.constitution.values import slug_of
    from cai.constitution.writing import as_yaml, write_new

    if out.suffix not in (".yaml", ".yml"):
        raise CaiError(f"{out} does not end in .yaml; name a file that does")
    settings = ImportSettings(column, tuple(tag_column or ()), field)
    imported = import_files(files, slug_of(out.stem) or "imported", settings)
    notes = [f"{file}: {note}" for file, note in imported.notes]
    kept = [f"not imported: {note}" for note in notes]
    head = modeline("constitution").removeprefix("# ")
    write_new(out, as_yaml(imported.data, [head, *kept]))
    write_beside(out)
    print_lines(notes)
    made = imported.constitution
    shots = sum(len(getattr(made.few_shots, stage)) for stage in type(made.few_shots).model_fields)
    counts = ", ".join(
        counted(number, what)
        for number, what in (
            (len(made.principles), "principle"),
            (shots, "example"),
            (len(made.cases), "case"),
        )
    )
    print_lines([f"{out}: {counts}, hash {made.hash}"])


def export(
    file: Annotated[str, typer.Argument(help="A YAML file, or the name of a shipped one.")],
    out: Annotated[Path, typer.Option(help="The folder to write into.")],
    format: Annotated[
        Literal["paper", "llm-swarm"], typer.Option(help="Whose files to write.")
    ] = "paper",
) -> None:
    """Write a constitution as the files of the CAI paper or of llm-swarm.

    Example: cai constitution export harmlessness --format paper --out paper
    """
    from cai.constitution import load_constitution
    from cai.constitution.exchange import export_constitution
    from cai.constitution.writing import write_new
    from cai.outputs import check_folder

    check_folder(out)
    exported = export_constitution(load_constitution(file), format)
    out.mkdir(parents=True, exist_ok=True)
    for name, text in exported.files.items():
        write_new(out / name, text)
        print_lines([f"{out / name} written"])
    print_lines([f"{file}: {note}" for note in exported.notes])
