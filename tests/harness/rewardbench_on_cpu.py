"""RewardBench's runner as it is, but for the device: 0.1.4 sends each batch to "cuda" by name.

Run with its own Python, and its own arguments.
"""

from __future__ import annotations

from typing import Any

from rewardbench.rewardbench import main
from transformers import BatchEncoding


class StayingHere:
    """Replaces `BatchEncoding.to`."""

    def __get__(self, batch: Any, owner: Any) -> Any:
        """Give what leaves the batch where it is."""
        return lambda device: batch


if __name__ == "__main__":
    BatchEncoding.to = StayingHere()
    main()
