import numpy as np
import pytest

from peculiar.core import PRESETS, Box, Catalogue
from peculiar.linear.halo_model import NEIGHBOURS, companions, halo_bias, halo_volume

COSMOLOGY = PRESETS["xiao2024"]
SIZE, NUMBER = 200.0, 8000


def test_bias_is_that_of_tinker_et_al():
    # For nu = 1 by hand: 1 - 1 / (1 + 1.686^0.1324) + 0.183 + 0.2652.
    assert halo_bias(np.array([1.0]))[0] == pytest.approx(0.9655, abs=2e-4)


def test_the_mass_of_a_bias_rises_with_it_and_falls_with_redshift():
    now, then = (
        halo_volume(np.array([1.0, 1.5, 2.5, 4.0]), cosmology=COSMOLOGY, redshift=z) for z in (0.0, 1.0)
    )
    assert (np.diff(now) > 0).all()
    assert (then < now).all()


def random_catalogue(**geometry):
    positions = np.random.default_rng(1).uniform(20, SIZE - 20, (NUMBER, 3))
    return Catalogue(positions, Box(SIZE, 32, periodic=False), redshift=0.5, **geometry)


@pytest.mark.parametrize(
    "geometry", [{"line_of_sight": "x"}, {"line_of_sight": "radial", "observer": (-300.0, 100.0, 100.0)}]
)
def test_companions_are_close_pairs_that_lie_along_the_sight_line(geometry):
    alone = random_catalogue(**geometry)
    assert companions(alone) == 0
    rng = np.random.default_rng(2)
    hosts = rng.choice(NUMBER, NUMBER // 4, replace=False)
    sight = alone.sight_lines()[hosts]

    def companions_at(offset):
        positions = np.concatenate([alone.positions, alone.positions[hosts] + offset])
        return companions(alone.replace(positions=positions))

    along = rng.uniform(-6, 6, (len(hosts), 1)) * sight
    own = NEIGHBOURS[0] * (1.25 * NUMBER / SIZE**3 / 3e-3) ** NEIGHBOURS[1]
    assert companions_at(along) == pytest.approx(2 * 0.25 / 1.25 - own, abs=0.04)
    across = np.cross(sight, [0.0, 0.0, 1.0])
    assert companions_at(3 * across / np.linalg.norm(across, axis=1, keepdims=True)) == 0


def test_companions_do_not_depend_on_the_order_of_rows():
    catalogue = random_catalogue()
    turned = catalogue.replace(positions=catalogue.positions[::-1].copy())
    assert companions(turned) == pytest.approx(companions(catalogue))
