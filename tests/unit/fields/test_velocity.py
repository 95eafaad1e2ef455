import numpy as np
import pytest
import torch

from peculiar.core import Box, Field, InputError
from peculiar.fields.velocity import delaunay, from_momentum, nearest_particle


def momentum_case(
    mass: torch.Tensor, velocity: torch.Tensor, *, periodic: bool = True
) -> tuple[Field, Field]:
    box = Box(40.0, mass.shape[-1], periodic=periodic)
    density = Field(mass[None] - 1, box, ["delta"])
    return density, Field(mass * velocity, box, ["x", "y", "z"], unit="km/s", kind="vector")


def test_quotient_where_there_is_matter():
    mass, velocity = torch.rand(8, 8, 8) + 0.1, torch.randn(3, 8, 8, 8)
    field = from_momentum(*momentum_case(mass, velocity))
    torch.testing.assert_close(field.data, velocity, atol=1e-4, rtol=1e-4)
    assert field.definition.startswith("mass weighted")


@pytest.mark.parametrize("periodic", [True, False])
def test_an_empty_cell_takes_the_mass_weighted_mean_of_the_smallest_cube(periodic):
    mass, velocity = torch.zeros(8, 8, 8), torch.zeros(3, 8, 8, 8)
    mass[0, 0, 0], velocity[0, 0, 0, 0] = 1.0, 100.0
    mass[2, 0, 0], velocity[0, 2, 0, 0] = 3.0, 200.0
    mass[7, 0, 0], velocity[0, 7, 0, 0] = 1.0, -900.0
    field = from_momentum(*momentum_case(mass, velocity, periodic=periodic))
    speed = field.data[0]
    assert speed[1, 0, 0] == pytest.approx(175.0)  # (1 x 100 + 3 x 200) / 4
    assert speed[3, 1, 1] == pytest.approx(200.0)
    # Cells 0 and 7 are neighbours only round the corner.
    assert speed[0, 1, 0] == pytest.approx(-400.0 if periodic else 100.0)
    assert (field.data[0] != 0).all()


@pytest.mark.parametrize("periodic", [True, False])
@pytest.mark.parametrize("cells", [2, 5, 8])
def test_one_cell_with_matter_fills_the_mesh(periodic, cells):
    mass, velocity = torch.zeros(cells, cells, cells), torch.full((3, cells, cells, cells), 250.0)
    mass[1, 0, 0] = cells**3
    field = from_momentum(*momentum_case(mass, velocity, periodic=periodic))
    torch.testing.assert_close(field.data, velocity)


def test_rounding_of_an_empty_cell_is_not_taken_for_matter():
    mass, velocity = torch.ones(8, 8, 8), torch.full((3, 8, 8, 8), 50.0)
    mass[4, 4, 4] = 6e-8
    density, momentum = momentum_case(mass, velocity)
    momentum.data[:, 4, 4, 4] = 3e-3
    torch.testing.assert_close(from_momentum(density, momentum).data, velocity)


def test_from_momentum_refuses_what_it_cannot_divide():
    density, momentum = momentum_case(torch.ones(4, 4, 4), torch.ones(3, 4, 4, 4))
    with pytest.raises(InputError, match="vector momentum"):
        from_momentum(density, momentum.replace(kind="scalar"))
    with pytest.raises(InputError, match="empty mesh"):
        from_momentum(density.replace(data=density.data - 1), momentum)
    with pytest.raises(InputError, match="empty_cells must be one of neighbours, background"):
        from_momentum(density, momentum, empty_cells="zero")
    with pytest.raises(InputError, match="share one box"):
        from_momentum(density, momentum.replace(box=Box(41.0, 4)))


def test_empty_cells_may_take_the_background_velocity():
    """Mean momentum over mean density, as footnote 5 of Wu et al. 2021."""
    mass, velocity = torch.zeros(8, 8, 8), torch.zeros(3, 8, 8, 8)
    mass[0, 0, 0], velocity[1, 0, 0, 0] = 1.0, 100.0
    mass[2, 0, 0], velocity[1, 2, 0, 0] = 3.0, 200.0
    field = from_momentum(*momentum_case(mass, velocity), empty_cells="background")
    assert field.data[1, 1, 0, 0] == field.data[1, 5, 5, 5] == pytest.approx(175.0)
    assert field.data[1, 2, 0, 0] == pytest.approx(200.0)
    assert "mean momentum / mean density" in field.definition


@pytest.mark.parametrize(("periodic", "speed"), [(True, 7.0), (False, -3.0)])
def test_nearest_particle_may_be_an_image(periodic, speed):
    positions = np.array([[9.9, 5.0, 5.0], [3.0, 5.0, 5.0]])
    velocities = np.array([[7.0, 0.0, 0.0], [-3.0, 0.0, 0.0]])
    field = nearest_particle(positions, velocities, Box(10.0, 10, periodic=periodic))
    assert field.data[0, 0, 5, 5] == speed


def test_a_tessellation_is_exact_for_a_linear_flow():
    rng = np.random.default_rng(4)
    points = np.concatenate([rng.uniform(0, 10, (300, 3)), 10 * np.indices((2, 2, 2)).reshape(3, -1).T])
    slope = np.array([[3.0, 0.0, 1.0], [0.0, -2.0, 0.5], [1.0, 1.0, 0.0]])
    box = Box(10.0, 5, periodic=False)
    field = delaunay(points, points @ slope, box, samples=2)
    centres = np.stack(np.meshgrid(*(box.coordinates(),) * 3, indexing="ij"), axis=-1)
    np.testing.assert_allclose(field.numpy(), np.moveaxis(centres @ slope, -1, 0), atol=1e-4)


def test_outside_the_hull_of_a_walled_box_the_nearest_particle_stands_in():
    points = np.random.default_rng(4).uniform(4, 6, (50, 3))
    field = delaunay(points, np.full((50, 3), 80.0), Box(10.0, 5, periodic=False), samples=1)
    assert (field.data == 80.0).all()
    assert "nearest particle" in field.definition


def test_particles_must_be_whole():
    box, good = Box(10.0, 4), np.ones((6, 3))
    for positions, velocities in ((good, good[:5]), (good[:0], good[:0]), (good * np.nan, good)):
        with pytest.raises(InputError, match="positions and velocities must"):
            nearest_particle(positions, velocities, box)
    with pytest.raises(InputError, match="at least 5"):
        delaunay(good[:4], good[:4], box)
    with pytest.raises(InputError, match="samples must be"):
        delaunay(good, good, box, samples=0)
