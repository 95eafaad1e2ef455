"""Flows of the matter inside and outside of a cube, against the whole box's."""

import numpy as np
import pytest
import torch

from peculiar.core import Box, Field
from peculiar.linear.isolated import (
    inner_field,
    isolated_flow,
    outside_flow,
    potential_in,
)
from peculiar.linear.matter import linear_flow

BOX = Box(120.0, 24)
FACTOR = 80.0


@pytest.fixture(scope="module")
def density():
    noise = torch.randn(1, 24, 24, 24, generator=torch.Generator().manual_seed(3))
    return Field(noise - noise.mean(), BOX, ["density"])


def rows_of(corner: tuple[int, int, int], cells: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    x, y, z = ((np.arange(cells) + first) % BOX.mesh for first in corner)
    return x, y, z


def cube_of(field: Field, corner: tuple[int, int, int], cells: int) -> Field:
    i, j, k = corner
    data = field.data[:, i : i + cells, j : j + cells, k : k + cells]
    return field.replace(data=data, box=Box(cells * 5.0, cells, periodic=False))


@pytest.mark.parametrize("smoothing", [0.0, 6.0])
def test_inside_and_outside_sum_to_the_whole_box(density, smoothing):
    corner, cells = (12, 0, 12), 12
    inside = torch.zeros_like(density.data)
    inside[:, 12:, :12, 12:] = density.data[:, 12:, :12, 12:]
    settings = {"velocity_factor": FACTOR, "smoothing": smoothing}
    own, whole = (linear_flow(one, **settings)["velocity"] for one in (density.replace(data=inside), density))
    total = cube_of(own, corner, cells).data + outside_flow(density, rows_of(corner, cells), **settings)
    torch.testing.assert_close(total, cube_of(whole, corner, cells).data, atol=2e-3, rtol=1e-4)


def test_no_matter_outside_no_flow_from_there(density):
    data = torch.zeros_like(density.data)
    data[:, :12, :12, :12] = density.data[:, :12, :12, :12]
    flow = outside_flow(density.replace(data=data), rows_of((0, 0, 0), 12), velocity_factor=FACTOR)
    assert float(flow.abs().max()) < 1e-5


def test_a_cube_may_wrap_around_the_box(density):
    rolled = density.replace(data=density.data.roll((5, 5, 5), (1, 2, 3)))
    flow = outside_flow(rolled, rows_of((23, 23, 23), 12), velocity_factor=FACTOR)
    torch.testing.assert_close(
        flow, outside_flow(density, rows_of((18, 18, 18), 12), velocity_factor=FACTOR), atol=1e-3, rtol=1e-4
    )


def test_an_isolated_cube_feels_its_images_little():
    # Matter at one face pulls at the opposite face the wrong way through its periodic image.
    data = torch.zeros(1, 12, 12, 12)
    data[0, 0, 6, 6] = 100.0
    cube = Field(data, Box(60.0, 12, periodic=False), ["density"])
    padded, periodic = (
        isolated_flow(cube, velocity_factor=FACTOR, smoothing=5.0, periodic=periodic).data[0, :, 6, 6]
        for periodic in (False, True)
    )
    assert float(periodic[11]) > 0 > float(padded[11])
    # v = a H f M / (4 pi r^2) for 100 times the mean mass of a cell of 125 (Mpc/h)^3.
    assert float(padded[4]) == pytest.approx(-FACTOR * 100 * 125 / (4 * torch.pi * 20.0**2), rel=0.1)


def test_periodic_is_linear_theory_of_the_cube_as_it_is(density):
    flow = isolated_flow(density, velocity_factor=FACTOR, smoothing=4.0, periodic=True)
    whole = linear_flow(density, velocity_factor=FACTOR, smoothing=4.0)["velocity"]
    torch.testing.assert_close(flow.data, whole.data)


def test_potential_of_a_plane_wave():
    x = torch.as_tensor(BOX.coordinates()).float().reshape(-1, 1, 1)
    wave = Field((torch.cos(BOX.k_fundamental * x) * torch.ones(24, 24, 24))[None], BOX, ["density"])
    phi = potential_in(wave, rows_of((0, 12, 0), 12))
    # A well where the density is high, and of rms 1 over the whole box.
    torch.testing.assert_close(phi, -(2**0.5) * wave.data[0, :12, 12:, :12], atol=2e-4, rtol=1e-3)


def test_the_margin_goes_and_positions_stay():
    region = Box(80.0, 16, origin=(-10.0, 0.0, 5.0), periodic=False)
    data = torch.arange(16.0)[None, :, None, None].expand(1, 16, 16, 16)
    inner = inner_field(Field(data, region, ["x"]), 2)
    assert inner.box == Box(60.0, 12, origin=(0.0, 10.0, 15.0), periodic=False)
    assert float(inner.at([[2.5, 12.5, 17.5]])[0, 0]) == 2.0
