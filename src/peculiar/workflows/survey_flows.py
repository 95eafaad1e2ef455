"""Flows of cubes cut from periodic boxes: of the matter inside alone or outside alone, and the potential."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import torch
from jaxtyping import Float

from peculiar.core import Box, Field, InputError
from peculiar.fields.calculus import displacement_from_fourier
from peculiar.fields.fourier import inverse_k_squared, to_fourier, to_real
from peculiar.linear.linear_theory import linear_fields, smoothed_fourier
from peculiar.linear.matter import linear_flow
from peculiar.linear.overdensity import crop

Corner = tuple[int, int, int]


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
    padding = 0 if periodic else box.mesh
    grid = Box(box.size + padding * box.cell_size, box.mesh + padding)
    padded = torch.nn.functional.pad(density.data, (0, padding) * 3)
    delta_k = smoothed_fourier(padded[0], grid, smoothing=smoothing, bias=1.0)
    shift = crop(displacement_from_fourier(delta_k, grid), box)
    return linear_fields(density.data, shift, box, velocity_factor=velocity_factor)["velocity"]


def outside_flow(
    density: Field, corner: Corner, cells: int, *, velocity_factor: float, smoothing: float = 0.0
) -> Float[torch.Tensor, "3 x y z"]:
    """Return the linear velocity [km/s] in a cube that the matter outside it causes.

    The overdensity inside is set to 0, and linear theory runs on the whole box. With the flow of the density that is 0
    outside instead it sums to that of the whole box.

    Parameters
    ----------
    density : Field
        Overdensity of the whole box, periodic.
    corner : (3,)
        First cell of the cube along each axis; the box wraps.
    cells : int
        Cells along a side of the cube.
    velocity_factor, smoothing : as in `isolated_flow`
    """
    place = _cells(density.box, corner, cells)
    data = density.data.clone()
    data[:, place[0], place[1], place[2]] = 0.0
    flow = linear_flow(density.replace(data=data), velocity_factor=velocity_factor, smoothing=smoothing)
    return flow["velocity"].data[:, place[0], place[1], place[2]]


def potential_in(density: Field, corner: Corner, cells: int) -> Float[torch.Tensor, "x y z"]:
    """Return the gravitational potential of the whole box's matter in a cube, in units of its rms over the box.

    phi(k) = - delta(k) / k^2, times a positive number that the units take away.
    """
    place = _cells(density.box, corner, cells)
    phi = to_real(-to_fourier(density.data[0]) * inverse_k_squared(density.box), density.box.mesh)
    return phi[place[0], place[1], place[2]] / phi.std().clamp_min(1e-30)


def find_cube(density: Field, part: Field) -> Corner:
    """Return the first cell of a cube of a box, one of those that tile it from cell 0 on.

    Parameters
    ----------
    density : Field
        Of the whole box.
    part : Field
        The same values in the cube.

    Raises
    ------
    InputError
        If none of the tiles has these values.
    """
    cells = part.box.mesh
    for i, j, k in product(range(0, density.box.mesh - cells + 1, cells), repeat=3):
        if torch.equal(density.data[:, i : i + cells, j : j + cells, k : k + cells], part.data):
            return i, j, k
    raise InputError(
        f"observed cubes must tile the simulated box of {density.box.mesh}^3 cells, got one of {cells}^3 that is none "
        "of its tiles"
    )


def _cells(box: Box, corner: Sequence[int], cells: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    x, y, z = ((torch.arange(cells) + first) % box.mesh for first in corner)
    return x[:, None, None], y[None, :, None], z[None, None, :]
