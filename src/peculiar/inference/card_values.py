"""Values in model cards: transfer functions, and the selection of a survey."""

from __future__ import annotations

from itertools import pairwise
from typing import Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

_LEAST_DISTANCE = 0.05  # between logarithms of errors and of cells: nearer rows count as the same


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


class ResidualRow(FrozenValues):
    """What was left in one kind of sample.

    `error` is the rms of what was left of a velocity component over a H f [Mpc/h], `level` what was expected of it: the
    rms of the errors that the model tells, or `peculiar.linear.reliability.linear_error`. `cell_size` is that of the
    mesh [Mpc/h]. At each of the table's k: `slope_density` and `slope_velocity`, of the truth on the answer; of what is
    left after it, over its standard deviation, the power [(Mpc/h)^3] of the velocity's `convergence` (- div v, per
    Mpc/h), of each component of its `rotation` and of the logarithm of `density`, and the `coherence` of that with the
    convergence. `scatter` is the standard deviation of the logarithm of density at the table's log densities.
    """

    level: float = Field(gt=0)
    error: float = Field(gt=0)
    cell_size: float = Field(gt=0)
    slope_density: tuple[float, ...]
    slope_velocity: tuple[float, ...]
    convergence: tuple[float, ...]
    rotation: tuple[float, ...]
    density: tuple[float, ...]
    coherence: tuple[float, ...]
    scatter: tuple[float, ...]


class Residuals(FrozenValues):
    """Rows at wavenumbers `k` [h/Mpc] and at densities `log_density`, ln(1 + delta) of the answer."""

    k: tuple[float, ...]
    log_density: tuple[float, ...]
    rows: tuple[ResidualRow, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _shapes(self) -> Self:
        for row in self.rows:
            for name, value in row:
                wanted = self.log_density if name == "scatter" else self.k
                if isinstance(value, tuple) and len(value) != len(wanted):
                    raise ValueError(f"{name} must have {len(wanted)} values, got {len(value)}")
        return self

    def at(self, level: float, cell_size: float) -> ResidualRow:
        """Return the row of a level [Mpc/h] and a cell [Mpc/h]: the mean of all, near ones in logarithm first."""
        apart = [
            np.log(row.level / level) ** 2 + np.log(row.cell_size / cell_size) ** 2 + _LEAST_DISTANCE**2
            for row in self.rows
        ]
        weights = np.power(apart, -2.0)
        weights /= weights.sum()
        share = weights @ np.log([row.error / row.level for row in self.rows])
        means = {
            name: tuple((weights @ np.array([getattr(row, name) for row in self.rows])).tolist())
            for name, value in self.rows[0]
            if isinstance(value, tuple)
        }
        return ResidualRow(level=level, error=level * float(np.exp(share)), cell_size=cell_size, **means)
