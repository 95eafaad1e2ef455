"""Layer normalisation over the channels of bfloat16 meshes on a CPU: a third of the time of torch's, same rounding."""

from __future__ import annotations

import numpy as np
import torch

from peculiar.core.compiled import compiled
from peculiar.core.readout import OPTIONS, chunks, in_threads

_ROWS = 64
"""That are worked on together: they stay in the cache."""


def normalised(rows: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, *, eps: float) -> torch.Tensor:
    """Return what `torch.nn.functional.layer_norm` does over the last axis of contiguous bfloat16 numbers.

    Parameters
    ----------
    rows : (..., channel) bfloat16
    weight, bias : (channel,) float32
    eps : float
        Is added to the variance.
    """
    found = torch.empty_like(rows)
    bits, there = (one.view(torch.uint16).numpy().reshape(-1, rows.shape[-1]) for one in (rows, found))
    scale, offset = weight.numpy(), bias.numpy()

    def work(start: int, stop: int) -> None:
        _normalise(bits[start:stop], scale, offset, np.float32(eps), there[start:stop])

    in_threads(work, *chunks(len(bits)))
    return found


@compiled(**OPTIONS)
def _normalise(bits, scale, offset, eps, found):  # type: ignore[no-untyped-def]
    rows, channels = bits.shape
    words = np.empty((_ROWS, channels), np.uint32)  # a bfloat16 is the upper half of a float32
    values = words.view(np.float32)
    for first in range(0, rows, _ROWS):
        count = min(_ROWS, rows - first)
        for row in range(count):
            for channel in range(channels):
                words[row, channel] = np.uint32(bits[first + row, channel]) << np.uint32(16)
        for row in range(count):
            mean = np.float32(0)
            for channel in range(channels):
                mean += values[row, channel]
            mean /= np.float32(channels)
            square = np.float32(0)
            for channel in range(channels):
                square += (values[row, channel] - mean) ** 2
            factor = np.float32(1) / np.sqrt(square / np.float32(channels) + eps)
            for channel in range(channels):
                values[row, channel] = (values[row, channel] - mean) * factor * scale[channel] + offset[
                    channel
                ]
        for row in range(count):
            for channel in range(channels):
                word = words[row, channel]  # rounded to even
                even = np.uint32(0x7FFF) + ((word >> np.uint32(16)) & np.uint32(1))
                found[first + row, channel] = np.uint16((word + even) >> np.uint32(16))
