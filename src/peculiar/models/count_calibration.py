"""Painted halos against their predicted mean: what training leaves off, measured and taken back."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, model_validator
from pydantic import Field as Setting

from peculiar.models.blocks import Mesh

Nodes = tuple[tuple[float, ...], ...]


class Calibration(BaseModel):
    """What is added to ln(mean count), for each mass bin.

    A function of itself, linear between nodes and constant beyond them, and a coefficient times the overdensity of
    the surroundings.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    shifts: Nodes = Setting(description="at the nodes")
    surroundings: tuple[float, ...]


class CountCalibration(BaseModel):
    """Calibrations of a painter's mean field and of its draws; part of its model card.

    With them cells of every predicted mean hold as many halos as in simulations, and halos follow large scales alike.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    radius: float = Setting(gt=0, description="of the Gaussian that makes the surroundings [Mpc/h]")
    log_mean: Nodes = Setting(description="nodes, for each mass bin")
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
        if min(lengths, default=0) < 1 or any(b <= a for nodes in self.log_mean for a, b in pairwise(nodes)):
            raise ValueError("log_mean must have at least one node for each bin, and rise")
        return self

    def applied(self, log_mean: Mesh, surroundings: Mesh, to: Literal["mean", "draws"]) -> Mesh:
        """Return calibrated ln(mean count), (batch, bins, x, y, z).

        Parameters
        ----------
        log_mean : (batch, bins, x, y, z)
        surroundings : (batch, 1, x, y, z)
            The overdensity smoothed with a Gaussian of `radius`.
        to : "mean" or "draws"
        """
        part = self.mean if to == "mean" else self.draws
        bins = []
        for b, (nodes, shifts) in enumerate(zip(self.log_mean, part.shifts, strict=True)):
            here = log_mean[:, b]
            total = here + shifts[0] + part.surroundings[b] * surroundings[:, 0]
            for (x0, x1), (y0, y1) in zip(pairwise(nodes), pairwise(shifts), strict=True):
                total = total + (y1 - y0) / (x1 - x0) * (here.clamp(x0, x1) - x0)
            bins.append(total)
        return torch.stack(bins, dim=1)
