"""Numbers of painted halos, in cells of every predicted mean and with their surroundings, fitted on training boxes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from peculiar.core.errors import InputError
from peculiar.core.field import Field
from peculiar.fields.smooth import gaussian
from peculiar.models.channels import overdensity
from peculiar.models.count_calibration import Calibration, CountCalibration
from peculiar.models.painter import Painter
from peculiar.models.ramanah2019 import DENSITY_OFFSET
from peculiar.training.counts import CountPair

HALOS_PER_NODE, MOST_NODES, ROUNDS = 300, 8, 5
SURROUNDINGS = 6.0
"""Radius of a cell's surroundings [Mpc/h]: of 6, 10 and 15 the one after which the mean follows large scales best on
boxes for validation."""


@torch.no_grad()
def fit_counts(
    painter: Painter,
    pairs: Sequence[CountPair],
    *,
    seed: int,
    advance: Callable[[int], None] = lambda units: None,
) -> CountCalibration:
    """Measure how many halos there are in cells of a predicted mean: simulated, predicted and drawn ones.

    The likelihood hardly sees the few densest cells, but power and bispectrum do; training may leave them ten percent
    off. Memory is 1.3 GB for 20 boxes of 60^3 cells with six bins.

    Parameters
    ----------
    painter : Painter
        On the CPU.
    pairs : sequence of CountPair
        Boxes that it was trained on, from `peculiar.training.counts.cached_counts`.
    seed : int
        Of the draws.
    advance : callable
        Called with 1 for each box in each of the `ROUNDS`.

    Raises
    ------
    InputError
        If a bin holds no halo.
    """
    whole = [pair.crop((0, 0, 0), 0) for pair in pairs]
    features = [painter.encoder(inputs[None]) for inputs, _ in whole]
    log_mean = torch.cat([painter.log_mean(mesh) for mesh in features]).double()
    true = torch.stack([counts for _, counts in whole]).double()
    around = torch.stack(
        [
            gaussian(
                Field(overdensity(inputs, floor=DENSITY_OFFSET), pair.box, ["density"]), SURROUNDINGS
            ).data
            for pair, (inputs, _) in zip(pairs, whole, strict=True)
        ]
    ).double()
    numbers = true.sum(dim=(0, 2, 3, 4)).tolist()
    if min(numbers) == 0:
        raise InputError(f"mass bins must each hold halos, got {numbers}: use more boxes or wider bins")
    sorted_cells = [_intervals(log_mean[:, b].flatten().numpy(), number) for b, number in enumerate(numbers)]
    nodes = tuple(tuple(centres.tolist()) for _, centres in sorted_cells)
    shifts = {to: [np.zeros(len(row)) for row in nodes] for to in ("mean", "draws")}
    follow = {to: np.zeros(len(nodes)) for to in shifts}

    def calibration() -> CountCalibration:
        parts = {
            to: Calibration(
                shifts=tuple(tuple(row.tolist()) for row in shifts[to]),
                surroundings=tuple(follow[to].tolist()),
            )
            for to in shifts
        }
        return CountCalibration(radius=SURROUNDINGS, log_mean=nodes, **parts)

    generator = torch.Generator().manual_seed(seed)
    for step in range(1, ROUNDS + 1):
        mean, rates = (calibration().applied(log_mean, around, to) for to in ("mean", "draws"))
        drawn = []
        for mesh, rate in zip(features, rates.float(), strict=True):
            drawn.append(painter.draw(mesh, generator=generator, log_rate=rate[None]))
            advance(1)
        for to, painted in (("mean", mean.exp()), ("draws", torch.stack(drawn))):
            for b, (index, _) in enumerate(sorted_cells):
                simulated, found, delta = (
                    mesh.flatten().double().numpy() for mesh in (true[:, b], painted[:, b], around)
                )
                halos, halos_found = (np.bincount(index, weights=counts) for counts in (simulated, found))
                # Later steps are smaller: they take the scatter of single draws out again.
                shifts[to][b] += np.log(np.maximum(halos, 1) / np.maximum(halos_found, 1)) / step
                # Surroundings count against those of other cells with the same predicted mean, whose number stays.
                average = np.bincount(index, weights=found * delta) / np.maximum(halos_found, 1)
                delta = delta - average[index]
                more = ((simulated - found) * delta).sum() / (found * delta**2).sum() / step
                follow[to][b] += more
                shifts[to][b] -= more * average
    return calibration()


def _intervals(log_mean: np.ndarray, halos: float) -> tuple[np.ndarray, np.ndarray]:
    """Sort cells into intervals with equally many predicted halos: each cell's interval, and the mean of each."""
    number = int(np.clip(halos // HALOS_PER_NODE, 1, MOST_NODES))
    weights = np.exp(log_mean)
    order = np.argsort(log_mean)
    share = np.cumsum(weights[order])
    edges = log_mean[order][np.searchsorted(share, share[-1] * np.arange(1, number) / number)]
    _, index = np.unique(np.searchsorted(edges, log_mean, side="right"), return_inverse=True)
    return index, np.bincount(index, weights=weights * log_mean) / np.bincount(index, weights=weights)
