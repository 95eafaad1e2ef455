"""Training a reader of velocities at objects, on what reconstructions of simulated boxes hold along sight lines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float

from peculiar.core.errors import InputError
from peculiar.models.reader import ReaderConfig, SightReader

SQUARES = 0.05
"""Share of the squared error in the loss, over `_SPREAD`^2: where errors are large it still teaches."""
_SPREAD = 100.0  # km/s
_ERRORS_UNTOLD = 0.5  # of the objects whose fields tell errors


@dataclass(frozen=True, eq=False)
class ObjectSample:
    """What a reader sees of n objects (`SightReader.forward`), and velocities of their hosts and their own."""

    profile: Float[np.ndarray, "n place 2"]
    told: Float[np.ndarray, "n 3"]
    host: Float[np.ndarray, " n"]
    own: Float[np.ndarray, " n"]


def fit_reader(
    samples: Sequence[ObjectSample],
    *,
    steps: int = 12_000,
    batch: int = 1024,
    lr: float = 2e-3,
    seed: int = 0,
    announce: Callable[[str], None] = print,
) -> SightReader:
    """Train a reader by the Gaussian likelihoods of hosts' and objects' own velocities; each sample counts alike.

    Parameters
    ----------
    samples : sequence of ObjectSample
    steps, batch, lr
        Steps of AdamW, objects in each, and the learning rate, which falls to 0.
    seed : int
        Of the first weights and of the objects of each step.
    announce : callable
        Takes lines of progress.

    Raises
    ------
    InputError
        If there are no samples, or one has no objects.
    """
    if not samples or not all(len(one.host) for one in samples):
        raise InputError(f"samples must be some, each with objects, got {len(samples)}")
    random = np.random.default_rng(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = SightReader(ReaderConfig(places=samples[0].profile.shape[1]))
    optimiser = torch.optim.AdamW(network.parameters(), lr, weight_decay=1e-3)
    falling = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 1 - step / steps)
    sizes = np.array([len(one.host) for one in samples])
    starts = np.cumsum(sizes) - sizes
    profile, told, host, own = (
        torch.from_numpy(np.concatenate([getattr(one, name) for one in samples]).astype(np.float32))
        for name in ("profile", "told", "host", "own")
    )
    total = 0.0
    for step in range(steps):
        of = random.integers(len(samples), size=batch)
        rows = torch.from_numpy(starts[of] + (random.random(batch) * sizes[of]).astype(int))
        seen = told[rows].clone()
        seen[torch.from_numpy(random.random(batch) < _ERRORS_UNTOLD), 0] = torch.nan
        read = network(profile[rows], seen)
        loss = _loss(read.host - host[rows], read.rest + seen[:, 0].nan_to_num(0.0).square())
        loss = loss + _loss(read.own - own[rows], read.own_variance)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        falling.step()
        total += float(loss.detach())
        if (step + 1) % 2000 == 0:
            announce(f"reader: step {step + 1} of {steps}, loss {total / 2000:.4f}")
            total = 0.0
    return network.eval()


def _loss(error: Float[torch.Tensor, " n"], variance: Float[torch.Tensor, " n"]) -> torch.Tensor:
    square = error.square()
    return (0.5 * (square / variance + variance.log()) + SQUARES * square / _SPREAD**2).mean()
