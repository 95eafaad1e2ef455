"""Numbers of painted halos, in cells of every predicted mean and with their surroundings, fitted on training boxes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch

from peculiar.core.errors import InputError
from peculiar.core.field import Field
from peculiar.fields.smooth import gaussian
from peculiar.models.blocks import Mesh
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
    off. Memory is 0.7 GB for 20 boxes of 60^3 cells with six bins.

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
    boxes = [_Cells.of(painter, pair) for pair in pairs]
    numbers = torch.stack([box.true.flatten(1).sum(1) for box in boxes]).sum(0).tolist()
    if min(numbers) == 0:
        raise InputError(f"mass bins must each hold halos, got {numbers}: use more boxes or wider bins")
    sorted_cells = [_intervals(boxes, b, number) for b, number in enumerate(numbers)]
    nodes = tuple(tuple(centres.tolist()) for _, centres in sorted_cells)
    middle = torch.stack([box.conditions for box in boxes]).mean(0).double().numpy()
    off = np.array([box.conditions.numpy() for box in boxes]) - middle
    shifts = {to: [np.zeros(len(row)) for row in nodes] for to in ("mean", "draws")}
    follow = {to: np.zeros(len(nodes)) for to in shifts}
    tilts, responses = ({to: np.zeros((len(nodes), len(middle))) for to in shifts} for _ in range(2))

    def calibration() -> CountCalibration:
        parts = {
            to: Calibration(
                shifts=tuple(tuple(row.tolist()) for row in shifts[to]),
                surroundings=tuple(follow[to].tolist()),
                conditions=_rows(tilts[to]),
                responses=_rows(responses[to]),
            )
            for to in shifts
        }
        return CountCalibration(radius=SURROUNDINGS, log_mean=nodes, middle=tuple(middle.tolist()), **parts)

    generator = torch.Generator().manual_seed(seed)
    for step in range(1, ROUNDS + 1):
        now = calibration()
        painted: dict[str, list[Mesh]] = {"mean": [], "draws": []}
        for box in boxes:
            painted["mean"].append(box.calibrated(now, "mean").exp())
            rate = box.calibrated(now, "draws")[None]
            painted["draws"].append(
                painter.draw(box.features, box.log_mean[None], generator=generator, log_rate=rate)
            )
            advance(1)
        for to, counts in painted.items():
            for b, (cells, centres) in enumerate(sorted_cells):
                sums = [
                    _Sums.of(box.true[b], found[b], box.around, index, len(centres))
                    for box, found, index in zip(boxes, counts, cells, strict=True)
                ]
                total = _Sums(*(np.sum(parts, axis=0) for parts in zip(*sums, strict=True)))
                halos_found = np.maximum(total.found, 1)
                # Later steps are smaller: they take the scatter of single draws out again.
                shifts[to][b] += np.log(np.maximum(total.true, 1) / halos_found) / step
                # Surroundings count against those of other cells with the same predicted mean, whose number stays.
                average = total.found_around / halos_found
                missed = np.array([one.missed(average) for one in sums])
                known = np.array([one.known(average) for one in sums])
                more = _regression(np.column_stack([np.ones(len(boxes)), off]), missed, known) / step
                follow[to][b] += more[0]
                responses[to][b] += more[1:]
                shifts[to][b] -= more[0] * average
                # Conditions count against those of the other boxes.
                true, found = (np.array([one[i].sum() for one in sums]) for i in (0, 1))
                apart = off - found @ off / max(found.sum(), 1)
                tilts[to][b] += _regression(apart, true - found, found) / step
    return calibration()


def _rows(values: np.ndarray) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(row) for row in values.tolist()) if values.size else ()


def _regression(of: np.ndarray, missed: np.ndarray, known: np.ndarray) -> np.ndarray:
    """What to multiply numbers of boxes, (box, number), by so that `missed` is `known` times their sum."""
    return np.linalg.pinv((of * known[:, None]).T @ of, hermitian=True) @ (of.T @ missed)


class _Cells(NamedTuple):
    """One box: halos in its cells, (bin, x, y, z), and what the painter says of them."""

    true: Mesh
    features: Mesh
    log_mean: Mesh
    expected: Mesh | float
    conditions: torch.Tensor
    around: Mesh

    @classmethod
    def of(cls, painter: Painter, pair: CountPair) -> _Cells:
        inputs, true = pair.crop((0, 0, 0), 0)
        features, expected = painter.features(inputs[None]), painter.expected(inputs[None])
        density = Field(overdensity(inputs[:1], floor=DENSITY_OFFSET), pair.box, ["density"])
        log_mean = painter.log_mean(features, expected)[0]
        conditions = painter.conditions(inputs[None])[0]
        return cls(true, features, log_mean, expected, conditions, gaussian(density, SURROUNDINGS).data)

    def calibrated(self, calibration: CountCalibration, to: Literal["mean", "draws"]) -> Mesh:
        return calibration.applied(
            self.log_mean[None],
            self.around[None],
            to,
            expected=self.expected,
            conditions=self.conditions[None],
        )[0]


class _Sums(NamedTuple):
    """Over the cells of each interval: halos, and halos times the overdensity of their surroundings and its square."""

    true: np.ndarray
    found: np.ndarray
    true_around: np.ndarray
    found_around: np.ndarray
    found_squared: np.ndarray

    @classmethod
    def of(cls, true: Mesh, found: Mesh, around: Mesh, index: np.ndarray, number: int) -> _Sums:
        n, m, delta = (mesh.flatten().double().numpy() for mesh in (true, found, around))
        return cls(
            *(np.bincount(index, weights, number) for weights in (n, m, n * delta, m * delta, m * delta**2))
        )

    def missed(self, average: np.ndarray) -> float:
        """Halos not found, times the overdensity of their surroundings beyond an average of their interval."""
        return float((self.true_around - self.found_around - average * (self.true - self.found)).sum())

    def known(self, average: np.ndarray) -> float:
        """Halos found, times the square of that."""
        squares = self.found_squared - 2 * average * self.found_around + average**2 * self.found
        return float(squares.sum())


def _intervals(boxes: Sequence[_Cells], b: int, halos: float) -> tuple[list[np.ndarray], np.ndarray]:
    """Sort cells into intervals with equally many predicted halos: each cell's interval, and the mean of each."""
    log_mean = [box.log_mean[b].flatten().double().numpy() for box in boxes]
    known = [box.expected if isinstance(box.expected, float) else float(box.expected[0, b]) for box in boxes]
    excess = np.concatenate([log - other for log, other in zip(log_mean, known, strict=True)])
    weights = np.exp(np.concatenate(log_mean))
    number = int(np.clip(halos // HALOS_PER_NODE, 1, MOST_NODES))
    order = np.argsort(excess)
    share = np.cumsum(weights[order])
    edges = excess[order][np.searchsorted(share, share[-1] * np.arange(1, number) / number)]
    _, index = np.unique(np.searchsorted(edges, excess, side="right"), return_inverse=True)
    centres = np.bincount(index, weights=weights * excess) / np.bincount(index, weights=weights)
    return np.split(index, np.cumsum([len(log) for log in log_mean])[:-1]), centres
