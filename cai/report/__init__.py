"""What a run found, as one HTML file and as tables in the terminal."""

from cai.report.card import write_cards
from cai.report.table import print_table, run_tables, stage_table
from cai.report.write import write_comparison, write_figures, write_report

__all__ = [
    "print_table",
    "run_tables",
    "stage_table",
    "write_cards",
    "write_comparison",
    "write_figures",
    "write_report",
]
