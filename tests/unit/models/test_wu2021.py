from contextlib import nullcontext

import pytest
import torch
from torch.nn import functional

from peculiar.core.errors import InputError
from peculiar.inference.tiles import apply_tiles
from peculiar.inference.whole import apply_whole
from peculiar.models.wu2021 import UNPADDED, DensityToVector, Wu2021, Wu2021Config

PUBLISHED = 48_690_307


def test_has_the_published_number_of_parameters():
    """As Keras counts: weights, biases, and the four numbers a channel of batch normalisation."""
    with torch.device("meta"):
        network = DensityToVector(Wu2021Config().width)
    running = [b for name, b in network.named_buffers() if name.endswith(("running_mean", "running_var"))]
    assert sum(p.numel() for p in [*network.parameters(), *running]) == PUBLISHED
    assert len([p for p in network.parameters() if p.ndim == 5]) == 15 + 2 + 1


@torch.no_grad()
def test_padding_leaves_the_inside_of_the_unpadded_convolutions_as_it_is():
    torch.manual_seed(0)
    network = DensityToVector(4)
    for layer in network.modules():  # statistics as after some training, not 0 and 1
        if isinstance(layer, torch.nn.BatchNorm3d):
            torch.nn.init.uniform_(layer.running_mean, -0.1, 0.1)
            torch.nn.init.uniform_(layer.running_var, 0.5, 2.0)
    network.eval()
    crop = torch.randn(1, 1, 32, 32, 32)
    mesh = network.features(crop, periodic=False)
    for layer in network.unpadded:
        conv = layer.conv.conv
        mesh = functional.relu(layer.norm(functional.conv3d(mesh, conv.weight, conv.bias)))
    literal = network.output(mesh)
    assert literal.shape == (1, 3, 20, 20, 20)
    inside = (..., *(slice(len(UNPADDED), -len(UNPADDED)),) * 3)
    assert torch.allclose(network(crop, periodic=False)[inside], literal, atol=1e-5)


@torch.no_grad()
def test_velocity_and_momentum_are_in_their_own_units():
    torch.manual_seed(0)
    network = Wu2021(Wu2021Config(width=2, velocity_scale=2.0, momentum_scale=7.0)).eval()
    inputs = torch.randn(1, 1, 8, 8, 8)
    outputs = network(inputs)
    assert torch.allclose(outputs[:, :3], 2.0 * network.velocity(inputs))
    assert torch.allclose(outputs[:, 3:], 7.0 * network.momentum(inputs))


@torch.no_grad()
def test_spliced_tiles_equal_one_large_run(monkeypatch):
    monkeypatch.setattr("peculiar.inference.whole.half_precision", lambda device: nullcontext())
    torch.manual_seed(0)
    network = Wu2021(Wu2021Config(width=1)).eval()
    inputs = torch.randn(1, 8, 8, 16)
    whole = apply_whole(network, inputs)
    tiles = apply_tiles(network, inputs, core=8)
    torch.testing.assert_close(tiles, whole, rtol=1e-4, atol=1e-5 * float(whole.abs().max()))
    assert whole.std(dim=(1, 2, 3)).min() > 0


@pytest.mark.parametrize("wrong", [{"width": 0}, {"velocity_scale": 0.0}, {"momentum_scale": -1.0}])
def test_refuses(wrong):
    with pytest.raises(InputError, match=f"wu2021.*{next(iter(wrong))}.* must be"):
        Wu2021Config(**wrong)
