"""A closed synthetic English in which harm is decidable by rule, and a tiny model that speaks it.

Importing it loads no torch: grammar, truth and principles are plain Python. `pretrain` makes the
model in `MODEL` from scratch, `measure` measures it.
"""

from __future__ import annotations

from pathlib import Path

from cai.microworld.lexicon import ASPECTS, HARMS
from cai.microworld.pairs import preference_under, rating_under, sample_pairs
from cai.microworld.principles import WorldPrinciple, coverage, draw_principle, known_words
from cai.microworld.replies import Reading, Verdict, classify, read_reply
from cai.microworld.requests import Kind, Request, Split, parse_request, sample_requests, split_of
from cai.microworld.truth import (
    critique_is_correct,
    preference,
    problem,
    utility,
    write_critique,
    write_revision,
)

MODEL = Path(__file__).parent / "model"
"""Folder of the shipped weights and tokenizer; loads by plain `AutoModelForCausalLM`."""

__all__ = [
    "ASPECTS",
    "HARMS",
    "MODEL",
    "Kind",
    "Reading",
    "Request",
    "Split",
    "Verdict",
    "WorldPrinciple",
    "classify",
    "coverage",
    "critique_is_correct",
    "draw_principle",
    "known_words",
    "parse_request",
    "preference",
    "preference_under",
    "problem",
    "rating_under",
    "read_reply",
    "sample_pairs",
    "sample_requests",
    "split_of",
    "utility",
    "write_critique",
    "write_revision",
]
