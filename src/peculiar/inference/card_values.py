"""Values in model cards: normalisations, transfer functions, and the selection of a survey."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

import numpy as np
from jaxtyping import Float
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    TypeAdapter,
    model_validator,
)

from peculiar.core.records import StoredCosmology

Coefficients = tuple[float, float, float, float, float]
_MOST_ROTATION = 0.66  # of which a third lies along k: no more can be drawn
_NONE: Coefficients = (0.0, 0.0, 0.0, 0.0, 0.0)
_MOST_SLOWING = 0.03
_MOST_SPREAD = 0.4


class FrozenValues(BaseModel):
    """A part of a card: read only, and a wrong key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Densities(FrozenValues):
    """What networks of log densities were trained with, which they know."""

    density_floor: float = Field(gt=0)


class Velocities(FrozenValues):
    """a H f [km/s per Mpc/h] of the training, by which velocities were divided."""

    velocity_factor: float = Field(gt=0)


class Fields(Densities, Velocities):
    """Both."""


def _stored_cosmology(entries: dict[str, float]) -> dict[str, float]:
    TypeAdapter(StoredCosmology).validate_python(entries)
    return entries


CosmologyEntries = Annotated[dict[str, float], AfterValidator(_stored_cosmology)]
"""A cosmology as its settings."""


class DensityTransfer(FrozenValues):
    """Factors, isotropic in k, with which a network's least-square density gets the true power (r(k) stays).

    Linear in k [h/Mpc] between the points, constant beyond them. A network that sees tracers, and not how strongly they
    cluster, gives the more power the larger their `beta` is (eq. 4 of Xiao et al. 2024): its factors belong to one.
    """

    k: tuple[float, ...]
    transfer: tuple[float, ...]
    beta: float | None = Field(None, gt=0)

    @model_validator(mode="after")
    def _usable(self) -> DensityTransfer:
        if len(self.k) != len(self.transfer) or not self.k:
            raise ValueError("k and transfer must have the same length, at least 1")
        if any(b <= a for a, b in pairwise(self.k)):
            raise ValueError("k must rise")
        if any(value <= 0 for value in self.transfer):
            raise ValueError("transfer must be > 0")
        return self

    def at(self, beta: float | None) -> DensityTransfer:
        """Return the factors for tracers of a beta: over it, where the table has one."""
        if self.beta is None or beta is None:
            return self
        factors = tuple(self.beta / beta * factor for factor in self.transfer)
        return DensityTransfer(k=self.k, transfer=factors, beta=beta)


class VectorTransfer(FrozenValues):
    """The same for the two Helmholtz parts of a vector, along and across k."""

    k: tuple[float, ...]
    potential: tuple[float, ...]
    rotational: tuple[float, ...]

    @model_validator(mode="after")
    def _usable(self) -> VectorTransfer:
        for part in (self.potential, self.rotational):
            DensityTransfer(k=self.k, transfer=part)
        return self


class Selection(FrozenValues):
    """What the one place of a survey expects of tracers that a network was trained at.

    `side` of the box [Mpc/h]; `number_density` [(h/Mpc)^3] expected in shells about the observer, with the `distances`
    of their middles [Mpc/h].
    """

    side: float = Field(gt=0)
    distances: tuple[float, ...] = Field(min_length=1)
    number_density: tuple[float, ...]


class ErrorFactor(FrozenValues):
    """What errors, or what is tabulated of them, are multiplied by, as boxes that a model did not learn from ask for.

    The logarithm is `constant` plus, for each number that tells of a sample, `slopes` times that number, kept within
    `least` and `most`: those of the samples that it was measured on.
    """

    constant: float
    slopes: dict[str, float]
    least: dict[str, float]
    most: dict[str, float]

    @model_validator(mode="after")
    def _names(self) -> Self:
        if not set(self.slopes) == set(self.least) == set(self.most):
            raise ValueError("slopes, least and most must have the same names")
        return self

    def of(self, known: Mapping[str, float]) -> float:
        """Return the factor of a sample, from its numbers by the names of `slopes`."""
        kept = {name: min(max(known[name], self.least[name]), self.most[name]) for name in self.slopes}
        return math.exp(self.constant + sum(slope * kept[name] for name, slope in self.slopes.items()))


class Residuals(FrozenValues):
    """What a model leaves of a sample: linear functions of what is known of any.

    Each list of coefficients is a constant and factors of `logarithms`, which are kept between `least` and `most`, the
    range of the samples that it was measured on.

    Attributes
    ----------
    k : tuple of float [h/Mpc]
    least, most : tuple of float
    error : coefficients
        Logarithm of the rms of what is left of a velocity component, over the level.
    known : two lists of coefficients
        ln a and b: of the density's power the answer knows the share 1 / (1 + a (1000 / P)^b) where the linear power of
        matter is P [(Mpc/h)^3].
    density : three lists of coefficients
        Logarithm of the slope of the true density on the answer, a polynomial in ln(k / 0.2), highest power first.
    velocity : two lists of coefficients
        Slope of the true velocity on the answer, such a polynomial.
    amplitude : (float, float)
        Scatter of that slope from sample to sample at 0.06 h/Mpc, for all waves of an answer are too large or too small
        together: of any sample, and over the relative standard error of its measured bias; together in squares.
    slowing : coefficients
        Where the answer's 1 + density is rho the true velocity on the answer has a slope that goes with
        1 / (1 + slowing rho): matter in dense cells is slower than its surroundings make it.
    spread : coefficients
        What is left there goes with rho^spread, beside what the model tells.
    transfer : coefficients at each k
        Logarithm of the power of what is left of the velocity's convergence, over the share of the density's that is
        not known.
    rotation : coefficients at each k
        Share of what is left of the velocity's power that is across k.
    coherence : coefficients at each k
        How what is left of density and convergence go together.
    factors : dict of factors
        Of "error", of the "a" of what is known and of the slope of the velocity, by how a sample's objects were chosen
        (`peculiar.inference.reconstructor.sample_numbers`).
    """

    k: tuple[float, ...]
    least: tuple[float, ...]
    most: tuple[float, ...]
    error: Coefficients
    known: tuple[Coefficients, Coefficients]
    density: tuple[Coefficients, Coefficients, Coefficients]
    velocity: tuple[Coefficients, Coefficients]
    amplitude: tuple[NonNegativeFloat, NonNegativeFloat]
    slowing: Coefficients = _NONE
    spread: Coefficients = _NONE
    transfer: tuple[Coefficients, ...]
    rotation: tuple[Coefficients, ...]
    coherence: tuple[Coefficients, ...]
    factors: dict[Literal["error", "a", "velocity"], ErrorFactor] = {}

    @model_validator(mode="after")
    def _shapes(self) -> Self:
        for name in ("transfer", "rotation", "coherence"):
            if len(getattr(self, name)) != len(self.k):
                raise ValueError(f"{name} must have {len(self.k)} values, got {len(getattr(self, name))}")
        return self

    @staticmethod
    def logarithms(
        *, level: float, amplitude: float, cell_size: float, share: float
    ) -> tuple[float, float, float, float]:
        """Return what the coefficients belong to.

        Parameters
        ----------
        level : float [Mpc/h]
            What is expected of the error of a velocity component over a H f: the rms of the errors that the model
            tells, or `peculiar.linear.reliability.linear_error`.
        amplitude : float
            sigma_8 D(z).
        cell_size : float [Mpc/h]
        share : float
            Of matter's power that the answer has, see `peculiar.inference.residuals.answered_share`.
        """
        return math.log(level), math.log(amplitude), math.log(cell_size), math.log(share)

    @property
    def cells(self) -> tuple[float, float]:
        """The smallest and the largest cells of the samples that it was measured on [Mpc/h]."""
        return math.exp(self.least[2]), math.exp(self.most[2])  # the place of the cell in `logarithms`

    def scatter(self, bias_error: float) -> float:
        """Return the relative scatter of the amplitude of a sample whose bias is known so well (`amplitude`)."""
        of_any, of_bias = self.amplitude
        return math.hypot(of_any, of_bias * bias_error)

    def chosen(self, numbers: Mapping[str, float]) -> Self:
        """Return the table with the factors of a sample of such numbers, and none beside them."""
        error, (ln_a, b) = self.error, self.known
        of = {name: factor.of(numbers) for name, factor in self.factors.items()}
        slope = of.get("velocity", 1.0)
        return self.model_copy(
            update={
                "error": (error[0] + math.log(of.get("error", 1.0)), *error[1:]),
                "known": ((ln_a[0] + math.log(of.get("a", 1.0)), *ln_a[1:]), b),
                "velocity": tuple(tuple(slope * one for one in line) for line in self.velocity),
                "factors": {},
            }
        )

    @property
    def power_of_level(self) -> float:
        """The power of the level that what is left of the velocity goes with."""
        return 1 + self.error[1]

    def at(self, **known: float) -> SampleResiduals:
        """Return what is left of a sample; parameters as of `logarithms`."""
        kept = np.clip(self.logarithms(**known), self.least, self.most)

        def value(coefficients: Any) -> Any:
            found = np.array(coefficients)
            return found[..., 0] + found[..., 1:] @ kept

        ln_a, b = value(self.known)
        return SampleResiduals(
            k=np.array(self.k),
            error=known["level"] * float(np.exp(value(self.error))),
            known=(float(np.exp(ln_a)), float(b)),
            density=value(self.density),
            velocity=value(self.velocity),
            slowing=float(np.clip(value(self.slowing), 0, _MOST_SLOWING)),
            spread=float(np.clip(value(self.spread), 0, _MOST_SPREAD)),
            transfer=np.exp(value(self.transfer)),
            rotation=np.clip(value(self.rotation), 0, _MOST_ROTATION),
            coherence=np.clip(value(self.coherence), -1, 1),
        )


@dataclass(frozen=True, eq=False)
class SampleResiduals:
    """What is left of one sample; see `Residuals`, here without logarithms and with `error` in Mpc/h."""

    k: Float[np.ndarray, " k"]
    error: float
    known: tuple[float, float]
    density: Float[np.ndarray, " 3"]
    velocity: Float[np.ndarray, " 2"]
    slowing: float
    spread: float
    transfer: Float[np.ndarray, " k"]
    rotation: Float[np.ndarray, " k"]
    coherence: Float[np.ndarray, " k"]
