"""Gaussian fields that look like what a model leaves of density and velocity."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float

from peculiar.core import Box
from peculiar.fields.calculus import displacement_from_fourier
from peculiar.fields.fourier import inverse_k_squared, k_squared, mode_weights, to_fourier, to_real
from peculiar.inference.card_values import ResidualRow, Residuals


@dataclass(frozen=True, eq=False)
class UnitResiduals:
    """Gaussian fields of variance 1 on a periodic mesh: what is left of velocity and of log density, over its error.

    Attributes
    ----------
    box : Box
        Periodic.
    convergence, rotation, density : (x, y, half)
        Square roots of powers, in the layout of `to_fourier`; white noise times them has variance 1.
    coherence : (x, y, half)
    """

    box: Box
    convergence: Float[torch.Tensor, "x y half"]
    rotation: Float[torch.Tensor, "x y half"]
    density: Float[torch.Tensor, "x y half"]
    coherence: Float[torch.Tensor, "x y half"]

    @classmethod
    def of(cls, table: Residuals, row: ResidualRow, box: Box) -> UnitResiduals:
        """Return those of a row on a mesh."""
        convergence, rotation, density = (
            on_modes(table.k, values, box, logarithmic=True)
            for values in (row.convergence, row.rotation, row.density)
        )
        each = mode_weights(box.shape[2], dtype=torch.float32)

        def variance(power: torch.Tensor) -> float:
            return float((power * each).sum(dtype=torch.float64)) / box.cell_count

        for power in (convergence, rotation, density):
            power[0, 0, 0] = 0
        whole = variance(convergence * inverse_k_squared(box)) / 3 + variance(rotation)
        return cls(
            box,
            (convergence / whole).sqrt_(),
            (rotation / whole).sqrt_(),
            (density / variance(density)).sqrt_(),
            on_modes(table.k, row.coherence, box),
        )

    def draw(
        self, random: torch.Generator
    ) -> tuple[Float[torch.Tensor, "3 x y z"], Float[torch.Tensor, "x y z"]]:
        """Return a velocity, each of its components of variance 1, and a log density of variance 1."""

        def white() -> torch.Tensor:
            return to_fourier(torch.randn(self.box.shape, generator=random))

        shared = white()
        velocity = displacement_from_fourier(shared * self.convergence, self.box)
        for component in velocity:
            component += to_real(white().mul_(self.rotation), self.box.shape)
        own = white().mul_((1 - self.coherence.square()).clamp_(min=0).sqrt_())
        modes = shared.mul_(self.coherence).add_(own).mul_(self.density)
        return velocity, to_real(modes, self.box.shape)


def on_modes(
    k: tuple[float, ...], values: tuple[float, ...], box: Box, *, logarithmic: bool = False
) -> Float[torch.Tensor, "x y half"]:
    """Return what is tabulated at wavenumbers on the modes of a mesh: linear in ln k, constant beyond its ends.

    With `logarithmic` it is the logarithm of the values that is linear.
    """
    found = np.log(np.maximum(values, 1e-30)) if logarithmic else np.asarray(values)
    modes = k_squared(box).clamp_(min=1e-12).sqrt_().log_().numpy()
    here = np.interp(modes, np.log(k), found).astype(np.float32)
    return torch.from_numpy(np.exp(here) if logarithmic else here)


def drawn_density(
    mean: Float[torch.Tensor, "x y z"],
    gaussian: Float[torch.Tensor, "x y z"],
    table: Residuals,
    row: ResidualRow,
) -> Float[torch.Tensor, "x y z"]:
    """Return 1 + delta: the mean times exp(s g - s^2 / 2), with s the scatter at the mean's logarithm."""
    scatter = torch.from_numpy(
        np.interp(mean.log().numpy(), table.log_density, row.scatter).astype(np.float32)
    )
    return mean * (scatter * gaussian - scatter.square() / 2).exp_()
