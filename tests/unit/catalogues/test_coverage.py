import warnings

import healpy
import numpy as np
import pytest

from peculiar.catalogues import SkyMask
from peculiar.catalogues.coverage import warn_unfilled_box, warn_unfilled_sky
from peculiar.catalogues.sky_counts import sky_counts
from peculiar.core import Box, Cosmology, Field
from peculiar.fields.smooth import gaussian
from peculiar.simulate.initial import linear_field

SIZE = 225.0
COSMOLOGY = Cosmology(Omega_m=0.31)
FULL = SkyMask(np.ones(12 * 4**2))


def halos(seed, density, *, bias=1.9):
    """Objects in a lognormal field, a third of them beside another: clustered, in pairs."""
    box = Box(SIZE, 32)
    rng = np.random.default_rng(seed)
    delta = linear_field(box, COSMOLOGY, seed=seed, redshift=0.0)[None]
    delta = gaussian(Field(delta, box, names=("delta",)), 4.0).numpy()[0].ravel() * bias
    chance = np.exp(delta.astype(float))
    cells = rng.choice(chance.size, rng.poisson(density * SIZE**3 / 1.5), p=chance / chance.sum())
    places = (
        np.stack(np.unravel_index(cells, (32,) * 3), axis=1) + rng.random((len(cells), 3))
    ) * box.cell_size
    beside = places[rng.integers(0, len(places), len(places) // 2)]
    return np.concatenate([places, beside + rng.normal(0, 2, beside.shape)]) % SIZE


def warned(call, *arguments, **options):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call(*arguments, **options)
    return [str(warning.message) for warning in caught]


@pytest.mark.parametrize("density", [1e-3, 1e-4, 2e-5])
def test_clustered_catalogues_are_not_warned_of(density):
    found = [warned(warn_unfilled_box, halos(seed, density), Box(SIZE)) for seed in range(12)]
    assert found == [[]] * 12


@pytest.mark.parametrize("density", [3e-3, 1e-4])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_empty_parts_of_boxes_are_named(density, axis):
    points = halos(3, density)
    squeezed = points.copy()
    squeezed[:, axis] *= 0.4
    (text,) = warned(warn_unfilled_box, squeezed, Box(SIZE))
    assert f"0 of {len(points)} objects" in text
    assert f"{'xyz'[axis]} from 98" in text or f"{'xyz'[axis]} from 84" in text
    assert "counts as a void" in text


@pytest.mark.parametrize("density", [3e-3, 1e-4])
@pytest.mark.parametrize("periodic", [True, False])
def test_an_empty_corner(density, periodic):
    points = halos(4, density)
    corner = (points > SIZE * (1 - 0.2 ** (1 / 3))).all(axis=1)
    (text,) = warned(warn_unfilled_box, points[~corner], Box(SIZE, periodic=periodic))
    assert "x from 98.44 to 225, y from 98.44 to 225, z from 98.44 to 225" in text


def test_stray_objects_do_not_hide_an_empty_corner():
    points = halos(4, 3e-3)
    corner = (points > SIZE * (1 - 0.2 ** (1 / 3))).all(axis=1)
    corner[np.flatnonzero(corner)[:3]] = False
    assert len(warned(warn_unfilled_box, points[~corner], Box(SIZE))) == 1


def test_a_mask_of_more_than_the_sample():
    points = halos(5, 1e-3) - SIZE / 2
    assert warned(warn_unfilled_sky, points, FULL) == []
    fifth = healpy.vec2ang(points, lonlat=True)[0] < 72
    (text,) = warned(warn_unfilled_sky, points[fifth], FULL)
    assert "mask must be of the sample, got 0 of" in text
    assert text.endswith("take it out; are ra and dec degrees, and not exchanged?")
    lune = healpy.pix2ang(64, np.arange(12 * 64**2), lonlat=True)[0] < 72
    assert warned(warn_unfilled_sky, points[fifth], SkyMask(lune.astype(float))) == []


def test_randoms_of_more_than_the_sample():
    points, randoms = halos(5, 1e-3) - SIZE / 2, np.random.default_rng(1).normal(size=(50000, 3))
    north = points[:, 2] > 0
    assert warned(warn_unfilled_sky, points, FULL, randoms=sky_counts(randoms)) == []
    (text,) = warned(warn_unfilled_sky, points[north], FULL, randoms=sky_counts(randoms))
    assert "randoms must be of the sample" in text
    weights = (randoms[:, 2] > 0).astype(float)
    assert warned(warn_unfilled_sky, points[north], FULL, randoms=sky_counts(randoms, weights)) == []
