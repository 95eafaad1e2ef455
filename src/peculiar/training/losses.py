"""What training minimises: errors of density, velocity, momentum and displacement, ours and the papers'."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch.nn import functional

from peculiar.core.channels import Channels, vector
from peculiar.models.channels import (
    DENSITY,
    DENSITY_FLOOR,
    DISPLACEMENT_OUTPUTS,
    FLOW_OUTPUTS,
    MOMENTUM,
    VELOCITY,
)

Mesh = Float[torch.Tensor, "batch channel x y z"]

DISPLACEMENT_TARGETS = Channels((*DISPLACEMENT_OUTPUTS, *vector("start")))
"""Those of the truth, and the displacement that the network corrects."""
DISPLACED, MOVING, START = (DISPLACEMENT_TARGETS.of(name) for name in ("displacement", "velocity", "start"))


def interior(mesh: Mesh, margin: int) -> Mesh:
    """Cut the outer `margin` cells of every face away: there a crop does not see what surrounds it."""
    if margin == 0:
        return mesh
    inner = slice(margin, -margin)
    return mesh[..., inner, inner, inner]


def component_losses(
    outputs: Mesh,
    targets: Mesh,
    *,
    velocity_scale: float = 1.0,
    momentum_scale: float = 1.0,
) -> dict[str, torch.Tensor]:
    """Errors of density, velocity and momentum, whose least values are at the conditional means.

    Density: the Poisson deviance rho - rho_true ln(rho) of rho = 1 + delta + floor, up to a constant. Like a squared
    error its best answer is the mean, but dense cells do not drown the others. Velocity: squared error. Momentum:
    squared error over (1 + rho)^2, with rho the prediction, held fixed; a weight that depends on the inputs alone
    tames the tail and leaves the best answer as it is.

    Parameters
    ----------
    outputs, targets : (batch, 7, x, y, z)
        As `peculiar.models.channels.OUTPUTS`.
    velocity_scale, momentum_scale : float [Mpc/h]
        Typical errors, over a H f.

    Returns
    -------
    dict with the scalars "density", "velocity" and "momentum".
    """
    error = (outputs - targets).square()
    logarithm, target = outputs[:, DENSITY].clamp(max=10), targets[:, DENSITY]
    density = logarithm.exp() - target.exp() * (1 + logarithm - target)
    rho = logarithm.detach().exp()
    return {
        "density": density.mean(),
        "velocity": error[:, VELOCITY].mean() / velocity_scale**2,
        "momentum": (error[:, MOMENTUM] / (1 + rho).square()).mean() / momentum_scale**2,
    }


def density_loss(rho: Mesh, log_target: Mesh) -> torch.Tensor:
    """Mean squared error of 1 + delta (eq. 5 of Xiao et al. 2024).

    Parameters
    ----------
    rho : (batch, 1, x, y, z)
        Predicted 1 + delta.
    log_target : (batch, 1, x, y, z)
        True ln(1 + delta + floor).
    """
    return functional.mse_loss(rho, log_target.exp() - DENSITY_FLOOR)


def vector_loss(parts: Mesh, target: Mesh, *, scale: float) -> torch.Tensor:
    """1/4 (|v| - |v_true|)^2 + 3/4 (1 - cos phi), with |v| in units of `scale` (eq. 6 of Xiao et al. 2024).

    Parameters
    ----------
    parts : (batch, 4, x, y, z)
        Predicted magnitude in units of `scale`, and a direction of any length.
    target : (batch, 3, x, y, z) [Mpc/h]
        True velocity or momentum over a H f. Where it is zero (an empty cell) it has no direction, and the second
        term is left out.
    scale : float [Mpc/h]
    """
    length = target.norm(dim=1, keepdim=True)
    magnitude = (parts[:, :1] - length / scale).square().mean()
    cosine = functional.cosine_similarity(parts[:, 1:], target, dim=1, eps=1e-6).unsqueeze(1)
    directed = (length > 1e-4 * scale).to(cosine.dtype)
    misalignment = ((1 - cosine) * directed).sum() / directed.sum().clamp(min=1)
    return 0.25 * magnitude + 0.75 * misalignment


def displacement_losses(outputs: Mesh, targets: Mesh, *, error: str) -> dict[str, torch.Tensor]:
    """Errors of displacement and velocity on the Lagrangian lattice.

    Parameters
    ----------
    outputs : (batch, 3 or 6, x, y, z) [Mpc/h]
        Displacement, and velocity over a H f of networks that give one.
    targets : (batch, 9, x, y, z) [Mpc/h]
        True displacement, velocity over a H f, and the displacement that is corrected: of 2LPT, or of a few steps.
    error : "relative distance" or "square"
        The mean distance over the mean distance before the correction in the same box, so that calm and violent
        cosmologies count alike; or the mean square (eq. 9 of He et al. 2019).

    Returns
    -------
    dict with the scalars "displacement" and, for networks that give it, "velocity".
    """
    difference = outputs - targets[:, : outputs.shape[1]]
    parts = {"displacement": difference[:, DISPLACED]}
    if outputs.shape[1] == len(DISPLACEMENT_OUTPUTS):
        parts["velocity"] = difference[:, MOVING]
    if error == "square":
        return {name: part.square().mean() for name, part in parts.items()}
    reference = distances(targets[:, START] - targets[:, DISPLACED]).mean(dim=(1, 2, 3))
    return {name: (distances(part).mean(dim=(1, 2, 3)) / reference).mean() for name, part in parts.items()}


def distances(vectors: Mesh) -> Float[torch.Tensor, "batch x y z"]:
    """Lengths of vectors, with a gradient where they vanish."""
    return (vectors.square().sum(dim=1) + 1e-8).sqrt()


def flow_losses(
    outputs: Mesh,
    targets: Mesh,
    rho: Mesh,
    *,
    velocity_scale: float = 1.0,
    momentum_scale: float = 3.0,
    density_power: float = 2.0,
) -> dict[str, torch.Tensor]:
    """Squared errors of velocity and momentum, the latter over a power of 1 + rho, which tames its tail.

    Parameters
    ----------
    outputs, targets : (batch, 6, x, y, z) [Mpc/h]
        Velocity and momentum over a H f.
    rho : (batch, 1, x, y, z)
        1 + delta, which the network is given: a weight that depends on inputs alone leaves the best answer as it is.
    velocity_scale, momentum_scale : float [Mpc/h]
        Typical errors, over a H f.
    density_power : float
        The momentum's squared error is divided by (1 + rho) to this power; 0 leaves it plain.

    Returns
    -------
    dict with the scalars "velocity" and "momentum".
    """
    error = (outputs - targets).square()
    velocity, momentum = (error[:, FLOW_OUTPUTS.of(name)] for name in ("velocity", "momentum"))
    return {
        "velocity": velocity.mean() / velocity_scale**2,
        "momentum": (momentum / (1 + rho).pow(density_power)).mean() / momentum_scale**2,
    }


def velocity_losses(outputs: Mesh, targets: Mesh, *, scale: float) -> dict[str, torch.Tensor]:
    """The three terms of Wang et al. 2024 (section 2.2), of velocities in units of `scale`.

    Parameters
    ----------
    outputs, targets : (batch, 3, x, y, z) [Mpc/h]
        Velocity over a H f.
    scale : float [Mpc/h]
        Typical speed over a H f: the third term goes with its inverse cube, and would drown the others.

    Returns
    -------
    dict with the scalars "square", the mean squared error of a component; "dice", 1 - 2 v_p.v_t / (v_p^2 + v_t^2) with
    sums over all cells and boxes; and "weighted", the mean over cells of |v_t| |v_p - v_t|^2.

    Notes
    -----
    The paper does not print its dice loss: this is the usual one, with products in place of overlaps. It prints the
    third term as avg(v_t^i sum_i (v_t^i - v_p^i)^2). A weight with a sign would reward errors where a component is
    negative, so |v_t| is our reading.
    """
    outputs, targets = outputs / scale, targets / scale
    error = (outputs - targets).square()
    overlap = 2 * (outputs * targets).sum() / (outputs.square() + targets.square()).sum().clamp(min=1e-12)
    return {
        "square": error.mean(),
        "dice": 1 - overlap,
        "weighted": (distances(targets) * error.sum(dim=1)).mean(),
    }


def correlation(first: Mesh, second: Mesh) -> torch.Tensor:
    """Pearson correlation over cells, mean over batch and channels (eq. 10 of Xiao et al. 2024)."""
    a, b = first.float().flatten(2), second.float().flatten(2)
    a, b = a - a.mean(-1, keepdim=True), b - b.mean(-1, keepdim=True)
    return ((a * b).mean(-1) / (a.square().mean(-1) * b.square().mean(-1)).sqrt().clamp(min=1e-12)).mean()
