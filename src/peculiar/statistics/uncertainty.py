"""Errors of statistics from many boxes, or from overlapping sub-boxes of one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from peculiar.core.errors import InputError
from peculiar.core.field import Field


@dataclass(frozen=True, eq=False)
class SampleErrors:
    """Mean and scatter of a statistic over boxes.

    Attributes
    ----------
    mean : (...)
    std : (...)
        Scatter from box to box, n - 1 in the denominator.
    error : (...)
        `std` / sqrt(boxes) for independent boxes; Delta of Eq. 11 of Xiao et al. 2024 for overlapping ones.
    boxes : int
    """

    mean: Float[np.ndarray, "..."]
    std: Float[np.ndarray, "..."]
    error: Float[np.ndarray, "..."]
    boxes: int


def errors_from_boxes(values: Float[np.ndarray, "box ..."]) -> SampleErrors:
    """Mean, scatter and error of the mean of a statistic over independent boxes.

    Parameters
    ----------
    values : (box, ...)
        The statistic in each box.

    Raises
    ------
    InputError
        With fewer than two boxes or values that are not finite.
    """
    samples = _samples(values)
    std = samples.std(axis=0, ddof=1)
    return SampleErrors(samples.mean(axis=0), std, std / np.sqrt(len(samples)), len(samples))


def rescaled_errors(
    values: Float[np.ndarray, "box ..."], *, total_volume: float, box_volume: float
) -> SampleErrors:
    """Mean, scatter and error of a statistic over boxes that overlap.

    Delta = delta sqrt(V_all / V_overlap) (Eq. 11 of Xiao et al. 2024), V_overlap being the sum of the boxes' volumes:
    25 boxes of 600^3 in 1200 x 1200 x 600 (Mpc/h)^3 give a factor of 0.4.

    Parameters
    ----------
    values : (box, ...)
        The statistic in each box.
    total_volume : float
        Volume that the boxes cover together [(Mpc/h)^3].
    box_volume : float
        Volume of one box [(Mpc/h)^3].

    Raises
    ------
    InputError
        As in `errors_from_boxes`, or if the volumes are not positive or a box exceeds the total.
    """
    samples = _samples(values)
    if not 0 < box_volume <= total_volume:
        raise InputError(
            f"box_volume must lie in (0, total_volume], got {box_volume} of {total_volume} (Mpc/h)^3"
        )
    std = samples.std(axis=0, ddof=1)
    factor = np.sqrt(total_volume / (len(samples) * box_volume))
    return SampleErrors(samples.mean(axis=0), std, std * factor, len(samples))


def sub_boxes(field: Field, cells: int, *, step: int) -> Iterator[Field]:
    """Cut overlapping cubes out of a field.

    The cubes count as periodic, as in Xiao et al. 2024, so that estimators take them: their wrap mixes a little power
    between neighbouring modes.

    Parameters
    ----------
    field : Field
    cells : int
        Side of a cube in cells.
    step : int
        Distance of neighbouring cubes in cells; below `cells` they overlap.

    Raises
    ------
    InputError
        If a cube does not fit or the step is not positive.
    """
    n = field.box.mesh
    if not 2 <= cells <= n:
        raise InputError(f"cells must lie between 2 and the mesh's {n}, got {cells}")
    if step < 1:
        raise InputError(f"step must be >= 1 cell, got {step}")
    starts = range(0, n - cells + 1, step)
    size = cells * field.box.cell_size
    for x, y, z in ((x, y, z) for x in starts for y in starts for z in starts):
        corner = [
            float(o + s * field.box.cell_size) for o, s in zip(field.box.origin, (x, y, z), strict=True)
        ]
        box = replace(
            field.box, size=size, cells=cells, origin=(corner[0], corner[1], corner[2]), periodic=True
        )
        yield field.replace(data=field.data[:, x : x + cells, y : y + cells, z : z + cells], box=box)


def errors_from_sub_boxes(
    statistic: Callable[..., Float[np.ndarray, "..."]], *fields: Field, cells: int, step: int
) -> SampleErrors:
    """Measure a statistic in overlapping sub-boxes and rescale its scatter by Eq. 11 of Xiao et al. 2024.

    Parameters
    ----------
    statistic : callable
        Field(s) -> array, e.g. ``lambda p, t: compare_power(p, t, edges=edges).relative_deviation``.
    *fields : Field
        On one box; handed to the statistic cut alike.
    cells, step : int
        As in `sub_boxes`.

    Raises
    ------
    InputError
        As in `sub_boxes` and `rescaled_errors`.
    """
    if not fields:
        raise InputError("fields must hold at least one field, got none")
    for field in fields[1:]:
        fields[0].require_same_box(field)
    cut = [sub_boxes(field, cells, step=step) for field in fields]
    values = np.stack([np.asarray(statistic(*parts)) for parts in zip(*cut, strict=True)])
    n, cell = fields[0].box.mesh, fields[0].box.cell_size
    last = (n - cells) // step * step + cells
    reach = last if step < cells else ((n - cells) // step + 1) * cells
    return rescaled_errors(values, total_volume=(reach * cell) ** 3, box_volume=(cells * cell) ** 3)


def _samples(values: Float[np.ndarray, "box ..."]) -> np.ndarray:
    samples = np.asarray(values, dtype=np.float64)
    if samples.ndim < 1 or len(samples) < 2:
        raise InputError(
            f"values must hold two or more boxes, got shape {samples.shape}: the scatter needs several"
        )
    if not np.isfinite(samples).all():
        raise InputError(f"values must be finite, got {int((~np.isfinite(samples)).sum())} that are not")
    return samples
