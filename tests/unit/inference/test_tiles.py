import pytest
import torch

from peculiar.core import InputError
from peculiar.inference.tiles import apply_network, apply_tiles, tile_halo
from peculiar.inference.whole import apply_whole

pytestmark = pytest.mark.usefixtures("single_precision")


@pytest.mark.parametrize("periodic", [True, False])
@pytest.mark.parametrize(("side", "core"), [(16, 8), (20, 8), (17, 6), (24, 24)])
def test_tiles_equal_the_whole(network, mesh, side, core, periodic):
    inputs = mesh(side)
    whole = apply_whole(network, inputs, periodic=periodic)
    tiles = apply_tiles(network, inputs, core=core, periodic=periodic)
    torch.testing.assert_close(tiles, whole, rtol=1e-4, atol=1e-4 * whole.abs().max().item())


def test_a_halo_below_the_reach_would_show(network, mesh, monkeypatch):
    inputs = mesh(16)
    assert tile_halo(network) >= network.reach
    monkeypatch.setattr("peculiar.inference.tiles.tile_halo", lambda module: 2)
    whole = apply_whole(network, inputs)
    assert (apply_tiles(network, inputs, core=8) - whole).abs().max() > 1e-3 * whole.abs().max()


def test_large_meshes_are_tiled(network, mesh, monkeypatch):
    seen = []
    original = type(network).forward

    def record(self, inputs, *, periodic=True):
        seen.append(max(inputs.shape[-3:]))
        return original(self, inputs, periodic=periodic)

    monkeypatch.setattr(type(network), "forward", record)
    inputs = mesh(48)
    tiles = apply_network(network, inputs, max_side=44)
    assert max(seen) <= 44
    seen.clear()
    whole = apply_network(network, inputs, max_side=48)
    assert seen == [48]
    torch.testing.assert_close(tiles, whole, rtol=1e-4, atol=1e-4 * whole.abs().max().item())


def test_core_must_fit_the_stride(network, mesh):
    with pytest.raises(InputError, match="multiple of the network's stride 2, got 5"):
        apply_tiles(network, mesh(16), core=5)
