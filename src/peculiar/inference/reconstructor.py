"""A network with its card as a reconstructor: catalogue in, density, velocity and momentum out."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from peculiar.core import Box, Catalogue, Cosmology, Field, InputError
from peculiar.core.catalogue import AXES
from peculiar.fields.fourier import k_squared, to_fourier, to_real
from peculiar.fields.symmetry import Symmetry, apply_symmetry, invert_symmetry
from peculiar.inference.card_range import check_range
from peculiar.inference.model_card import DensityTransfer, ModelCard, load_model
from peculiar.inference.tiles import MAX_SIDE, apply_network
from peculiar.inference.whole import Mesh, average_symmetries, spread_symmetries
from peculiar.linear.inputs import network_inputs
from peculiar.linear.overdensity import crop, fourier_box, pad
from peculiar.models.channels import DENSITY, MOMENTUM, OUTPUT_VECTORS, VELOCITY, overdensity

COMPONENTS = ("x", "y", "z")

# Turns that bring an axis to z: networks of the card's line of sight "z" see every plane-parallel catalogue along it.
_TURNS = {
    "x": Symmetry((1, 2, 0), (False, False, False)),
    "y": Symmetry((2, 0, 1), (False, False, False)),
    "z": Symmetry((0, 1, 2), (False, False, False)),
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
    max_side : int
        Largest mesh side that is evaluated at once [cells]; larger meshes go in tiles.

    Examples
    --------
    >>> model = NeuralReconstructor.load("residual")  # doctest: +SKIP
    >>> fields = model.reconstruct(halos, cells=96, cosmology=model.card.training_cosmology)  # doctest: +SKIP
    """

    module: torch.nn.Module = field(repr=False)
    card: ModelCard
    max_side: int = MAX_SIDE

    @classmethod
    def load(cls, name_or_path: Path | str, *, max_side: int = MAX_SIDE) -> NeuralReconstructor:
        """Load a shipped model by name, or a .safetensors file with its card; see `load_model` for errors."""
        module, card = load_model(name_or_path)
        if not isinstance(card, ModelCard):
            raise InputError(
                f"model must reconstruct from a catalogue, got {card.name!r}, which is for the task {card.task!r}: see "
                "`peculiar models`"
            )
        return cls(module, card, max_side)

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
        inputs = network_inputs(catalogue, cells=cells, cosmology=cosmology, spec=self.card.inputs)
        outputs = self.outputs(
            inputs.data, line_of_sight=catalogue.line_of_sight, periodic=catalogue.box.periodic
        )
        return assemble(
            outputs,
            card=self.card,
            box=catalogue.box.with_cells(cells),
            velocity_factor=cosmology.velocity_factor(catalogue.redshift),
        )

    def outputs(
        self, inputs: Mesh, *, line_of_sight: str, periodic: bool
    ) -> Float[torch.Tensor, "channel x y z"]:
        """Return the network's output channels, averaged over the card's number of symmetries.

        Parameters
        ----------
        inputs : (channel, x, y, z)
            Of `peculiar.linear.inputs.network_inputs`.
        line_of_sight : "x", "y", "z" or "radial"
        periodic : bool
            Whether opposite faces of the mesh are one.
        """
        card = self.card
        turn = _TURNS.get(line_of_sight, _TURNS["z"]) if card.line_of_sight == "z" else _TURNS["z"]
        axis = None
        if card.line_of_sight == "z":
            axis = AXES.get(line_of_sight, AXES["z"])

        def apply(mesh: Mesh) -> Mesh:
            turned = apply_symmetry(mesh, turn, vectors=card.inputs.vectors)
            result = apply_network(self.module, turned, periodic=periodic, max_side=self.max_side)
            return apply_symmetry(result, invert_symmetry(turn), vectors=OUTPUT_VECTORS)

        device = next(self.module.parameters()).device
        return average_symmetries(
            apply,
            inputs.to(device),
            elements=spread_symmetries(card.symmetry_average, line_of_sight=axis),
            input_vectors=card.inputs.vectors,
            output_vectors=OUTPUT_VECTORS,
        )


def assemble(
    outputs: Float[torch.Tensor, "channel x y z"], *, card: ModelCard, box: Box, velocity_factor: float
) -> dict[str, Field]:
    """Turn a network's output channels into fields.

    Parameters
    ----------
    outputs : (7, x, y, z)
        `peculiar.models.channels.OUTPUT_NAMES`: log density, velocity and momentum over a H f [Mpc/h].
    card : ModelCard
        Gives the density's transfer function and the velocity's definition.
    box : Box
        With the outputs' mesh.
    velocity_factor : float
        a H f [km/s per Mpc/h].

    Returns
    -------
    "density" (overdensity, its power unbiased by the card's transfer function), "density_least_squares" (before it),
    "velocity" and "momentum" [km/s].
    """
    delta = overdensity(outputs[DENSITY])
    if box.periodic:
        delta = (1 + delta) / (1 + delta.mean()) - 1

    def vector(channels: slice) -> Field:
        return Field(
            (outputs[channels] * velocity_factor).cpu(),
            box,
            names=COMPONENTS,
            unit="km/s",
            kind="vector",
            definition=card.velocity_definition,
        )

    return {
        "density": Field(
            calibrate(delta, card.density_transfer, box).cpu(),
            box,
            names=("density",),
            definition="power unbiased on average",
        ),
        "density_least_squares": Field(
            delta.cpu(), box, names=("density",), definition="least mean-square error"
        ),
        "velocity": vector(VELOCITY),
        "momentum": vector(MOMENTUM),
    }


def calibrate(
    delta: Float[torch.Tensor, "1 x y z"], table: DensityTransfer, box: Box
) -> Float[torch.Tensor, "1 x y z"]:
    """Return an overdensity with every mode multiplied by the card's factor at its k; zero-padded if not periodic."""
    fourier = fourier_box(box)
    k = k_squared(fourier, delta.device, dtype=torch.float64).sqrt_().cpu().numpy()
    factor = torch.as_tensor(np.interp(k, table.k, table.transfer), dtype=torch.float32, device=delta.device)
    return crop(to_real(to_fourier(pad(delta, box)) * factor, fourier.mesh), box)
