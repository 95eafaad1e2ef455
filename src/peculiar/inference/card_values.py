"""Values in model cards: transfer functions, and the selection of a survey."""

from __future__ import annotations

from itertools import pairwise

from pydantic import BaseModel, ConfigDict, Field, model_validator


class FrozenValues(BaseModel):
    """A part of a card: read only, and a wrong key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class DensityTransfer(FrozenValues):
    """Factors, isotropic in k, with which a network's least-square density gets the true power (r(k) stays).

    Linear in k [h/Mpc] between the points, constant beyond them.
    """

    k: tuple[float, ...]
    transfer: tuple[float, ...]

    @model_validator(mode="after")
    def _usable(self) -> DensityTransfer:
        if len(self.k) != len(self.transfer) or not self.k:
            raise ValueError("k and transfer must have the same length, at least 1")
        if any(b <= a for a, b in pairwise(self.k)):
            raise ValueError("k must rise")
        if any(value <= 0 for value in self.transfer):
            raise ValueError("transfer must be > 0")
        return self


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
