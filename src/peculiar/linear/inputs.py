"""What networks see of a catalogue: meshes of tracers and a classical reconstruction."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal, Self

import numpy as np
import torch
from jaxtyping import Float
from pydantic import Field as Setting
from pydantic import model_validator

from peculiar.core import Box, Catalogue, Cosmology, Field, InputError
from peculiar.core.channels import vector
from peculiar.fields.conditions import Circumstances
from peculiar.fields.fourier import to_real_
from peculiar.fields.paint import ABUNDANCES, paint, paint_bins
from peculiar.linear.clustering import monopole_bias
from peculiar.linear.iterative import move_back
from peculiar.linear.linear_theory import LinearTheory, smoothed_fourier
from peculiar.linear.overdensity import binned_weights, crop, overdensity, sampling, tracer_weights
from peculiar.linear.survey_inputs import SurveyInputs, sight_lines
from peculiar.linear.tracer_inputs import CatalogueInputs
from peculiar.linear.wiener import WienerFilter, WienerSums, WienerTable, shipped_filter
from peculiar.linear.wiener_inputs import WienerInputs

CLUSTERING_RADIUS = 8.0
"""Gaussian radius [Mpc/h] of the larger of the two scales on which the tracers' variance is measured."""

LARGEST_RESPONSE = 0.2
"""The flow's amplitude is never changed by more than this fraction."""


class InputSpec(CatalogueInputs):
    """Which meshes a network sees; part of its model card.

    kind "moved" (our networks): tracers moved back along the line of sight by the iterative FFT. Channels: log counts
    in the abundance bins (4), the Wiener filter's v / (a H f) (3) [Mpc/h] and density, the unit vector along the line
    of sight (3), and two numbers, the same in every cell, that tell how strongly the tracers cluster: the log of their
    variance in cells and after smoothing, less `clustering_reference`. Tracers that cluster more have a larger bias, so
    the flow is multiplied by 1 + `flow_response` times the first of them.

    kind "published" (Xiao et al. 2024): counts in the abundance bins where redshift-space tracers stand, over their
    mean (4), and unsmoothed linear velocity and momentum over a H f (3 + 3) [Mpc/h], eqs. 2 and 3.
    """

    kind: Literal["moved", "published"] = "moved"
    abundances: tuple[float, ...] = ABUNDANCES
    smoothing: float = Setting(3.0, ge=0, description="of the iterative FFT [Mpc/h]")
    bias: Annotated[float, Setting(gt=0)] | Literal["measured"] = Setting(
        1.5, description="of the iterative FFT; for 'published' the beta of eq. 4, which may be 'measured'"
    )
    iterations: int = Setting(6, ge=1)
    clustering_reference: tuple[float, float] = (2.5, -1.3)
    flow_response: float = -0.86
    wiener: WienerTable = Setting(
        "package",
        description="of 'moved': the package's Wiener filter, or 'fitted': one of the training boxes, kept in the card",
    )

    @model_validator(mode="after")
    def _of_moved(self) -> Self:
        if self.kind != "moved" and self.wiener != "package":
            raise ValueError(f"wiener belongs to kind 'moved', got {self.kind!r}")
        if self.kind == "moved" and self.bias == "measured":
            raise ValueError("bias must be a number for kind 'moved', got 'measured'")
        return self

    @property
    def own(self) -> tuple[str, ...]:
        """Names of the channels that the kind has."""
        bins = tuple(f"abundance_{a:g}" for a in self.abundances)
        if self.kind == "published":
            return (*bins, *vector("linear_velocity"), *vector("linear_momentum"))
        flow = (*vector("wiener_velocity"), "wiener_density")
        return (*bins, *flow, *vector("sight"), "clustering_cell", "clustering_large")

    def beta(self, catalogue: Catalogue, *, cosmology: Cosmology) -> float | None:
        """Return the beta of eq. 4 of a catalogue, as its tracers are weighted, where bias is 'measured'."""
        return _beta(catalogue, cosmology, self) if self.bias == "measured" else None

    def own_channels(
        self, catalogue: Catalogue, given: Circumstances
    ) -> Iterator[Float[torch.Tensor, "channel x y z"]]:
        """Make the channels that the kind has."""
        make = _published if self.kind == "published" else _moved
        return make(catalogue, max(given.box.shape), given.cosmology, self)

    @property
    def filter(self) -> WienerFilter:
        """The Wiener filter of these inputs.

        Raises
        ------
        InputError
            If it is still to be fitted.
        """
        if isinstance(self.wiener, WienerFilter):
            return self.wiener
        if self.wiener == "fitted":
            raise InputError(
                "inputs.wiener must be a filter when it is used, got 'fitted': train with it first"
            )
        return shipped_filter()

    @property
    def tables(self) -> dict[str, str]:
        """Checksums of the tables of numbers that the channels are made with, by name."""
        return {"wiener": self.filter.checksum} if self.kind == "moved" else {}


TracerInputs = InputSpec | SurveyInputs | WienerInputs
"""All kinds, as recipes and model cards hold them."""
_LARGEST_MOMENTUM = 6e4  # over a H f [Mpc/h]


def network_inputs(catalogue: Catalogue, *, cells: int, cosmology: Cosmology, spec: CatalogueInputs) -> Field:
    """Return the input channels of a network on the mesh of a catalogue's box.

    Parameters
    ----------
    catalogue : Catalogue
        Without masses, all tracers stand in the channel of the last bin and the others are empty.
    cells : int
        Mesh cells along a side.
    cosmology : Cosmology
    spec : CatalogueInputs

    Returns
    -------
    Field
        Channels as `spec.names`.

    Raises
    ------
    InputError
        If mass weighting is wanted of a catalogue without masses.
    """
    data = spec.channels(catalogue, cells=cells, cosmology=cosmology)
    return Field(data, catalogue.box.with_cells(cells), spec.names)


def _moved(catalogue: Catalogue, cells: int, cosmology: Cosmology, spec: InputSpec) -> Iterator[torch.Tensor]:
    if spec.weighting == "mass":
        raise InputError("weighting must be 'number' for inputs of kind 'moved', got 'mass'")
    assert spec.bias != "measured"
    positions = move_back(
        catalogue,
        cells=cells,
        cosmology=cosmology,
        smoothing=spec.smoothing,
        bias=spec.bias,
        iterations=spec.iterations,
    )
    grid = sampling(catalogue, cells)
    box = grid.box
    density = np.diff(spec.abundances, prepend=0.0)
    if catalogue.masses is None:
        density = np.array([*np.zeros(len(density) - 1), spec.abundances[-1]])
    covered = None if grid.covered is None else crop(grid.covered[None], box)[0]
    unseen = None if covered is None else _unclustered(density, box)
    weights = binned_weights(catalogue, spec.abundances).T
    sums = WienerSums(spec.filter, box, len(weights))
    for index, expected in enumerate(torch.tensor(density * box.cell_size**3).float()):
        if index < len(weights):  # without masses one for all bins, of which but the last expect nothing
            delta = crop(overdensity(positions, grid, weights=weights[index]), box)[0]
            sums.add(delta)
        counts = (1 + delta).mul_(expected)
        if covered is not None and unseen is not None:
            counts = torch.where(covered, counts, unseen[index])
        yield counts.log1p_()[None]
    del delta, counts, unseen
    total = crop(overdensity(positions, grid, weights=catalogue.weights), box)[0]
    variances = torch.tensor([_variance(total, covered), _variance(_smoothed(total, box), covered)])
    del total
    clustering = variances.log() - torch.tensor(spec.clustering_reference)
    response = (spec.flow_response * clustering[0]).clamp(-LARGEST_RESPONSE, LARGEST_RESPONSE)
    for axis in range(3):
        yield sums.displacement_along(axis).mul_(1 + response)
    yield sums.density()
    del sums
    yield sight_lines(catalogue, cells)
    yield clustering[:, None, None, None].expand(2, *box.shape)


def _unclustered(density: Float[np.ndarray, " bin"], box: Box) -> Float[torch.Tensor, "bin x y z"]:
    """Counts of random tracers with no structure, the same in every call.

    They fill what a survey has not seen: networks know tracers everywhere, and an even fill is unlike any of them.
    """
    random = np.random.default_rng(0)
    number = random.poisson(density * box.volume)
    weights = np.repeat(np.eye(len(density), dtype=np.float32), number, axis=0)
    positions = np.asarray(box.origin) + random.uniform(0, box.sides, (number.sum(), 3))
    return paint(positions, box, weights=weights)


def _smoothed(delta: torch.Tensor, box: Box) -> torch.Tensor:
    return to_real_(smoothed_fourier(delta, box, smoothing=CLUSTERING_RADIUS, bias=1.0), box.shape)


def _variance(delta: torch.Tensor, covered: torch.Tensor | None) -> float:
    inside = delta if covered is None else delta[covered]
    return max(float(inside.square().mean()), 1e-6)


def _beta(catalogue: Catalogue, cosmology: Cosmology, spec: InputSpec) -> float:
    weighted = catalogue.replace(weights=tracer_weights(catalogue, spec.weighting))
    return monopole_bias(weighted, cosmology=cosmology)


def _published(
    catalogue: Catalogue, cells: int, cosmology: Cosmology, spec: InputSpec
) -> Iterator[torch.Tensor]:
    yield paint_bins(catalogue, cells, weighting=spec.weighting, abundances=spec.abundances).data
    beta = _beta(catalogue, cosmology, spec) if spec.bias == "measured" else spec.bias
    linear = LinearTheory(smoothing=0.0, bias=beta, weighting=spec.weighting).reconstruct(
        catalogue, cells=cells, cosmology=cosmology
    )
    scale = cosmology.velocity_factor(catalogue.redshift)
    yield linear["velocity"].data / scale
    # By mass the heaviest clusters exceed what float16 holds, in which training keeps its meshes.
    yield (linear["momentum"].data / scale).clamp(-_LARGEST_MOMENTUM, _LARGEST_MOMENTUM)
