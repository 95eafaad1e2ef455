"""Numbers of points in fine pixels of the sky, which add up piece by piece, and the footprint that they tell."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from peculiar.catalogues.sky import SkyMask

PER_PIXEL = 50
"""Random points per pixel of the footprint: with fewer, some pixels inside it would be empty by chance."""
_LEVELS = 8
_NSIDE = 2**_LEVELS  # 0.23 degrees
SKY_PIXELS = 12 * _NSIDE**2


def sky_counts(
    directions: Float[np.ndarray, "n 3"], weights: Float[np.ndarray, " n"] | None = None
) -> Float[np.ndarray, " pixel"]:
    """Return the weighted number of points in each pixel of nside 256, in NESTED order.

    Parameters
    ----------
    directions : (n, 3)
        Vectors of any length in celestial axes.
    weights : (n,), optional
    """
    import healpy

    pixels = healpy.vec2pix(_NSIDE, *np.asarray(directions, np.float64).T, nest=True)
    return np.bincount(pixels, weights, SKY_PIXELS).astype(np.float64)


def in_pixels(counts: Float[np.ndarray, " pixel"], nside: int) -> Float[np.ndarray, " coarse"]:
    """Return counts of `sky_counts` in pixels of a lower resolution, in RING order."""
    import healpy

    coarse = counts.reshape(12 * nside**2, -1).sum(axis=1)
    return coarse[healpy.ring2nest(nside, np.arange(len(coarse)))]


def footprint(counts: Float[np.ndarray, " pixel"]) -> SkyMask:
    """Return the pixels that points fall in as a mask of 0 and 1, at the finest resolution they fill.

    Parameters
    ----------
    counts : (pixel,)
        Of points without weights, see `sky_counts`.
    """
    best = np.ones(12)
    for nside in (2**k for k in range(_LEVELS + 1)):
        hit = in_pixels(counts, nside) > 0
        if nside > 1 and counts.sum() < PER_PIXEL * hit.sum():
            break
        best = hit.astype(np.float64)
    return SkyMask(best)
