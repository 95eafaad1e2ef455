from __future__ import annotations

import numpy as np
import pytest
import torch

from peculiar.core import Box, Cosmology, Field, InputError
from peculiar.linear.potential import potential

COSMOLOGY = Cosmology(Omega_m=0.3)


def test_potential_of_a_plane_wave():
    """laplacian phi = (3/2) Omega_m H0^2 (1 + z) delta: phi = -1.5 * 0.3 * 1e4 * 1.1 delta / k^2."""
    box = Box(100.0, 16)
    k = 2 * box.k_fundamental
    delta = (
        torch.cos(k * torch.as_tensor(box.coordinates(1)).float()).reshape(1, 1, 16, 1).expand(1, 16, 16, 16)
    )
    phi = potential(Field(delta, box, ["density"]), cosmology=COSMOLOGY, redshift=0.1)
    np.testing.assert_allclose(phi.numpy(), -4500 * 1.1 / k**2 * delta.numpy(), rtol=1e-3, atol=1.0)
    assert phi.unit == "(km/s)^2"


def test_potential_of_a_mass_in_an_open_box_falls_as_the_distance():
    """phi = -G dm / r = -(3/2) Omega_m H0^2 delta V / (4 pi r), whatever lies on the box's other side."""
    box = Box(100.0, 20, periodic=False)
    delta = torch.zeros(1, 20, 20, 20)
    delta[0, 2, 10, 10] = 8.0
    phi = potential(Field(delta, box, ["density"]), cosmology=COSMOLOGY, redshift=0.0).numpy()[0]
    unit = 4500 * 8.0 * 5.0**3 / (4 * np.pi)
    step = phi[8, 10, 10] - phi[5, 10, 10]
    assert step == pytest.approx(unit * (1 / 15 - 1 / 30), rel=0.12)
    assert phi[19, 10, 10] > phi[12, 10, 10]  # no image beyond the face pulls
    with pytest.raises(InputError, match="one channel"):
        potential(Field(torch.zeros(2, 20, 20, 20), box, ["a", "b"]), cosmology=COSMOLOGY, redshift=0.0)
