"""Numbers of painted halos against their predicted mean: what training leaves off, measured and taken back."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, model_validator

from peculiar.models.blocks import Mesh

Nodes = tuple[tuple[float, ...], ...]


class CountCalibration(BaseModel):
    """What is added to a painter's ln(mean count), for each mass bin; part of its model card.

    Linear between the nodes, constant beyond them. With "mean" the mean field holds as many halos as simulations do,
    in cells of every predicted mean; with "draws" the draws do.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    log_mean: Nodes
    mean: Nodes
    draws: Nodes

    @model_validator(mode="after")
    def _usable(self) -> CountCalibration:
        lengths = [[len(nodes) for nodes in part] for part in (self.log_mean, self.mean, self.draws)]
        if lengths[0] != lengths[1] or lengths[0] != lengths[2] or min(lengths[0], default=0) < 1:
            raise ValueError("log_mean, mean and draws must have the same nodes, at least one for each bin")
        if any(b <= a for nodes in self.log_mean for a, b in pairwise(nodes)):
            raise ValueError("log_mean must rise")
        return self

    def applied(self, log_mean: Mesh, to: Literal["mean", "draws"]) -> Mesh:
        """Return calibrated ln(mean count), (batch, bins, x, y, z)."""
        shifts = self.mean if to == "mean" else self.draws
        bins = []
        for b, (nodes, values) in enumerate(zip(self.log_mean, shifts, strict=True)):
            here = log_mean[:, b]
            total = here + values[0]
            for (x0, x1), (y0, y1) in zip(pairwise(nodes), pairwise(values), strict=True):
                total = total + (y1 - y0) / (x1 - x0) * (here.clamp(x0, x1) - x0)
            bins.append(total)
        return torch.stack(bins, dim=1)
