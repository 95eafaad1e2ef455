import pytest
import torch

from peculiar.core.channels import vector
from peculiar.core.errors import InputError
from peculiar.models.channels import DENSITY_FLOOR, LOG_VARIANCE, MOMENTUM, VELOCITY
from peculiar.models.general import LARGEST_LOG_VARIANCE, GeneralConfig, GeneralReconstructor

INPUTS = ("tracers", *vector("wiener_velocity"), "bias")


def network(**changes):
    return GeneralReconstructor(GeneralConfig(inputs=INPUTS, width=4, levels=2, **changes))


@torch.no_grad()
def test_starts_at_the_velocity_of_its_inputs():
    inputs = torch.randn(2, 5, 8, 8, 8)
    outputs = network()(inputs)
    assert torch.equal(outputs[:, VELOCITY], inputs[:, 1:4])
    assert torch.allclose(outputs[:, MOMENTUM], (1 - DENSITY_FLOOR) * inputs[:, 1:4])
    assert torch.equal(outputs[:, LOG_VARIANCE], torch.zeros(2, 2, 8, 8, 8))


@torch.no_grad()
def test_means_and_scales_are_of_the_inputs():
    torch.manual_seed(0)
    plain = network()
    torch.nn.init.normal_(plain.head.conv.weight)
    scaled = network(input_mean={"bias": 3.0}, input_scale={"bias": 2.0})
    scaled.load_state_dict(plain.state_dict())
    mesh = torch.randn(1, 5, 8, 8, 8)
    other = mesh.clone()
    other[:, 4] = 2 * mesh[:, 4] + 3
    assert torch.allclose(scaled(other)[:, LOG_VARIANCE], plain(mesh)[:, LOG_VARIANCE], atol=1e-3)


@torch.no_grad()
def test_variances_are_bounded():
    wild = network()
    torch.nn.init.constant_(wild.head.conv.bias, 1e3)
    outputs = wild(torch.randn(1, 5, 8, 8, 8))
    assert float(outputs[:, LOG_VARIANCE].max()) == LARGEST_LOG_VARIANCE


@torch.no_grad()
def test_conditions_change_what_is_made_of_the_rest():
    torch.manual_seed(0)
    told = network(conditions=("bias",))
    for weights in told.parameters():
        torch.nn.init.normal_(weights, std=0.2)
    mesh = torch.randn(1, 5, 8, 8, 8)
    before = told(mesh)
    torch.nn.init.zeros_(told.stem.conv.weight[:, 4])
    unseen = told(mesh)
    mesh[:, 4] += 1
    assert not torch.allclose(unseen, before)
    assert float((told(mesh) - unseen).abs().max()) > 0.1


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"velocity": "bias"}, "must be a vector's"),
        ({"input_scale": {"bias": 0.0}}, "must be > 0"),
        ({"input_mean": {"nothing": 1.0}}, "channel must be one of"),
        ({"conditions": ("nothing",)}, "channel must be one of"),
    ],
)
def test_bad_settings_are_refused(changes, match):
    with pytest.raises(InputError, match=match):
        network(**changes)
