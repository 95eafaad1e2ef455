import numpy as np
import pytest
from astropy.coordinates import SkyCoord

from peculiar.catalogues import directions
from peculiar.catalogues.frames import convert_redshift, galactic_directions, to_galactic
from peculiar.core import InputError

C = 299792.458


def test_galactic_directions_are_those_of_astropy():
    rng = np.random.default_rng(0)
    longitude, latitude = rng.uniform(0, 360, 50), rng.uniform(-90, 90, 50)
    sky = SkyCoord(longitude, latitude, unit="deg", frame="galactic").icrs
    vectors = galactic_directions(longitude, latitude)
    np.testing.assert_allclose(vectors, directions(sky.ra.deg, sky.dec.deg), atol=1e-7)
    np.testing.assert_allclose(to_galactic(vectors), (longitude, latitude), atol=1e-6)


def test_objects_ahead_of_the_sun_gain_its_speed_in_the_cmb_frame():
    apex = galactic_directions(np.array([264.021]), np.array([48.253]))
    z = np.array([0.05])
    ahead = convert_redshift(z, apex, source="heliocentric")
    behind = convert_redshift(z, -apex, source="heliocentric")
    assert C * (ahead - z)[0] == pytest.approx(369.82 * 1.05, rel=2e-3)
    assert C * (behind - z)[0] == pytest.approx(-369.82 * 1.05, rel=2e-3)


def test_the_local_group_moves_at_about_620_km_s_in_the_cmb_frame():
    # Known from both solar motions: Planck 2018 gives 620 +- 15 km/s towards (272, 30).
    apex = galactic_directions(np.array([272.0]), np.array([30.0]))
    gain = C * convert_redshift(np.zeros(1), apex, source="local-group", target="cmb")[0]
    assert gain == pytest.approx(625, abs=25)


def test_conversions_go_back():
    rng = np.random.default_rng(1)
    z = rng.uniform(0, 0.1, 20)
    sight = directions(rng.uniform(0, 360, 20), rng.uniform(-90, 90, 20))
    there = convert_redshift(z, sight, source="local-group", target="heliocentric")
    np.testing.assert_allclose(
        convert_redshift(there, sight, source="heliocentric", target="local-group"), z, atol=1e-14
    )


@pytest.mark.parametrize(
    ("z", "source", "message"),
    [
        (0.1, "galactocentric", "frame must be one of heliocentric, cmb, local-group, got 'galactocentric'"),
        (4500.0, "cmb", r"z must lie in \(-1, 20\], got 1 of 1 .* divide velocities in km/s by"),
        (np.nan, "cmb", "repair or remove"),
    ],
)
def test_bad_redshifts_and_frames_are_refused(z, source, message):
    with pytest.raises(InputError, match=message):
        convert_redshift(np.array([z]), np.array([[1.0, 0, 0]]), source=source)
