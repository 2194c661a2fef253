"""Where prompts come from: files, the hub, or the microworld."""

from cai.sources.prompt_sets import PromptSet, Unreadable, read_prompts

__all__ = ["PromptSet", "Unreadable", "read_prompts"]
