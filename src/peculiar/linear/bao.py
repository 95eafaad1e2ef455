"""Positions shifted for baryon acoustic oscillations: the large-scale displacement taken out of tracers and randoms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float

from peculiar.core import Box, Catalogue, Cosmology, InputError
from peculiar.core.readout import readout
from peculiar.fields.calculus import displacement_from_fourier
from peculiar.linear.clustering import linear_bias
from peculiar.linear.iterative import matter_density, move_back
from peculiar.linear.light_cone import AlongDistance, at_places, bias_evolution, of_epoch
from peculiar.linear.overdensity import sampling

Convention = Literal["recsym", "reciso"]
CONVENTIONS: tuple[Convention, ...] = ("recsym", "reciso")
SMOOTHING = 15.0
"""Gaussian radius [Mpc/h] where none is given, as in the analyses of DESI (2024)."""
_ITERATIONS = 3


@dataclass(frozen=True, eq=False)
class BaoShifts:
    """The large-scale displacement of a catalogue's matter, by which tracers and randoms are moved back.

    Attributes
    ----------
    catalogue : Catalogue
    real : (n, 3) [Mpc/h]
        Its tracers without redshift-space distortions (`move_back`).
    psi : Tensor (3, x, y, z) [Mpc/h]
        The linear displacement Psi of matter that is smoothed.
    box : Box
        Of `psi`.
    growth_rate : AlongDistance or float
        f.
    smoothing : float
        Gaussian radius [Mpc/h].
    bias : float
        Of the tracers.
    """

    catalogue: Catalogue
    real: Float[np.ndarray, "n 3"]
    psi: Float[torch.Tensor, "3 x y z"]
    box: Box
    growth_rate: AlongDistance | float
    smoothing: float
    bias: float

    def data(self) -> Float[np.ndarray, "n 3"]:
        """Return the tracers' shifted positions [Mpc/h]: x - Psi(x), with x the places without distortions."""
        return self.box.wrap(self.real - self._psi_at(self.real))

    def randoms(
        self, positions: Float[np.ndarray, "m 3"], convention: Convention = "recsym"
    ) -> Float[np.ndarray, "m 3"]:
        """Return the shifted positions of random points [Mpc/h].

        Parameters
        ----------
        positions : (m, 3) [Mpc/h]
        convention : "recsym" or "reciso"
            RecSym moves them by -Psi - f (Psi . los) los, as the tracers were, and keeps the linear redshift-space
            distortions; RecIso by -Psi alone, and removes them (White 2015, MNRAS 450, 3822; Chen, Vlah & White 2019,
            JCAP 09, 017).
        """
        if convention not in CONVENTIONS:
            raise InputError(f"convention must be recsym or reciso, got {convention!r}")
        shift = self._psi_at(positions)
        if convention == "recsym" and self.catalogue.space == "redshift":
            sight = self.catalogue.sight_lines(positions)
            along = (shift * sight).sum(axis=1) * at_places(self.growth_rate, positions)
            shift += along[:, None] * sight
        return self.box.wrap(positions - shift)

    def _psi_at(self, positions: Float[np.ndarray, "m 3"]) -> Float[np.ndarray, "m 3"]:
        return readout(self.psi, positions, self.box).numpy().astype(np.float64)


def bao_shifts(
    catalogue: Catalogue,
    *,
    cells: int,
    cosmology: Cosmology,
    smoothing: float = SMOOTHING,
    bias: float | None = None,
    iterations: int = _ITERATIONS,
) -> BaoShifts:
    """Return the displacement that a BAO reconstruction takes out, by the iterative FFT on particles.

    The tracers are moved back along the line of sight (`move_back`), and Psi(k) = i k / k^2 W(k) delta(k) / b of them
    there (Eisenstein et al. 2007, ApJ 664, 675; Burden et al. 2015, MNRAS 453, 456).

    Parameters
    ----------
    catalogue : Catalogue
        Periodic box or survey.
    cells : int
        Mesh cells along a side of the catalogue's box; cells of a third of the smoothing do.
    cosmology : Cosmology
        Gives f, and the bias where none is given.
    smoothing : float
        Gaussian radius [Mpc/h].
    bias : float, optional
        Of the tracers; measured where not given (`linear_bias`), on a light cone in shells (`bias_evolution`).
    iterations : int
        Times that the tracers are moved.

    Raises
    ------
    InputError
        If a setting is out of its range.
    """
    evolution: AlongDistance | float = 1.0
    if bias is None:
        evolution = bias_evolution(catalogue, cosmology=cosmology)
        bias = linear_bias(catalogue, cosmology=cosmology)
    real = move_back(
        catalogue,
        cells=cells,
        cosmology=cosmology,
        smoothing=smoothing,
        bias=bias,
        evolution=evolution,
        iterations=iterations,
    )
    grid = sampling(catalogue, cells)
    delta_k = matter_density(catalogue, real, grid, smoothing=smoothing, bias=bias, evolution=evolution)
    psi = displacement_from_fourier(delta_k, grid.fourier, kept=grid.box)
    growth_rate = of_epoch(catalogue, cosmology.growth_rate, cosmology=cosmology)
    return BaoShifts(catalogue, real, psi, grid.box, growth_rate, smoothing, bias)
