"""Auto and cross power spectra of fields and catalogues, and how two of them compare."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from peculiar.core.errors import InputError
from peculiar.core.field import Field
from peculiar.statistics.checks import require_wavenumber_edges
from peculiar.statistics.modes import (
    Modes,
    Slab,
    bin_shells,
    divide,
    modes_of,
    require_same_modes,
    shell_sums,
)

Edges = Sequence[float] | Float[np.ndarray, " edge"]


@dataclass(frozen=True, eq=False)
class PowerSpectrum:
    """A binned power spectrum.

    Attributes
    ----------
    k : (bin,) [h/Mpc]
        Mean wavenumber of the bin's modes; NaN where the bin holds none.
    power : (bin,) [unit]
        Shot noise subtracted; NaN where the bin holds no mode.
    modes : (bin,)
        Modes in the bin, k and -k counted as two.
    edges : (bin + 1,) [h/Mpc]
    unit : str
    shot_noise : float
        What was subtracted.
    """

    k: Float[np.ndarray, " bin"]
    power: Float[np.ndarray, " bin"]
    modes: Float[np.ndarray, " bin"]
    edges: Float[np.ndarray, " edge"]
    unit: str
    shot_noise: float = 0.0


@dataclass(frozen=True, eq=False)
class PowerComparison:
    """Power spectra of a prediction and the truth, and what follows from them.

    Attributes
    ----------
    predicted, truth, cross : PowerSpectrum
        In the same bins.
    """

    predicted: PowerSpectrum
    truth: PowerSpectrum
    cross: PowerSpectrum

    @property
    def k(self) -> Float[np.ndarray, " bin"]:
        """Mean wavenumber [h/Mpc]."""
        return self.truth.k

    @property
    def power_ratio(self) -> Float[np.ndarray, " bin"]:
        """P / P_true: T(k) of Wu et al. 2021."""
        return self.predicted.power / self.truth.power

    @property
    def transfer(self) -> Float[np.ndarray, " bin"]:
        """sqrt(P / P_true): T(k) of He et al. 2019 and Ramanah et al. 2019."""
        return np.sqrt(self.power_ratio)

    @property
    def relative_deviation(self) -> Float[np.ndarray, " bin"]:
        """R = P / P_true - 1 (Eq. 10 of Xiao et al. 2024)."""
        return self.power_ratio - 1

    @property
    def correlation_coefficient(self) -> Float[np.ndarray, " bin"]:
        """r(k) = P_cross / sqrt(P P_true)."""
        return self.cross.power / np.sqrt(self.predicted.power * self.truth.power)

    @property
    def stochasticity(self) -> Float[np.ndarray, " bin"]:
        """1 - r(k)^2."""
        return 1 - self.correlation_coefficient**2

    @property
    def stochastic_power(self) -> Float[np.ndarray, " bin"]:
        """P_true (1 - r^2) in the unit of the power (Eq. 6.5 of Ramanah et al. 2019)."""
        return self.truth.power * self.stochasticity

    def select(self, low: float, high: float) -> Float[np.ndarray, " bin"]:
        """Which bins have their mean k in [low, high] h/Mpc, (bin,) bool."""
        return (self.k >= low) & (self.k <= high)


@dataclass(frozen=True, eq=False)
class HelmholtzPower:
    """Powers of a vector field and of its two Helmholtz parts (Eq. 9 of Xiao et al. 2024).

    Attributes
    ----------
    total : PowerSpectrum
        Sum over components; potential + rotational, but for the Nyquist planes, which have no direction.
    potential, rotational : PowerSpectrum
        Of the parts along and across k.
    divergence, vorticity : PowerSpectrum
        Of theta = i k . v, and of omega = i k x v summed over components.
    """

    total: PowerSpectrum
    potential: PowerSpectrum
    rotational: PowerSpectrum
    divergence: PowerSpectrum
    vorticity: PowerSpectrum


def power_spectrum(
    field: Field | Modes, other: Field | Modes | None = None, *, edges: Edges | None = None
) -> PowerSpectrum:
    """Measure the auto power of a field, or its cross power with another.

    A vector's power is the sum over its components. Catalogues go through `catalogue_modes`.

    Parameters
    ----------
    field, other : Field or Modes
        One scalar channel or a vector, on one periodic box.
    edges : (bin + 1,) [h/Mpc], optional
        Bins include their lower edge, and never the mean (k = 0); default: one fundamental wavenumber wide, up to
        Nyquist.

    Returns
    -------
    PowerSpectrum
        In (Mpc/h)^3 times the units of the fields. Shot noise is subtracted from auto powers only.

    Raises
    ------
    InputError
        If boxes or channels disagree, a value is not finite, or the bins lie outside the mesh.

    Examples
    --------
    >>> from peculiar.core import Box, Field
    >>> noise = torch.randn(1, 32, 32, 32, generator=torch.Generator().manual_seed(1))
    >>> white = power_spectrum(Field(noise, Box(320.0, 32), ("delta",)), edges=[0.1, 0.3])
    >>> bool(abs(white.power[0] - 10.0**3) < 30)  # variance times cell volume
    True
    """
    first = modes_of(field)
    second = first if other is None else modes_of(other, "other")
    require_same_modes(first, second)
    bins = require_wavenumber_edges(edges, first.box)

    def quantities(slab: Slab) -> list[Tensor]:
        p, t = first.data[:, slab.rows], second.data[:, slab.rows]
        return [_square(p) if second is first else product_of_modes(p, t)]

    sums = shell_sums(first.box.mesh, first.data.device, quantities)
    noise = first.shot_noise if other is None else 0.0
    return _spectrum(sums[0], sums[1], first, bins, unit=_power_unit(first.unit, second.unit), noise=noise)


def compare_power(
    predicted: Field | Modes, truth: Field | Modes, *, edges: Edges | None = None
) -> PowerComparison:
    """Measure the powers and the cross power of a prediction and the truth.

    Parameters and errors as in `power_spectrum`; also an InputError if a field has no power in a bin that holds modes.

    Returns
    -------
    PowerComparison
        With `transfer`, `power_ratio`, `correlation_coefficient`, `stochasticity`, `relative_deviation`.
    """
    first, second = modes_of(predicted, "predicted"), modes_of(truth, "truth")
    require_same_modes(first, second)
    bins = require_wavenumber_edges(edges, first.box)

    def quantities(slab: Slab) -> list[Tensor]:
        p, t = first.data[:, slab.rows], second.data[:, slab.rows]
        return [_square(p), _square(t), product_of_modes(p, t)]

    sums = shell_sums(first.box.mesh, first.data.device, quantities)
    result = PowerComparison(
        predicted=_spectrum(
            sums[0], sums[3], first, bins, unit=_power_unit(first.unit, first.unit), noise=first.shot_noise
        ),
        truth=_spectrum(
            sums[1],
            sums[3],
            second,
            bins,
            unit=_power_unit(second.unit, second.unit),
            noise=second.shot_noise,
        ),
        cross=_spectrum(sums[2], sums[3], first, bins, unit=_power_unit(first.unit, second.unit)),
    )
    for name, spectrum in (("predicted", result.predicted), ("truth", result.truth)):
        empty = (spectrum.modes > 0) & (spectrum.power + spectrum.shot_noise <= 0)
        if empty.any():
            raise InputError(
                f"{name} must have power in every bin, got zero at k = {spectrum.k[empty][0]:.4g} h/Mpc: "
                "end the bins below it, or check that the field is not constant"
            )
    return result


def helmholtz_power(
    field: Field | Modes, other: Field | Modes | None = None, *, edges: Edges | None = None
) -> HelmholtzPower:
    """Measure the powers of a vector field, its Helmholtz parts, its divergence and its vorticity.

    Implements Eq. 9 of Xiao et al. 2024 with the exact i k; P_omega is the sum over the components of omega, which is
    what the factor 1/2 there amounts to.

    Parameters
    ----------
    field, other : Field or Modes
        Vectors on one periodic box; with `other`, cross powers.
    edges : (bin + 1,) [h/Mpc], optional
        As in `power_spectrum`.

    Raises
    ------
    InputError
        As in `power_spectrum`, and if a field is no vector.
    """
    first = modes_of(field)
    second = first if other is None else modes_of(other, "other")
    require_same_modes(first, second)
    if first.kind != "vector":
        raise InputError(f"field must be a vector for its Helmholtz parts, got kind {first.kind!r}")
    bins = require_wavenumber_edges(edges, first.box)
    n = first.box.mesh

    def quantities(slab: Slab) -> list[Tensor]:
        # +k and -k are one mode in the Nyquist plane: an odd power of that component has no sign to take.
        k = [torch.where(2 * c.abs() == n, 0, c).to(first.data.real.dtype) for c in slab.vector]
        p, t = first.data[:, slab.rows], second.data[:, slab.rows]
        total = product_of_modes(p, t)
        along_p = k[0] * p[0] + k[1] * p[1] + k[2] * p[2]
        along_t = along_p if second is first else k[0] * t[0] + k[1] * t[1] + k[2] * t[2]
        divergence = product_of_modes(along_p[None], along_t[None])
        squared = (k[0] ** 2 + k[1] ** 2 + k[2] ** 2).double()
        # |k x v|^2 = k^2 |v|^2 - |k . v|^2 would cancel where the flow is potential: form the product itself.
        vorticity = torch.zeros_like(divergence)
        for a, b in ((1, 2), (2, 0), (0, 1)):
            across_p = k[a] * p[b] - k[b] * p[a]
            across_t = across_p if second is first else k[a] * t[b] - k[b] * t[a]
            vorticity += product_of_modes(across_p[None], across_t[None])
        inverse = torch.where(squared > 0, 1 / squared.clamp(min=1), 0.0)
        return [total, divergence * inverse, vorticity * inverse, divergence, vorticity]

    sums = shell_sums(n, first.data.device, quantities)
    sums[3:5] *= first.box.k_fundamental**2
    unit = _power_unit(first.unit, second.unit)
    derived = f"{unit} (h/Mpc)^2"
    total, potential, rotational, divergence, vorticity = (
        _spectrum(row, sums[5], first, bins, unit=derived if i > 2 else unit)
        for i, row in enumerate(sums[:5])
    )
    return HelmholtzPower(total, potential, rotational, divergence, vorticity)


def _spectrum(
    total: np.ndarray, counts: np.ndarray, modes: Modes, bins: np.ndarray, *, unit: str, noise: float = 0.0
) -> PowerSpectrum:
    """Bin shell sums into a spectrum."""
    length = np.sqrt(np.arange(len(counts)))
    summed, number, k = bin_shells(np.stack([total, counts, counts * length]), modes.box.k_fundamental, bins)
    return PowerSpectrum(
        k=divide(k, number) * modes.box.k_fundamental,
        power=divide(summed, number) * modes.box.volume - noise,
        modes=number,
        edges=bins,
        unit=unit,
        shot_noise=noise,
    )


def _square(modes: Tensor) -> Tensor:
    """|modes|^2 summed over channels."""
    return (modes.real.square() + modes.imag.square()).sum(dim=0, dtype=torch.float64)


def product_of_modes(first: Tensor, second: Tensor) -> Tensor:
    """Real part of first * conj(second) summed over channels."""
    return (first.real * second.real + first.imag * second.imag).sum(dim=0, dtype=torch.float64)


def _power_unit(first: str, second: str) -> str:
    return f"{cross_unit(first, second)} (Mpc/h)^3".strip()


def cross_unit(first: str, second: str) -> str:
    """Unit of the product of two fields; "" for two without one."""
    if first and first == second:
        return f"({first})^2"
    return " ".join(f"({unit})" for unit in (first, second) if unit)
