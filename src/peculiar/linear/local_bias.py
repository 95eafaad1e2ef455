"""Halos from a density alone, without a network: linear bias, and a local bias with the scatter of Poisson counts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from peculiar.core.errors import InputError
from peculiar.core.field import Field
from peculiar.fields.fourier import k_squared, to_fourier, to_real
from peculiar.fields.smooth import gaussian

Form = Literal["monotone", "power law"]
Pair = tuple[Field, Float[Tensor, "x y z"]]
Fit = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]

SMOOTHINGS = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
ENVIRONMENTS = (1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0)
"""Gaussian radii that are tried for the density of a cell, and for that of its surroundings [Mpc/h]."""
EXPONENTS = (-8.0, 2.0)
"""Range of the exponent of the surroundings."""
LARGE_SCALES = 0.1
"""Largest wavenumber of the linear bias [h/Mpc]."""
_BINS, _AROUND = 240, 80
_LOWEST = 0.01  # 1 + delta of emptier cells
_RAREST = 1e-12  # mean counts of a cell; its logarithm is finite


def linear_bias(boxes: Sequence[Pair], *, k_max: float = LARGE_SCALES) -> float:
    """Return b = sum P_hm / sum P_mm over the modes with 0 < k < k_max of all boxes.

    Parameters
    ----------
    boxes : sequence of (density, counts)
        Overdensity of matter, and halos in the same cells, (x, y, z).
    k_max : float
        [h/Mpc].

    Raises
    ------
    InputError
        If there is no box, or one without modes or halos.
    """
    _check(boxes)
    cross, auto = 0.0, 0.0
    for density, counts in boxes:
        k2 = k_squared(density.box, dtype=torch.float64)
        kept = (k2 > 0) & (k2 < k_max**2)
        if not kept.any():
            raise InputError(
                f"k_max must be above the fundamental wavenumber {density.box.k_fundamental:.4g} h/Mpc, got {k_max}"
            )
        halos = counts.double() / float(counts.double().mean()) - 1
        # Sums over modes are sums over cells of the fields that hold these modes alone.
        matter, traced = (
            to_real(to_fourier(values) * kept, density.box.shape)
            for values in (density.data[0].double(), halos)
        )
        cross += float((matter * traced).sum())
        auto += float((matter**2).sum())
    return cross / auto


@dataclass(frozen=True, eq=False)
class LocalBias:
    """Mean counts of halos in a cell as a function of the density there and of the surroundings' density.

    n = f(1 + delta_s) (1 + delta_e)^c: delta_s and delta_e are smoothed by a small and a large Gaussian.

    Parameters
    ----------
    form : "monotone" or "power law"
        How f was fitted.
    smoothing, environment : float
        Both Gaussian radii [Mpc/h].
    exponent : float
        c.
    log_density : (node,)
        ln(1 + delta_s), rising; the ends hold beyond them.
    mean : (node,)
        f there, counts per cell.
    """

    form: Form
    smoothing: float
    environment: float
    exponent: float
    log_density: Float[np.ndarray, " node"]
    mean: Float[np.ndarray, " node"]

    def mean_counts(self, density: Field) -> Float[Tensor, "x y z"]:
        """Return the mean counts given an overdensity, float32."""
        mean = np.interp(_log_density(density, self.smoothing), self.log_density, self.mean)
        mean *= np.exp(self.exponent * _log_density(density, self.environment))
        return torch.from_numpy(mean.astype(np.float32))

    def draw(self, density: Field, *, seed: int) -> Float[Tensor, "x y z"]:
        """Draw Poisson counts about the mean."""
        return torch.poisson(self.mean_counts(density), generator=torch.Generator().manual_seed(seed))


def fit_local_bias(
    boxes: Sequence[Pair],
    *,
    smoothings: Sequence[float] = SMOOTHINGS,
    environments: Sequence[float] = ENVIRONMENTS,
) -> LocalBias:
    """Fit the mean counts given the density by the likelihood of Poisson counts.

    f is any function that rises with the density (isotonic regression in steps of the logarithm), or
    A (1 + delta)^b exp(-((1 + delta) / rho)^-e) (Neyrinck et al. 2014). Radii, exponent and kind of function are those
    with the greatest likelihood of boxes left out of the fit; of one box, its octants of even and of odd parity
    take turns. Then all are fitted.

    Parameters
    ----------
    boxes : sequence of (density, counts)
        Overdensity of matter, and halos in the same cells, (x, y, z).
    smoothings, environments : sequence of float
        Gaussian radii to try [Mpc/h]; first the large one with the first of the small ones, then the small one.

    Raises
    ------
    InputError
        If there is no box or radius, or a box holds no halos.
    """
    _check(boxes)
    if not smoothings or not environments:
        raise InputError("smoothings and environments must hold at least one radius each, got none")
    environment = max(environments, key=lambda radius: _best(_binned(boxes, smoothings[0], radius))[1])
    smoothing = max(smoothings, key=lambda radius: _best(_binned(boxes, radius, environment))[1])
    binned = _binned(boxes, smoothing, environment)
    exponent, rising = _best(binned)
    form: Form = "monotone" if rising >= _held_out(binned, _power_law, exponent) else "power law"
    fit = _monotone if form == "monotone" else _power_law
    mean = fit(binned.local, *binned.together(exponent))
    return LocalBias(form, smoothing, environment, exponent, binned.local, mean)


@dataclass(frozen=True, eq=False)
class _Binned:
    """Cells and halos in bins of both logarithms of density, (part, local, surroundings): all that a bias sees."""

    local: Float[np.ndarray, " bin"]
    surroundings: Float[np.ndarray, " bin"]
    cells: Float[np.ndarray, "part local around"]
    halos: Float[np.ndarray, "part local around"]

    def parts(self, exponent: float) -> tuple[np.ndarray, np.ndarray]:
        """Cells, each counted as often as its surroundings multiply halos, and halos: (part, local)."""
        return self.cells @ np.exp(exponent * self.surroundings), self.halos.sum(axis=-1)

    def together(self, exponent: float) -> tuple[np.ndarray, np.ndarray]:
        """The same of all parts."""
        cells, halos = self.parts(exponent)
        return cells.sum(axis=0), halos.sum(axis=0)


def _check(boxes: Sequence[Pair]) -> None:
    if not boxes:
        raise InputError("boxes must hold at least one density with its counts, got none")
    if any(float(counts.sum()) <= 0 for _, counts in boxes):
        raise InputError("boxes must hold halos to fit a bias, got one without: take wider mass bins")


def _log_density(density: Field, radius: float) -> Float[np.ndarray, "x y z"]:
    return (1 + gaussian(density, radius).data[0].double()).clamp(min=_LOWEST).log().numpy()


def _binned(boxes: Sequence[Pair], smoothing: float, environment: float) -> _Binned:
    logs = [[_log_density(density, radius) for density, _ in boxes] for radius in (smoothing, environment)]
    counts = [halos.double().numpy() for _, halos in boxes]
    if len(boxes) == 1:
        # Neither part is nearer to one face, and neither changes when axes change places.
        upper = np.arange(len(counts[0])) >= len(counts[0]) // 2
        odd = upper[:, None, None] ^ upper[:, None] ^ upper
        *logs, counts = ([one[0][~odd], one[0][odd]] for one in (*logs, counts))
    shape = (_BINS, _AROUND)
    edges = [
        np.linspace(min(map(np.min, several)), max(map(np.max, several)) + 1e-9, bins + 1)
        for several, bins in zip(logs, shape, strict=True)
    ]
    cells, halos = [], []
    for own, around, number in zip(*logs, counts, strict=True):
        place = [
            ((log - edge[0]) / (edge[1] - edge[0])).astype(np.int64).clip(0, len(edge) - 2)
            for log, edge in zip((own, around), edges, strict=True)
        ]
        index = (place[0] * _AROUND + place[1]).ravel()
        cells.append(np.bincount(index, minlength=_BINS * _AROUND).reshape(shape).astype(np.float64))
        halos.append(np.bincount(index, weights=number.ravel(), minlength=_BINS * _AROUND).reshape(shape))
    centres = [0.5 * (edge[1:] + edge[:-1]) for edge in edges]
    used = np.sum(cells, axis=(0, 2)) > 0
    return _Binned(centres[0][used], centres[1], np.stack(cells)[:, used], np.stack(halos)[:, used])


def _best(binned: _Binned) -> tuple[float, float]:
    """Exponent of the surroundings with the greatest likelihood left out, and this likelihood."""
    from scipy.optimize import minimize_scalar

    found = minimize_scalar(
        lambda exponent: -_held_out(binned, _monotone, exponent),
        bounds=EXPONENTS,
        method="bounded",
        options={"xatol": 0.01},
    )
    return float(found.x), float(-found.fun)


def _held_out(binned: _Binned, fit: Fit, exponent: float) -> float:
    """Log-likelihood of each part given a fit to the others."""
    cells, halos = binned.parts(exponent)
    total = float((binned.halos.sum(axis=(0, 1)) * binned.surroundings).sum()) * exponent
    for own_cells, own_halos in zip(cells, halos, strict=True):
        mean = fit(binned.local, cells.sum(axis=0) - own_cells, halos.sum(axis=0) - own_halos)
        total += _likelihood(mean, own_cells, own_halos)
    return total


def _likelihood(mean: np.ndarray, cells: np.ndarray, halos: np.ndarray) -> float:
    """Log-likelihood of Poisson counts, but for what does not depend on the mean."""
    return float((halos * np.log(mean) - cells * mean).sum())


def _monotone(log: np.ndarray, cells: np.ndarray, halos: np.ndarray) -> np.ndarray:
    """Rising function of greatest likelihood; where the part that it is fitted to has no cells, interpolated."""
    from scipy.optimize import isotonic_regression

    seen = cells > 0
    rising = isotonic_regression(halos[seen] / cells[seen], weights=cells[seen]).x
    # Steps without a halo get a little of one, so that a single halo elsewhere is unlikely and not impossible.
    least = 0.5 / cells.sum()
    return np.maximum(np.interp(log, log[seen], rising), least)


def _power_law(log: np.ndarray, cells: np.ndarray, halos: np.ndarray) -> np.ndarray:
    """A (1 + delta)^b exp(-((1 + delta) / rho)^-e) of greatest likelihood."""
    from scipy.optimize import minimize

    def mean(parameters: np.ndarray) -> np.ndarray:
        amplitude, slope, threshold, sharpness = parameters
        cut = np.exp(np.minimum(-np.exp(sharpness) * (log - threshold), 50.0))
        return np.exp(np.clip(amplitude + slope * log - cut, np.log(_RAREST), 20.0))

    per_cell = halos.sum() / cells.sum()
    found = minimize(
        lambda parameters: -_likelihood(mean(parameters), cells, halos) / halos.sum(),
        np.array([np.log(per_cell), 1.0, -1.0, 0.0]),
        method="Nelder-Mead",
        options={"maxiter": 1000, "xatol": 1e-3, "fatol": 1e-7},
    )
    return mean(found.x)
