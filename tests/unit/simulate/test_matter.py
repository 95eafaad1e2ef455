"""2LPT on a mesh: the waves of a seed, and its flow."""

import pytest
import torch

from peculiar.core.box import Box
from peculiar.core.cosmology import PRESETS
from peculiar.core.errors import InputError
from peculiar.simulate.initial import linear_density, linear_field
from peculiar.simulate.matter import box_of_cells, matter_fields

COSMOLOGY = PRESETS["xiao2024"]
BOX = Box(200.0, 16)


@pytest.fixture(scope="module")
def fields():
    return matter_fields(BOX, COSMOLOGY, seed=3, redshift=0.5)


def long_waves(mesh):
    modes = torch.fft.rfftn(mesh)[:3, :3, :3].flatten()
    return modes[1:]


def test_density_is_an_overdensity_with_the_waves_of_its_seed(fields):
    delta = fields.density.data
    assert delta.shape == (1, 16, 16, 16)
    assert abs(delta.mean()) < 1e-5
    assert delta.min() >= -1
    linear = linear_field(BOX, COSMOLOGY, seed=3, redshift=0.5)
    found, expected = (torch.view_as_real(long_waves(mesh)) for mesh in (delta[0], linear))
    assert (found - expected).square().sum() < 0.05 * expected.square().sum()


def test_velocity_is_that_of_linear_theory_on_large_scales(fields):
    """v_k = i k / k^2 a H f delta_k."""
    assert fields.velocity.unit == "km/s"
    assert fields.velocity.kind == "vector"
    k = torch.fft.fftfreq(16, 1 / 16) * BOX.k_fundamental
    modes = linear_density(BOX, COSMOLOGY, seed=3) * COSMOLOGY.growth(0.5)
    k2 = k[:, None, None] ** 2 + k[None, :, None] ** 2 + k[None, None, :9] ** 2
    expected = 1j * k[:, None, None] / k2 * modes * COSMOLOGY.velocity_factor(0.5)
    found = torch.fft.rfftn(fields.velocity.data[0])
    part = (slice(1, 3), slice(0, 3), slice(0, 3))
    assert (found[part] - expected[part]).abs().square().sum() < 0.1 * expected[part].abs().square().sum()


def test_lattice_and_origin_do_not_change_the_waves(fields):
    finer = matter_fields(Box(200.0, 16, (50.0, 0.0, 0.0)), COSMOLOGY, seed=3, redshift=0.5, per_cell=3)
    a, b = long_waves(fields.density.data[0]), long_waves(finer.density.data[0])
    assert (a - b).abs().square().sum() < 0.01 * a.abs().square().sum()
    other = matter_fields(BOX, COSMOLOGY, seed=4, redshift=0.5)
    c = long_waves(other.density.data[0])
    assert (a - c).abs().square().sum() > 0.5 * a.abs().square().sum()


@pytest.mark.parametrize(
    ("box", "per_cell", "message"),
    [(Box(50.0, 8, periodic=False), 2, "periodic"), (Box(50.0, 9), 1, "even"), (Box(50.0, 8), 0, ">= 1")],
)
def test_refuses(box, per_cell, message):
    with pytest.raises(InputError, match=message):
        matter_fields(box, COSMOLOGY, seed=1, redshift=0.5, per_cell=per_cell)


@pytest.mark.parametrize(("size", "cells"), [(225.0, 60), (2000.0, 534), (500.0, 134), (15.2, 4)])
def test_cells_are_even(size, cells):
    box = box_of_cells(size, cell_size=3.75)
    assert box.cells == cells
    assert abs(box.cell_size - 3.75) < 0.05 * 3.75


@pytest.mark.parametrize(
    ("size", "cell_size", "message"), [(12.0, 3.75, "use 15"), (225.0, 0.0, "cell_size must be")]
)
def test_refuses_cells_that_do_not_fit(size, cell_size, message):
    with pytest.raises(InputError, match=message):
        box_of_cells(size, cell_size=cell_size)


def test_a_particle_mesh_goes_beyond_second_order(fields):
    meshed = matter_fields(BOX, COSMOLOGY, seed=3, redshift=0.5, dynamics="particle mesh")
    a, b = long_waves(fields.density.data[0]), long_waves(meshed.density.data[0])
    assert (a - b).abs().square().sum() < 0.02 * a.abs().square().sum()
    assert meshed.density.data.std() > 1.02 * fields.density.data.std()
