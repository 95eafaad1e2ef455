import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from peculiar.catalogues import directions, to_cartesian, to_sky
from peculiar.catalogues.frames import convert_redshift, to_galactic_axes
from peculiar.core import PRESETS

FRAMES = ("heliocentric", "cmb", "local-group")
cosmology = PRESETS["xiao2024"]
counts = st.integers(1, 6)


def column(low, high):
    return st.shared(counts, key="n").flatmap(lambda n: arrays(np.float64, n, elements=st.floats(low, high)))


@given(ra=column(0, 359.999), dec=column(-90, 90), z=column(1e-4, 3))
def test_from_the_sky_into_the_box_and_back(ra, dec, z):
    places = to_cartesian(ra, dec, redshift=z, cosmology=cosmology)
    assert np.linalg.norm(places, axis=1) == pytest.approx(cosmology.comoving_distance(z))
    found_ra, found_dec, found_z = to_sky(places, cosmology=cosmology)
    assert ((found_ra >= 0) & (found_ra < 360)).all()
    assert directions(found_ra, found_dec) == pytest.approx(directions(ra, dec), abs=1e-12)
    assert found_z == pytest.approx(z, rel=1e-4, abs=1e-7)


@example(places=np.array([[100.0, -1e-20, 5.0]]))
@given(places=counts.flatmap(lambda n: arrays(np.float64, (n, 3), elements=st.floats(-2000, 2000))))
def test_from_the_box_onto_the_sky_and_back(places):
    places = places[np.linalg.norm(places, axis=1) > 1]
    ra, dec, z = to_sky(places, cosmology=cosmology)
    assert ((ra >= 0) & (ra < 360)).all()
    found = to_cartesian(ra, dec, redshift=z, cosmology=cosmology)
    assert found == pytest.approx(places, rel=1e-4, abs=1e-2)


@given(ra=column(-360, 360), dec=column(-90, 90))
def test_directions_have_length_one_and_no_turns(ra, dec):
    vectors = directions(ra, dec)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1)
    assert vectors == pytest.approx(directions(ra + 360, dec), abs=1e-12)
    turned = to_galactic_axes(vectors)
    assert turned @ turned.T == pytest.approx(vectors @ vectors.T, abs=1e-9)  # a matrix of ten digits


@pytest.mark.parametrize("source", FRAMES)
@pytest.mark.parametrize("target", FRAMES)
@given(ra=column(0, 360), dec=column(-90, 90), z=column(-0.01, 5))
def test_frames_there_and_back(source, target, ra, dec, z):
    vectors = directions(ra, dec)
    there = convert_redshift(z, vectors, source=source, target=target)
    assert convert_redshift(there, vectors, source=target, target=source) == pytest.approx(z, abs=1e-12)
    assert there == pytest.approx(z, abs=0.0025 * 6)  # no frame moves by more than 750 km/s against another
