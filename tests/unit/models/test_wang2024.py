import pytest
import torch

from peculiar.core.errors import InputError
from peculiar.models.wang2024 import ConvAdd, GroupNorm, PReLU, Wang2024, Wang2024Config

SMALL = Wang2024Config(channels=(4, 8, 8), groups=2)


def network(config=SMALL):
    """A network whose output has random weights: at the start of training they are zero."""
    torch.manual_seed(0)
    made = Wang2024(config)
    torch.nn.init.normal_(made.output.conv.weight)
    return made.eval()


@pytest.mark.parametrize("sides", [(8, 8, 8), (8, 12, 16)])
def test_three_components_come_on_the_mesh_that_went_in(sides):
    assert network()(torch.randn(2, 1, *sides)).shape == (2, 3, *sides)


def test_training_starts_without_a_flow():
    """Dense cells, hundreds of times the mean, would start with velocities as large."""
    outputs = Wang2024(SMALL)(500 * torch.rand(1, 1, 8, 8, 8))
    assert torch.count_nonzero(outputs) == 0


def test_a_block_adds_what_came_in():
    block = ConvAdd(3, 4, groups=2)
    torch.nn.init.zeros_(block.norm2.weight)
    mesh = torch.rand(1, 3, 4, 4, 4)
    assert torch.allclose(block(mesh), block.act2(block.shortcut(mesh)))


def test_fast_layers_equal_those_of_torch():
    mesh = torch.randn(2, 6, 4, 4, 4, generator=torch.Generator().manual_seed(1)) + 2
    for fast, plain in ((GroupNorm(3, 6), torch.nn.GroupNorm(3, 6)), (PReLU(6), torch.nn.PReLU(6))):
        torch.nn.init.uniform_(fast.weight)
        plain.load_state_dict(fast.state_dict())
        for layer in (fast, plain):
            (layer(mesh - 2) ** 2).sum().backward()
        torch.testing.assert_close(fast(mesh - 2), plain(mesh - 2))
        torch.testing.assert_close(fast.weight.grad, plain.weight.grad, rtol=1e-4, atol=1e-4)


def test_half_precision_stays_near_single_precision():
    mesh = torch.randn(1, 1, 16, 16, 16, generator=torch.Generator().manual_seed(1))
    mesh = mesh.contiguous(memory_format=torch.channels_last_3d)
    with torch.no_grad():
        whole = network()(mesh, periodic=False)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            half = network()(mesh, periodic=False)
    assert half.dtype == torch.float32
    assert (half - whole).norm() < 0.03 * whole.norm()


def test_a_periodic_mesh_shifts_along_by_a_stride():
    mesh = torch.randn(1, 1, 16, 16, 16)
    with torch.no_grad():
        shifted = network()(mesh.roll((4, 8, -4), (2, 3, 4)))
        assert torch.allclose(shifted, network()(mesh).roll((4, 8, -4), (2, 3, 4)), atol=1e-4)


def test_dropout_is_the_survey_versions_alone():
    mesh = torch.randn(1, 1, 8, 8, 8)
    survey = network(Wang2024Config(channels=(4, 8), groups=2, dropout=0.2)).train()
    plain = network(Wang2024Config(channels=(4, 8), groups=2)).train()
    assert not torch.equal(survey(mesh), survey(mesh))
    assert torch.equal(plain(mesh), plain(mesh))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"channels": (8,)}, "channels at least two"),
        ({"channels": (6, 8)}, "groups must divide"),
        ({"dropout": 1.0}, "dropout"),
        ({"velocity_scale": 0.0}, "velocity_scale"),
    ],
)
def test_bad_settings_are_refused(change, match):
    with pytest.raises(InputError, match=match):
        Wang2024Config(**{"channels": (4, 8), "groups": 4} | change)


def test_a_mesh_that_cannot_be_halved_is_refused():
    with pytest.raises(InputError, match="multiples of 4"):
        network()(torch.zeros(1, 1, 10, 8, 8))
