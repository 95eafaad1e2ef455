"""What networks see of any catalogue: its tracers, how they sample matter, and the Wiener filter's estimate."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float

from peculiar.core import Catalogue
from peculiar.core.channels import vector
from peculiar.fields.conditions import Circumstances
from peculiar.fields.paint import paint
from peculiar.linear.multitracer import MultiTracerWiener
from peculiar.linear.optimal_weights import FRACTIONS
from peculiar.linear.survey_inputs import sight_lines
from peculiar.linear.tracer_inputs import CatalogueInputs

FEWEST_EXPECTED = 1e-5
"""Tracers expected in a cell below which their logarithm tells no more."""


class WienerInputs(CatalogueInputs):
    """Which meshes a network sees of boxes, cut-outs and surveys alike; part of its model card.

    kind "wiener": log counts of tracers in bins at fractions of the sample (`FRACTIONS`; those without masses are in
    the last one), where `MultiTracerWiener` moves them back to (4); of all of them as observed; its estimate of
    v / (a H f) [Mpc/h] (3) and of matter's overdensity; the unit vector along the line of sight (3); the logarithm of
    the tracers that are expected in a cell; and that of their bias.
    """

    margin = 16
    kind: Literal["wiener"] = "wiener"

    @property
    def own(self) -> tuple[str, ...]:
        """Names of the channels that the kind has."""
        bins = tuple(f"tracers_{fraction:g}" for fraction in FRACTIONS)
        return (
            *bins,
            "observed",
            *vector("wiener_velocity"),
            "wiener_density",
            *vector("sight"),
            "expected",
            "log_bias",
        )

    def own_channels(
        self, catalogue: Catalogue, given: Circumstances
    ) -> Iterator[Float[torch.Tensor, "channel x y z"]]:
        """Make the channels that the kind has."""
        box, cells = given.box, max(given.box.shape)
        wiener = MultiTracerWiener()
        moved = wiener.moved(catalogue, cells=cells, cosmology=given.cosmology)
        weights = np.ones(len(catalogue)) if catalogue.weights is None else catalogue.weights
        for one in range(len(FRACTIONS)):
            chosen = moved.index == one
            yield paint(moved.positions[chosen], box, weights=weights[chosen]).log1p_()
        yield paint(catalogue.positions, box, weights=weights).log1p_()
        matter = wiener.matter_of(moved, cells=cells, cosmology=given.cosmology)
        bias = moved.bias_of_all
        del moved
        for axis in range(3):
            yield matter.displacement(axis)[None]
        yield matter.density(used_up=True)
        del matter
        yield sight_lines(catalogue, cells)
        expected = torch.ones(1, *box.shape) if given.completeness is None else given.completeness
        expected = expected * (given.number_density * box.cell_size**3)
        yield expected.clamp_(min=FEWEST_EXPECTED).log_()
        yield torch.full((1, *box.shape), float(np.log(bias)))
