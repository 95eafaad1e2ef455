"""Gaussian fields that look like what a model leaves of density and velocity."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Bool, Float

from peculiar.core import Box, Cosmology
from peculiar.fields.calculus import displacement_from_fourier
from peculiar.fields.fourier import (
    inverse_k_squared,
    k_squared,
    mode_weights,
    to_fourier,
    to_real,
    wavevectors,
)
from peculiar.fields.smooth import gaussian_window
from peculiar.inference.card_values import Residuals, SampleResiduals
from peculiar.linear.clustering import window_at
from peculiar.linear.reliability import LONG_WAVES
from peculiar.linear.spectra import Shells

EDGES = np.array([0.015, 0.045, 0.08, 0.12, 0.17, 0.24, 0.33, 0.46, 0.64, 0.9, 1.3])
"""Of shells in which powers are measured [h/Mpc]."""
SHARED = (0.12, 0.46)
"""Wavenumbers at which the answer's power is compared with that of matter [h/Mpc]: any box has many such waves."""
LEAST_DENSITY = 0.02
"""1 + delta below which no mean density of draws falls."""
SLOPES = (0.5, 2.0)
"""Between which the density's is kept."""
Power = TypeVar("Power", np.ndarray, torch.Tensor)
_LEAST_SHARE = 1e-3
_LEAST_SPREAD = 0.3  # 1 + density
_PIVOT = 0.2  # h/Mpc
_SLOPED = (0.02, 0.9)  # h/Mpc
_KNOWN_TO = 0.03  # relative: how well the amplitude of matter is known
_SLOPE_SCATTER = 0.04  # relative: of slopes about the tabulated ones
_MOST_COHERENCE = 0.995


class MatterPower:
    """The power of matter on a mesh [(Mpc/h)^3], on its modes and in shells.

    Attributes
    ----------
    linear, painted : (x, y, half)
        Of linear theory; of what it becomes, painted with clouds in cells.
    """

    def __init__(self, box: Box, cosmology: Cosmology, redshift: float) -> None:
        self.box = box
        self.shells = Shells.of(box, EDGES[: 1 + max(3, int((EDGES[1:] < box.k_nyquist).sum()))])
        k = k_squared(box).sqrt_().numpy().astype(np.float64)
        self.linear, painted = (
            torch.from_numpy(power(k, redshift).astype(np.float32))
            for power in (cosmology.linear_power, cosmology.nonlinear_power)
        )
        self.painted = painted.mul_(window_at(*wavevectors(box), cell_size=box.cell_size))

    def known(self, a: float, b: float) -> Float[torch.Tensor, "x y half"]:
        """Return the share 1 / (1 + a (1000 / P)^b) of each mode."""
        return known_share(self.linear.clamp(min=1e-12), a, b)

    def of(self, mesh: Float[torch.Tensor, "x y z"], seen: float = 1.0) -> Float[np.ndarray, " shell"]:
        """Return the power of a mesh that fills a share of the box."""
        modes = to_fourier(mesh).abs().square_()
        return self.shells.mean(modes) * self.box.cell_size**3 / (self.box.cell_count * seen)


def known_share(linear: Power, a: float, b: float) -> Power:
    """Return the share of its power that is known of density where the linear power is so large [(Mpc/h)^3]."""
    found: Power = 1 / (1 + a * (1000 / linear) ** b)
    return found


def answered_share(power: MatterPower, of_answer: Float[np.ndarray, " shell"]) -> float:
    """Return the power of an answer over that of matter, of the waves that any box has many of."""
    shells = power.shells
    weights, ratio = shared_modes(shells), of_answer / np.maximum(shells.mean(power.painted), 1e-30)
    return max(float(weights @ ratio / weights.sum()), _LEAST_SHARE)


def shared_modes(shells: Shells) -> Float[np.ndarray, " shell"]:
    """Return how many modes of each shell take part where answers are compared with matter."""
    some = shells.modes * ((shells.k > SHARED[0]) & (shells.k < SHARED[1]))
    return some if some.any() else shells.modes


@dataclass(frozen=True, eq=False)
class DrawnResiduals:
    """What draws of one sample scatter about, and how: Gaussian fields on a periodic mesh.

    Attributes
    ----------
    box : Box
        Periodic.
    density : (x, y, z)
        1 + delta that draws scatter about.
    logarithm, convergence, rotation : (x, y, half)
        Square roots of powers in the layout of `to_fourier`, which white noise is multiplied by: of the logarithm of
        density, and of the velocity, each of whose components has variance 1.
    coherence : (x, y, half)
    variance : float
        Of the logarithm.
    """

    box: Box
    density: Float[torch.Tensor, "x y z"]
    logarithm: Float[torch.Tensor, "x y half"]
    convergence: Float[torch.Tensor, "x y half"]
    rotation: Float[torch.Tensor, "x y half"]
    coherence: Float[torch.Tensor, "x y half"]
    variance: float

    @classmethod
    def of(
        cls,
        table: Residuals,
        delta: Float[torch.Tensor, "x y z"],
        box: Box,
        *,
        level: float,
        cosmology: Cosmology,
        redshift: float,
        seen: Bool[torch.Tensor, "x y z"] | None = None,
        without: float = 0.0,
        uneven: Float[torch.Tensor, "x y half"] | None = None,
    ) -> tuple[DrawnResiduals, SampleResiduals]:
        """Return those of an answer, and what the table says of it.

        With r^2 the share of its power that is known of density, what is drawn has the power (1 - r^2) P, and the
        answer is multiplied by what gives it r^2 P: together they have the power P of matter. The velocity lacks the
        waves that a Gaussian of radius `without` [Mpc/h] leaves. Long waves (`LONG_WAVES`) have the power that `uneven`
        says over that of all as long (`peculiar.linear.noise.left_in_direction`): of shorter ones noise is not all.
        """
        power = MatterPower(box, cosmology, redshift)
        share_seen = 1.0 if seen is None else float(seen.float().mean())
        of_answer = power.of(delta if seen is None else delta * seen, share_seen)
        sample = table.at(
            level=level,
            amplitude=cosmology.sigma8 * cosmology.growth(redshift),
            cell_size=box.cell_size,
            share=answered_share(power, of_answer),
        )
        known = power.known(*sample.known)
        wanted = power.shells.mean(known * power.painted)
        of_power = np.sqrt(wanted / np.maximum(of_answer, 1e-30))
        slope = density_slope(sample.density, power.shells, of_power, seen=share_seen)
        mean = (1 + sloped(delta, slope, box)).clamp_(min=LEAST_DENSITY)
        left = power.painted * (1 - known)
        if uneven is not None:
            longer = gaussian_window(k_squared(box), LONG_WAVES).square_()
            left = torch.minimum(left * (1 + (uneven - 1) * longer), power.painted)
        left[0, 0, 0] = 0
        logarithm, variance = of_logarithm(left, mean, box)
        total = on_modes(sample.k, sample.transfer, box, logarithmic=True) * left
        inverse = inverse_k_squared(box)
        across = on_modes(sample.k, sample.rotation, box)
        # Of the power across k each of three components has half, and adds as much along k.
        rotation = total * inverse * across / (1 - across) / 2
        convergence = (total - rotation * k_squared(box)).clamp_(min=0)
        together = on_modes(sample.k, sample.coherence, box) * (left * total).sqrt()
        coherence = together / (logarithm * box.cell_size**3 * convergence).clamp_(min=1e-30).sqrt_()
        if without:
            shorter = 1 - gaussian_window(k_squared(box), without).square_()
            convergence, rotation = convergence * shorter, rotation * shorter
        each = mode_weights(box.shape[2], dtype=torch.float32)
        of_component = (convergence * inverse / 3 + rotation) * each
        whole = float(of_component.sum(dtype=torch.float64)) / box.cell_count
        drawn = cls(
            box,
            density=mean,
            logarithm=logarithm.sqrt(),
            convergence=(convergence / whole).sqrt_(),
            rotation=(rotation / whole).sqrt_(),
            coherence=coherence.clamp_(-_MOST_COHERENCE, _MOST_COHERENCE),
            variance=variance,
        )
        return drawn, sample

    def draw(
        self, random: torch.Generator
    ) -> tuple[Float[torch.Tensor, "3 x y z"], Float[torch.Tensor, "x y z"]]:
        """Return a velocity, each of its components of variance 1, and the factor of a density, of mean 1."""

        def white() -> torch.Tensor:
            return to_fourier(torch.randn(self.box.shape, generator=random))

        shared = white()
        velocity = displacement_from_fourier(shared * self.convergence, self.box)
        for component in velocity:
            component += to_real(white().mul_(self.rotation), self.box.shape)
        own = white().mul_((1 - self.coherence.square()).sqrt_())
        modes = shared.mul_(self.coherence).add_(own).mul_(self.logarithm)
        return velocity, to_real(modes, self.box.shape).sub_(self.variance / 2).exp_()


def density_slope(
    curve: Float[np.ndarray, " 3"],
    shells: Shells,
    of_power: Float[np.ndarray, " shell"],
    *,
    seen: float = 1.0,
) -> Callable[[np.ndarray], np.ndarray]:
    """Return what an answer is multiplied by: the slope that is tabulated, times a factor that its power asks for.

    Parameters
    ----------
    curve : (3,)
        See `SampleResiduals`.
    shells : Shells
    of_power : (shell,)
        Slopes that would give the answer the power of what is known, each of which has the scatter of its waves.
    seen : float
        Share of the box that the answer fills.
    """
    modes = shared_modes(shells) * seen
    weight = modes / (1 + 2 * _KNOWN_TO**2 * modes)
    apart = np.log(np.maximum(of_power, 1e-9)) - np.polyval(curve, scaled_logarithm(shells.k))
    variance = _KNOWN_TO**2 + 0.5 / float(modes.sum())
    factor = float(weight @ apart / weight.sum()) / (1 + variance / _SLOPE_SCATTER**2)
    return lambda k: np.exp(np.polyval(curve, scaled_logarithm(k)) + factor).clip(*SLOPES)


def scaled_logarithm(k: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Return ln(k / 0.2), of which slopes are polynomials; beyond their ends they stay what they are there."""
    return np.log(np.clip(k, *_SLOPED) / _PIVOT)


def sloped(
    mesh: Float[torch.Tensor, "... x y z"], slope: Callable[[np.ndarray], np.ndarray], box: Box
) -> Float[torch.Tensor, "... x y z"]:
    """Return a mesh with its modes times a slope."""
    factor = slope(k_squared(box).sqrt_().numpy()).astype(np.float32)
    return to_real(to_fourier(mesh).mul_(torch.from_numpy(factor)), box.shape)


def slowed(
    velocity: Float[torch.Tensor, "3 x y z"], rho: Float[torch.Tensor, "x y z"], slowing: float
) -> Float[torch.Tensor, "3 x y z"]:
    """Return a velocity divided by 1 + slowing rho, and scaled back so that its slope on what it was is 1."""
    if slowing == 0:
        return velocity
    factor = 1 / (1 + slowing * rho)
    power = velocity.square().sum(dim=0)
    before, after = (float(one.sum(dtype=torch.float64)) for one in (power, factor * power))
    return velocity * (factor * (before / max(after, 1e-30)))


def spread(
    error: Float[torch.Tensor, "x y z"],
    rho: Float[torch.Tensor, "x y z"],
    power: float,
    *,
    seen: Bool[torch.Tensor, "x y z"] | None = None,
) -> Float[torch.Tensor, "x y z"]:
    """Return an error times a power of rho, where it counts as large as before; rho below 0.3 counts as 0.3."""
    found = error * rho.clamp(min=_LEAST_SPREAD) ** power
    before, after = (
        (one if seen is None else one[seen]).square().mean(dtype=torch.float64) for one in (error, found)
    )
    return found.mul_((before / after).sqrt())


def of_logarithm(
    wanted: Float[torch.Tensor, "x y half"], mean: Float[torch.Tensor, "x y z"], box: Box
) -> tuple[Float[torch.Tensor, "x y half"], float]:
    """Return the power that white noise needs to be a Gaussian g, and its variance.

    mean (exp(g - <g^2> / 2) - 1) has a wanted power [(Mpc/h)^3] where the correlation of g is ln(1 + xi / xi_mean),
    with xi the wanted correlation and xi_mean that of the mean (Coles & Jones 1991, MNRAS 248, 1).
    """
    of_mean = to_real(to_fourier(mean).abs().square_() / box.cell_count + 0j, box.shape)
    correlation = to_real(wanted / box.cell_size**3 + 0j, box.shape)
    power = to_fourier((correlation / of_mean).clamp_(min=-0.9).log1p_()).real.clamp_(min=0)
    power[0, 0, 0] = 0
    each = mode_weights(box.shape[2], dtype=torch.float32)
    return power, float((power * each).sum(dtype=torch.float64)) / box.cell_count


def on_modes(
    k: Float[np.ndarray, " k"], values: Float[np.ndarray, " k"], box: Box, *, logarithmic: bool = False
) -> Float[torch.Tensor, "x y half"]:
    """Return what is tabulated at wavenumbers on the modes of a mesh: linear in ln k, constant beyond its ends.

    With `logarithmic` it is the logarithm of the values that is linear.
    """
    found = np.log(np.maximum(values, 1e-30)) if logarithmic else np.asarray(values)
    modes = k_squared(box).clamp_(min=1e-12).sqrt_().log_().numpy()
    here = np.interp(modes, np.log(k), found).astype(np.float32)
    return torch.from_numpy(np.exp(here) if logarithmic else here)
