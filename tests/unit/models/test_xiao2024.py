import pytest
import torch

from peculiar.core.channels import vector
from peculiar.core.errors import InputError
from peculiar.models.channels import VELOCITY
from peculiar.models.xiao2024 import Xiao2024, Xiao2024Config

NAMES = (*(f"abundance_{i}" for i in range(4)), *vector("linear_velocity"), *vector("linear_momentum"))
SMALL = Xiao2024Config(inputs=NAMES, channels=(3, 4, 5), init_kernel=3, velocity_scale=5.0)


@torch.no_grad()
def test_second_stage_sees_eight_channels():
    network = Xiao2024(SMALL)
    assert network.density.init.conv.conv.in_channels == 4
    for part in (*network.velocity.values(), *network.momentum.values()):
        assert part.init.conv.conv.in_channels == 8


@torch.no_grad()
def test_velocity_is_magnitude_times_unit_direction():
    network, inputs = Xiao2024(SMALL).eval(), torch.randn(1, 10, 8, 8, 8)
    torch.nn.init.ones_(network.velocity["direction"].output.conv.bias)  # no direction is zero
    rho = network.stage(inputs, "density")
    parts = network.stage(inputs, "velocity", density=rho)
    speed = network(inputs)[:, VELOCITY].norm(dim=1)
    assert torch.allclose(speed, 5.0 * parts[:, 0].clamp(min=0), atol=1e-4)


def test_second_stage_needs_the_density():
    with pytest.raises(InputError, match="density must be given"):
        Xiao2024(SMALL).stage(torch.zeros(1, 10, 8, 8, 8), "velocity")
