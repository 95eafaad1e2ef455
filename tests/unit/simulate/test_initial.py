"""Initial conditions: the same modes on every mesh, hermitian, Gaussian, of unit variance."""

import numpy as np
import pytest
import torch

from peculiar.core.box import Box
from peculiar.core.cosmology import PRESETS, Cosmology
from peculiar.core.errors import InputError
from peculiar.simulate.initial import integer_modes, linear_density, linear_field, white_noise

COSMOLOGY = PRESETS["xiao2024"]


def coarse_part(modes: torch.Tensor, cells: int) -> torch.Tensor:
    """Modes of a coarser mesh below its Nyquist wavenumber, cut out of those of a finer one."""
    index = torch.fft.fftfreq(cells, 1 / cells).round().long()
    index = index[index.abs() < cells // 2]
    fine = index % modes.shape[0]
    return modes[fine][:, fine][:, :, : cells // 2]


@pytest.mark.parametrize("fine", [24, 32, 64])
def test_noise_has_the_same_modes_on_every_mesh(fine):
    assert torch.equal(coarse_part(white_noise(16, 7), 16), coarse_part(white_noise(fine, 7), 16))


def test_density_has_the_same_values_at_the_same_places_on_every_mesh():
    """The fields themselves, read on the fine mesh's modes below the coarse mesh's Nyquist wavenumber."""
    box = Box(100.0, 16)
    coarse = linear_density(box, COSMOLOGY, seed=3)
    fine = linear_density(box.with_cells(32), COSMOLOGY, seed=3)
    centres = []
    for modes in (coarse, fine):
        n = modes.shape[0]
        shift = [k * (-np.pi / n) for k in integer_modes(n)]  # from cell centres to the corner of the box
        at_corner = modes * torch.polar(torch.ones(()), (shift[0] + shift[1] + shift[2]).float())
        centres.append(coarse_part(at_corner, 16) / n**3)
    torch.testing.assert_close(centres[0], centres[1], rtol=1e-5, atol=1e-9)


def test_noise_is_hermitian():
    noise = white_noise(16, 1)
    again = torch.fft.rfftn(torch.fft.irfftn(noise, s=(16, 16, 16)))
    torch.testing.assert_close(again, noise, rtol=0, atol=2e-6)
    plane = noise[..., 0]
    opposite = plane.roll((-1, -1), (0, 1)).flip(0, 1).conj()
    assert torch.equal(plane, opposite)


def test_noise_is_gaussian_of_unit_variance():
    noise = white_noise(48, 5)[1:24, 1:24, 1:24].flatten().to(torch.complex128)
    assert len(noise) == 23**3
    square = noise.abs().square()
    assert square.mean() == pytest.approx(1, abs=0.03)
    assert square.square().mean() == pytest.approx(2, abs=0.15)  # <|z|^4> of a complex Gaussian
    assert noise.real.square().mean() == pytest.approx(0.5, abs=0.02)
    assert (noise.real * noise.imag).mean() == pytest.approx(0, abs=0.015)
    assert noise.mean().abs() < 0.03


def test_neighbouring_modes_are_independent():
    noise = white_noise(48, 5)[1:24, 1:24, 1:24]
    for axis in range(3):
        product = noise.narrow(axis, 0, 22) * noise.narrow(axis, 1, 22).conj()
        assert product.mean().abs() < 4 / np.sqrt(product.numel())


def test_mean_and_nyquist_planes_are_zero():
    noise = white_noise(16, 1)
    assert noise[0, 0, 0] == 0
    assert not noise[8].any()
    assert not noise[:, 8].any()
    assert not noise[..., 8].any()
    inside = noise[:8, :8, :8].flatten()[1:]
    assert inside.abs().min() > 0


def test_seeds_give_independent_noise():
    for one, two in ((0, 1), (1, 2), (1, 2**32 + 1), (5, 500)):
        first, second = (white_noise(32, seed).flatten() for seed in (one, two))
        correlation = (first * second.conj()).mean().abs()
        assert correlation < 5 / np.sqrt(len(first))
    assert torch.equal(white_noise(8, 4), white_noise(8, 4))


def test_linear_field_is_real_with_mean_zero_and_grows_as_d():
    box = Box(200.0, 16)
    now = linear_field(box, COSMOLOGY, seed=2, redshift=0.0)
    then = linear_field(box, COSMOLOGY, seed=2, redshift=1.0)
    assert now.shape == (16, 16, 16)
    assert abs(now.mean()) < 1e-6
    torch.testing.assert_close(then, now * COSMOLOGY.growth(1.0))


def test_odd_mesh_is_refused():
    with pytest.raises(InputError, match=r"Box.cells must be even for initial conditions, got 15"):
        linear_density(Box(100.0, 15), COSMOLOGY, seed=1)


def test_neutrinos_are_no_particles():
    cosmology = Cosmology(m_nu=0.06, T_cmb=2.7255)
    with pytest.raises(InputError, match="m_nu must be 0 eV for simulations, got 0.06: .* give m_nu=0"):
        linear_density(Box(100.0, 8), cosmology, seed=1)
