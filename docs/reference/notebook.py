"""The page that shows the example of the Python API as it is."""

from __future__ import annotations

from docs.pages import ROOT
from docs.reference.layout import WRITTEN_BY

NOTEBOOK = "examples/notebook.py"

INTRODUCTION = f"""# Python, in thirty lines

A constitution, revised prompts, labelled pairs, and pandas to look at them. This is
[{NOTEBOOK}](../../{NOTEBOOK}), whose cells editors run one by one:

    python {NOTEBOOK}

"""

AFTER = """
Every call is in the ledger of `runs/notebook`, so the cells can be run again for nothing. A run's
data sets are Parquet, which pandas, `datasets` and TRL read as they are.
"""


def notebook_page() -> str:
    """The page as Markdown."""
    code = (ROOT / NOTEBOOK).read_text(encoding="utf-8")
    return f"{WRITTEN_BY}{INTRODUCTION}```python\n{code}```\n{AFTER}"
