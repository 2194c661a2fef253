"""The microworld's tokenizer: byte-level BPE of 2,048 tokens with a ChatML-like chat template."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from cai.untyped import untyped

FastTokenizer = Any
"""A `PreTrainedTokenizerFast`, whose own types are partly unknown to a strict checker."""

START, END, PAD = "<|im_start|>", "<|im_end|>", "<|pad|>"
VOCABULARY = 2048
CONTEXT = 8192
LEAST_COUNT, MOST_COUNT = 5, 60

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' }}"
    "{% if message['role'] == 'assistant' %}"
    "{% generation %}{{ message['content'] + '<|im_end|>' }}{% endgeneration %}"
    "{% else %}{{ message['content'] + '<|im_end|>' }}{% endif %}"
    "{{ '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
"""Roles between <|im_start|> and a line break, then the content and <|im_end|>."""


def train_tokenizer(texts: Iterable[str]) -> FastTokenizer:
    """Learn the merges from texts; all 256 bytes are tokens, so any Unicode round-trips.

    Counts of words are clipped, so that rare words of the world become whole tokens too: a tiny
    model copies one token far better than a chain of pieces.
    """
    bpe = untyped("tokenizers")
    tokenizer = bpe.Tokenizer(bpe.models.BPE())
    tokenizer.pre_tokenizer = bpe.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = bpe.decoders.ByteLevel()
    trainer = bpe.trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[PAD, START, END],
        initial_alphabet=bpe.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_flattened(texts), trainer)
    return untyped("transformers").PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=None,
        eos_token=END,
        pad_token=PAD,
        additional_special_tokens=[START],
        chat_template=CHAT_TEMPLATE,
        model_max_length=CONTEXT,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


def _flattened(texts: Iterable[str]) -> Iterator[str]:
    """Each word as it stands in the texts, with the space before it, at most so many times."""
    counts = Counter(word for text in texts for word in re.findall(r" ?[A-Za-z]+", text))
    for word in sorted(counts):
        if counts[word] >= LEAST_COUNT:
            yield from [word] * min(counts[word], MOST_COUNT)
