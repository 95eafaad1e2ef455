import pytest
import torch
from torch.nn import functional

from peculiar.models.blocks import ChannelNorm, Conv, ResidualBlock, Upsample, wrapped


@torch.no_grad()
def test_periodic_convolution_is_a_convolution_of_the_repeated_mesh():
    conv, mesh = Conv(2, 3, kernel=5), torch.randn(1, 2, 6, 6, 6)
    repeated = mesh.repeat(1, 1, 3, 3, 3)
    middle = conv.conv(repeated)[..., 6:12, 6:12, 6:12]
    assert torch.allclose(conv(mesh), middle, atol=1e-5)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
@pytest.mark.parametrize(("below", "above"), [(1, 1), (0, 1), (2, 2)])
def test_a_wrapped_mesh_is_padded_circularly_and_keeps_its_layout(layout, below, above):
    mesh = torch.randn(2, 3, 4, 5, 6).contiguous(memory_format=layout).requires_grad_()
    padded = wrapped(mesh, below, above)
    expected = functional.pad(mesh, (below, above) * 3, mode="circular")
    assert torch.equal(padded, expected)
    assert padded.is_contiguous(memory_format=layout)
    weights = torch.randn_like(expected)
    gradients = [torch.autograd.grad((one * weights).sum(), mesh)[0] for one in (padded, expected)]
    assert torch.allclose(*gradients, atol=1e-6)


@torch.no_grad()
def test_periodic_upsampling_is_that_of_the_repeated_mesh():
    up, mesh = Upsample(2, 3), torch.randn(1, 2, 4, 4, 4)
    middle = up.conv(mesh.repeat(1, 1, 3, 3, 3))[..., 8:16, 8:16, 8:16]
    assert torch.allclose(up(mesh), middle, atol=1e-5)
    assert not torch.allclose(up(mesh, periodic=False), middle, atol=1e-2)


@torch.no_grad()
def test_strided_convolution_halves():
    conv, mesh = Conv(1, 1, stride=2), torch.randn(1, 1, 8, 8, 8)
    full = functional.conv3d(
        functional.pad(mesh, (1,) * 6, mode="circular"), conv.conv.weight, conv.conv.bias
    )
    assert torch.allclose(conv(mesh), full[..., ::2, ::2, ::2], atol=1e-5)


@torch.no_grad()
def test_residual_block_starts_as_the_identity():
    mesh = torch.randn(1, 4, 4, 4, 4)
    assert torch.equal(ResidualBlock(4)(mesh), mesh)


def test_channel_norm_acts_on_each_cell_alone_and_bounds_it():
    mesh = 1e4 * torch.randn(1, 8, 4, 4, 4)
    norm = ChannelNorm(8)
    found = norm(mesh)
    assert found.abs().max() < 8**0.5
    torch.testing.assert_close(norm(mesh[..., :2, :, :]), found[..., :2, :, :])
    small = 1e-3 * torch.randn(1, 8, 4, 4, 4)
    torch.testing.assert_close(norm(small), small - small.mean(1, keepdim=True), rtol=1e-3, atol=1e-7)


@torch.no_grad()
@pytest.mark.parametrize("channels", [3, 16, 64])
def test_normalisation_of_half_precision_is_that_of_torch(channels):
    norm = ChannelNorm(channels)
    for parameter in norm.parameters():
        torch.nn.init.normal_(parameter)
    mesh = (100 * torch.randn(2, channels, 40, 41, 42)).bfloat16()
    exact = norm.double()(mesh.double())
    norm.float()
    found = norm(mesh.contiguous(memory_format=torch.channels_last_3d))
    assert found.dtype == torch.bfloat16
    assert ((found - exact).abs() <= exact.abs() / 256 + 1e-4).all()  # where terms of order one cancel
    assert (found != exact.bfloat16()).float().mean() < 1e-3
