"""Flows of cubes cut from periodic boxes: of the matter inside alone or outside alone, and the potential."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float, Int

from peculiar.core import Box, Field
from peculiar.fields.calculus import displacement_from_fourier
from peculiar.fields.fourier import inverse_k_squared, to_fourier, to_real, with_empty_cells
from peculiar.linear.classical import linear_fields
from peculiar.linear.linear_theory import smoothed_fourier
from peculiar.linear.matter import linear_flow

Rows = tuple[Int[np.ndarray, " x"], Int[np.ndarray, " y"], Int[np.ndarray, " z"]]


def inner_field(field: Field, margin: int) -> Field:
    """Return a field of a region without its margin, on the cube inside it; not periodic."""
    box = field.box
    cells = box.mesh - 2 * margin
    origin = tuple(corner + margin * box.cell_size for corner in box.origin)
    inner = Box(box.cell_size * cells, cells, origin=(origin[0], origin[1], origin[2]), periodic=False)
    rows = slice(margin, box.mesh - margin)
    return field.replace(data=field.data[:, rows, rows, rows].contiguous(), box=inner)


def isolated_flow(
    density: Field, *, velocity_factor: float, smoothing: float = 0.0, periodic: bool = False
) -> Field:
    """Return the linear velocity [km/s] of the matter in a cube, as if there were none elsewhere.

    Parameters
    ----------
    density : Field
        Overdensity of matter in the cube, against the mean of the universe.
    velocity_factor : float
        a H f [km/s per Mpc/h].
    smoothing : float
        Gaussian radius [Mpc/h].
    periodic : bool
        Whether the cube is its own neighbour on every side, as where a Fourier transform takes it as it is; else it is
        padded with cells of the mean density to twice its side, so that no image is nearer than the matter itself.
    """
    box = density.box
    grid = replace(box, periodic=True) if periodic else box.extended(box.shape)
    padded = with_empty_cells(density.data, grid)
    delta_k = smoothed_fourier(padded[0], grid, smoothing=smoothing, bias=1.0)
    shift = displacement_from_fourier(delta_k, grid, kept=box)
    return linear_fields(density.data, velocity_factor * shift, box)["velocity"]


def outside_flow(
    density: Field, rows: Rows, *, velocity_factor: float, smoothing: float = 0.0
) -> Float[torch.Tensor, "3 x y z"]:
    """Return the linear velocity [km/s] in a cube that the matter outside it causes.

    The overdensity inside is set to 0, and linear theory runs on the whole box. With the flow of the density that is 0
    outside instead it sums to that of the whole box.

    Parameters
    ----------
    density : Field
        Overdensity of the whole box, periodic.
    rows : three arrays of int
        Cells of the box, along each axis, that the cube's cells are.
    velocity_factor, smoothing : as in `isolated_flow`
    """
    x, y, z = np.ix_(*rows)
    data = density.data.clone()
    data[:, x, y, z] = 0.0
    flow = linear_flow(density.replace(data=data), velocity_factor=velocity_factor, smoothing=smoothing)
    return flow["velocity"].data[:, x, y, z]


def potential_in(density: Field, rows: Rows) -> Float[torch.Tensor, "x y z"]:
    """Return the gravitational potential of the whole box's matter in a cube, in units of its rms over the box.

    `rows` as in `outside_flow`. phi(k) = - delta(k) / k^2, times a positive number that the units take away.
    """
    x, y, z = np.ix_(*rows)
    phi = to_real(-to_fourier(density.data[0]) * inverse_k_squared(density.box), density.box.shape)
    return phi[x, y, z] / phi.std().clamp_min(1e-30)
