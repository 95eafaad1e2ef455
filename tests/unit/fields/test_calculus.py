import pytest
import torch

from peculiar.core import Box, Field, InputError
from peculiar.fields.calculus import (
    curl,
    displacement,
    displacement_component,
    displacement_from_fourier,
    divergence,
    gradient,
    helmholtz,
)
from peculiar.fields.fourier import inverse_k_squared, to_fourier, to_real, wavevectors

BOX = Box(40.0, 8)
SPEED = Field(
    torch.randn(3, 8, 8, 8), BOX, ["vx", "vy", "vz"], unit="km/s", kind="vector", definition="as told"
)
DELTA = Field(torch.randn(1, 8, 8, 8), BOX, ["delta"], space="redshift")


def test_units_kinds_and_space_follow():
    slope = gradient(DELTA)
    assert (slope.kind, slope.unit, slope.space) == ("vector", "1 / (Mpc/h)", "redshift")
    spread = divergence(SPEED)
    assert (spread.kind, spread.unit, spread.data.shape[0]) == ("scalar", "km/s / (Mpc/h)", 1)
    assert (curl(SPEED).kind, curl(SPEED).unit) == ("vector", "km/s / (Mpc/h)")
    potential, rotational = helmholtz(SPEED)
    assert potential.unit == rotational.unit == "km/s"
    assert potential.definition == "as told"


@pytest.mark.parametrize("operation", [divergence, curl, helmholtz])
def test_three_channels_are_a_vector_only_if_they_say_so(operation):
    with pytest.raises(InputError, match=r"needs a vector field, got kind 'scalar'"):
        operation(SPEED.replace(kind="scalar"))


def test_gradient_wants_one_channel():
    with pytest.raises(InputError, match="one channel, got 3"):
        gradient(SPEED)


def test_displacement_wants_the_mesh_of_its_box():
    with pytest.raises(InputError, match="shape of its box"):
        displacement(torch.zeros(8, 8, 6), BOX)


def test_displacement_ignores_the_mean_and_starts_from_either_space():
    delta = DELTA.data[0]
    expected = displacement(delta, BOX)
    torch.testing.assert_close(displacement(delta + 7.0, BOX), expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(displacement_from_fourier(to_fourier(delta), BOX), expected)


@pytest.mark.parametrize("cells", [8, 9])
def test_displacement_is_i_k_over_k_squared_without_the_nyquist_planes(cells):
    box = Box(40.0, cells)
    modes = to_fourier(torch.randn(box.shape, dtype=torch.float64))
    potential = modes * inverse_k_squared(box, dtype=torch.float64)
    expected = torch.stack(
        [to_real(1j * k * potential, box.shape) for k in wavevectors(box, dtype=torch.float64, odd=True)]
    )
    kept = Box((40.0, 25.0, 30.0), (8, 5, 6)) if cells == 8 else None
    x, y, z = (kept or box).shape
    before = modes.clone()
    found = displacement_from_fourier(modes, box, kept=kept)
    torch.testing.assert_close(found, expected[:, :x, :y, :z])
    assert torch.equal(modes, before)
    for axis in range(3):
        out = torch.empty((x, y, z), dtype=torch.float64)
        displacement_component(modes.clone(), box, axis, out=out, used_up=True)
        torch.testing.assert_close(out, found[axis])


def test_displacements_of_simulations_do_not_depend_on_the_number_of_threads():
    box, modes = Box(40.0, 16), to_fourier(torch.randn((16, 16, 16)))
    threads = torch.get_num_threads()
    found = []
    try:
        for number in (1, 2):
            torch.set_num_threads(number)
            found.append(displacement_from_fourier(modes, box))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(*found)


def test_double_precision_stays():
    assert gradient(DELTA.to(torch.float64)).data.dtype == torch.float64
    assert displacement(DELTA.data[0].double(), BOX).dtype == torch.float64
