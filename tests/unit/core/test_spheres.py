import numpy as np
import pytest

from peculiar.core import Cosmology
from peculiar.core.cosmology import CRITICAL_DENSITY
from peculiar.core.spheres import log_sigma


@pytest.mark.parametrize("redshift", [0.0, 1.0])
def test_spheres_of_8_hold_sigma8(redshift):
    cosmology = Cosmology(Omega_m=0.25)
    mass = 4 / 3 * np.pi * 8**3 * CRITICAL_DENSITY * cosmology.Omega_m
    expected = cosmology.sigma8 * cosmology.growth(redshift)
    assert np.exp(log_sigma(mass, cosmology, redshift)) == pytest.approx(expected, rel=2e-3)
