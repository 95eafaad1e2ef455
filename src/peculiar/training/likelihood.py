"""The objective of networks that know their errors: fields, velocities of objects, and the variance of both."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import nn

from peculiar.core.channels import Channels
from peculiar.models.channels import (
    DENSITY,
    LOG_VARIANCE,
    MOMENTUM,
    OBJECT_LOG_VARIANCE,
    OBJECT_TARGETS,
    OBJECT_VELOCITY,
    OUTPUTS,
    VELOCITY,
)
from peculiar.training.losses import Mesh, component_losses, correlation
from peculiar.training.settings import LikelihoodLoss
from peculiar.training.whole import WholeNetwork

_TARGETS = Channels((*OUTPUTS, *OBJECT_TARGETS))
_COUNT, _SUM = _TARGETS.of("objects"), _TARGETS.of("object_velocity")
_AXES = (1.0, 2.0)  # along the line of sight, and across it


def squares(error: Mesh, sight: Mesh) -> Mesh:
    """Return the square of a vector's component along the line of sight, and the sum of those across it.

    Parameters
    ----------
    error, sight : (batch, 3, x, y, z)
        The latter of length 1.
    """
    along = (error * sight).sum(dim=1, keepdim=True).square()
    across = error.square().sum(dim=1, keepdim=True) - along
    return torch.cat([along, across.clamp(min=0)], dim=1)


def mean_likelihood(
    parts: Mesh, log_variance: Mesh, weights: Float[torch.Tensor, "batch 1 x y z"]
) -> torch.Tensor:
    """Return the mean of minus the log likelihood of errors, Gaussian along the line of sight and across it.

    Parameters
    ----------
    parts : (batch, 2, x, y, z)
        Of `squares`.
    log_variance : (batch, 2, x, y, z)
        Along the line of sight, and along each of the two axes across it.
    weights : (batch, 1, x, y, z)
    """
    axes = parts.new_tensor(_AXES).view(1, 2, 1, 1, 1)
    each = 0.5 * (parts * (-log_variance).exp() + axes * log_variance)
    return (each * weights).sum() / weights.sum().clamp(min=1)


class Likelihood(WholeNetwork):
    """Density, velocity and momentum of cells, velocities of objects, and the variance of both kinds of velocities.

    A velocity's squared error is divided by the mean variance that the network tells in the same crop, so that sparse
    and dense samples, calm and violent cosmologies, count alike. The variances learn from the errors alone.
    """

    targets = _TARGETS

    def __init__(self, settings: LikelihoodLoss, inputs: Channels) -> None:
        self.settings, self.margin = settings, settings.margin
        self.sight, self.linear = inputs.of("sight"), inputs.of("wiener_velocity")

    def loss(self, network: nn.Module, inputs: Mesh, targets: Mesh, *, crop: bool) -> torch.Tensor:
        """Return the weighted sum of the errors."""
        return self._sum(*self._apply(network, inputs, targets, periodic=not crop))

    def _sum(self, outputs: Mesh, targets: Mesh, inputs: Mesh) -> torch.Tensor:
        settings, sight = self.settings, inputs[:, self.sight]
        parts = component_losses(
            outputs[:, : len(OUTPUTS)], targets[:, : len(OUTPUTS)], momentum_scale=settings.momentum_scale
        )
        total = settings.density * parts["density"] + settings.momentum * parts["momentum"]
        count = targets[:, _COUNT]
        for weight, found, true, variance, weights in (
            (
                settings.velocity,
                outputs[:, VELOCITY],
                targets[:, VELOCITY],
                outputs[:, LOG_VARIANCE],
                torch.ones_like(count),
            ),
            (
                settings.objects,
                outputs[:, OBJECT_VELOCITY],
                targets[:, _SUM] / count.clamp(min=1),
                outputs[:, OBJECT_LOG_VARIANCE],
                count,
            ),
        ):
            errors = squares(found - true, sight)
            axes = errors.new_tensor(_AXES).view(1, 2, 1, 1, 1)
            told = (axes * variance.detach().exp() * weights).sum(dim=(1, 2, 3, 4))
            share = (errors * weights).sum(dim=(1, 2, 3, 4)) / told.clamp(min=1e-6)
            total = total + weight * share.mean()
            total = total + settings.errors * mean_likelihood(errors.detach(), variance, weights)
        return total

    def validate(
        self,
        network: nn.Module,
        inputs: Mesh,
        targets: Mesh,
        factor: torch.Tensor,
        *,
        periodic: bool = True,
    ) -> dict[str, torch.Tensor]:
        """Return the loss, and of velocities the error's variance over the linear estimate's, and over what is told."""
        outputs, targets, inputs = self._apply(network, inputs, targets, periodic=periodic)
        sight, linear, count = inputs[:, self.sight], inputs[:, self.linear], targets[:, _COUNT]
        of_objects = targets[:, _SUM] / count.clamp(min=1)
        error = (outputs[:, VELOCITY] - targets[:, VELOCITY]).square()
        object_error = (outputs[:, OBJECT_VELOCITY] - of_objects).square() * count
        along = squares(outputs[:, VELOCITY] - targets[:, VELOCITY], sight)[:, :1]
        return {
            "loss": self._sum(outputs, targets, inputs),
            "velocity_rms": (error.mean() * factor.square().mean()).sqrt(),
            "velocity_ratio": error.mean() / (linear - targets[:, VELOCITY]).square().mean(),
            "object_ratio": object_error.sum()
            / ((linear - of_objects).square() * count).sum().clamp(min=1e-6),
            "pull_rms": (along * (-outputs[:, LOG_VARIANCE.start : LOG_VARIANCE.start + 1]).exp())
            .mean()
            .sqrt(),
            "momentum_correlation": correlation(outputs[:, MOMENTUM], targets[:, MOMENTUM]),
            "density_correlation": correlation(outputs[:, DENSITY], targets[:, DENSITY]),
        }
