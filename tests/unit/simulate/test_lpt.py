"""Displacements of first and second order against analytic waves."""

import math

import torch

from peculiar.core.box import Box
from peculiar.simulate.lpt import displacements, lattice

SIZE, N = 100.0, 32
K = 2 * math.pi / SIZE


def modes_of(density: torch.Tensor) -> torch.Tensor:
    return torch.fft.rfftn(density)


def test_lattice_stands_at_cell_centres():
    q = lattice(4, 8.0)
    assert q.shape == (3, 4, 4, 4)
    assert q[0, :, 0, 0].tolist() == [1.0, 3.0, 5.0, 7.0]
    assert q[2, 0, 0].tolist() == [1.0, 3.0, 5.0, 7.0]
    assert (q[1, :, 2, :] == 5.0).all()


def test_plane_wave_has_the_zeldovich_displacement_and_no_second_order():
    q = lattice(N, SIZE)
    for axis in range(3):
        psi_1, psi_2 = displacements(modes_of(0.3 * torch.cos(3 * K * q[axis])), Box(SIZE, N))
        expected = torch.zeros_like(psi_1)
        expected[axis] = -0.3 / (3 * K) * torch.sin(3 * K * q[axis])  # delta = - div psi
        torch.testing.assert_close(psi_1, expected, rtol=0, atol=1e-5)
        torch.testing.assert_close(psi_2, torch.zeros_like(psi_2), rtol=0, atol=1e-6)


def test_oblique_plane_wave_has_no_second_order_either():
    q = lattice(N, SIZE)
    psi_1, psi_2 = displacements(modes_of(0.5 * torch.cos(K * (q[0] + 2 * q[1] - q[2]))), Box(SIZE, N))
    assert psi_1.abs().max() > 1
    assert psi_2.abs().max() < 1e-5


def test_crossed_waves_have_the_second_order_of_bouchet_1995():
    """Source phi_xx phi_yy = A B cos cos, so psi_2 = grad(inverse laplacian of it)."""
    a, b = 0.3, 0.2
    q = lattice(N, SIZE)
    _, psi_2 = displacements(modes_of(a * torch.cos(K * q[0]) + b * torch.cos(2 * K * q[1])), Box(SIZE, N))
    common = a * b / (5 * K)
    expected = torch.stack(
        [
            common * torch.sin(K * q[0]) * torch.cos(2 * K * q[1]),
            2 * common * torch.cos(K * q[0]) * torch.sin(2 * K * q[1]),
            torch.zeros_like(q[2]),
        ]
    )
    torch.testing.assert_close(psi_2, expected, rtol=0, atol=2e-6)


def test_matter_flows_into_a_peak_at_both_orders():
    """D_2 < 0, so that D_2 psi_2 adds to the collapse onto the peak in the corner of the box."""
    q = lattice(N, SIZE)
    psi_1, psi_2 = displacements(modes_of(sum(0.1 * torch.cos(K * q[i]) for i in range(3))), Box(SIZE, N))
    assert psi_1[0, 1, 0, 0] < 0
    assert -psi_2[0, 1, 0, 0] < 0
    assert psi_1[0, -2, 0, 0] > 0
    assert -psi_2[0, -2, 0, 0] > 0
