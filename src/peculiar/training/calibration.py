"""Monotone maps from a network's log density to the density, fitted on validation boxes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from scipy.optimize import isotonic_regression

from peculiar.core.box import Box
from peculiar.core.errors import InputError
from peculiar.fields.fourier import k_squared, to_fourier

Mesh = Float[torch.Tensor, "x y z"]
LARGEST_K = 0.3
"""Power is compared below this wavenumber [h/Mpc], as by Xiao et al. 2024."""


def fit_calibration(
    logarithms: Sequence[Mesh],
    truths: Sequence[Mesh],
    box: Box,
    *,
    aim: Literal["mean", "power"] = "power",
    points: int = 32,
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Fit the density that a network's log density stands for.

    "mean" gives each log density the mean true 1 + delta of its cells, the least-square answer; its power falls with
    the correlation. "power" raises that to the one exponent that makes the power unbiased on average over
    k < 0.3 h/Mpc.

    Parameters
    ----------
    logarithms : sequence of (x, y, z)
        A network's log density, one mesh for each validation box.
    truths : sequence of (x, y, z)
        True 1 + delta of the same boxes.
    box : Box
        With the mesh.
    aim : "mean" or "power"
    points : int
        Points of the table, at most.

    Returns
    -------
    log_density, density : tuples of float, both rising
        As `DensityCalibration` of model cards takes them.

    Raises
    ------
    InputError
        If the meshes are not one to one, or the log densities do not vary.
    """
    if not logarithms or len(logarithms) != len(truths):
        raise InputError(f"logarithms and truths must be one to one, got {len(logarithms)} and {len(truths)}")
    flat = torch.cat([mesh.flatten() for mesh in logarithms]).double().numpy()
    true = torch.cat([mesh.flatten() for mesh in truths]).double().numpy()
    low, high = (float(value) for value in np.quantile(flat, [1e-4, 1 - 1e-4]))
    edges = np.unique(np.linspace(low, high, points + 1))
    if len(edges) < 3:
        raise InputError("logarithms must vary from cell to cell, got a constant: train the network first")
    index = np.digitize(flat, edges[1:-1])
    count = np.bincount(index, minlength=points)
    filled = count >= min(30, len(flat) / 2)
    knots = np.bincount(index, flat, minlength=points)[filled] / count[filled]
    means = np.bincount(index, true, minlength=points)[filled] / count[filled]
    values = np.maximum(isotonic_regression(means, weights=count[filled]).x, 1e-3)
    if aim == "power":
        values = values ** _unbiased_exponent(logarithms, truths, knots, np.log(values), box)
        values = values / np.exp(np.interp(flat, knots, np.log(values))).mean()
    return tuple(map(float, knots)), tuple(map(float, values))


def _unbiased_exponent(
    logarithms: Sequence[Mesh], truths: Sequence[Mesh], knots: np.ndarray, values: np.ndarray, box: Box
) -> float:
    """Exponent of the density at which the mean of P / P_true over k is 1, by bisection in 0.5 to 2."""
    shell = (torch.sqrt(k_squared(box)) / box.k_fundamental).round().long().flatten()
    last = max(int(min(LARGEST_K, box.k_nyquist) / box.k_fundamental), 1)
    use = (shell >= 1) & (shell <= last)

    def power(rho: torch.Tensor) -> torch.Tensor:
        modes = to_fourier((rho / rho.mean()).float()).abs().square().flatten()
        return torch.bincount(shell[use], weights=modes[use].double(), minlength=last + 1)[1:]

    target = torch.stack([power(rho) for rho in truths]).sum(0)
    logs = [torch.from_numpy(np.interp(mesh.double().numpy(), knots, values)) for mesh in logarithms]

    def excess(exponent: float) -> float:
        found = torch.stack([power((exponent * mesh).exp()) for mesh in logs]).sum(0)
        return float((found / target).mean()) - 1

    low, high = 0.5, 2.0
    for _ in range(20):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if excess(middle) < 0 else (low, middle)
    return 0.5 * (low + high)
