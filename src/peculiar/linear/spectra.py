"""Sums over spherical shells of wavevectors, for filters that depend on |k| alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int

from peculiar.core import Box
from peculiar.fields.fourier import k_squared, mode_weights


def uniform_edges(k_max: float, width: float) -> Float[np.ndarray, " edge"]:
    """Return shell edges [h/Mpc] from half a width to k_max, about `width` apart."""
    count = max(1, round((k_max - 0.5 * width) / width))
    return np.linspace(0.5 * width, k_max, count + 1)


@dataclass(frozen=True, eq=False)
class Shells:
    """Shells of |k| over the modes of a mesh, in the half-complex layout.

    Attributes
    ----------
    index : (modes,) int
        Shell of each mode; ``len(modes)`` where a mode is in none.
    multiplicity : (modes,)
        `mode_weights`.
    modes : (shell,)
        Modes in each shell, conjugates counted.
    k : (shell,) [h/Mpc]
        Their mean wavenumber.
    """

    index: Int[np.ndarray, " mode"]
    multiplicity: Float[np.ndarray, " mode"]
    modes: Float[np.ndarray, " shell"]
    k: Float[np.ndarray, " shell"]

    @classmethod
    def of(cls, box: Box, edges: Float[np.ndarray, " edge"]) -> Shells:
        """Sort the modes of a box into shells; the lower edge of a shell belongs to it. k = 0 is in none."""
        k = k_squared(box, dtype=torch.float64).sqrt().numpy()
        weight = mode_weights(box.shape[2]).expand(k.shape).numpy().ravel()
        count = len(edges) - 1
        index = np.searchsorted(edges, k.ravel(), side="right") - 1
        index[(index < 0) | (index >= count) | (k.ravel() == 0)] = count
        modes = np.bincount(index, weights=weight, minlength=count + 1)[:count]
        total = np.bincount(index, weights=weight * k.ravel(), minlength=count + 1)[:count]
        centres = 0.5 * (edges[1:] + edges[:-1])
        return cls(index, weight, modes, np.where(modes > 0, total / np.maximum(modes, 1), centres))

    def sum(self, values: Float[torch.Tensor, "x y half"]) -> Float[np.ndarray, " shell"]:
        """Return the sum over the modes of each shell."""
        count = len(self.modes)
        weighted = values.double().numpy().ravel() * self.multiplicity
        return np.bincount(self.index, weights=weighted, minlength=count + 1)[:count]

    def mean(self, values: Float[torch.Tensor, "x y half"]) -> Float[np.ndarray, " shell"]:
        """Return the mean over the modes of each shell; 0 in shells without modes."""
        return self.sum(values) / np.maximum(self.modes, 1)
