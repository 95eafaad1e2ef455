"""The part of a box that a survey observes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Bool, Float

from peculiar.core import Box, Field
from peculiar.fields.paint import paint
from peculiar.fields.smooth import gaussian

REACH = 8.0  # Mpc/h; a cell counts as observed where objects lie within about this distance
OBSERVED = 0.08  # smoothed number of objects over its mean above which a cell counts as observed


def observed_cells(positions: Float[np.ndarray, "n 3"], box: Box) -> Bool[np.ndarray, "x y z"]:
    """Return the cells near objects: their smoothed number is at least 8 % of its mean over the cells that hold any."""
    open_box = replace(box, periodic=False)
    counts = paint(positions, open_box)
    smoothed = gaussian(Field(counts, open_box, ("objects",)), REACH).data[0]
    typical = smoothed[counts[0] > 0].mean()
    return np.asarray((smoothed > OBSERVED * typical).cpu().numpy())


def cropped(
    fields: dict[str, Field],
    coverage: Bool[np.ndarray, "x y z"],
    *,
    observer: tuple[float, float, float] | None,
) -> tuple[dict[str, Field], Bool[np.ndarray, "x y z"]]:
    """Cut the smallest cube that holds the observed cells, and the observer where the box does.

    Where it reaches beyond the faces of a box with three sides, nothing is observed, and the fields are 0.
    """
    fields, coverage = in_cube(fields, coverage)
    box = fields["density"].box
    seen = np.argwhere(coverage)
    if observer is not None and box.contains(np.asarray([observer]))[0]:
        cell = (np.asarray(observer) - np.asarray(box.origin)) / box.cell_size
        seen = np.vstack([seen, np.minimum(cell.astype(int), box.mesh - 1)])
    low, high = seen.min(axis=0), seen.max(axis=0) + 1
    cells = min(int((high - low).max()) + 8, box.mesh)
    start = np.clip((low + high - cells) // 2, 0, box.mesh - cells)
    cut = tuple(slice(int(first), int(first) + cells) for first in start)
    x, y, z = (float(o + i * box.cell_size) for o, i in zip(box.origin, start, strict=True))
    part = Box(cells * box.cell_size, cells, (x, y, z), periodic=False)
    inside = {
        name: field.replace(data=field.data[(slice(None), *cut)], box=part) for name, field in fields.items()
    }
    return inside, coverage[cut]


def in_cube(
    fields: dict[str, Field], coverage: Bool[np.ndarray, "x y z"]
) -> tuple[dict[str, Field], Bool[np.ndarray, "x y z"]]:
    """Put fields and what is observed into the cube about them, which is not periodic; a cube stays as it is."""
    box = fields["density"].box
    side = max(box.shape)
    below = [(side - n) // 2 for n in box.shape]
    x, y, z = ((low, side - n - low) for low, n in zip(below, box.shape, strict=True))
    corner = [o - low * box.cell_size for o, low in zip(box.origin, below, strict=True)]
    cube = Box(side * box.cell_size, side, (corner[0], corner[1], corner[2]), periodic=False)
    larger = {
        name: field.replace(data=torch.nn.functional.pad(field.data, (*z, *y, *x)), box=cube)
        for name, field in fields.items()
    }
    return larger, np.pad(coverage, (x, y, z))
