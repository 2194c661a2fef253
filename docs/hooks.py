"""What MkDocs is told beside ``mkdocs.yml``: links to files of the checkout, long names in tables.

A page may link to a file outside `docs/`, as readers of the checkout expect. On the site such a
file stands under ``checkout/``.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

FOLDER = "checkout"
OUTSIDE = re.compile(r"(?<=\]\()((?:\.\./)+)([^)#\s]+)")
"""A link that goes up: the steps, and the path from there."""

NAME = re.compile(r"(?<=<code>)[\w.]+(?=</code>)")
"""A name in code style, by itself."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the files of the checkout that pages link to.

    Raises:
        PluginError: one of them is not there.
    """
    root = Path(config.config_file_path).parent
    for page in list(files.documentation_pages()):
        for steps, path in OUTSIDE.findall(page.content_string):
            if not _leaves(page.src_uri, steps):
                continue
            if not (root / path).is_file():
                raise PluginError(f"{page.src_uri} links to {steps}{path}, which is not there")
            name = f"{FOLDER}/{path}"
            if files.get_file_from_path(name) is None:
                files.append(File.generated(config, name, abs_src_path=str(root / path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links that leave `docs/` lead to the added files."""
    uri = page.file.src_uri

    def lead(found: re.Match[str]) -> str:
        steps, path = found.groups()
        if not _leaves(uri, steps):
            return found[0]
        return "../" * (steps.count("../") - 1) + f"{FOLDER}/{path}"

    return OUTSIDE.sub(lead, markdown)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let names in code style break after a dot or an underscore, where a column is narrow."""
    return NAME.sub(lambda found: re.sub(r"([._])", r"\1<wbr>", found[0]), html)


def _leaves(uri: str, steps: str) -> bool:
    """Whether so many steps up from a page lead out of `docs/`."""
    return steps.count("../") == len(PurePosixPath(uri).parts)
