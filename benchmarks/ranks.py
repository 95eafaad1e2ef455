"""Where the truth lies among draws. (What imports `coverage` from here would hide the package of that name.)"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.special import ndtri

CENTRAL = 0.68
FLOWS = 10


def ranks(truth: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """Return the rank of the truth (n,) among draws (draw, n), between 0 and 1."""
    return ((drawn < truth).sum(axis=0) + 0.5) / (len(drawn) + 1)


def covered(truth: np.ndarray, drawn: np.ndarray) -> dict[str, Any]:
    """Return the rms of pulls, the share of ranks in the central 68 %, and the ranks in tenths over flat ones.

    Of few draws the scatter is that of Student's t, and a rank's slot that the interval cuts counts in part.
    """
    count = len(drawn)
    fair = np.sqrt((1 + 1 / count) * (count - 1) / (count - 3))
    pulls = (truth - drawn.mean(axis=0)) / drawn.std(axis=0, ddof=1) / fair
    slot = 0.5 / (count + 1)
    low, high = 0.5 - CENTRAL / 2, 0.5 + CENTRAL / 2
    found = ranks(truth, drawn)
    share = np.clip(
        (np.minimum(found + slot, high) - np.maximum(found - slot, low)) / (2 * slot), 0, 1
    ).mean()
    tenths, slots = np.linspace(0, 1, 11), (np.arange(count + 1) + 0.5) / (count + 1)
    flat = np.histogram(slots, tenths)[0] / (count + 1)
    counts = np.histogram(found, tenths)[0] / len(found) / flat
    return {"pull": float(np.sqrt(np.mean(pulls**2))), "within": float(share), "ranks": counts.tolist()}


def flows_of(rms: float, *, seed: int | Sequence[int]) -> np.ndarray:
    """Return some velocities the same all over a survey, (flow, 3) [km/s], of components with that rms.

    They stand for a Gaussian one evenly: each component takes the middles of as many equal parts of a normal
    distribution, in an order of its own. One at random would leave its own luck in the pulls.
    """
    middles = ndtri((np.arange(FLOWS) + 0.5) / FLOWS)
    middles *= rms / np.sqrt(np.mean(middles**2))
    random = np.random.default_rng(seed)
    return np.stack([random.permutation(middles) for _ in range(3)], axis=1)


def covered_with(truth: np.ndarray, drawn: np.ndarray, added: np.ndarray) -> dict[str, Any]:
    """Return `covered` of the truth (n,) with each of several additions (addition, n), all together."""
    return covered((truth + added).ravel(), np.tile(drawn, len(added)))


def together(found: Sequence[Mapping[str, Any]]) -> str:
    """Return the rms pull of several samples, with its error by their scatter where there are several, and the share.

    Each of `found` as `covered` returns it.
    """
    squares = np.array([one["pull"] ** 2 for one in found])
    pull = np.sqrt(squares.mean())
    error = f" ± {squares.std(ddof=1) / np.sqrt(len(found)) / (2 * pull):.2f}" if len(found) > 1 else ""
    return f"{pull:.2f}{error}, {np.mean([one['within'] for one in found]):.2f}"
