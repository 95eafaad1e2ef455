"""Emulators in use: Lagrangian displacements to N-body ones, and densities to their flow."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from peculiar.core import Box, Cosmology, Field, InputError
from peculiar.fields.calculus import helmholtz
from peculiar.fields.conditions import Task
from peculiar.fields.fourier import k_squared, to_fourier, to_real
from peculiar.inference.card_range import REDSHIFT_TOLERANCE, warn_outside
from peculiar.inference.card_values import VectorTransfer
from peculiar.inference.model_card import EmulatorCard, load_model
from peculiar.inference.tiles import MAX_SIDE, apply_network
from peculiar.inference.whole import Mesh, average_symmetries, spread_symmetries
from peculiar.linear.density_inputs import DensityInputs, density_inputs
from peculiar.models.channels import FLOW_OUTPUTS, outputs_of
from peculiar.simulate.lagrangian import LagrangianFields, LagrangianInputs, lagrangian_inputs

COMPONENTS = ("x", "y", "z")


@dataclass(frozen=True, eq=False)
class DisplacementEmulator:
    """A network from perturbation theory, or a few steps, to the displacement and velocity of an N-body run.

    Parameters
    ----------
    module : torch.nn.Module
        The network, in evaluation mode, on the device that it shall run on.
    card : EmulatorCard
        Of the task "displace".
    max_side : int
        Largest lattice side that is evaluated at once; larger ones go in tiles that wrap around.

    Examples
    --------
    >>> emulator = DisplacementEmulator.load("displacement")  # doctest: +SKIP
    """

    module: torch.nn.Module = field(repr=False)
    card: EmulatorCard
    max_side: int = MAX_SIDE

    @classmethod
    def load(cls, name_or_path: Path | str, *, max_side: int = MAX_SIDE) -> DisplacementEmulator:
        """Load a shipped model by name, or a .safetensors file with its card; see `load_model` for errors."""
        return cls(*_load(name_or_path, "displace"), max_side)

    @property
    def steps(self) -> tuple[int, ...]:
        """Numbers of particle-mesh steps that the network corrects; 0 is 2LPT."""
        assert isinstance(self.card.inputs, LagrangianInputs)
        return self.card.inputs.steps

    def knows(self, redshift: float) -> bool:
        """Whether a redshift lies within the card's."""
        low, high = self.card.redshift_range
        return low - REDSHIFT_TOLERANCE <= redshift <= high + REDSHIFT_TOLERANCE

    def check(self, redshift: float, *, steps: int, symmetries: int | None = None) -> None:
        """Refuse a redshift or steps outside the card's, and symmetries that the cube does not have."""
        card = self.card
        if steps not in self.steps:
            known = " or ".join(map(str, self.steps))
            raise InputError(f"steps must be {known} for model {card.name!r}, got {steps}")
        if not self.knows(redshift):
            low, high = card.redshift_range
            trained = f"{low:g}" if low == high else f"{low:g} to {high:g}"
            raise InputError(
                f"redshift must be {trained} for model {card.name!r}, got {redshift:g}: train one for it"
            )
        if symmetries is not None and not 1 <= symmetries <= 48:
            raise InputError(
                f"symmetries must lie in 1 to 48, got {symmetries}: leave them out for the model's"
            )

    def emulate(
        self,
        theory: LagrangianFields,
        box: Box,
        cosmology: Cosmology,
        *,
        redshift: float,
        symmetries: int | None = None,
    ) -> dict[str, Float[torch.Tensor, "3 x y z"]]:
        """Return "displacement" [Mpc/h] and, of networks that give it, "velocity" [km/s] of each particle.

        Warns (`OutOfRangeWarning`) where the particles' separation or the cosmology lie outside the training pairs'.

        Parameters
        ----------
        theory : LagrangianFields
            Of a periodic lattice whose sides are multiples of the network's stride, after as many steps as in training.
        box : Box
            With one cell per particle.
        cosmology : Cosmology
        redshift : float
            Within the card's.
        symmetries : int, optional
            Symmetries of the cube to average over, 1 to 48: less error, so many times the time. Default: the card's.

        Raises
        ------
        InputError
            If redshift or steps lie outside the card's.
        """
        card = self.card
        assert isinstance(card.inputs, LagrangianInputs)
        self.check(redshift, steps=theory.steps, symmetries=symmetries)
        warn_outside(card, cell_size=box.cell_size, redshift=redshift, cosmology=cosmology)
        inputs = lagrangian_inputs(theory, box, cosmology, redshift=redshift, spec=card.inputs)
        outputs = _averaged(self.module, card, inputs, max_side=self.max_side, symmetries=symmetries)
        names = outputs_of(self.module)
        results = {"displacement": outputs[names.of("displacement")]}
        if "velocity_x" in names:
            results["velocity"] = outputs[names.of("velocity")] * cosmology.velocity_factor(redshift)
        return results


@dataclass(frozen=True, eq=False)
class FlowEmulator:
    """A network from a density to its velocity and momentum.

    Parameters
    ----------
    module : torch.nn.Module
        The network, in evaluation mode, on the device that it shall run on.
    card : EmulatorCard
        Of the task "flow".
    max_side : int
        Largest mesh side that is evaluated at once [cells]; larger meshes go in tiles.
    """

    module: torch.nn.Module = field(repr=False)
    card: EmulatorCard
    max_side: int = MAX_SIDE

    @classmethod
    def load(cls, name_or_path: Path | str, *, max_side: int = MAX_SIDE) -> FlowEmulator:
        """Load a shipped model by name, or a .safetensors file with its card; see `load_model` for errors."""
        return cls(*_load(name_or_path, "flow"), max_side)

    def flow(self, density: Field, cosmology: Cosmology, *, redshift: float) -> dict[str, Field]:
        """Return "velocity" and "momentum" [km/s] of an overdensity in a periodic box.

        They have the least error, and so too little power on small scales. "velocity_unbiased" and "momentum_unbiased"
        are the same with every mode multiplied by the card's factor for its k and its Helmholtz part, which takes the
        mean power back to the truth's and leaves r(k) as it is.

        Warns (`OutOfRangeWarning`) where cell size, redshift or cosmology differ from the card's.
        """
        card = self.card
        assert isinstance(card.inputs, DensityInputs)
        warn_outside(card, cell_size=density.box.cell_size, redshift=redshift, cosmology=cosmology)
        inputs = density_inputs(density, card.inputs, cosmology=cosmology, redshift=redshift)
        outputs = _averaged(self.module, card, inputs, max_side=self.max_side)
        outputs = outputs * cosmology.velocity_factor(redshift)
        fields = {
            name: Field(
                outputs[FLOW_OUTPUTS.of(name)],
                density.box,
                COMPONENTS,
                "km/s",
                kind="vector",
                definition=card.velocity_definition,
            )
            for name in ("velocity", "momentum")
        }
        unbiased = {
            f"{name}_unbiased": with_transfer(fields[name], one) for name, one in card.transfers.items()
        }
        return fields | unbiased


def with_transfer(field: Field, table: VectorTransfer) -> Field:
    """Return a vector field of a periodic box with the modes of its Helmholtz parts multiplied by factors of k."""
    box, device = field.box, field.data.device
    k = k_squared(box, device, dtype=torch.float64).sqrt_().cpu().numpy()
    total = torch.zeros_like(field.data)
    for part, factors in zip(helmholtz(field), (table.potential, table.rotational), strict=True):
        factor = torch.as_tensor(np.interp(k, table.k, factors), dtype=torch.float32, device=device)
        total += to_real(to_fourier(part.data) * factor, box.shape)
    return field.replace(data=total)


def _load(name_or_path: Path | str, task: Task) -> tuple[torch.nn.Module, EmulatorCard]:
    module, card = load_model(name_or_path)
    if not isinstance(card, EmulatorCard) or card.task != task:
        raise InputError(f"model must be for the task {task!r}, got {card.name!r}: see `peculiar models`")
    return module, card


def _averaged(
    module: torch.nn.Module,
    card: EmulatorCard,
    inputs: Mesh,
    *,
    max_side: int,
    symmetries: int | None = None,
) -> Mesh:
    def apply(mesh: Mesh) -> Mesh:
        return apply_network(module, mesh, periodic=True, max_side=max_side)

    inputs = inputs.to(next(module.parameters()).device)
    _, *others = spread_symmetries(symmetries or card.symmetry_average, line_of_sight=None)
    outputs = apply(inputs)  # the first one is the identity
    if not others:
        return outputs
    rest = average_symmetries(
        apply,
        inputs,
        elements=others,
        input_vectors=card.inputs.vectors,
        output_vectors=outputs_of(module).vectors,
    )
    return (outputs + len(others) * rest) / (1 + len(others))
