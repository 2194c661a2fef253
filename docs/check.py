"""``python -m docs.check``: is what the pages say of the code still true?

Links within `docs/` are MkDocs' to check (``mkdocs build --strict``).
"""

from __future__ import annotations

import sys

from cai.errors import CaiError
from docs.commands import wrong_commands
from docs.links import broken_links
from docs.names import unknown_names
from docs.reference import stale_pages


def faults() -> list[str]:
    """Everything that is wrong, each with its place."""
    try:
        stale = stale_pages()
    except CaiError as error:
        return [str(error)]
    return [
        *(f"docs/reference/{name}: is not what the code says; run `make docs`" for name in stale),
        *wrong_commands(),
        *unknown_names(),
        *broken_links(),
    ]


if __name__ == "__main__":
    found = faults()
    sys.stderr.writelines(f"{fault}\n" for fault in found)
    sys.exit(1 if found else 0)
