"""Painted halos against their predicted mean: what training leaves off, measured and taken back."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import torch
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, model_validator
from pydantic import Field as Setting

from peculiar.models.blocks import Mesh

Nodes = tuple[tuple[float, ...], ...]


class Calibration(BaseModel):
    """What is added to ln(mean count), for each mass bin.

    A function of its excess over the expected count of the universe, or of itself where that is not known, linear
    between nodes and constant beyond them; a coefficient times the overdensity of the surroundings; and one times each
    condition, less its `middle`. Conditions change the coefficient of the surroundings too.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    shifts: Nodes = Setting(description="at the nodes")
    surroundings: tuple[float, ...]
    conditions: Nodes = Setting((), description="for each bin, one for each condition")
    responses: Nodes = Setting((), description="of the surroundings' coefficient to them, likewise")


class CountCalibration(BaseModel):
    """Calibrations of a painter's mean field and of its draws; part of its model card.

    With them cells of every predicted mean hold as many halos as in simulations, and halos follow large scales alike.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    radius: float = Setting(gt=0, description="of the Gaussian that makes the surroundings [Mpc/h]")
    log_mean: Nodes = Setting(description="nodes, for each mass bin")
    middle: tuple[float, ...] = Setting((), description="of the conditions")
    mean: Calibration
    draws: Calibration

    @model_validator(mode="after")
    def _usable(self) -> CountCalibration:
        lengths = [len(nodes) for nodes in self.log_mean]
        for part in (self.mean, self.draws):
            if [len(row) for row in part.shifts] != lengths or len(part.surroundings) != len(lengths):
                raise ValueError(
                    "mean and draws must have one shift for each node and one number for each bin"
                )
            known = [len(self.middle)] * len(lengths) if self.middle else []
            if any([len(row) for row in rows] != known for rows in (part.conditions, part.responses)):
                raise ValueError("mean and draws must have one number for each condition and bin")
        if min(lengths, default=0) < 1 or any(b <= a for nodes in self.log_mean for a, b in pairwise(nodes)):
            raise ValueError("log_mean must have at least one node for each bin, and rise")
        return self

    def applied(
        self,
        log_mean: Mesh,
        surroundings: Mesh,
        to: Literal["mean", "draws"],
        *,
        expected: Mesh | float = 0.0,
        conditions: Float[torch.Tensor, "batch condition"] | None = None,
    ) -> Mesh:
        """Return calibrated ln(mean count), (batch, bins, x, y, z).

        Parameters
        ----------
        log_mean : (batch, bins, x, y, z)
        surroundings : (batch, 1, x, y, z)
            The overdensity smoothed with a Gaussian of `radius`.
        to : "mean" or "draws"
        expected : (batch, bins, 1, 1, 1), optional
            ln of the expected counts of the universe.
        conditions : (batch, condition), optional
            As many as `middle` has.
        """
        part = self.mean if to == "mean" else self.draws
        excess = log_mean - expected
        bins = []
        for b, (nodes, shifts) in enumerate(zip(self.log_mean, part.shifts, strict=True)):
            here = excess[:, b]
            total, follow = log_mean[:, b] + shifts[0], log_mean.new_tensor(part.surroundings[b])
            if conditions is not None and self.middle:
                off = conditions - conditions.new_tensor(self.middle)
                raised, more = (
                    (off @ off.new_tensor(rows[b]))[:, None, None, None].to(total)
                    for rows in (part.conditions, part.responses)
                )
                total, follow = total + raised, follow + more
            total = total + follow * surroundings[:, 0]
            for (x0, x1), (y0, y1) in zip(pairwise(nodes), pairwise(shifts), strict=True):
                total = total + (y1 - y0) / (x1 - x0) * (here.clamp(x0, x1) - x0)
            bins.append(total)
        return torch.stack(bins, dim=1)
