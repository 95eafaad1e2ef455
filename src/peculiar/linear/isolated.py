"""Flows of cubes cut from periodic boxes: of the matter inside alone or outside alone, and the potential."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from peculiar.core import Box, Field
from peculiar.fields.calculus import displacement_from_fourier
from peculiar.fields.fourier import inverse_k_squared, to_fourier, to_real, with_empty_cells
from peculiar.linear.classical import linear_fields
from peculiar.linear.linear_theory import smoothed_fourier

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
    shift = linear_displacement(density.data[0], box, grid=grid, smoothing=smoothing)
    return linear_fields(density.data, velocity_factor * shift, box)["velocity"]


def linear_displacement(
    density: Float[torch.Tensor, "x y z"], box: Box, *, grid: Box | None = None, smoothing: float = 0.0
) -> Float[torch.Tensor, "3 x y z"]:
    """Return the displacement of linear theory [Mpc/h] that an overdensity causes on its own mesh.

    Parameters
    ----------
    density : (x, y, z)
    box : Box
        With its mesh.
    grid : Box, optional
        A larger one with the same corner, whose other cells have the mean density: images are as far as its sides.
    smoothing : float
        Gaussian radius [Mpc/h].
    """
    grid = grid or box
    delta_k = smoothed_fourier(with_empty_cells(density, grid), grid, smoothing=smoothing, bias=1.0)
    return displacement_from_fourier(delta_k, grid, kept=box)


def unseen_displacement(
    density: Field, seen: Bool[torch.Tensor, "x y z"], *, smoothing: float = 0.0
) -> Float[torch.Tensor, "3 x y z"]:
    """Return the linear displacement in a periodic box [Mpc/h] that the matter causes which is not seen.

    Parameters
    ----------
    density : Field
        Overdensity of all matter.
    seen : (x, y, z)
        Cells whose overdensity counts as 0.
    smoothing : float
        Gaussian radius [Mpc/h].
    """
    return linear_displacement(density.data[0].masked_fill(seen, 0.0), density.box, smoothing=smoothing)


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
    seen = torch.zeros(density.box.shape, dtype=torch.bool)
    seen[x, y, z] = True
    return velocity_factor * unseen_displacement(density, seen, smoothing=smoothing)[:, x, y, z]


def potential_in(density: Field, rows: Rows) -> Float[torch.Tensor, "x y z"]:
    """Return the gravitational potential of the whole box's matter in a cube, in units of its rms over the box.

    `rows` as in `outside_flow`. phi(k) = - delta(k) / k^2, times a positive number that the units take away.
    """
    x, y, z = np.ix_(*rows)
    phi = to_real(-to_fourier(density.data[0]) * inverse_k_squared(density.box), density.box.shape)
    return phi[x, y, z] / phi.std().clamp_min(1e-30)
