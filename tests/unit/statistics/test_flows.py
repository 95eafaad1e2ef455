"""Bulk flows of fields whose sphere averages are known."""

import math

import numpy as np
import pytest
import torch

from peculiar.core import Box, Field, InputError
from peculiar.statistics.flows import bulk_flow

BOX = Box(200.0, 32)


def wave(box=BOX):
    x = torch.as_tensor(box.coordinates()).reshape(-1, 1, 1).expand(32, 32, 32)
    data = torch.stack([300 + 100 * torch.sin(2 * math.pi / 200 * x), 0 * x, 50 + 0 * x]).float()
    return Field(data, box, "xyz", unit="km/s", kind="vector")


def test_sphere_average_of_a_wave():
    centres = np.array([[53.125, 100.0, 100.0], [3.125, 3.125, 3.125]])
    result = bulk_flow(wave(), [20.0, 40.0], centres=centres)
    for i, radius in enumerate((20.0, 40.0)):
        x = 2 * math.pi / 200 * radius
        window = 3 * (math.sin(x) - x * math.cos(x)) / x**3
        expected = 300 + 100 * window * np.sin(2 * math.pi / 200 * centres[:, 0])
        np.testing.assert_allclose(result.flow[i, :, 0], expected, rtol=1e-4)
        np.testing.assert_allclose(result.flow[i, :, 1:], [[0, 50], [0, 50]], atol=1e-3)
        rms = math.sqrt(300**2 + 0.5 * (100 * window) ** 2 + 50**2)
        assert result.rms[i] == pytest.approx(rms, rel=1e-4)
    np.testing.assert_allclose(result.speed, np.linalg.norm(result.flow, axis=-1))
    assert bulk_flow(wave(), 30.0).centres.tolist() == [[100.0, 100.0, 100.0]]


def test_bad_input():
    open_box = Box(200.0, 32, periodic=False)
    with pytest.raises(InputError, match="spheres must lie within"):
        bulk_flow(wave(open_box), 40.0, centres=np.array([[30.0, 100.0, 100.0]]))
    assert bulk_flow(wave(open_box), 20.0).flow[0, 0, 2] == pytest.approx(50, rel=1e-3)
    with pytest.raises(InputError, match="radius must lie"):
        bulk_flow(wave(), 150.0)
    with pytest.raises(InputError, match="must be a vector"):
        bulk_flow(wave().replace(kind="scalar"), 10.0)
    with pytest.raises(InputError, match="centres must have shape"):
        bulk_flow(wave(), 10.0, centres=np.zeros(3))
