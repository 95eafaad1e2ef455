"""What networks see of a survey: tracers, where and how densely it samples, and a classical flow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from pydantic import Field as Setting

from peculiar.core import Catalogue
from peculiar.core.channels import vector
from peculiar.fields.calculus import displacement_from_fourier
from peculiar.fields.conditions import Circumstances, condition_channels
from peculiar.fields.paint import paint
from peculiar.linear.iterative import move_back
from peculiar.linear.linear_theory import smoothed_fourier
from peculiar.linear.overdensity import crop, overdensity, sampling, tracer_weights
from peculiar.linear.surroundings import surroundings_displacement
from peculiar.linear.tracer_inputs import CatalogueInputs

SURROUNDINGS = "surroundings"
"""Name of the vector of the displacement that unseen matter is expected to cause."""


class SurveyInputs(CatalogueInputs):
    """Which meshes a network for surveys sees; part of its model card. Zero means: nothing is known here.

    kind "survey" (ours): ln(1 + delta / 2) of the tracers as observed, moved back along the line of sight by the
    iterative FFT, and moved back with their masses as weights (without masses once more the numbers); the expected
    fraction of the mean density, and the condition "density"; the flow of the iterative FFT over a H f
    [Mpc/h] (3), with that of the matter expected beyond the survey's edge, and the latter alone (3); the unit vector
    along the line of sight (3); and the condition "bias", ln b. The bias b that these flows are divided by is
    measured from the clustering of the tracers (`linear_bias`).

    kind "observed" (Wang et al. 2024): the tracers as observed, nearest grid point, over their mean in the survey: as
    it is, less one ("contrast"), or ln(1 + it) ("logarithm").
    """

    isolated = True
    kind: Literal["survey", "observed"] = "survey"
    values: Literal["density", "contrast", "logarithm"] = Setting("contrast", description="of 'observed'")
    smoothing: float = Setting(4.0, ge=0, description="of the iterative FFT [Mpc/h]")
    iterations: int = Setting(6, ge=1)

    @property
    def own(self) -> tuple[str, ...]:
        """Names of the channels that the kind has."""
        if self.kind == "observed":
            return ("tracers",)
        tracers = ("observed", "moved", "moved_mass", "completeness", "density")
        return (*tracers, *vector("flow"), *vector(SURROUNDINGS), *vector("sight"), "bias")

    def own_channels(
        self, catalogue: Catalogue, given: Circumstances
    ) -> Iterator[Float[torch.Tensor, "channel x y z"]]:
        """Make the channels that the kind has."""
        return (_observed if self.kind == "observed" else _ours)(catalogue, given, self)


def _observed(catalogue: Catalogue, given: Circumstances, spec: SurveyInputs) -> Iterator[torch.Tensor]:
    box, expected = given.box, given.completeness
    counts = paint(catalogue.positions, box, weights=tracer_weights(catalogue, spec.weighting), scheme="ngp")
    seen = torch.ones_like(counts, dtype=torch.bool) if expected is None else expected > 0
    density = counts / counts[seen].mean()
    if spec.values == "contrast":
        yield torch.where(seen, density - 1, 0.0)
    else:
        yield density.log1p() if spec.values == "logarithm" else density


def _ours(catalogue: Catalogue, given: Circumstances, spec: SurveyInputs) -> Iterator[torch.Tensor]:
    bias, cells, cosmology = given.bias(), max(given.box.shape), given.cosmology
    positions = move_back(
        catalogue,
        cells=cells,
        cosmology=cosmology,
        smoothing=spec.smoothing,
        bias=bias,
        iterations=spec.iterations,
    )
    grid = sampling(catalogue, cells)
    box = grid.box

    def logarithm(delta: torch.Tensor) -> torch.Tensor:
        return torch.log1p(crop(delta, box).clamp(min=-1) / 2)

    yield logarithm(overdensity(catalogue.positions, grid, weights=catalogue.weights))
    moved = overdensity(positions, grid, weights=catalogue.weights)
    yield logarithm(moved)
    flow_k = smoothed_fourier(moved[0], grid.fourier, smoothing=spec.smoothing, bias=bias)
    if catalogue.masses is not None:
        moved = overdensity(positions, grid, weights=tracer_weights(catalogue, "mass"))
    yield logarithm(moved)
    del moved
    yield torch.ones((1, *box.shape)) if given.completeness is None else given.completeness
    yield condition_channels(("density",), given)
    flow = displacement_from_fourier(flow_k, grid.fourier, kept=box)
    del flow_k
    surroundings = surroundings_displacement(
        catalogue, positions, cells=cells, cosmology=cosmology, bias=bias
    )
    yield flow.add_(surroundings)
    del flow
    yield surroundings
    del surroundings
    yield sight_lines(catalogue, cells)
    yield condition_channels(("bias",), given)


def sight_lines(catalogue: Catalogue, cells: int) -> Float[torch.Tensor, "3 x y z"]:
    """Return the unit vector along the line of sight at the cell centres of a catalogue's box."""
    box = catalogue.box.with_cells(cells)
    x, *across = (box.coordinates(axis) for axis in range(3))
    found = torch.empty(3, *box.shape)
    for i, place in enumerate(x):  # bounds the temporaries in double precision
        centres = np.stack(np.meshgrid([place], *across, indexing="ij"), axis=-1).reshape(-1, 3)
        found[:, i] = torch.from_numpy(catalogue.sight_lines(centres).T.astype(np.float32)).reshape(
            3, *box.shape[1:]
        )
    return found
