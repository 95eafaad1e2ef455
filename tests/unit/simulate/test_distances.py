import numpy as np
import pytest
import torch

from peculiar.core import PRESETS, Box, Field, InputError
from peculiar.fields.sight import distance_modulus
from peculiar.simulate.distances import DistanceMockSettings, mock_distances

COSMOLOGY = PRESETS["xiao2024"]
C = 299792.458
BOX = Box(100.0, 16)
CENTRE = (50.0, 50.0, 50.0)


def fields(delta=None):
    data = torch.tensor([200.0, 0.0, 0.0])[:, None, None, None].expand(3, 16, 16, 16)
    density = torch.zeros(1, 16, 16, 16) if delta is None else delta
    return Field(data, BOX, names=("x", "y", "z"), unit="km/s", kind="vector"), Field(
        density, BOX, names=("density",)
    )


def test_redshifts_hold_field_and_external_velocity_and_moduli_their_errors():
    settings = DistanceMockSettings(
        count=4000, observer=CENTRE, cz_range=(500.0, 4000.0), beta=0.5, external=(0.0, 0.0, 300.0), sigma_v=100.0,
        zero_point=0.2,
    )  # fmt: skip
    mock = mock_distances(*fields(), settings, cosmology=COSMOLOGY, seed=1)
    assert len(mock.redshift) == 4000
    np.testing.assert_allclose(np.linalg.norm(mock.directions, axis=1), 1)
    speed = C * ((1 + mock.redshift) / (1 + COSMOLOGY.redshift_at(mock.distances)) - 1)
    rest = speed - mock.directions @ [100.0, 0.0, 300.0]
    assert rest.std() == pytest.approx(100, rel=0.05)
    assert abs(rest.mean()) < 15  # cuts in redshift favour those that come nearer
    excess = (mock.modulus - 0.2 - distance_modulus(mock.distances, mock.redshift)) / mock.modulus_error
    assert excess.mean() == pytest.approx(0, abs=0.06)
    assert excess.std() == pytest.approx(1, abs=0.05)
    assert mock.modulus_error.min() >= 0.1
    assert mock.modulus_error.max() <= 0.4
    assert (C * mock.redshift).min() >= 500
    seen = np.asarray(CENTRE) + COSMOLOGY.comoving_distance(mock.redshift)[:, None] * mock.directions
    assert seen.min() >= 15
    assert seen.max() <= 85


def test_objects_follow_the_density():
    delta = torch.zeros(1, 16, 16, 16)
    delta[:, :8] = 0.8
    delta[:, 8:] = -0.8
    settings = DistanceMockSettings(count=2000, observer=CENTRE, cz_range=(500.0, 4000.0), sigma_v=0.0)
    mock = mock_distances(*fields(delta), settings, cosmology=COSMOLOGY, seed=2)
    low = (mock.directions[:, 0] < 0).mean()
    assert low == pytest.approx(0.85, abs=0.06)  # interpolation smooths the step


def test_impossible_settings_are_refused():
    with pytest.raises(InputError, match="cz_range must lie in the box"):
        mock_distances(
            *fields(),
            DistanceMockSettings(count=5, observer=CENTRE, cz_range=(9e4, 1e5)),
            cosmology=COSMOLOGY,
            seed=0,
        )
    with pytest.raises(InputError, match="modulus_error must be two positive numbers"):
        DistanceMockSettings(count=5, observer=CENTRE, modulus_error=(0.3, 0.1))
    with pytest.raises(InputError, match="count must be >= 1"):
        DistanceMockSettings(count=0, observer=CENTRE)
