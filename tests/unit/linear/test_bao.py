import numpy as np
import pytest
import torch

from peculiar.core import PRESETS, Box, Catalogue, InputError
from peculiar.core.readout import readout
from peculiar.fields.calculus import displacement
from peculiar.fields.fourier import k_squared, to_fourier, to_real
from peculiar.fields.smooth import gaussian_window
from peculiar.linear import move_back
from peculiar.linear.bao import bao_shifts
from peculiar.linear.clustering import matter_power

COSMOLOGY = PRESETS["xiao2024"]
REDSHIFT = 0.59
GROWTH = COSMOLOGY.growth_rate(REDSHIFT)


def apart(one, other, side):
    return (one - other + side / 2) % side - side / 2


def wave(line_of_sight="z"):
    """A lattice of tracers that a plane wave along z has displaced, in redshift space; and the displacement."""
    side, n, amplitude = 200.0, 80, 0.2
    centres = Box(side, n).coordinates()
    places = np.stack(np.meshgrid(centres, centres, centres, indexing="ij"), axis=-1).reshape(-1, 3)
    moved = amplitude * np.sin(2 * np.pi / 100 * places[:, 2])
    seen = places.copy()
    seen[:, 2] += moved * (1 + GROWTH * (line_of_sight == "z"))
    return Catalogue(seen % side, Box(side), REDSHIFT, line_of_sight), places, moved


@pytest.mark.parametrize("line_of_sight", ["x", "z"])
def test_a_plane_wave_is_taken_out_as_far_as_the_smoothing_lets_it(line_of_sight):
    catalogue, places, moved = wave(line_of_sight)
    shifts = bao_shifts(catalogue, cells=40, cosmology=COSMOLOGY, smoothing=10.0, bias=1.0, iterations=16)
    window = np.exp(-0.5 * (2 * np.pi / 100 * 10.0) ** 2)
    f = GROWTH * (line_of_sight == "z")
    # The tracers come to rest a (1 + f) / (1 + f W) from where they began, a that of matter, and Psi is W times that.
    share = (1 + f) * window / (1 + f * window)
    shift = apart(catalogue.positions, shifts.data(), 200.0)
    np.testing.assert_allclose(shift[:, 2], share * (1 + f) * moved, atol=0.01)
    np.testing.assert_allclose(shift[:, :2], 0, atol=1e-3)
    iso, sym = (apart(places, shifts.randoms(places, kind), 200.0) for kind in ("reciso", "recsym"))
    np.testing.assert_allclose(iso[:, 2], share * moved, atol=0.01)
    np.testing.assert_allclose(sym[:, 2], share * (1 + f) * moved, atol=0.01)


def linear_mock():
    """Tracers of a Gaussian field that linear theory displaced: Lagrangian, real and redshift-space places."""
    box = Box(600.0, 48)
    white = torch.randn(box.shape, generator=torch.Generator().manual_seed(1))
    power = matter_power(box, cosmology=COSMOLOGY, redshift=REDSHIFT)
    delta = to_real(to_fourier(white) * power.sqrt() * gaussian_window(k_squared(box), 8.0), box.shape)
    start = np.random.default_rng(2).uniform(0, 600, (150_000, 3))
    psi = readout(displacement(delta, box), start, box).numpy().astype(float)
    seen = start + psi
    seen[:, 2] += GROWTH * psi[:, 2]
    return start, start + psi, Catalogue(seen % 600, Box(600.0), REDSHIFT, "z")


def test_tracers_of_a_linear_mock_go_back_to_where_they_began():
    start, real, catalogue = linear_mock()
    shifts = bao_shifts(catalogue, cells=60, cosmology=COSMOLOGY, smoothing=10.0, bias=1.0)
    before, after = (
        np.sqrt((apart(points, start, 600.0) ** 2).mean(axis=0))
        for points in (catalogue.positions, shifts.data())
    )
    assert (after < 0.5 * before).all(), (before, after)
    own = move_back(catalogue, cells=60, cosmology=COSMOLOGY, smoothing=10.0, bias=1.0, iterations=3)
    np.testing.assert_array_equal(shifts.real, own)
    left = apart(own, real, 600.0)[:, 2].std() / apart(catalogue.positions, real, 600.0)[:, 2].std()
    assert left < 0.5


def test_the_line_of_sight_of_a_survey_is_radial():
    _, _, catalogue = linear_mock()
    observer = (300.0, 300.0, -400.0)
    survey = catalogue.replace(box=Box(600.0, periodic=False), line_of_sight="radial", observer=observer)
    shifts = bao_shifts(survey, cells=48, cosmology=COSMOLOGY, smoothing=15.0, bias=1.0)
    points = np.random.default_rng(3).uniform(100, 500, (200, 3))
    iso, sym = (points - shifts.randoms(points, kind) for kind in ("reciso", "recsym"))
    sight = survey.sight_lines(points)
    expected = GROWTH * (iso * sight).sum(axis=1)
    np.testing.assert_allclose((sym - iso) @ np.eye(3), expected[:, None] * sight, atol=1e-6)


def test_in_real_space_both_conventions_are_one():
    catalogue, places, _ = wave("x")
    shifts = bao_shifts(catalogue.replace(space="real"), cells=20, cosmology=COSMOLOGY, bias=1.0)
    assert shifts.smoothing == 15.0
    np.testing.assert_array_equal(shifts.randoms(places, "recsym"), shifts.randoms(places, "reciso"))
    with pytest.raises(InputError, match="convention must be recsym or reciso, got 'sym'"):
        shifts.randoms(places, "sym")
