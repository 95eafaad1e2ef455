"""A network with its card as a reconstructor: catalogue in, density, velocity and momentum out."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from peculiar.core import Box, Catalogue, Cosmology, Field, InputError, OutOfRangeWarning
from peculiar.core.memory import kept_memory
from peculiar.fields.calculus import divergence
from peculiar.fields.fourier import filter_, to_fourier, to_real_
from peculiar.fields.objects import ERROR, LOCAL_ERROR
from peculiar.fields.symmetry import IDENTITY, Symmetry, compose
from peculiar.inference.card_range import check_range
from peculiar.inference.card_values import DensityTransfer
from peculiar.inference.model_card import ModelCard, load_model
from peculiar.inference.whole import (
    Mesh,
    apply_isolated,
    apply_whole,
    average_symmetries,
    extended_sides,
    fits,
    spread_symmetries,
    total_stride,
)
from peculiar.linear.clustering import Clustering, expected_bias, measure_clustering
from peculiar.linear.halo_model import companions
from peculiar.linear.inputs import network_inputs
from peculiar.linear.light_cone import velocity_factor
from peculiar.linear.optimal_weights import ranked
from peculiar.linear.overdensity import fourier_box, larger_box, pad, surrounded
from peculiar.models.channels import (
    DENSITY,
    LIKELIHOOD_OUTPUTS,
    LOG_VARIANCE,
    MOMENTUM,
    OUTPUTS,
    VELOCITY,
    outputs_of,
    overdensity,
)

COMPONENTS = ("x", "y", "z")
Factor = float | Float[torch.Tensor, "x y z"]
DENSE = 3e-3
"""Number density [(h/Mpc)^3] from which on numbers of a sample tell of it."""
LEAST_BIAS = -0.3
"""Of the logarithm of a bias over that of as many of the most massive halos: below, a sample is taken at random."""
# Measured without tiles: `general` takes 590 for a periodic mesh, `residual` 420 with its margin, `survey` 820.
_BYTES_PER_CELL, _BYTES_WITH_MARGIN, _BYTES_OF_SURVEYS = 650, 500, 950
LEAST_SQUARES = "least mean-square error"

# Turns that bring an axis to z: networks of the card's line of sight "z" see every plane-parallel catalogue along it.
_TURNS = {
    "x": Symmetry((1, 2, 0), (False, False, False)),
    "y": Symmetry((2, 0, 1), (False, False, False)),
}


@dataclass(frozen=True, eq=False)
class NeuralReconstructor:
    """A network behind the same protocol as the classical reconstructors.

    Parameters
    ----------
    module : torch.nn.Module
        The network, in evaluation mode, on the device that it shall run on.
    card : ModelCard
        Its card: inputs, calibration, number of symmetries.

    Examples
    --------
    >>> model = NeuralReconstructor.load("residual")  # doctest: +SKIP
    >>> fields = model.reconstruct(halos, cells=96, cosmology=model.card.training_cosmology)  # doctest: +SKIP
    """

    module: torch.nn.Module = field(repr=False)
    card: ModelCard

    @classmethod
    def load(cls, name_or_path: Path | str) -> NeuralReconstructor:
        """Load a shipped model by name, or a .safetensors file with its card; see `load_model` for errors."""
        module, card = load_model(name_or_path)
        if not isinstance(card, ModelCard):
            raise InputError(
                f"model must reconstruct from a catalogue, got {card.name!r}, which is for the task {card.task!r}: see "
                "`peculiar models`"
            )
        return cls(module, card)

    @property
    def name(self) -> str:
        """Name in score tables."""
        return self.card.name

    def reconstruct(self, catalogue: Catalogue, *, cells: int, cosmology: Cosmology) -> dict[str, Field]:
        """Return "density" (overdensity), "velocity" and "momentum" [km/s] on the catalogue's box.

        Warns (`OutOfRangeWarning`) where the catalogue lies outside the card's range.

        Raises
        ------
        InputError
            If the network needs masses and the catalogue has none.
        """
        check_range(self.card, catalogue, cells=cells, cosmology=cosmology)
        seen, margin = self.seen(catalogue, cells=cells)
        outputs = self.outputs(
            network_inputs(seen, cells=cells + 2 * margin, cosmology=cosmology, spec=self.card.inputs).data,
            line_of_sight=catalogue.line_of_sight,
            periodic=catalogue.box.periodic,
        )
        outputs = interior(outputs, margin)
        return assemble(
            outputs,
            card=self.card_of(catalogue, cosmology=cosmology),
            box=catalogue.box.with_cells(cells),
            velocity_factor=velocity_factor(catalogue, catalogue.box.with_cells(cells), cosmology=cosmology),
            error_factor=error_factor(self.card, catalogue, cosmology=cosmology),
        )

    def seen(self, catalogue: Catalogue, *, cells: int) -> tuple[Catalogue, int]:
        """Return what the network sees of a catalogue, and how many cells of it lie beyond the catalogue's faces."""
        margin = 0 if catalogue.box.periodic else self.card.inputs.margin
        return (surrounded(catalogue, cells=cells, margin=margin) if margin else catalogue), margin

    def mesh(self, box: Box) -> Box:
        """Return the box that the network sees of another, with its mesh."""
        return larger_box(box, self.card.inputs.margin)

    def card_of(self, catalogue: Catalogue, *, cosmology: Cosmology) -> ModelCard:
        """Return the card, its density's transfer function that of how strongly a catalogue's tracers cluster."""
        table = self.card.density_transfer
        if table.beta is None:
            return self.card
        table = table.at(self.card.inputs.beta(catalogue, cosmology=cosmology))
        return self.card.model_copy(update={"density_transfer": table})

    def memory(self, box: Box) -> int:
        """Return the memory [bytes] that a reconstruction on a mesh takes at most, with the margin that it may need."""
        multiple, shape = total_stride(self.module), self.mesh(box).shape
        if self.card.inputs.ends and not box.periodic:
            return _BYTES_OF_SURVEYS * math.prod(-(-side // multiple) * multiple for side in shape)
        if box.periodic and fits(shape, multiple):
            return _BYTES_PER_CELL * math.prod(shape)
        return _BYTES_WITH_MARGIN * math.prod(extended_sides(shape, multiple=multiple)[1])

    def outputs(
        self, inputs: Mesh, *, line_of_sight: str, periodic: bool
    ) -> Float[torch.Tensor, "channel x y z"]:
        """Return the network's output channels, averaged over the card's number of symmetries.

        On the inputs of surveys a mesh that is not periodic ends at its faces, as in training
        (`peculiar.inference.whole.apply_isolated`); on others it gets a margin.

        Parameters
        ----------
        inputs : (channel, x, y, z)
            Of `peculiar.linear.inputs.network_inputs`.
        line_of_sight : "x", "y", "z" or "radial"
        periodic : bool
            Whether opposite faces of the mesh are one.
        """
        card = self.card
        isolated = card.inputs.ends and not periodic
        turn, elements = self.symmetries(line_of_sight)

        def apply(mesh: Mesh) -> Mesh:
            if isolated:
                return apply_isolated(self.module, mesh)
            return apply_whole(self.module, mesh, periodic=periodic)

        given = [inputs]
        del inputs  # the largest mesh of all: given away, it goes when it has been turned for the last time
        with kept_memory():
            return average_symmetries(
                apply,
                given.pop().to(self.device),
                elements=[compose(turn, element) for element in elements],
                input_vectors=card.inputs.vectors,
                output_vectors=outputs_of(self.module).vectors,
            )

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.module.parameters()).device

    def symmetries(self, line_of_sight: str) -> tuple[Symmetry, list[Symmetry]]:
        """Return the turn that brings a line of sight to that of the card, and the symmetries of the mean after it.

        Which they are does not depend on the name of the axis.
        """
        along = "z" if self.card.line_of_sight == "z" else None
        turn = _TURNS.get(line_of_sight, IDENTITY) if along else IDENTITY
        return turn, spread_symmetries(self.card.symmetry_average, line_of_sight=along)


def interior(mesh: Any, margin: int) -> Any:
    """Return a mesh (channel, x, y, z) without so many cells beyond each face."""
    inner = slice(margin, -margin or None)
    return mesh[:, inner, inner, inner]


def assemble(
    outputs: Float[torch.Tensor, "channel x y z"],
    *,
    card: ModelCard,
    box: Box,
    velocity_factor: Factor,
    error_factor: float = 1.0,
) -> dict[str, Field]:
    """Turn a network's output channels into fields; see `assembled`."""
    return dict(
        assembled(outputs, card=card, box=box, velocity_factor=velocity_factor, error_factor=error_factor)
    )


def assembled(
    outputs: Any, *, card: ModelCard, box: Box, velocity_factor: Factor, error_factor: float = 1.0
) -> Iterator[tuple[str, Field]]:
    """Turn a network's output channels into fields, one at a time.

    Parameters
    ----------
    outputs : (7, x, y, z) or (3, x, y, z)
        A tensor, or an array that slices like one, such as zarr's.
        `peculiar.models.channels.OUTPUTS`: log density, velocity and momentum over a H f [Mpc/h]; or the velocity
        alone.
    card : ModelCard
        Gives the density's transfer function and the velocity's definition.
    box : Box
        With the outputs' mesh.
    velocity_factor : float or Tensor (x, y, z)
        a H f [km/s per Mpc/h], of each cell on a light cone.
    error_factor : float
        By which errors are multiplied, see the function of that name.

    Yields
    ------
    Names and fields: "density" (overdensity, its power unbiased by the card's transfer function),
    "density_least_squares" (before it), "velocity" and "momentum" [km/s]; of networks that know it "velocity_error", of
    one component ("local_error" where unseen matter adds to it). From a velocity alone follow only "density"
    (`continuity_density`), "velocity" and "momentum", (1 + density) times velocity.
    """

    def vector(values: torch.Tensor, definition: str) -> Field:
        return Field(values, box, names=COMPONENTS, unit="km/s", kind="vector", definition=definition)

    if outputs.shape[0] < len(OUTPUTS):
        flow = torch.as_tensor(outputs[:]).cpu()
        density = continuity_density(flow, box)
        velocity = flow * velocity_factor
        yield "density", density
        yield "velocity", vector(velocity, card.velocity_definition)
        how = f"(1 + density) times velocity ({card.velocity_definition}); density: {density.definition}"
        yield "momentum", vector((1 + density.data) * velocity, how)
        return
    delta = overdensity(torch.as_tensor(outputs[DENSITY]))
    if box.periodic:
        mean = delta.mean()
        delta.sub_(mean).div_(1 + mean)
    yield (
        "density",
        Field(
            calibrate(delta, card.density_transfer, box).cpu(),
            box,
            names=("density",),
            definition="power unbiased on average"
            if any(factor != 1 for factor in card.density_transfer.transfer)
            else LEAST_SQUARES,
        ),
    )
    yield "density_least_squares", Field(delta.cpu(), box, names=("density",), definition=LEAST_SQUARES)
    del delta
    for name, channels in (("velocity", VELOCITY), ("momentum", MOMENTUM)):
        values = torch.empty(3, *box.shape)
        for i, component in enumerate(values):
            torch.mul(torch.as_tensor(outputs[channels.start + i]).cpu(), velocity_factor, out=component)
        yield name, vector(values, card.velocity_definition)
        del values, component
    if outputs.shape[0] < len(LIKELIHOOD_OUTPUTS):
        return
    along, across = torch.as_tensor(outputs[LOG_VARIANCE]).cpu().exp()
    error = ((along + 2 * across).div_(3).sqrt_() * velocity_factor)[None] * error_factor
    name = ERROR if box.periodic else LOCAL_ERROR
    yield name, Field(error, box, names=(name,), unit="km/s")


def error_factor(card: ModelCard, catalogue: Catalogue, *, cosmology: Cosmology) -> float:
    """Return what the errors that a network tells of a catalogue are multiplied by; 1 where its card has no factor."""
    if card.error_factor is None:
        return 1.0
    return card.error_factor.of(sample_numbers(catalogue, cosmology=cosmology))


def sample_numbers(catalogue: Catalogue, *, cosmology: Cosmology) -> dict[str, float]:
    """Return what tells how a catalogue's objects were chosen, for `peculiar.inference.card_values.ErrorFactor`.

    "noise" is the logarithm of its noise over Poisson's, which objects taken at random have; "companions" the root of
    the number of others in an object's halo, of which that leaves few; "bias" the logarithm of the bias over that of as
    many of the most massive halos, which it makes small (`LEAST_BIAS`); "dense" the logarithm of the density over
    `DENSE`, 0 below it: of denser samples the same noise means less. The same once more with "ranked_" before it, and
    "ranked", 1: all 0 where no masses rank objects. A network takes the heaviest of a sample for the heaviest of all,
    which of one taken at random they are not. All of it once more with "growth_" before it, times the logarithm of
    sigma_8 D(z): the same clustering means something else at another epoch.
    """
    found = _clustering(catalogue, cosmology=cosmology)
    usual = expected_bias(catalogue.number_density, cosmology=cosmology, redshift=catalogue.redshift)
    known = {
        "noise": math.log(found.excess),
        "companions": math.sqrt(companions(catalogue)),
        "bias": max(math.log(found.bias / usual), LEAST_BIAS),
        "dense": max(math.log(catalogue.number_density / DENSE), 0.0),
    }
    ranks = float(ranked(catalogue))
    known |= {"ranked": ranks} | {f"ranked_{name}": ranks * value for name, value in known.items()}
    growth = math.log(cosmology.sigma8 * cosmology.growth(catalogue.redshift))
    return known | {f"growth_{name}": growth * value for name, value in known.items()}


def bias_error(catalogue: Catalogue, *, cosmology: Cosmology) -> float:
    """Return the relative standard error of a catalogue's measured bias: velocities share it."""
    return _clustering(catalogue, cosmology=cosmology).error


def _clustering(catalogue: Catalogue, *, cosmology: Cosmology) -> Clustering:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OutOfRangeWarning)  # was told when the inputs were made
        return measure_clustering(catalogue, cosmology=cosmology)


def continuity_density(flow: Float[torch.Tensor, "3 x y z"], box: Box) -> Field:
    """Return the overdensity that a velocity has in linear theory: minus the divergence of v / (a H f), at least -1.

    Parameters
    ----------
    flow : (3, x, y, z) [Mpc/h]
        Velocity over a H f.
    box : Box
        With its mesh. The divergence is exact in Fourier space where it is periodic; else it is made of differences of
        neighbouring cells, which do not ring at the faces.
    """
    if box.periodic:
        inward = -divergence(Field(flow, box, COMPONENTS, "Mpc/h", kind="vector")).data
        how = "in Fourier space"
    else:
        slopes = [torch.gradient(flow[i], spacing=box.cell_size, dim=i)[0] for i in range(3)]
        inward = -torch.stack(slopes).sum(dim=0, keepdim=True)
        how = "by central differences"
    return Field(
        inward.clamp(min=-1),
        box,
        names=("density",),
        definition=f"minus the divergence of velocity / (a H f), {how}, at least -1 (linear theory)",
    )


def calibrate(
    delta: Float[torch.Tensor, "1 x y z"], table: DensityTransfer, box: Box
) -> Float[torch.Tensor, "1 x y z"]:
    """Return an overdensity with every mode multiplied by the card's factor at its k; zero-padded if not periodic."""
    fourier = fourier_box(box)

    def factor(*k: torch.Tensor) -> torch.Tensor:
        length = (k[0] ** 2 + k[1] ** 2 + k[2] ** 2).sqrt_().cpu().numpy()
        return torch.as_tensor(np.interp(length, table.k, table.transfer)).to(delta)

    modes = filter_(to_fourier(pad(delta, box)[0]), fourier, factor)
    out = torch.empty_like(delta)
    to_real_(modes, fourier.shape, out=out[0])
    return out
