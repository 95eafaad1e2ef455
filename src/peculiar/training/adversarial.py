"""A painter of halos against a critic: Wasserstein training with a gradient penalty (Kodi Ramanah et al. 2019).

The critic learns a number that is larger for patches of true counts than for painted ones, with slopes near one
(Gulrajani et al. 2017): the mean difference tends to the Wasserstein distance, which the generator learns to close.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from copy import deepcopy
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import nn
from torch.nn import functional

from peculiar.core.errors import InputError
from peculiar.fields.symmetry import Symmetry, symmetries
from peculiar.models.ramanah2019 import REACH, Critic, Ramanah2019
from peculiar.statistics.power import compare_power
from peculiar.training.checkpoint import CHECKPOINT, load_checkpoint, restoring, save_checkpoint
from peculiar.training.count_objective import JUDGED, contrast
from peculiar.training.dataset import Crops, Pair, TrainingPair
from peculiar.training.loop import learning_rate
from peculiar.training.losses import Mesh, correlation, interior
from peculiar.training.meshes import MeshSides
from peculiar.training.report import Metrics
from peculiar.training.settings import AdversarialLoss, TrainSettings

CURVE = ("train_loss", "wasserstein", "gradient_penalty")
"""Means over the critic's updates since the last row of metrics.csv: eq. 3.1, and its two parts."""
SECONDS_BETWEEN_LINES = 30.0
BLOCK = 5
"""Cells along a side of the blocks of `anchor_distance`."""
SMALLEST_PATCH = 19 + 2 * REACH
"""Cells along a side of what goes in, so that what comes out is large enough for the critic."""


def check_critic(pairs: Sequence[MeshSides], settings: TrainSettings) -> None:
    """Refuse patches that are too small for a critic or larger than the boxes, and accelerators that there are not."""
    crop, _ = settings.crop, _device(settings.accelerator)
    if crop < SMALLEST_PATCH:
        raise InputError(f"train.crop must be at least {SMALLEST_PATCH} cells for a critic, got {crop}")
    if crop > (smallest := min(pair.cells for pair in pairs)):
        raise InputError(f"train.crop must be at most the mesh of the boxes ({smallest} cells), got {crop}")


def fit_adversarial(
    generator: Ramanah2019,
    *,
    training: Sequence[TrainingPair],
    validation: Sequence[TrainingPair],
    loss: AdversarialLoss,
    settings: TrainSettings,
    directory: Path,
    seed: int,
    line_of_sight: str | None = None,
    resume: bool = False,
    announce: Callable[[str], None] = print,
) -> dict[str, float]:
    """Train a generator in place, and a critic with it; the generator ends with its averaged weights.

    Parameters
    ----------
    generator : Ramanah2019
        From `peculiar.models.build`; its initial weights are the caller's.
    training, validation : sequence of TrainingPair
        From `cached_counts`, with as many bins of mass as the generator paints.
    loss : AdversarialLoss
    settings : TrainSettings
        A step is an update of the generator, after those of the critic. A crop is what goes in; what comes out, and
        what the critic sees, has 8 cells fewer along a side. Optimiser, rate and clipping are those of both networks;
        the average is the generator's, and validation's.
    directory : path
        For ``last.ckpt`` (both networks, the average, both optimisers) and ``metrics.csv``, the loss curve.
    seed : int
        Of the critic's initial weights, patches, rotations, and mixtures of true and painted ones.
    line_of_sight : "x", "y", "z" or None
        Axis that the rotations keep.
    resume : bool
        Go on from ``last.ckpt`` if it is there. Without a time limit the result is that of an uninterrupted run; on the
        CPU, bit by bit.
    announce : callable
        Takes lines of progress.

    Returns
    -------
    dict of float
        "validation_wasserstein" on patches; over whole boxes "mean_ratio", of all painted halos to all true ones,
        "correlation" of counts in cells, and `band_ratios`; "steps" and "minutes".

    Raises
    ------
    InputError
        If the bins of the pairs are not the generator's, patches are too small, or larger than the boxes, or the
        accelerator is neither a CPU nor a GPU.
    """
    channels = training[0].crop((0, 0, 0), 1)[1].shape[0]
    if channels != generator.config.bins:
        raise InputError(
            f"bins of the generator must be those of the pairs ({channels}), got {generator.config.bins}: change its "
            "bins, or the pairs' mass_edges"
        )
    check_critic(training, settings)
    device = _device(settings.accelerator)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        critic = Critic(settings.crop - 2 * REACH, bins=channels)
    for network in (generator.train(), critic):
        network.to(device=device, memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    averaged = deepcopy(generator).requires_grad_(False)
    optimisers = [_optimiser(network, loss, settings) for network in (generator, critic)]
    parts: dict[str, Any] = {"generator": generator, "averaged": averaged, "critic": critic}
    parts |= {"generator_optimiser": optimisers[0], "critic_optimiser": optimisers[1]}
    directory.mkdir(parents=True, exist_ok=True)
    checkpoint = directory / CHECKPOINT
    done, before, totals, since = 0, 0.0, torch.zeros(len(CURVE), dtype=torch.float64), 0
    if resume and checkpoint.exists():
        state = load_checkpoint(
            checkpoint, holds=(*parts, "update", "seconds", "since", "totals"), device=device
        )
        with restoring(checkpoint):
            for name, part in parts.items():
                part.load_state_dict(state[name])
        done, before, since = state["update"], state["seconds"], state["since"]
        totals = state["totals"].cpu()
    curve = Metrics(directory / "metrics.csv", start=done)
    turns = loss.critic_updates + 1
    elements = rotations(line_of_sight)
    patches = _patches(
        training, settings, elements, steps=settings.steps * turns, seed=seed, start=done * turns
    )
    judged = _patches(validation, settings, elements, steps=loss.validation_patches, seed=seed)
    began = last = time.monotonic()

    def seconds() -> float:
        return before + time.monotonic() - began

    def save(update: int) -> None:
        state: dict[str, Any] = {name: part.state_dict() for name, part in parts.items()}
        state |= {"update": update, "seconds": seconds(), "totals": totals, "since": since}
        save_checkpoint(state, checkpoint)

    limit = math.inf if settings.max_minutes is None else 60 * settings.max_minutes
    update = done
    with closing(iter(patches)) as batches:  # type: ignore[type-var]  # a generator, which ends its thread
        while update < settings.steps and seconds() < limit:
            rate = learning_rate(max(update / settings.steps, seconds() / limit), settings)
            for optimiser in optimisers:
                optimiser.param_groups[0]["lr"] = rate
            totals += _improve_critic(
                generator,
                critic,
                optimisers[1],
                batches,
                loss,
                settings,
                random=(seed, update),
                device=device,
            )
            since += loss.critic_updates
            inputs, targets = (mesh.to(device) for mesh in next(batches))
            _improve_generator(generator, critic, optimisers[0], (inputs, targets), loss, settings)
            update += 1
            _average(averaged, generator, decay=min(settings.ema, update / (update + 9)))
            told = f"update {update} of {settings.steps}"
            if update % settings.validate_every == 0 or update == settings.steps:
                means = dict(zip(CURVE, (totals / since).tolist(), strict=True))
                measured = _validate(averaged, critic, validation, judged, device=device)
                row = {"step": update, "minutes": round(seconds() / 60, 3), "learning_rate": rate}
                curve.append({**row, **means, **measured})
                announce(f"{told}: {_told(means | measured, skip='train_loss')}")
                totals, since = torch.zeros_like(totals), 0
            elif time.monotonic() - last >= SECONDS_BETWEEN_LINES:
                last = time.monotonic()
                pace = (last - began) / (update - done)
                left = timedelta(seconds=round(min(pace * (settings.steps - update), limit - seconds())))
                announce(f"{told}: wasserstein {float(totals[1]) / since:.4g}, about {left} left")
            if update % settings.checkpoint_every == 0:
                save(update)
    if update > done:
        save(update)
    minutes = seconds() / 60
    generator.load_state_dict(averaged.state_dict())
    generator.eval()
    result = _validate(generator, critic, validation, judged, device=device)
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


def anchor_distance(painted: Mesh, true: Mesh) -> torch.Tensor:
    """Mean distance of painted to true patches in blocks of `BLOCK`^3 cells.

    The critic does not see the density, so it allows halos in the wrong places; this holds them to the right regions.
    It is scaled to a slope of one, as the critic's is.

    Parameters
    ----------
    painted, true : (batch, channel, x, y, z)
        Counts; sides of at least one block, and cells beyond whole blocks are not seen.
    """
    blocks = functional.avg_pool3d(painted - true, BLOCK) * BLOCK**1.5
    return torch.linalg.vector_norm(blocks.flatten(1), dim=1).mean()


def rotations(line_of_sight: str | None = None) -> list[Symmetry]:
    """Return the rotations among the symmetries of the cube: all 24, or those that keep an axis."""
    return [
        symmetry
        for symmetry in symmetries(line_of_sight)
        # Row i of the matrix holds one number, +1 or -1, in the column of the old axis.
        if np.linalg.det(np.eye(3)[list(symmetry.permutation)] * (1 - 2 * np.array(symmetry.flips)[:, None]))
        > 0
    ]


def band_ratios(painted: Mesh, true: Mesh) -> dict[str, float]:
    """Compare painted counts with true ones on large and on small scales.

    Parameters
    ----------
    painted, true : (1, bins, n, n, n)

    Returns
    -------
    dict of float
        "large_scale_r", "power_ratio" and "small_scale_r" in the first, second and third band of `JUDGED`, of the sums
        over bins; powers hold shot noise. NaN where there are no halos.
    """
    fields = [counts[0].sum(0).float() for counts in (painted, true)]
    if any(float(counts.std()) == 0 for counts in fields):
        return dict.fromkeys(("large_scale_r", "power_ratio", "small_scale_r"), math.nan)
    found = compare_power(*map(contrast, fields), edges=JUDGED)
    r = found.correlation_coefficient
    return {
        "large_scale_r": float(r[0]),
        "power_ratio": float(found.power_ratio[1]),
        "small_scale_r": float(r[2]),
    }


def _optimiser(network: nn.Module, loss: AdversarialLoss, settings: TrainSettings) -> torch.optim.Optimizer:
    kind = torch.optim.AdamW if settings.optimiser == "adamw" else torch.optim.Adam
    return kind(network.parameters(), lr=settings.lr, betas=loss.betas, weight_decay=settings.weight_decay)


def _paint(generator: Ramanah2019, inputs: Mesh, settings: TrainSettings) -> Mesh:
    """Paint patches, in bfloat16 if settings and device have it. The critic always works in single precision."""
    inputs = inputs.contiguous(memory_format=torch.channels_last_3d)
    with torch.autocast(inputs.device.type, torch.bfloat16, enabled=settings.halved(inputs.device)):
        return generator.unpadded(inputs).float()


def _step(network: nn.Module, optimiser: torch.optim.Optimizer, settings: TrainSettings) -> None:
    if settings.clip:
        torch.nn.utils.clip_grad_norm_(network.parameters(), settings.clip)
    optimiser.step()


def _improve_critic(
    generator: Ramanah2019,
    critic: Critic,
    optimiser: torch.optim.Optimizer,
    batches: Iterator[Pair],
    loss: AdversarialLoss,
    settings: TrainSettings,
    *,
    random: tuple[int, int],
    device: torch.device,
) -> Float[torch.Tensor, " 3"]:
    """Update the critic some times; return the sums of `CURVE` over the updates."""
    sums = torch.zeros(len(CURVE), dtype=torch.float64)
    for turn in range(loss.critic_updates):
        inputs, targets = (mesh.to(device) for mesh in next(batches))
        real = interior(targets, REACH)
        with torch.no_grad():
            fake = _paint(generator, inputs, settings)
        mix = np.random.default_rng([*random, turn, 0]).random(len(real), dtype=np.float32)
        distance = (critic(real) - critic(fake)).mean()
        penalty = gradient_penalty(critic, real, fake, mix=torch.from_numpy(mix).to(device))
        total = loss.gradient_penalty * penalty - distance
        optimiser.zero_grad()
        total.backward()
        _step(critic, optimiser, settings)
        sums += torch.stack([total, distance, penalty]).detach().cpu()
    return sums


def _improve_generator(
    generator: Ramanah2019,
    critic: Critic,
    optimiser: torch.optim.Optimizer,
    batch: Pair,
    loss: AdversarialLoss,
    settings: TrainSettings,
) -> None:
    inputs, targets = batch
    critic.requires_grad_(False)
    optimiser.zero_grad()
    painted = _paint(generator, inputs, settings)
    total = -critic(painted).mean()
    if loss.anchor:
        total = total + loss.anchor * anchor_distance(painted, interior(targets, REACH))
    total.backward()
    _step(generator, optimiser, settings)
    critic.requires_grad_(True)


@torch.no_grad()
def _average(averaged: nn.Module, network: nn.Module, *, decay: float) -> None:
    """Move the averaged weights towards the network's; the average is shorter at the start of training."""
    for mean, new in zip(averaged.parameters(), network.parameters(), strict=True):
        mean.lerp_(new, 1 - decay)


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
    totals, values = np.zeros(2), []
    for pair in validation:
        inputs, targets = (mesh[None].to(device) for mesh in pair.crop((0, 0, 0), 0))
        painted = generator(inputs, periodic=True)
        totals += [painted.double().sum().item(), targets.double().sum().item()]
        values.append({"correlation": correlation(painted, targets).item(), **band_ratios(painted, targets)})
    return {
        "validation_wasserstein": float(np.mean(distances)),
        "mean_ratio": float(totals[0] / totals[1]) if totals[1] else math.nan,
        **{name: float(np.mean([value[name] for value in values])) for name in values[0]},
    }


def _patches(
    pairs: Sequence[TrainingPair],
    settings: TrainSettings,
    elements: list[Symmetry],
    *,
    steps: int,
    seed: int,
    start: int = 0,
) -> Crops:
    patches = Crops(
        pairs, crop=settings.crop, batch_size=settings.batch_size, steps=steps, seed=seed, start=start
    )
    patches.elements = elements
    return patches


def _device(accelerator: str) -> torch.device:
    """Return the device of an accelerator as lightning, which trains the other networks, calls it."""
    kinds = {"cpu": "cpu", "gpu": "cuda", "cuda": "cuda"}
    kinds["auto"] = "cuda" if torch.cuda.is_available() else "cpu"
    if accelerator not in kinds:
        raise InputError(
            f"train.accelerator must be auto, cpu or gpu to train with a critic, got {accelerator!r}"
        )
    return torch.device(kinds[accelerator])


def _told(values: dict[str, float], *, skip: str) -> str:
    return ", ".join(f"{key.replace('_', ' ')} {value:.4g}" for key, value in values.items() if key != skip)
