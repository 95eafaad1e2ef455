import pytest
import torch

from peculiar.core.channels import vector
from peculiar.core.errors import InputError
from peculiar.models.channels import DENSITY, DENSITY_FLOOR, MOMENTUM, VELOCITY
from peculiar.models.residual import ResidualConfig, ResidualReconstructor


@torch.no_grad()
def test_starts_at_the_velocity_of_its_inputs():
    inputs = torch.randn(2, 7, 8, 8, 8)
    names = (*vector("tracers"), *vector("flow"), "bias")
    network = ResidualReconstructor(ResidualConfig(inputs=names, width=4, levels=2, velocity="flow"))
    outputs = network(inputs)
    assert torch.equal(outputs[:, VELOCITY], inputs[:, 3:6])
    assert torch.equal(outputs[:, DENSITY], torch.zeros(2, 1, 8, 8, 8))
    assert torch.allclose(outputs[:, MOMENTUM], (1 - DENSITY_FLOOR) * inputs[:, 3:6])


@torch.no_grad()
def test_input_scale_divides():
    torch.manual_seed(0)
    config = {"inputs": vector("flow"), "width": 4, "levels": 2, "velocity": "flow"}
    plain = ResidualReconstructor(ResidualConfig(**config))
    torch.nn.init.normal_(plain.head.conv.weight)
    scaled = ResidualReconstructor(
        ResidualConfig(**config, input_scale={"flow_x": 2.0, "flow_y": 4.0, "flow_z": 8.0})
    )
    scaled.load_state_dict(plain.state_dict())
    mesh = torch.randn(1, 3, 8, 8, 8)
    factors = torch.tensor([2.0, 4.0, 8.0]).view(1, 3, 1, 1, 1)
    assert torch.allclose(scaled(mesh * factors)[:, DENSITY], plain(mesh)[:, DENSITY], atol=1e-5)


@torch.no_grad()
def test_gains_multiply_vectors_of_the_inputs():
    names = ("tracers", *vector("flow"), "bias", *vector("outside"))
    config = ResidualConfig(inputs=names, width=4, levels=2, velocity="flow", gains=("flow", "outside"))
    network = ResidualReconstructor(config)
    inputs = torch.randn(1, 8, 8, 8, 8)
    assert torch.equal(network(inputs)[:, VELOCITY], inputs[:, 1:4])
    network.head.conv.bias[7:] = torch.tensor([0.5, -0.25])
    expected = 1.5 * inputs[:, 1:4] - 0.25 * inputs[:, 5:8]
    assert torch.allclose(network(inputs)[:, VELOCITY], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gains": ("inside",)}, "channel must be one of tracers, flow_x, .*, got 'inside'"),
        ({"velocity": "tracers"}, "'tracers' must be a vector's"),
        ({"input_scale": {"flaw": 2.0}}, "got 'flaw'"),
        ({"output_scale": {"vx": 2.0}}, "channel must be one of log_density, .*, got 'vx'"),
        ({"output_scale": {"momentum": 0.0}}, "must be > 0"),
    ],
)
def test_names_must_be_those_of_channels(changes, message):
    with pytest.raises(InputError, match=message):
        ResidualConfig(inputs=("tracers", *vector("flow")), **({"velocity": "flow"} | changes))
