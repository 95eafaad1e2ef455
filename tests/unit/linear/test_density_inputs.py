import math

import pytest
import torch
from pydantic import ValidationError

from peculiar.core import PRESETS, Box, Field, InputError
from peculiar.linear.density_inputs import DensityInputs, density_inputs
from peculiar.models.channels import rho_of

BOX = Box(100.0, 16)


def inputs_of(density, spec):
    return density_inputs(density, spec, cosmology=PRESETS["wu2021"], redshift=0.5)


def wave(amplitude=0.3, mode=2):
    x = (torch.arange(16) + 0.5) * BOX.cell_size
    k = mode * BOX.k_fundamental
    return (amplitude * torch.cos(k * x))[:, None, None].expand(16, 16, 16)[None].clone(), k, x


def test_linear_velocity_of_a_wave():
    delta, k, x = wave()
    spec = DensityInputs(smoothing=(0.0, 5.0))
    inputs = inputs_of(Field(delta, BOX, ["density"]), spec)
    assert inputs.shape[0] == len(spec.names) == 7
    expected = -(0.3 / k) * torch.sin(k * x)
    torch.testing.assert_close(inputs[1, :, 3, 5], expected, atol=1e-4, rtol=1e-4)
    smoothed = expected * math.exp(-((5 * k) ** 2) / 2)
    torch.testing.assert_close(inputs[4, :, 3, 5], smoothed, atol=1e-4, rtol=1e-4)
    assert inputs[2:4].abs().max() < 1e-5


def test_first_channel_tells_the_density():
    delta, _, _ = wave()
    delta[0, 0, 0, 0] = -1.0
    inputs = inputs_of(Field(delta, BOX, ["density"]), DensityInputs())
    torch.testing.assert_close(rho_of(inputs[None], DensityInputs().names)[0], 1 + delta)


def test_bad_input_is_refused():
    delta, _, _ = wave()
    with pytest.raises(InputError, match="subtract 1"):
        inputs_of(Field(delta - 2, BOX, ["density"]), DensityInputs())
    with pytest.raises(InputError, match="periodic"):
        inputs_of(Field(delta, Box(100.0, 16, periodic=False), ["density"]), DensityInputs())
    with pytest.raises(ValidationError, match="smoothing"):
        DensityInputs(smoothing=(-1.0,))
