"""The objective of networks that know their errors: fields, and the variance of the velocity."""

from __future__ import annotations

import torch
from torch import nn

from peculiar.core.channels import Channels
from peculiar.models.channels import DENSITY, LOG_VARIANCE, MOMENTUM, OUTPUTS, VELOCITY
from peculiar.training.losses import Mesh, component_losses, correlation
from peculiar.training.settings import LikelihoodLoss
from peculiar.training.whole import WholeNetwork

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


def mean_likelihood(parts: Mesh, log_variance: Mesh) -> torch.Tensor:
    """Return the mean of minus the log likelihood of errors, Gaussian along the line of sight and across it.

    Parameters
    ----------
    parts : (batch, 2, x, y, z)
        Of `squares`.
    log_variance : (batch, 2, x, y, z)
        Along the line of sight, and along each of the two axes across it.
    """
    axes = parts.new_tensor(_AXES).view(1, 2, 1, 1, 1)
    return 0.5 * (parts * (-log_variance).exp() + axes * log_variance).sum(dim=1).mean()


class Likelihood(WholeNetwork):
    """Density, velocity and momentum of cells, and the variance of the velocity.

    The velocity's squared error is divided by that of the linear estimate in the same crop, so that sparse and dense
    samples, calm and violent cosmologies, count alike. The variance learns from the errors alone.
    """

    targets = OUTPUTS

    def __init__(self, settings: LikelihoodLoss, inputs: Channels) -> None:
        self.settings, self.margin = settings, settings.margin
        self.sight, self.linear = inputs.of("sight"), inputs.of("wiener_velocity")

    def loss(self, network: nn.Module, inputs: Mesh, targets: Mesh, *, crop: bool) -> torch.Tensor:
        """Return the weighted sum of the errors."""
        return self._sum(*self._apply(network, inputs, targets, periodic=not crop))

    def _sum(self, outputs: Mesh, targets: Mesh, inputs: Mesh) -> torch.Tensor:
        settings = self.settings
        parts = component_losses(outputs[:, : len(OUTPUTS)], targets, momentum_scale=settings.momentum_scale)
        errors = squares(outputs[:, VELOCITY] - targets[:, VELOCITY], inputs[:, self.sight])
        variance = outputs[:, LOG_VARIANCE]
        linear = (inputs[:, self.linear] - targets[:, VELOCITY]).square().sum(dim=(1, 2, 3, 4))
        share = errors.sum(dim=(1, 2, 3, 4)) / linear.clamp(min=1e-6)
        return (
            settings.density * parts["density"]
            + settings.momentum * parts["momentum"]
            + settings.velocity * share.mean()
            + settings.errors * mean_likelihood(errors.detach(), variance)
        )

    def validate(
        self,
        network: nn.Module,
        inputs: Mesh,
        targets: Mesh,
        factor: torch.Tensor,
        *,
        periodic: bool = True,
    ) -> dict[str, torch.Tensor]:
        """Return the loss, and the velocity's squared error over the linear estimate's, and over what is told."""
        outputs, targets, inputs = self._apply(network, inputs, targets, periodic=periodic)
        error = (outputs[:, VELOCITY] - targets[:, VELOCITY]).square()
        along = squares(outputs[:, VELOCITY] - targets[:, VELOCITY], inputs[:, self.sight])[:, :1]
        variance = outputs[:, LOG_VARIANCE][:, :1].exp()
        return {
            "loss": self._sum(outputs, targets, inputs),
            "velocity_rms": (error.mean() * factor.square().mean()).sqrt(),
            "velocity_ratio": error.mean() / (inputs[:, self.linear] - targets[:, VELOCITY]).square().mean(),
            "pull_rms": (along / variance).mean().sqrt(),
            "momentum_correlation": correlation(outputs[:, MOMENTUM], targets[:, MOMENTUM]),
            "density_correlation": correlation(outputs[:, DENSITY], targets[:, DENSITY]),
        }
