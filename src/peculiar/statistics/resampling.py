"""Objects drawn anew by blocks of the sky: neighbours share the errors of a field and of a survey's calibration."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

FEWEST_BLOCKS = 40
"""Blocks of the sky that are asked for, where the objects allow it: their scatter is then known to a ninth."""
_SIDES = (2, 4, 8, 16)
"""HEALPix nside: blocks of 29, 15, 7.3 and 3.7 degrees."""


@dataclass(frozen=True, eq=False)
class Resampling:
    """Sets of blocks drawn with replacement.

    Attributes
    ----------
    blocks : (n,) int
        Each object's, from 0 on.
    counts : (set, block) int
        How often each is in a set.
    """

    blocks: Int[np.ndarray, " n"]
    counts: Int[np.ndarray, "set block"]

    @classmethod
    def draw(cls, blocks: Int[np.ndarray, " n"], *, sets: int, seed: int) -> Resampling:
        """Draw sets of as many blocks as there are, alike for the same blocks and seed."""
        _, own = np.unique(blocks, return_inverse=True)
        number = int(own.max()) + 1
        counts = np.random.default_rng(seed).multinomial(number, np.full(number, 1 / number), size=sets)
        return cls(own, counts)

    def weights(self) -> Iterator[Int[np.ndarray, " n"]]:
        """Yield, for each set, how often each object is in it."""
        for counts in self.counts:
            yield counts[self.blocks]

    def error_of_sum(self, values: Float[np.ndarray, " n"]) -> float:
        """Return the scatter over the sets of a sum over objects."""
        sums = self.counts @ np.bincount(self.blocks, values, self.counts.shape[1])
        return float(sums.std(ddof=1))


def sky_blocks(directions: Float[np.ndarray, "n 3"]) -> Int[np.ndarray, " n"]:
    """Return each object's block of the sky: the largest HEALPix pixels of which at least 40 hold objects.

    Parameters
    ----------
    directions : (n, 3)
        Of length 1.
    """
    import healpy

    for nside in _SIDES:
        pixels = np.asarray(healpy.vec2pix(nside, *np.asarray(directions).T))
        if len(np.unique(pixels)) >= FEWEST_BLOCKS:
            break
    return pixels
