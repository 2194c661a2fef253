"""`python -m cai` is `cai`."""

from cai.cli import main

main()
