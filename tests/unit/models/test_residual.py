import pytest
import torch

from peculiar.core.errors import InputError
from peculiar.models.channels import DENSITY, DENSITY_FLOOR, MOMENTUM, VELOCITY
from peculiar.models.residual import ResidualConfig, ResidualReconstructor


@torch.no_grad()
def test_starts_at_the_velocity_of_its_inputs():
    inputs = torch.randn(2, 7, 8, 8, 8)
    network = ResidualReconstructor(ResidualConfig(in_channels=7, width=4, levels=2, velocity=(3, 4, 5)))
    outputs = network(inputs)
    assert torch.equal(outputs[:, VELOCITY], inputs[:, 3:6])
    assert torch.equal(outputs[:, DENSITY], torch.zeros(2, 1, 8, 8, 8))
    assert torch.allclose(outputs[:, MOMENTUM], (1 - DENSITY_FLOOR) * inputs[:, 3:6])


@torch.no_grad()
def test_input_scale_divides():
    torch.manual_seed(0)
    plain = ResidualReconstructor(ResidualConfig(in_channels=3, width=4, levels=2, velocity=(0, 1, 2)))
    torch.nn.init.normal_(plain.head.conv.weight)
    scaled = ResidualReconstructor(
        ResidualConfig(in_channels=3, width=4, levels=2, velocity=(0, 1, 2), input_scale=(2.0, 4.0, 8.0))
    )
    scaled.load_state_dict(plain.state_dict())
    mesh = torch.randn(1, 3, 8, 8, 8)
    factors = torch.tensor([2.0, 4.0, 8.0]).view(1, 3, 1, 1, 1)
    assert torch.allclose(scaled(mesh * factors)[:, DENSITY], plain(mesh)[:, DENSITY], atol=1e-5)


@torch.no_grad()
def test_gains_multiply_vectors_of_the_inputs():
    config = ResidualConfig(in_channels=8, width=4, levels=2, velocity=(1, 2, 3), gains=(1, 5))
    network = ResidualReconstructor(config)
    inputs = torch.randn(1, 8, 8, 8, 8)
    assert torch.equal(network(inputs)[:, VELOCITY], inputs[:, 1:4])
    network.head.conv.bias[7:] = torch.tensor([0.5, -0.25])
    expected = 1.5 * inputs[:, 1:4] - 0.25 * inputs[:, 5:8]
    assert torch.allclose(network(inputs)[:, VELOCITY], expected, atol=1e-6)
    with pytest.raises(InputError, match="gains"):
        ResidualConfig(in_channels=8, gains=(6,))
