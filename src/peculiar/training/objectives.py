"""What one stage of training minimises, and how it is judged on whole validation boxes."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import nn

from peculiar.core.channels import Channels
from peculiar.core.errors import InputError
from peculiar.models.channels import (
    DENSITY,
    DISPLACEMENT_OUTPUTS,
    FLOW_OUTPUTS,
    MOMENTUM,
    OUTPUTS,
    VELOCITY,
    rho_of,
)
from peculiar.models.xiao2024 import STAGES, Xiao2024
from peculiar.training.count_objective import Counts
from peculiar.training.likelihood import Likelihood
from peculiar.training.losses import (
    DISPLACED,
    DISPLACEMENT_TARGETS,
    MOVING,
    START,
    Mesh,
    component_losses,
    correlation,
    density_loss,
    displacement_losses,
    distances,
    flow_losses,
    interior,
    vector_loss,
    velocity_losses,
)
from peculiar.training.settings import (
    AdversarialLoss,
    ComponentLoss,
    CountLoss,
    DisplacementLoss,
    FlowLoss,
    LikelihoodLoss,
    LossSettings,
    PublishedLoss,
    VelocityLoss,
)
from peculiar.training.whole import WholeNetwork

Values = dict[str, torch.Tensor]


class Objective(Protocol):
    """One stage of training."""

    @property
    def name(self) -> str:
        """Name of the stage; "all" where there is one only."""
        ...

    @property
    def targets(self) -> Channels:
        """Names of the target channels."""
        ...

    @property
    def margin(self) -> int:
        """Outer cells of a crop, or of a box that does not wrap, that the loss leaves out."""
        ...

    def trained(self, network: nn.Module) -> nn.Module:
        """Return the part of the network that this stage trains."""
        ...

    def loss(self, network: nn.Module, inputs: Mesh, targets: Mesh, *, crop: bool) -> torch.Tensor:
        """Return the loss of a batch of crops (boxes that do not wrap are crops), or of whole periodic boxes."""
        ...

    def validate(
        self,
        network: nn.Module,
        inputs: Mesh,
        targets: Mesh,
        factor: torch.Tensor,
        *,
        periodic: bool = True,
    ) -> Values:
        """Compare whole boxes with their truth; "loss" is among the values.

        Parameters
        ----------
        network : torch.nn.Module
        inputs, targets : (batch, channel, x, y, z)
        factor : (batch,)
            a H f [km/s per Mpc/h].
        periodic : bool
            Whether the boxes wrap; of others the margin is left out.
        """
        ...


def objectives(settings: LossSettings, *, inputs: Channels) -> list[Objective]:
    """Return the stages of a recipe's loss, in their order, for networks with these input channels."""
    if isinstance(settings, LikelihoodLoss):
        return [Likelihood(settings, inputs)]
    if isinstance(settings, PublishedLoss):
        return [PublishedStage(settings, name) for name in STAGES]
    if isinstance(settings, DisplacementLoss):
        return [Displacements(settings)]
    if isinstance(settings, FlowLoss):
        return [Flows(settings, inputs)]
    if isinstance(settings, VelocityLoss):
        return [Velocities(settings)]
    if isinstance(settings, CountLoss):
        return [Counts(settings)]
    if isinstance(settings, AdversarialLoss):
        raise InputError("loss.kind must not be 'adversarial' here: two networks have no common loss")
    return [Components(settings)]


class Components(WholeNetwork):
    """Density, velocity and momentum of tracers, together."""

    targets = OUTPUTS

    def __init__(self, settings: ComponentLoss) -> None:
        self.settings, self.margin = settings, settings.margin

    def loss(self, network: nn.Module, inputs: Mesh, targets: Mesh, *, crop: bool) -> torch.Tensor:
        """Return the weighted sum of the components' errors."""
        outputs, targets, _ = self._apply(network, inputs, targets, periodic=not crop)
        return self._sum(outputs, targets)

    def _sum(self, outputs: Mesh, targets: Mesh) -> torch.Tensor:
        settings = self.settings
        parts = component_losses(
            outputs,
            targets,
            velocity_scale=settings.velocity_scale,
            momentum_scale=settings.momentum_scale,
        )
        return _weighted(parts, settings)

    def validate(
        self,
        network: nn.Module,
        inputs: Mesh,
        targets: Mesh,
        factor: torch.Tensor,
        *,
        periodic: bool = True,
    ) -> Values:
        """Return the loss, the rms error of a velocity component [km/s], and correlations."""
        outputs, targets, _ = self._apply(network, inputs, targets, periodic=periodic)
        outputs = outputs.float()
        return {
            "loss": self._sum(outputs, targets),
            "velocity_rms": _rms(outputs[:, VELOCITY] - targets[:, VELOCITY], factor),
            **{
                f"{name}_correlation": correlation(outputs[:, channels], targets[:, channels])
                for name, channels in (("velocity", VELOCITY), ("momentum", MOMENTUM), ("density", DENSITY))
            },
        }


class PublishedStage:
    """A stage of Xiao et al. 2024: the density (eq. 5), or magnitude and direction of a vector (eq. 6)."""

    targets = OUTPUTS

    def __init__(self, settings: PublishedLoss, name: str) -> None:
        self.name, self.margin = name, settings.margin

    def trained(self, network: nn.Module) -> nn.Module:
        """Return the stage's networks."""
        if not isinstance(network, Xiao2024):
            raise InputError(f"loss.kind 'published' must go with xiao2024, got {type(network).__name__}")
        return network.get_submodule(self.name)

    def loss(self, network: nn.Module, inputs: Mesh, targets: Mesh, *, crop: bool) -> torch.Tensor:
        """Return eq. 5 or eq. 6; later stages see the first one's density."""
        assert isinstance(network, Xiao2024)
        margin, periodic = (self.margin if crop else 0), not crop
        inner = interior(targets, margin)
        if self.name == "density":
            rho = network.stage(inputs, "density", periodic=periodic)
            return density_loss(interior(rho, margin), inner[:, DENSITY])
        with torch.no_grad():
            rho = network.stage(inputs, "density", periodic=periodic)
        vector = network.stage(inputs, self.name, density=rho, periodic=periodic)
        velocity = self.name == "velocity"
        scale = network.config.velocity_scale if velocity else network.config.momentum_scale
        return vector_loss(
            interior(vector, margin), inner[:, VELOCITY if velocity else MOMENTUM], scale=scale
        )

    def validate(
        self,
        network: nn.Module,
        inputs: Mesh,
        targets: Mesh,
        factor: torch.Tensor,
        *,
        periodic: bool = True,
    ) -> Values:
        """Return the loss, the stage's correlation, and the rms error of a velocity component [km/s]."""
        margin = 0 if periodic else self.margin
        loss = self.loss(network, inputs, targets, crop=not periodic)
        outputs = interior(network(inputs, periodic=periodic), margin).float()
        targets = interior(targets, margin)
        channels = {"density": DENSITY, "velocity": VELOCITY, "momentum": MOMENTUM}[self.name]
        values = {
            "loss": loss,
            f"{self.name}_correlation": correlation(outputs[:, channels], targets[:, channels]),
        }
        if self.name == "velocity":
            values["velocity_rms"] = _rms(outputs[:, VELOCITY] - targets[:, VELOCITY], factor)
        return values


class Velocities(WholeNetwork):
    """Velocity alone, as in Wang et al. 2024; its targets are those of networks with all of `OUTPUTS`."""

    targets = OUTPUTS

    def __init__(self, settings: VelocityLoss) -> None:
        self.settings, self.margin = settings, settings.margin

    def loss(self, network: nn.Module, inputs: Mesh, targets: Mesh, *, crop: bool) -> torch.Tensor:
        """Return the weighted sum of the three terms."""
        outputs, targets, _ = self._apply(network, inputs, targets, periodic=not crop)
        return self._sum(outputs, targets[:, VELOCITY])

    def _sum(self, outputs: Mesh, velocity: Mesh) -> torch.Tensor:
        if outputs.shape[1] != 3:
            raise InputError(
                f"loss.kind 'velocity' must go with a network of 3 output channels, got {outputs.shape[1]}: "
                "take wang2024"
            )
        return _weighted(
            velocity_losses(outputs, velocity, scale=self.settings.velocity_scale), self.settings
        )

    def validate(
        self,
        network: nn.Module,
        inputs: Mesh,
        targets: Mesh,
        factor: torch.Tensor,
        *,
        periodic: bool = True,
    ) -> Values:
        """Return the loss, the rms error of a velocity component [km/s], and the velocity's correlation."""
        outputs, targets, _ = self._apply(network, inputs, targets, periodic=periodic)
        outputs, velocity = outputs.float(), targets[:, VELOCITY]
        return {
            "loss": self._sum(outputs, velocity),
            "velocity_rms": _rms(outputs - velocity, factor),
            "velocity_correlation": correlation(outputs, velocity),
        }


class Displacements(WholeNetwork):
    """Displacements of particles, with their velocities where the network gives them."""

    targets = DISPLACEMENT_TARGETS

    def __init__(self, settings: DisplacementLoss) -> None:
        self.settings, self.margin = settings, settings.margin

    def loss(self, network: nn.Module, inputs: Mesh, targets: Mesh, *, crop: bool) -> torch.Tensor:
        """Return the weighted sum of displacement's and velocity's errors."""
        outputs, targets, _ = self._apply(network, inputs, targets, periodic=not crop)
        return self._sum(outputs, targets)

    def _sum(self, outputs: Mesh, targets: Mesh) -> torch.Tensor:
        parts = displacement_losses(outputs, targets, error=self.settings.error)
        velocity = parts.get("velocity")
        return parts["displacement"] + (0 if velocity is None else self.settings.velocity * velocity)

    def validate(
        self,
        network: nn.Module,
        inputs: Mesh,
        targets: Mesh,
        factor: torch.Tensor,
        *,
        periodic: bool = True,
    ) -> Values:
        """Return the loss, mean |error| / |displacement|, and its ratio to that before the correction."""
        outputs, targets, _ = self._apply(network, inputs, targets, periodic=periodic)
        outputs, true = outputs.float(), targets[:, DISPLACED]
        length = distances(true)
        relative, before = (
            (distances(found - true) / length).mean() for found in (outputs[:, DISPLACED], targets[:, START])
        )
        values = {
            "loss": self._sum(outputs, targets),
            "relative_error": relative,
            "ratio_to_start": relative / before,
        }
        if outputs.shape[1] == len(DISPLACEMENT_OUTPUTS):
            values["velocity_rms"] = _rms(outputs[:, MOVING] - targets[:, MOVING], factor)
        return values


class Flows(WholeNetwork):
    """Velocity and momentum of a density."""

    targets = FLOW_OUTPUTS

    def __init__(self, settings: FlowLoss, inputs: Channels) -> None:
        self.settings, self.inputs, self.margin = settings, inputs, settings.margin

    def loss(self, network: nn.Module, inputs: Mesh, targets: Mesh, *, crop: bool) -> torch.Tensor:
        """Return the weighted sum of velocity's and momentum's errors."""
        return self._sum(*self._apply(network, inputs, targets, periodic=not crop))

    def _sum(self, outputs: Mesh, targets: Mesh, inputs: Mesh) -> torch.Tensor:
        settings = self.settings
        parts = flow_losses(
            outputs,
            targets,
            rho_of(inputs, self.inputs),
            velocity_scale=settings.velocity_scale,
            momentum_scale=settings.momentum_scale,
            density_power=settings.density_power,
        )
        return _weighted(parts, settings)

    def validate(
        self,
        network: nn.Module,
        inputs: Mesh,
        targets: Mesh,
        factor: torch.Tensor,
        *,
        periodic: bool = True,
    ) -> Values:
        """Return the loss, the rms error of a velocity component [km/s], and correlations."""
        outputs, targets, inputs = self._apply(network, inputs, targets, periodic=periodic)
        outputs = outputs.float()
        velocity, momentum = (FLOW_OUTPUTS.of(name) for name in ("velocity", "momentum"))
        return {
            "loss": self._sum(outputs, targets, inputs),
            "velocity_rms": _rms(outputs[:, velocity] - targets[:, velocity], factor),
            "velocity_correlation": correlation(outputs[:, velocity], targets[:, velocity]),
            "momentum_correlation": correlation(outputs[:, momentum], targets[:, momentum]),
        }


def _rms(error: Mesh, factor: torch.Tensor) -> torch.Tensor:
    return (error * factor.view(-1, 1, 1, 1, 1)).square().mean().sqrt()


def _weighted(parts: Values, weights: object) -> torch.Tensor:
    return torch.stack([getattr(weights, name) * value for name, value in parts.items()]).sum()
