"""What other evaluation harnesses take of ours; they are not rewritten here, and not imported."""
