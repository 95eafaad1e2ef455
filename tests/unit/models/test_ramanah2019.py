import pytest
import torch
from torch.nn import functional

from peculiar.core.errors import InputError
from peculiar.inference.tiles import apply_tiles
from peculiar.inference.whole import run
from peculiar.models.channels import log_density
from peculiar.models.ramanah2019 import DENSITY_OFFSET, Critic, Ramanah2019, Ramanah2019Config


def network(**settings):
    torch.manual_seed(0)
    made = Ramanah2019(Ramanah2019Config(**settings)).eval()
    for key, parameter in made.named_parameters():
        if key.endswith("bias"):
            torch.nn.init.uniform_(parameter, 0.0, 0.5)
    return made


def test_has_the_published_number_of_parameters():
    assert sum(p.numel() for p in Ramanah2019(Ramanah2019Config()).parameters()) == 31_930
    assert sum(p.numel() for p in Critic(50).parameters()) == 67_505


@torch.no_grad()
def test_is_the_published_map_of_the_density_contrast():
    made = network(filters=3)
    delta = torch.randn(1, 1, 11, 11, 11).abs() - 0.9
    mesh = delta
    for block in made.blocks:
        weight = {name: getattr(block, name) for name in ("one", "three", "five")}
        paths = [
            weight["one"](mesh)[..., 2:-2, 2:-2, 2:-2],
            weight["three"](block.reduce_three(mesh))[..., 1:-1, 1:-1, 1:-1],
            weight["five"](block.reduce_five(mesh)),
        ]
        mesh = functional.leaky_relu(torch.cat(paths, 1) + mesh[..., 2:-2, 2:-2, 2:-2], 0.1)
    for layer in made.hidden:
        mesh = functional.leaky_relu(layer(mesh), 0.1)
    expected = made.output(mesh).clamp(min=0)
    counts = made.unpadded(log_density(delta, floor=DENSITY_OFFSET))
    assert counts.shape == (1, 1, 3, 3, 3)
    assert expected.max() > 0
    torch.testing.assert_close(counts, expected)


@torch.no_grad()
@pytest.mark.parametrize("periodic", [True, False])
def test_the_inside_of_a_mesh_does_not_know_its_edges(periodic):
    made = network(filters=3, bins=2)
    inputs = torch.randn(1, 1, 12, 14, 10).abs()
    outputs = made(inputs, periodic=periodic)
    assert outputs.shape == (1, 2, 12, 14, 10)
    inside = (..., *(slice(4, -4),) * 3)
    torch.testing.assert_close(outputs[inside], made.unpadded(inputs))


@torch.no_grad()
def test_beyond_a_crop_lies_the_mean_density():
    made = network(filters=3)
    inputs = torch.randn(1, 1, 8, 8, 8).abs()
    mean = torch.full((1, 1, 16, 16, 16), float(log_density(torch.zeros(()), floor=DENSITY_OFFSET)))
    mean[..., 4:-4, 4:-4, 4:-4] = inputs
    torch.testing.assert_close(made(inputs, periodic=False), made.unpadded(mean))


@torch.no_grad()
def test_spliced_tiles_equal_one_large_run():
    made = network(filters=2)
    inputs = torch.randn(1, 10, 12, 21).abs()
    whole = run(made, inputs, periodic=True)
    assert whole.std() > 0
    torch.testing.assert_close(apply_tiles(made, inputs, core=7), whole, rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("wrong", [{"bins": 0}, {"filters": 0}])
def test_refuses(wrong):
    with pytest.raises(InputError, match=f"ramanah2019.{next(iter(wrong))} must be"):
        Ramanah2019Config(**wrong)


def test_small_meshes_are_refused():
    with pytest.raises(InputError, match="at least 4 cells"):
        network(filters=1)(torch.zeros(1, 1, 8, 8, 3))
    with pytest.raises(InputError, match="at least 19 cells"):
        Critic(18)


@torch.no_grad()
def test_critic_takes_every_patch_alone():
    torch.manual_seed(0)
    critic = Critic(19, bins=2, widths=(2, 3, 4, 5))
    patches = torch.rand(3, 2, 19, 19, 19)
    together = critic(patches)
    assert together.shape == (3,)
    torch.testing.assert_close(together[1:2], critic(patches[1:2]))
