import numpy as np
import pytest
import torch

from peculiar.core import Box, Field, InputError
from peculiar.linear.matter import linear_flow, tune_smoothing

BOX = Box(64.0, 32)


def density(seed: int = 0) -> Field:
    data = 0.2 * torch.randn(1, 32, 32, 32, generator=torch.Generator().manual_seed(seed))
    return Field(data - data.mean(), BOX, ["density"])


def test_a_plane_wave_flows_towards_its_crest():
    k = 2 * BOX.k_fundamental
    x = torch.as_tensor(BOX.coordinates()).float()[:, None, None].expand(32, 32, 32)
    wave = Field(0.3 * torch.cos(k * x)[None], BOX, ["density"])
    flow = linear_flow(wave, velocity_factor=50.0, smoothing=4.0)
    expected = -50.0 * 0.3 / k * np.exp(-0.5 * (4.0 * k) ** 2) * torch.sin(k * x)
    torch.testing.assert_close(flow["velocity"].data[0], expected, atol=1e-3, rtol=1e-4)
    assert flow["velocity"].data[1:].abs().max() < 1e-3
    torch.testing.assert_close(flow["momentum"].data, flow["velocity"].data * (1 + wave.data))


def test_tuning_finds_the_smoothing_of_the_truth():
    pairs = [
        (field, linear_flow(field, velocity_factor=50.0, smoothing=2.5)["velocity"])
        for field in map(density, (0, 1))
    ]
    assert tune_smoothing(pairs, velocity_factor=50.0) == pytest.approx(2.5, abs=0.02)


def test_refuses():
    two = Field(torch.zeros(2, 32, 32, 32), BOX, ["a", "b"])
    with pytest.raises(InputError, match="density must have one channel, got 2"):
        linear_flow(two, velocity_factor=50.0)
    with pytest.raises(InputError, match="smoothing must be >= 0"):
        linear_flow(density(), velocity_factor=50.0, smoothing=-1.0)
    with pytest.raises(InputError, match="pairs must hold at least one"):
        tune_smoothing([], velocity_factor=50.0)
