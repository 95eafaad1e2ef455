"""Voids, sheets, filaments and knots by the tidal tensor (T-web) or the velocity shear (V-web)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from peculiar.core.box import Box
from peculiar.core.errors import InputError
from peculiar.core.field import Field
from peculiar.fields.fourier import inverse_k_squared, to_fourier, to_real, wavevectors
from peculiar.statistics.checks import require_finite, require_scalar, require_vector

CLASSES = ("void", "sheet", "filament", "knot")
PAIRS = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))


@dataclass(frozen=True, eq=False)
class CosmicWeb:
    """A class for every cell.

    Attributes
    ----------
    classes : (x, y, z) uint8
        0 void, 1 sheet, 2 filament, 3 knot: how many eigenvalues exceed the threshold.
    eigenvalues : (3, x, y, z)
        Falling, without unit.
    threshold : float
    box : Box
    """

    classes: UInt8[np.ndarray, "x y z"]
    eigenvalues: Float[np.ndarray, "3 x y z"]
    threshold: float
    box: Box

    @property
    def fractions(self) -> Float[np.ndarray, "4"]:
        """Volume fraction of voids, sheets, filaments and knots."""
        return np.bincount(self.classes.ravel(), minlength=4) / self.classes.size


@dataclass(frozen=True, eq=False)
class WebConfusion:
    """How a predicted web agrees with the true one.

    Attributes
    ----------
    counts : (4, 4)
        Cells; rows the true class, columns the predicted one, in the order of `CLASSES`.
    """

    counts: Float[np.ndarray, "4 4"]

    @property
    def rates(self) -> Float[np.ndarray, "4 4"]:
        """Fraction of each true class that is predicted as each class; NaN rows where the truth has none."""
        rows = self.counts.sum(axis=1, keepdims=True)
        return np.divide(self.counts, rows, out=np.full((4, 4), np.nan), where=rows > 0)

    @property
    def agreement(self) -> float:
        """Fraction of cells with the right class."""
        return float(np.trace(self.counts) / self.counts.sum())

    @property
    def kappa(self) -> float:
        """Cohen's kappa: agreement beyond that of chance, 1 where the webs are equal."""
        total = self.counts.sum()
        chance = float(self.counts.sum(axis=0) @ self.counts.sum(axis=1)) / total**2
        return 1.0 if chance == 1 else (self.agreement - chance) / (1 - chance)


def tidal_web(density: Field, *, threshold: float = 0.0) -> CosmicWeb:
    """Classify by the tidal tensor d_i d_j phi with laplacian(phi) = delta (Hahn et al. 2007).

    Parameters
    ----------
    density : Field
        Overdensity, one channel, periodic; smooth it first (`peculiar.fields.smooth.gaussian`, 2 to 5 Mpc/h is usual).
    threshold : float
        An axis collapses where its eigenvalue exceeds this: 0 (Hahn et al.) or about 0.2 (Forero-Romero et al. 2009).

    Raises
    ------
    InputError
        If the field is not scalar, periodic and finite.
    """
    require_scalar(density, "density")
    _require_web_input(density, "density", threshold)
    data_k = to_fourier(density.data[0].float())
    box, device = density.box, density.data.device
    data_k = data_k * inverse_k_squared(box, device)
    even, odd = wavevectors(box, device), wavevectors(box, device, odd=True)
    # The Nyquist wavenumber has no sign: it stays in the squares, whose sum is delta, and leaves the mixed terms.
    tensor = [to_real((even[i] ** 2 if i == j else odd[i] * odd[j]) * data_k, box.shape) for i, j in PAIRS]
    return _classify(tensor, threshold, box)


def shear_web(velocity: Field, *, threshold: float = 0.44, expansion_rate: float = 100.0) -> CosmicWeb:
    """Classify by the velocity shear -(d_i v_j + d_j v_i) / (2 H) (Hoffman et al. 2012).

    Parameters
    ----------
    velocity : Field
        [km/s], a vector, periodic; smooth it first.
    threshold : float
        0.44 in Hoffman et al.
    expansion_rate : float
        H [km/s per Mpc/h]; 100 is H0, as in Hoffman et al.; `cosmology.velocity_factor(z)` makes the linear V-web equal
        the T-web.

    Raises
    ------
    InputError
        If the field is not a vector, periodic and finite, or the rate is not positive.
    """
    require_vector(velocity, "velocity")
    _require_web_input(velocity, "velocity", threshold)
    if not (math.isfinite(expansion_rate) and expansion_rate > 0):
        raise InputError(f"expansion_rate must be > 0 km/s per Mpc/h, got {expansion_rate}")
    box = velocity.box
    k = wavevectors(box, velocity.data.device, odd=True)
    v_k = to_fourier(velocity.data.float())
    tensor = [to_real(-0.5j / expansion_rate * (k[i] * v_k[j] + k[j] * v_k[i]), box.shape) for i, j in PAIRS]
    return _classify(tensor, threshold, box)


def confusion(predicted: CosmicWeb, truth: CosmicWeb) -> WebConfusion:
    """Count how cells of each true class are predicted; InputError if the boxes disagree."""
    if predicted.box != truth.box:
        raise InputError(f"webs must share one box, got {predicted.box} and {truth.box}")
    pairs = truth.classes.ravel().astype(np.int64) * 4 + predicted.classes.ravel()
    return WebConfusion(np.bincount(pairs, minlength=16).reshape(4, 4).astype(np.float64))


def symmetric_eigenvalues(
    xx: Tensor, yy: Tensor, zz: Tensor, xy: Tensor, xz: Tensor, yz: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Eigenvalues of symmetric 3 x 3 matrices, falling, in closed form (Smith 1961)."""
    mean = (xx + yy + zz) / 3
    a, b, c = xx - mean, yy - mean, zz - mean
    off = xy**2 + xz**2 + yz**2
    scale = torch.sqrt((a**2 + b**2 + c**2 + 2 * off) / 6)
    determinant = a * (b * c - yz**2) - xy * (xy * c - yz * xz) + xz * (xy * yz - b * xz)
    half = determinant / (2 * scale**3).clamp(min=torch.finfo(xx.dtype).tiny)
    angle = torch.acos(half.clamp(-1, 1)) / 3
    largest = mean + 2 * scale * torch.cos(angle)
    smallest = mean + 2 * scale * torch.cos(angle + 2 * math.pi / 3)
    return largest, 3 * mean - largest - smallest, smallest


def _require_web_input(field: Field, name: str, threshold: float) -> None:
    require_finite(field, name)
    if not field.box.periodic:
        raise InputError(f"{name}.box must be periodic for derivatives, got periodic=False")
    if not math.isfinite(threshold):
        raise InputError(f"threshold must be finite, got {threshold}")


def _classify(tensor: list[Tensor], threshold: float, box: Box) -> CosmicWeb:
    eigenvalues = np.empty((3, *box.shape), dtype=np.float32)
    for plane in range(box.shape[0]):  # double precision on one plane at a time: the closed form cancels
        values = symmetric_eigenvalues(*(t[plane].double() for t in tensor))
        eigenvalues[:, plane] = torch.stack(values).cpu().numpy()
    classes = (eigenvalues > threshold).sum(axis=0, dtype=np.uint8)
    return CosmicWeb(classes, eigenvalues, float(threshold), box)
