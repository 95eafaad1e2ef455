import math

import pytest
import torch

from peculiar.core import Box
from peculiar.fields import fourier
from peculiar.fields.fourier import (
    filter_,
    inverse_k_squared,
    k_squared,
    mode_weights,
    to_fourier,
    to_real,
    to_real_,
    wavevectors,
)


@pytest.mark.parametrize("cells", [8, 9])
def test_there_and_back_is_the_identity(cells):
    data = torch.randn(2, cells, cells, cells)
    torch.testing.assert_close(to_real(to_fourier(data), cells), data, atol=1e-6, rtol=0)


@pytest.mark.parametrize("modes_at_once", [1, 2**17])
@pytest.mark.parametrize("shape", [(8, 6, 10), (9, 5, 7)])
def test_modes_that_are_used_up_give_the_same_mesh(monkeypatch, shape, modes_at_once):
    monkeypatch.setattr(fourier, "_MODES_AT_ONCE", modes_at_once)
    data = torch.randn(shape, dtype=torch.float64)
    torch.testing.assert_close(to_real_(to_fourier(data), shape), data)
    corner = torch.empty(4, 5, 3, dtype=torch.float64)
    assert to_real_(to_fourier(data), shape, out=corner) is corner
    torch.testing.assert_close(corner, data[:4, :5, :3])


@pytest.mark.parametrize("modes_at_once", [1, 2**17])
def test_a_filter_is_a_product_with_a_mesh(monkeypatch, modes_at_once):
    monkeypatch.setattr(fourier, "_MODES_AT_ONCE", modes_at_once)
    box = Box((40.0, 30.0, 50.0), (8, 6, 10))
    modes = to_fourier(torch.randn(box.shape))
    expected = modes * torch.exp(-k_squared(box))
    assert filter_(modes, box, lambda kx, ky, kz: torch.exp(-(kx**2 + ky**2 + kz**2))) is modes
    torch.testing.assert_close(modes, expected)


def test_wavevectors_are_in_h_per_mpc_and_signed():
    kx, ky, kz = wavevectors(Box(50.0, 8))
    assert (kx.shape, ky.shape, kz.shape) == ((8, 1, 1), (1, 8, 1), (1, 1, 5))
    fundamental = 2 * math.pi / 50
    torch.testing.assert_close(kx.flatten(), fundamental * torch.tensor([0.0, 1, 2, 3, -4, -3, -2, -1]))
    torch.testing.assert_close(kz.flatten(), fundamental * torch.tensor([0.0, 1, 2, 3, 4]))


def test_odd_derivatives_have_no_nyquist_mode():
    for cells, lost in ((8, 1), (9, 0)):
        even, odd = wavevectors(Box(50.0, cells)), wavevectors(Box(50.0, cells), odd=True)
        for k_even, k_odd in zip(even, odd, strict=True):
            assert int((k_even != k_odd).sum()) == lost
            assert int((k_odd == 0).sum()) == 1 + lost


def test_inverse_k_squared_is_zero_at_zero_only():
    box = Box(50.0, 8)
    product = k_squared(box) * inverse_k_squared(box)
    assert product[0, 0, 0] == 0
    product[0, 0, 0] = 1
    torch.testing.assert_close(product, torch.ones(8, 8, 5))


def test_dtype_is_kept():
    assert k_squared(Box(50.0, 8), dtype=torch.float64).dtype == torch.float64


@pytest.mark.parametrize("cells", [8, 9])
def test_weighted_sums_over_half_the_modes_are_sums_over_all(cells):
    data = torch.randn(cells, cells, cells, dtype=torch.float64)
    whole = torch.fft.fftn(data).abs().square().sum()
    half = (to_fourier(data).abs().square() * mode_weights(cells)).sum()
    torch.testing.assert_close(half, whole)
    assert int(mode_weights(cells).expand(cells, cells, -1).sum()) == cells**3
