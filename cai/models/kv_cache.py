"""A key-value cache that grows without copying itself at every token."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

GROWTH = 64
"""Positions of headroom that a full layer adds, beside an eighth of its length."""


def roomy_cache(config: Any) -> Any:
    """A `DynamicCache` for a model's config whose plain layers keep headroom.

    transformers' own layer concatenates, which copies the whole cache at each token: for a small
    model on a CPU that is most of the time. Sliding and recurrent layers stay as they are.

    Args:
        config: the model's `PretrainedConfig`.
    """
    from transformers import DynamicCache
    from transformers.cache_utils import DynamicLayer

    made = DynamicCache(config=config)
    roomy = _roomy_layer()
    made.layers = [roomy() if type(layer) is DynamicLayer else layer for layer in made.layers]
    return made


def joinable(cache: Any) -> bool:
    """True if `joined` can take this cache: all its layers are plain ones."""
    return all(type(layer) is _roomy_layer() for layer in cache.layers)


def joined(caches: Sequence[Any]) -> Any:
    """One cache of the rows of several; the shorter ones are padded on the left with zeros."""
    first = caches[0]
    width = max(part.get_seq_length() for part in caches)
    for layer, *others in zip(*(part.layers for part in caches), strict=True):
        layer.take([layer, *others], width)
    return first


@cache
def _roomy_layer() -> Any:
    """The layer class, made on first use: transformers is too heavy to import with this module."""
    from transformers.cache_utils import DynamicLayer

    class RoomyLayer(DynamicLayer):
        """Keys and values are views of longer buffers, (B, heads, positions, width)."""

        key_room: Any = None
        value_room: Any = None

        def update(self, key_states: Any, value_states: Any, *args: Any, **kwargs: Any) -> Any:
            if not self.is_initialized:
                self.lazy_initialization(key_states, value_states)
            length = self.get_seq_length() + key_states.shape[-2]
            self.key_room = _room(self.key_room, self.keys, key_states, length)
            self.value_room = _room(self.value_room, self.values, value_states, length)
            self.keys = self.key_room[:, :, :length]
            self.values = self.value_room[:, :, :length]
            return self.keys, self.values

        def take(self, layers: Sequence[Any], width: int) -> None:
            self.keys = _stacked([layer.keys for layer in layers], width)
            self.values = _stacked([layer.values for layer in layers], width)

    return RoomyLayer


def _stacked(parts: Sequence[Any], width: int) -> Any:
    rows = sum(part.shape[0] for part in parts)
    whole = parts[0].new_zeros((rows, parts[0].shape[1], width, parts[0].shape[3]))
    start = 0
    for part in parts:
        whole[start : start + part.shape[0], :, width - part.shape[2] :] = part
        start += part.shape[0]
    return whole


def _room(room: Any, old: Any, new: Any, length: int) -> Any:
    """The buffer with `new` written behind `old`; a new one if `old` was replaced or fills it."""
    before = length - new.shape[-2]
    if room is None or room.data_ptr() != old.data_ptr() or room.shape[2] < length:
        rows, heads, _, width = new.shape
        room = new.new_empty((rows, heads, length + GROWTH + length // 8, width))
        if before:
            room[:, :, :before] = old
    room[:, :, before:length] = new
    return room
