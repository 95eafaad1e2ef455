"""A painter of halos against a critic: Wasserstein training with a gradient penalty (Kodi Ramanah et al. 2019).

The critic learns a number that is larger for patches of true counts than for painted ones, with slopes near one
(Gulrajani et al. 2017): the mean difference tends to the Wasserstein distance, which the generator learns to close.
"""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import nn

from peculiar.core.errors import InputError
from peculiar.core.output import atomic_output
from peculiar.fields.symmetry import Symmetry, symmetries
from peculiar.models.ramanah2019 import REACH, Critic, Ramanah2019
from peculiar.training.dataset import Crops, Pair, TrainingPair
from peculiar.training.loop import CHECKPOINT
from peculiar.training.losses import Mesh, interior
from peculiar.training.objectives import correlation
from peculiar.training.settings import AdversarialSettings

CURVE = ("train_loss", "wasserstein", "gradient_penalty")
"""Means over the critic's updates since the last row of metrics.csv: eq. 3.1, and its two parts."""
SECONDS_BETWEEN_LINES = 30.0


def fit_adversarial(
    generator: Ramanah2019,
    *,
    training: Sequence[TrainingPair],
    validation: Sequence[TrainingPair],
    settings: AdversarialSettings,
    directory: Path,
    seed: int,
    resume: bool = False,
    announce: Callable[[str], None] = print,
) -> dict[str, float]:
    """Train a generator in place, and a critic with it.

    Parameters
    ----------
    generator : Ramanah2019
        From `peculiar.models.build`; its initial weights are the caller's.
    training, validation : sequence of TrainingPair
        From `cached_counts`, with as many bins of mass as the generator paints.
    settings : AdversarialSettings
    directory : path
        For ``last.ckpt`` (both networks, their optimisers) and ``metrics.csv``, the loss curve.
    seed : int
        Of the critic's initial weights, patches, rotations, and mixtures of true and painted ones.
    resume : bool
        Go on from ``last.ckpt`` if it is there. Without a time limit the result is that of an uninterrupted run; on the
        CPU, bit by bit.
    announce : callable
        Takes lines of progress.

    Returns
    -------
    dict of float
        "validation_wasserstein" on patches; over whole boxes "mean_ratio", of all painted halos to all true ones, and
        "correlation" of counts in cells; "steps", the updates of the generator, and "minutes".

    Raises
    ------
    InputError
        If the bins of the pairs are not the generator's, or patches are larger than the boxes.
    """
    channels = training[0].crop((0, 0, 0), 1)[1].shape[0]
    if channels != generator.config.bins:
        raise InputError(
            f"bins of the generator must be those of the pairs ({channels}), got {generator.config.bins}: change its "
            "bins, or the pairs' mass_edges"
        )
    device = _device(settings.device)
    generator.to(device).train()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        critic = Critic(settings.patch - 2 * REACH, bins=channels).to(device)
    optimisers = [
        torch.optim.Adam(network.parameters(), lr=settings.lr, betas=settings.betas)
        for network in (generator, critic)
    ]
    parts: dict[str, Any] = {"generator": generator, "critic": critic}
    parts |= {"generator_optimiser": optimisers[0], "critic_optimiser": optimisers[1]}
    directory.mkdir(parents=True, exist_ok=True)
    checkpoint = directory / CHECKPOINT
    done, before, totals, since = 0, 0.0, torch.zeros(len(CURVE), dtype=torch.float64), 0
    if resume and checkpoint.exists():
        state = torch.load(checkpoint, map_location=device, weights_only=True)
        for name, part in parts.items():
            part.load_state_dict(state[name])
        done, before, since = state["update"], state["seconds"], state["since"]
        totals = state["totals"].cpu()
    curve = LossCurve(directory / "metrics.csv", start=done)
    turns = settings.critic_updates + 1
    patches = _patches(training, settings, steps=settings.updates * turns, seed=seed, start=done * turns)
    judged = _patches(validation, settings, steps=settings.validation_patches, seed=seed)
    began = last = time.monotonic()

    def seconds() -> float:
        return before + time.monotonic() - began

    def save(update: int) -> None:
        state: dict[str, Any] = {name: part.state_dict() for name, part in parts.items()}
        state |= {"update": update, "seconds": seconds(), "totals": totals, "since": since}
        with atomic_output(checkpoint, overwrite=True) as temporary:
            torch.save(state, temporary)

    limit = math.inf if settings.max_minutes is None else 60 * settings.max_minutes
    update = done
    with closing(iter(patches)) as batches:  # type: ignore[type-var]  # a generator, which ends its thread
        while update < settings.updates and seconds() < limit:
            totals += _improve_critic(
                generator, critic, optimisers[1], batches, settings, random=(seed, update), device=device
            )
            since += settings.critic_updates
            _improve_generator(generator, critic, optimisers[0], next(batches)[0].to(device))
            update += 1
            if update % settings.validate_every == 0 or update == settings.updates:
                measured = _validate(generator, critic, validation, judged, device=device)
                row = {"step": update, "minutes": round(seconds() / 60, 3), "learning_rate": settings.lr}
                means = dict(zip(CURVE, (totals / since).tolist(), strict=True))
                curve.append({**row, **means, **measured})
                announce(
                    f"update {update} of {settings.updates}: {_told(means | measured, skip='train_loss')}"
                )
                totals, since = torch.zeros_like(totals), 0
            elif time.monotonic() - last >= SECONDS_BETWEEN_LINES:
                last = time.monotonic()
                pace = (last - began) / (update - done)
                left = timedelta(seconds=round(min(pace * (settings.updates - update), limit - seconds())))
                distance = float(totals[1]) / since
                announce(
                    f"update {update} of {settings.updates}: wasserstein {distance:.4g}, about {left} left"
                )
            if update % settings.checkpoint_every == 0:
                save(update)
    if update > done:
        save(update)
    minutes = seconds() / 60
    result = _validate(generator, critic, validation, judged, device=device)
    generator.eval()
    return {**result, "steps": float(update), "minutes": minutes}


def gradient_penalty(
    critic: nn.Module, real: Mesh, fake: Mesh, *, mix: Float[torch.Tensor, " batch"]
) -> torch.Tensor:
    """Mean squared departure from 1 of the critic's slope at mixtures of true and painted patches (eq. 3.1).

    Parameters
    ----------
    critic : torch.nn.Module
        Of a batch of patches, one number for each.
    real, fake : (batch, channel, x, y, z)
    mix : (batch,)
        Share of the true patch in each mixture.
    """
    share = mix.view(-1, 1, 1, 1, 1)
    between = (share * real + (1 - share) * fake).detach().requires_grad_()
    (slope,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    return (torch.linalg.vector_norm(slope.flatten(1), dim=1) - 1).square().mean()


def rotations() -> list[Symmetry]:
    """Return the 24 rotations among the symmetries of the cube."""
    return [
        symmetry
        for symmetry in symmetries()
        # Row i of the matrix holds one number, +1 or -1, in the column of the old axis.
        if np.linalg.det(np.eye(3)[list(symmetry.permutation)] * (1 - 2 * np.array(symmetry.flips)[:, None]))
        > 0
    ]


class LossCurve:
    """Rows of a CSV file, written as they come.

    Parameters
    ----------
    path : path
        Rows beyond `start` (of a run that was interrupted) are removed.
    start : int
        Updates done before.
    """

    def __init__(self, path: Path, *, start: int) -> None:
        self.path, self.rows = path, list[dict[str, object]]()
        if start and path.exists():
            with path.open(newline="") as file:
                self.rows = [{**row} for row in csv.DictReader(file) if int(row["step"]) <= start]

    def append(self, row: dict[str, object]) -> None:
        """Add a row."""
        self.rows.append(row)
        with atomic_output(self.path, overwrite=True) as temporary, temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, row)
            writer.writeheader()
            writer.writerows(self.rows)


def _improve_critic(
    generator: Ramanah2019,
    critic: Critic,
    optimiser: torch.optim.Optimizer,
    batches: Iterator[Pair],
    settings: AdversarialSettings,
    *,
    random: tuple[int, int],
    device: torch.device,
) -> Float[torch.Tensor, " 3"]:
    """Update the critic some times; return the sums of `CURVE` over the updates."""
    sums = torch.zeros(len(CURVE), dtype=torch.float64)
    for turn in range(settings.critic_updates):
        inputs, targets = (mesh.to(device) for mesh in next(batches))
        real = interior(targets, REACH)
        with torch.no_grad():
            fake = generator.unpadded(inputs)
        mix = np.random.default_rng([*random, turn, 0]).random(len(real), dtype=np.float32)
        distance = (critic(real) - critic(fake)).mean()
        penalty = gradient_penalty(critic, real, fake, mix=torch.from_numpy(mix).to(device))
        loss = settings.gradient_penalty * penalty - distance
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        sums += torch.stack([loss, distance, penalty]).detach().cpu()
    return sums


def _improve_generator(
    generator: Ramanah2019, critic: Critic, optimiser: torch.optim.Optimizer, inputs: Mesh
) -> None:
    critic.requires_grad_(False)
    optimiser.zero_grad()
    (-critic(generator.unpadded(inputs)).mean()).backward()
    optimiser.step()
    critic.requires_grad_(True)


@torch.no_grad()
def _validate(
    generator: Ramanah2019,
    critic: Critic,
    validation: Sequence[TrainingPair],
    patches: Crops,
    *,
    device: torch.device,
) -> dict[str, float]:
    distances = []
    for step in range(len(patches)):
        inputs, targets = (mesh.to(device) for mesh in patches.batch(step))
        painted = generator.unpadded(inputs)
        distances.append((critic(interior(targets, REACH)) - critic(painted)).mean().item())
    totals, correlations = np.zeros(2), []
    for pair in validation:
        inputs, targets = (mesh[None].to(device) for mesh in pair.crop((0, 0, 0), 0))
        painted = generator(inputs, periodic=True)
        totals += [painted.double().sum().item(), targets.double().sum().item()]
        correlations.append(correlation(painted, targets).item())
    return {
        "validation_wasserstein": float(np.mean(distances)),
        "correlation": float(np.mean(correlations)),
        "mean_ratio": float(totals[0] / totals[1]) if totals[1] else math.nan,
    }


def _patches(
    pairs: Sequence[TrainingPair], settings: AdversarialSettings, *, steps: int, seed: int, start: int = 0
) -> Crops:
    patches = Crops(
        pairs, crop=settings.patch, batch_size=settings.batch_size, steps=steps, seed=seed, start=start
    )
    patches.elements = rotations()
    return patches


def _device(name: str) -> torch.device:
    if name != "auto":
        return torch.device(name)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _told(values: dict[str, float], *, skip: str) -> str:
    return ", ".join(f"{key.replace('_', ' ')} {value:.4g}" for key, value in values.items() if key != skip)
