"""What a survey does not tell of matter: constrained realisations of the linear estimate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from jaxtyping import Float

from peculiar.core import Box, Catalogue, Cosmology
from peculiar.fields.calculus import displacement_from_fourier
from peculiar.fields.fourier import k_squared, to_fourier, to_real
from peculiar.fields.smooth import gaussian_window
from peculiar.linear.clustering import coarse_cells, linear_bias, matter_power, painted_power
from peculiar.linear.multitracer import SPARSEST
from peculiar.linear.overdensity import Sampling, crop_finer, pad, sampling
from peculiar.linear.reliability import LONG_WAVES, long_wave_dispersion
from peculiar.linear.smoothing import slowness
from peculiar.linear.surroundings import noise_variance, wiener_weights


@dataclass(frozen=True, eq=False)
class UnseenMatter:
    """Differences of what a survey did not see from what the linear estimate expects of it.

    A Gaussian field is observed as the survey does, with its mask and shot noise, and estimated by the Wiener filter;
    the truth less the estimate has the statistics of what the survey's own estimate lacks (Hoffman & Ribak 1991, ApJ
    380, L5). All of it is kept where the survey saw nothing, on a mesh of 10 Mpc/h, and its long waves (`LONG_WAVES`)
    where it saw something: what noise leaves of these moves matter far away too, together with what was not seen. What
    is left of shorter ones in seen cells is not linear. It moves matter as the estimate does, more slowly on small
    scales than linear theory (`peculiar.linear.smoothing.slowness`).

    Attributes
    ----------
    grid : Sampling
    cells : int
        Mesh cells along a side of the catalogue's box that are wanted.
    painted, power : (x, y, half)
        See `peculiar.linear.clustering`.
    noise, unseen : (X, Y, Z)
        Variance of the shot noise, and the share of each cell that was not seen.
    long, short : float [Mpc/h]
        Displacement of one component by waves that the mesh does not hold: longer ones, which `draw` adds, and those
        that a finer mesh of the wanted cells holds, which it leaves out.
    slowness : float [Mpc/h]
    """

    grid: Sampling
    cells: int
    painted: Float[torch.Tensor, "x y half"]
    power: Float[torch.Tensor, "x y half"]
    noise: Float[torch.Tensor, "X Y Z"]
    unseen: Float[torch.Tensor, "X Y Z"]
    long: float
    short: float
    slowness: float

    @classmethod
    def of(cls, catalogue: Catalogue, *, cells: int, cosmology: Cosmology) -> Self:
        """Return that of a survey or a box with open faces."""
        coarse, redshift = coarse_cells(catalogue.box), catalogue.redshift
        grid = sampling(catalogue, coarse, sparsest=SPARSEST)  # what the estimate takes as seen
        bias = linear_bias(catalogue, cosmology=cosmology)
        seen = torch.ones(1, *grid.box.shape)
        if catalogue.completeness is not None:
            whole = (catalogue.completeness.data > 0).float()
            seen = torch.nn.functional.adaptive_avg_pool3d(whole, grid.box.shape)
        long = long_wave_dispersion(grid.fourier, cosmology=cosmology, redshift=redshift)
        slow = slowness(cosmology, redshift)
        return cls(
            grid,
            cells,
            painted_power(grid.fourier, cosmology=cosmology, redshift=redshift),
            matter_power(grid.fourier, cosmology=cosmology, redshift=redshift),
            noise_variance(catalogue, grid, bias=bias),
            1 - pad(seen, grid.box)[0],
            long / cosmology.velocity_factor(redshift),
            _short_waves(grid.fourier, catalogue.box.with_cells(cells), slow, cosmology, redshift),
            slow,
        )

    def draw(
        self, random: torch.Generator
    ) -> tuple[Float[torch.Tensor, "x y z"], Float[torch.Tensor, "3 x y z"]]:
        """Return a difference of the overdensity of unseen cells, and of the displacement of all [Mpc/h]."""
        fourier, covered = self.grid.fourier, self.grid.covered
        assert covered is not None
        white, scatter = (torch.randn(self.noise.shape, generator=random) for _ in range(2))
        truth = to_fourier(white)
        observed = to_real(truth * self.painted.sqrt(), fourier.shape) + self.noise.sqrt() * scatter
        weights = wiener_weights(observed, covered=covered, signal=self.painted, noise=self.noise)
        # What was painted is known with the power painted, the matter itself correlates with it by the mean.
        truth.mul_(self.power.sqrt()).sub_(to_fourier(weights).mul_((self.painted * self.power).sqrt()))
        everywhere = to_real(truth, fourier.shape)
        lacking = everywhere * self.unseen
        modes, k2 = to_fourier(lacking), k_squared(fourier)
        modes += to_fourier(everywhere.sub_(lacking)).mul_(gaussian_window(k2, LONG_WAVES))
        slowed = modes.mul_(k2.sqrt_().mul_(-self.slowness).exp_())
        flow = displacement_from_fourier(slowed, fourier)
        flow += self.long * torch.randn(3, 1, 1, 1, generator=random)
        finer = crop_finer(torch.cat([lacking[None], flow]), self.grid.box, self.cells)
        return finer[0], finer[1:]


def _short_waves(coarse: Box, fine: Box, slow: float, cosmology: Cosmology, redshift: float) -> float:
    """Return the displacement of a component by waves between the ends of two meshes [Mpc/h]."""
    if fine.k_nyquist <= coarse.k_nyquist:
        return 0.0
    k = np.geomspace(coarse.k_nyquist, fine.k_nyquist, 100)
    power = cosmology.linear_power(k, redshift) * np.exp(-2 * slow * k)
    return float(np.sqrt(np.trapezoid(power, k) / (6 * np.pi**2)))
