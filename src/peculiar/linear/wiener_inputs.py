"""What networks see of any catalogue: its tracers, how they sample matter, and the Wiener filter's estimate."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float

from peculiar.core import Catalogue, Cosmology
from peculiar.core.channels import vector
from peculiar.fields.conditions import Circumstances, condition_channels
from peculiar.fields.paint import paint
from peculiar.linear.multitracer import MultiTracerWiener, WienerEstimate
from peculiar.linear.optimal_weights import FRACTIONS, bin_index
from peculiar.linear.survey_inputs import sight_lines
from peculiar.linear.tracer_inputs import CatalogueInputs, circumstances

FEWEST_EXPECTED = 1e-5
"""Tracers expected in a cell below which their logarithm tells no more."""


class WienerInputs(CatalogueInputs):
    """Which meshes a network sees of boxes, cut-outs and surveys alike; part of its model card.

    kind "wiener": log counts of tracers in bins at fractions of the sample (`FRACTIONS`; those without masses are in
    the last one), where `MultiTracerWiener` moves them back to (4); its estimate of v / (a H f) [Mpc/h] (3) and of
    matter's overdensity; the unit vector along the line of sight (3); the logarithm of the tracers that are expected in
    a cell; and that of their bias.
    """

    kind: Literal["wiener"] = "wiener"

    @property
    def own(self) -> tuple[str, ...]:
        """Names of the channels that the kind has."""
        bins = tuple(f"tracers_{fraction:g}" for fraction in FRACTIONS)
        return (*bins, *vector("wiener_velocity"), "wiener_density", *vector("sight"), "expected", "log_bias")

    def own_channels(
        self, catalogue: Catalogue, given: Circumstances
    ) -> Iterator[Float[torch.Tensor, "channel x y z"]]:
        """Make the channels that the kind has."""
        cells = max(given.box.shape)
        return _channels(
            catalogue,
            given,
            MultiTracerWiener().estimate(catalogue, cells=cells, cosmology=given.cosmology),
        )

    def with_places(
        self, catalogue: Catalogue, *, cells: int, cosmology: Cosmology
    ) -> tuple[Float[torch.Tensor, "channel x y z"], Float[np.ndarray, "n 3"]]:
        """Return all channels, and where the tracers were moved back to [Mpc/h]."""
        given = circumstances(catalogue, cells=cells, cosmology=cosmology)
        found = MultiTracerWiener().estimate(catalogue, cells=cells, cosmology=cosmology)
        conditions = condition_channels(self.conditions, given)
        return torch.cat([*_channels(catalogue, given, found), conditions]), found.positions


def _channels(
    catalogue: Catalogue, given: Circumstances, found: WienerEstimate
) -> Iterator[Float[torch.Tensor, "channel x y z"]]:
    box = given.box
    index = bin_index(catalogue)
    weights = np.ones(len(catalogue)) if catalogue.weights is None else catalogue.weights
    for one in range(len(FRACTIONS)):
        chosen = index == one
        yield paint(found.positions[chosen], box, weights=weights[chosen]).log1p_()
    yield found.displacement
    yield found.density
    yield sight_lines(catalogue, max(box.shape))
    expected = torch.ones(1, *box.shape) if given.completeness is None else given.completeness
    expected = expected * (given.number_density * box.cell_size**3)
    yield expected.clamp_(min=FEWEST_EXPECTED).log_()
    yield torch.full((1, *box.shape), float(np.log(found.bias)))
