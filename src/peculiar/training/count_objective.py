"""Training of painters of halo counts: the likelihood, and how the mean and a draw compare with simulated halos."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import nn

from peculiar.core.box import Box
from peculiar.core.channels import Channels
from peculiar.core.errors import InputError
from peculiar.core.field import Field
from peculiar.models.painter import Painter
from peculiar.statistics.power import compare_power, power_spectrum
from peculiar.training.losses import Mesh, interior
from peculiar.training.settings import CountLoss

JUDGED = (0.06, 0.12, 0.36, 0.48)
"""Edges of the bands in which draws and means are compared with halos, in units of the mesh's Nyquist frequency: 0.05,
0.1, 0.3 and 0.4 h/Mpc for cells of 3.75 Mpc/h."""
DRAW_SEED = 2019


class Counts:
    """Mean negative log-likelihood of counts in cells, summed over mass bins.

    The likelihood given neighbours trains the painter's draws, that of Poisson counts its mean; both count alike. Bins
    count by the inverse root of their number of halos (`start` of the painter): by their number alone, the network
    would serve the light ones only.

    Crops lose a margin of cells in the loss, which is to be at least the painter's reach + 3.
    """

    name = "all"
    targets = Channels()

    def __init__(self, settings: CountLoss) -> None:
        self.margin = settings.margin

    def trained(self, network: nn.Module) -> nn.Module:
        """Return the whole network."""
        return network

    def loss(self, network: nn.Module, inputs: Mesh, targets: Mesh, *, crop: bool) -> torch.Tensor:
        """Return minus the two weighted log-likelihoods per cell."""
        painter = _painter(network)
        parts = painter.log_likelihood(inputs, targets, periodic=not crop)
        margin = self.margin if crop else 0
        values = torch.stack([interior(part, margin).mean(dim=(0, 2, 3, 4)) for part in parts])
        return -(values * _weights(painter)).sum().float()

    def validate(
        self,
        network: nn.Module,
        inputs: Mesh,
        targets: Mesh,
        factor: torch.Tensor,
        *,
        periodic: bool = True,
    ) -> dict[str, torch.Tensor]:
        """Return the loss, the weighted log-likelihood per cell, r(k) of the mean, and ratios of a draw to the halos.

        "power_ratio" and "variance_ratio" are those of the bin that is furthest from one; powers hold shot noise and
        are taken in the second band of `JUDGED`, "r_mean" in the third, of all halos together.

        Raises
        ------
        InputError
            If the boxes are not periodic: spectra of draws need boxes that wrap.
        """
        if not periodic:
            raise InputError(
                "boxes for painters must be periodic, got one that is not: take whole simulations"
            )
        painter = _painter(network)
        joint, poisson = (
            (part.mean(dim=(0, 2, 3, 4)) * _weights(painter)).sum()
            for part in painter.log_likelihood(inputs, targets)
        )
        features = painter.features(inputs)
        log_mean = painter.log_mean(features, painter.expected(inputs))
        generator = torch.Generator(inputs.device).manual_seed(DRAW_SEED)
        drawn = painter.draw(features, log_mean, generator=generator)
        true, mean = targets[0].float(), log_mean[0].exp()
        together = compare_power(contrast(mean.sum(0)), contrast(true.sum(0)), edges=JUDGED)
        powers = [[_band_power(counts) for counts in several] for several in (drawn, true)]
        ratios = torch.tensor(powers[0]) / torch.tensor(powers[1])
        variances = drawn.flatten(1).var(1) / true.flatten(1).var(1)
        return {
            "loss": -(joint + poisson).float(),
            "log_likelihood": joint.float(),
            "r_mean": torch.tensor(float(together.correlation_coefficient[2])),
            "power_ratio": _furthest_from_one(ratios),
            "variance_ratio": _furthest_from_one(variances),
        }


def contrast(counts: Float[torch.Tensor, "x y z"]) -> Field:
    """Return counts over their mean, less 1, in a box with a Nyquist frequency of one, the unit of `JUDGED`."""
    box = Box(math.pi * counts.shape[-1], counts.shape[-1])
    return Field((counts / counts.mean().clamp(min=1e-12) - 1)[None], box, ["counts"])


def _painter(network: nn.Module) -> Painter:
    if not isinstance(network, Painter):
        raise InputError(f"loss.kind 'counts' must go with painter, got {type(network).__name__}")
    return network


def _weights(painter: Painter) -> torch.Tensor:
    device = next(painter.parameters()).device
    start = torch.tensor(painter.config.start, dtype=torch.float64, device=device)
    return (start.max() / start).sqrt()


def _band_power(counts: torch.Tensor) -> float:
    # A painter that is hardly trained may draw none: no power, where a comparison of spectra would refuse.
    return float(power_spectrum(contrast(counts), edges=JUDGED).power[1])


def _furthest_from_one(ratios: torch.Tensor) -> torch.Tensor:
    return ratios[(ratios.nan_to_num(1.0).log().abs()).argmax()]
