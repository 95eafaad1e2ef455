"""Halos from a density alone, without a network: linear bias, and a local bias with the scatter of Poisson counts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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

SMOOTHINGS = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
"""Gaussian radii that are tried [Mpc/h]."""
LARGE_SCALES = 0.1
"""Largest wavenumber of the linear bias [h/Mpc]."""
_BINS = 240
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
            to_real(to_fourier(values) * kept, density.box.mesh)
            for values in (density.data[0].double(), halos)
        )
        cross += float((matter * traced).sum())
        auto += float((matter**2).sum())
    return cross / auto


@dataclass(frozen=True, eq=False)
class LocalBias:
    """Mean counts of halos in a cell as a function of the smoothed density there.

    Parameters
    ----------
    form : "monotone" or "power law"
        How it was fitted.
    smoothing : float
        Gaussian radius [Mpc/h].
    log_density : (node,)
        ln(1 + delta), rising; the ends hold beyond them.
    mean : (node,)
        Counts per cell.
    """

    form: Form
    smoothing: float
    log_density: Float[np.ndarray, " node"]
    mean: Float[np.ndarray, " node"]

    def mean_counts(self, density: Field) -> Float[Tensor, "x y z"]:
        """Return the mean counts given an overdensity, float32."""
        log = _log_density(gaussian(density, self.smoothing))
        return torch.from_numpy(np.interp(log, self.log_density, self.mean).astype(np.float32))

    def draw(self, density: Field, *, seed: int) -> Float[Tensor, "x y z"]:
        """Draw Poisson counts about the mean."""
        return torch.poisson(self.mean_counts(density), generator=torch.Generator().manual_seed(seed))


def fit_local_bias(boxes: Sequence[Pair], *, smoothings: Sequence[float] = SMOOTHINGS) -> LocalBias:
    """Fit the mean counts given the smoothed density by the likelihood of Poisson counts.

    Every radius is tried with two functions: any that rises with the density (isotonic regression in steps of the
    logarithm), and n = A (1 + delta)^b exp(-((1 + delta) / rho)^-e) (Neyrinck et al. 2014). The pair of radius and
    function with the greatest likelihood of boxes left out of its fit is fitted to all of them; of one box, its halves
    take turns.

    Parameters
    ----------
    boxes : sequence of (density, counts)
        Overdensity of matter, and halos in the same cells, (x, y, z).
    smoothings : sequence of float
        Gaussian radii to try [Mpc/h].

    Raises
    ------
    InputError
        If there is no box or radius, or a box holds no halos.
    """
    _check(boxes)
    if not smoothings:
        raise InputError("smoothings must hold at least one radius, got none")
    best, chosen = -np.inf, (_FORMS["monotone"], "monotone", 0.0)
    for radius in smoothings:
        log, cells, halos = _binned(boxes, radius)
        for form, fit in _FORMS.items():
            found = sum(
                _likelihood(fit(log, cells.sum(0) - cells[i], halos.sum(0) - halos[i]), cells[i], halos[i])
                for i in range(len(cells))
            )
            if found > best:
                best, chosen = found, (fit, form, radius)
    fit, form, radius = chosen
    log, cells, halos = _binned(boxes, radius)
    kind: Form = "monotone" if form == "monotone" else "power law"
    return LocalBias(kind, radius, log, fit(log, cells.sum(0), halos.sum(0)))


def _check(boxes: Sequence[Pair]) -> None:
    if not boxes:
        raise InputError("boxes must hold at least one density with its counts, got none")
    if any(float(counts.sum()) <= 0 for _, counts in boxes):
        raise InputError("boxes must hold halos to fit a bias, got one without: take wider mass bins")


def _log_density(density: Field) -> Float[np.ndarray, "x y z"]:
    return (1 + density.data[0].double()).clamp(min=_LOWEST).log().numpy()


def _binned(boxes: Sequence[Pair], radius: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centres of bins of ln(1 + delta), and cells and halos in them, (part, bin): all that a local function sees."""
    logs = [_log_density(gaussian(density, radius)) for density, _ in boxes]
    counts = [halos.double().numpy() for _, halos in boxes]
    if len(boxes) == 1:
        logs, counts = np.array_split(logs[0], 2), np.array_split(counts[0], 2)
    edges = np.linspace(min(part.min() for part in logs), max(part.max() for part in logs) + 1e-9, _BINS + 1)
    cells, halos = (
        np.stack(
            [np.histogram(log, edges, weights=weights)[0] for log, weights in zip(logs, values, strict=True)]
        )
        for values in ([None] * len(logs), counts)
    )
    used = cells.sum(0) > 0
    return 0.5 * (edges[1:] + edges[:-1])[used], cells[:, used], halos[:, used]


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


_FORMS: Mapping[str, Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]] = {
    "monotone": _monotone,
    "power law": _power_law,
}
