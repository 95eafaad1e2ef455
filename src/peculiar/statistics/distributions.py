"""One-point and two-point distributions of field values, and joint distributions of two fields."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from peculiar.core.errors import InputError
from peculiar.core.field import Field
from peculiar.statistics.checks import require_edges, require_finite, require_mask, require_scalar
from peculiar.statistics.modes import divide

Edges = Sequence[float] | Float[np.ndarray, " edge"]
Mask = Bool[Tensor, "x y z"] | None


@dataclass(frozen=True, eq=False)
class Distribution:
    """One-point distribution of each channel.

    Attributes
    ----------
    density : (channel, bin) [1 / unit]
        Probability density; integrates to 1 - `outside`.
    counts : (channel, bin)
        Cells.
    edges : (bin + 1,) [unit]
        Bins include their lower edge, the last one both.
    outside : (channel,)
        Fraction of cells beyond the edges.
    names : tuple of str
    unit : str
    """

    density: Float[np.ndarray, "channel bin"]
    counts: Float[np.ndarray, "channel bin"]
    edges: Float[np.ndarray, " edge"]
    outside: Float[np.ndarray, " channel"]
    names: tuple[str, ...]
    unit: str


@dataclass(frozen=True, eq=False)
class JointDistribution:
    """Joint distribution of two values in a cell, or of one field in two places.

    Attributes
    ----------
    density : (first bin, second bin)
        Probability density in 1 / (unit of first * unit of second); integrates to 1 - `outside`.
    counts : (first bin, second bin)
    first_edges, second_edges : bin edges
    outside : float
        Fraction of the pairs beyond the edges.
    names, units : two str each
    """

    density: Float[np.ndarray, "first second"]
    counts: Float[np.ndarray, "first second"]
    first_edges: Float[np.ndarray, " first_edge"]
    second_edges: Float[np.ndarray, " second_edge"]
    outside: float
    names: tuple[str, str]
    units: tuple[str, str]

    @property
    def conditional(self) -> Float[np.ndarray, "first second"]:
        """Density of the second value given the first's bin; NaN rows where the bin is empty."""
        rows = self.counts.sum(axis=1, keepdims=True)
        return divide(self.counts, np.broadcast_to(rows, self.counts.shape)) / np.diff(self.second_edges)

    @property
    def conditional_mean(self) -> Float[np.ndarray, " first"]:
        """Mean of the second value in each bin of the first, from bin centres; NaN where the bin is empty."""
        centres = 0.5 * (self.second_edges[1:] + self.second_edges[:-1])
        return divide(self.counts @ centres, self.counts.sum(axis=1))

    @property
    def conditional_std(self) -> Float[np.ndarray, " first"]:
        """Standard deviation of the second value in each bin of the first, from bin centres."""
        centres = 0.5 * (self.second_edges[1:] + self.second_edges[:-1])
        square = divide(self.counts @ centres**2, self.counts.sum(axis=1))
        return np.sqrt(np.maximum(square - self.conditional_mean**2, 0))

    def levels(self, fractions: Sequence[float] = (0.68, 0.95)) -> Float[np.ndarray, " fraction"]:
        """Density levels whose contours enclose the given fractions of the pairs within the edges.

        Raises
        ------
        InputError
            If a fraction lies outside (0, 1).
        """
        if not fractions or any(not 0 < f < 1 for f in fractions):
            raise InputError(f"fractions must lie in (0, 1), got {tuple(fractions)}")
        order = np.argsort(self.density, axis=None)[::-1]
        enclosed = np.cumsum(self.counts.ravel()[order])
        index = np.searchsorted(enclosed, np.asarray(fractions) * enclosed[-1])
        return self.density.ravel()[order][index]


def one_point_distribution(field: Field, edges: Edges, *, mask: Mask = None) -> Distribution:
    """Measure the distribution of each channel's values over cells.

    Parameters
    ----------
    field : Field
    edges : (bin + 1,) [the field's unit]
    mask : (x, y, z) bool, optional
        Cells that count.

    Raises
    ------
    InputError
        If a value is not finite, the edges do not rise, or the mask is not of the mesh.
    """
    require_finite(field, "field", mask)
    bins = require_edges(edges, "edges", field.unit)
    chosen = require_mask(mask, field)
    flat = field.data.flatten(1) if chosen is None else field.data[:, chosen]
    counts = np.stack([_count([_buckets(channel, bins)], [bins]) for channel in flat])
    return Distribution(
        density=counts / flat.shape[1] / np.diff(bins),
        counts=counts,
        edges=bins,
        outside=1 - counts.sum(axis=1) / flat.shape[1],
        names=tuple(field.names),
        unit=field.unit,
    )


def joint_distribution(
    first: Field, second: Field, *, first_edges: Edges, second_edges: Edges, mask: Mask = None
) -> JointDistribution:
    """Measure the joint distribution of two one-channel fields over cells.

    Prediction against truth (Fig. 6 of Xiao et al. 2024), or a field against the density (Fig. 8).

    Parameters
    ----------
    first, second : Field
        One scalar channel each, on one box.
    first_edges, second_edges : bin edges in the fields' units
    mask : (x, y, z) bool, optional
        Cells that count.

    Raises
    ------
    InputError
        If boxes disagree, a field has several channels, a value is not finite, or edges do not rise.
    """
    first.require_same_box(second)
    for field, name in ((first, "first"), (second, "second")):
        require_scalar(field, name)
        require_finite(field, name, mask)
    bins = [
        require_edges(first_edges, "first_edges", first.unit),
        require_edges(second_edges, "second_edges", second.unit),
    ]
    chosen = require_mask(mask, first)
    flat = [f.data[0].flatten() if chosen is None else f.data[0][chosen] for f in (first, second)]
    counts = _count([_buckets(values, e) for values, e in zip(flat, bins, strict=True)], bins)
    return _joint(counts, len(flat[0]), bins, (first.names[0], second.names[0]), (first.unit, second.unit))


def two_point_distribution(field: Field, separation: float, edges: Edges) -> JointDistribution:
    """Measure the joint distribution of a field's values at two points a given distance apart.

    Parameters
    ----------
    field : Field
        One scalar channel. Pairs lie along the three axes; in a periodic box they reach through the faces.
    separation : float
        [Mpc/h]; taken to the nearest whole number of cells.
    edges : (bin + 1,) [the field's unit]
        For both values.

    Raises
    ------
    InputError
        If the separation is less than half a cell or more than half the box, or as in `one_point_distribution`.
    """
    require_scalar(field, "field")
    require_finite(field, "field")
    bins = require_edges(edges, "edges", field.unit)
    box = field.box
    if not box.cell_size / 2 <= separation <= box.side / 2:
        raise InputError(
            f"separation must lie between half a cell, {box.cell_size / 2:.4g}, and half the box, {box.side / 2:.4g} "
            f"Mpc/h, got {separation}"
        )
    steps = max(1, round(separation / box.cell_size))
    counts, pairs = np.zeros((len(bins) - 1,) * 2), 0
    buckets = _buckets(field.data[0], bins)
    for axis in range(3):
        here, there = buckets, buckets.roll(-steps, axis)
        if not box.periodic:
            here, there = (values.narrow(axis, 0, box.mesh - steps) for values in (here, there))
        counts += _count([here, there], [bins, bins])
        pairs += here.numel()
    # A pair has no order.
    counts = 0.5 * (counts + counts.T)
    return _joint(counts, pairs, [bins, bins], (field.names[0],) * 2, (field.unit,) * 2)


def _joint(
    counts: np.ndarray, pairs: int, bins: list[np.ndarray], names: tuple[str, str], units: tuple[str, str]
) -> JointDistribution:
    return JointDistribution(
        density=counts / pairs / np.outer(np.diff(bins[0]), np.diff(bins[1])),
        counts=counts,
        first_edges=bins[0],
        second_edges=bins[1],
        outside=float(1 - counts.sum() / pairs),
        names=names,
        units=units,
    )


def _buckets(values: Float[Tensor, "..."], edges: np.ndarray) -> Int[Tensor, "..."]:
    """Number of each value's bin from 1, 0 below the bins and len(edges) above; the last includes its upper edge."""
    # In the values' own precision: a value on an edge must compare equal to it.
    limits = torch.as_tensor(edges, dtype=values.dtype, device=values.device)
    limits[-1] = torch.nextafter(limits[-1], limits.new_tensor(float("inf")))
    step = np.diff(edges)
    if step.max() > 1.01 * step.min():
        return torch.bucketize(values.contiguous(), limits, right=True)
    # Equal bins: one product is faster than a search, and its rounding is put right against the edges themselves.
    infinity = limits.new_tensor([float("inf")])
    limits = torch.cat([-infinity, limits, infinity])
    guess = ((values - limits[1]) / float(step.mean())).floor_().clamp_(-1, len(step)).long().add_(1)
    guess -= (values < limits.take(guess)).long()
    guess += (values >= limits.take(guess + 1)).long()
    return guess


def _count(buckets: Sequence[Int[Tensor, "..."]], edges: Sequence[np.ndarray]) -> Float[np.ndarray, "..."]:
    """Histogram of numbers from `_buckets` in as many dimensions as there are; those beyond the bins are left out."""
    shape = tuple(len(e) + 1 for e in edges)
    index = buckets[0]
    for bucket, size in zip(buckets[1:], shape[1:], strict=True):
        index = index * size + bucket
    total = torch.bincount(index.flatten(), minlength=math.prod(shape)).cpu().numpy().reshape(shape)
    return total[tuple(slice(1, -1) for _ in shape)].astype(np.float64)
