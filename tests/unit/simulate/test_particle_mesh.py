"""The particle mesh: growth of every mode, conservation, periodicity, and one result on every path."""

import math

import numpy as np
import pytest
import torch

from peculiar.core.box import Box
from peculiar.core.cosmology import PRESETS, Cosmology
from peculiar.core.errors import InputError
from peculiar.fields.kernels import gradient_kernel, paint_kernel
from peculiar.simulate import particle_mesh
from peculiar.simulate.initial import integer_modes, linear_density, white_noise
from peculiar.simulate.lpt import displacements, lattice
from peculiar.simulate.particle_mesh import Steps, accelerations, evolve, evolve_epochs, start_from_lpt

COSMOLOGY = PRESETS["xiao2024"]
REDSHIFT = 0.59
BOX = Box(60.0, 24)
FEW = Steps(count=3)


def wrapped(difference: torch.Tensor, size: float) -> torch.Tensor:
    return difference - size * torch.round(difference / size)


def displaced(particles, box: Box) -> torch.Tensor:
    """Displacement from the lattice, (3, x, y, z) [Mpc/h]."""
    q = lattice(box.mesh, box.size).reshape(3, -1)
    return wrapped(particles.positions[0].T - q, box.size).reshape(3, *(box.mesh,) * 3)


@pytest.fixture(scope="module")
def modes() -> torch.Tensor:
    return linear_density(BOX, COSMOLOGY, seed=1)[None]


@pytest.fixture(scope="module")
def particles(modes):
    return evolve(modes, BOX, COSMOLOGY, redshift=REDSHIFT, steps=FEW)


@pytest.mark.parametrize("count", [1, 2, 7])
@pytest.mark.parametrize("cosmology", [COSMOLOGY, Cosmology(w0=-0.7, wa=-0.9, T_cmb=2.7255)])
def test_steps_grow_every_linear_mode_as_d(modes, monkeypatch, count, cosmology):
    """With the linear force, which is each particle's displacement, any number of steps is exact (FastPM)."""
    q = lattice(BOX.mesh, BOX.size).reshape(3, -1).T

    def linear_force(positions, size, *, mesh):
        return wrapped(positions - q, size)

    monkeypatch.setattr(particle_mesh, "accelerations", linear_force)
    monkeypatch.setattr(COSMOLOGY.__class__, "growth_second", lambda self, redshift: 0.0)
    end = evolve(modes, BOX, cosmology, redshift=REDSHIFT, steps=Steps(count=count))
    expected = displacements(modes[0], BOX)[0] * cosmology.growth(REDSHIFT)
    found = displaced(end, BOX)
    assert (found - expected).square().mean().sqrt() < 5e-3 * expected.square().mean().sqrt()
    velocity = end.velocities[0].T.reshape(expected.shape) / cosmology.velocity_factor(REDSHIFT)
    assert (velocity - expected).square().mean().sqrt() < 5e-3 * expected.square().mean().sqrt()


def test_every_epoch_of_one_evolution_grows_as_d(modes, monkeypatch):
    """Kicks end at each epoch, and go on from there: with the linear force both are exact."""
    q = lattice(BOX.mesh, BOX.size).reshape(3, -1).T
    monkeypatch.setattr(
        particle_mesh, "accelerations", lambda positions, size, *, mesh: wrapped(positions - q, size)
    )
    monkeypatch.setattr(COSMOLOGY.__class__, "growth_second", lambda self, redshift: 0.0)
    first = displacements(modes[0], BOX)[0]
    redshifts = [1.5, 0.6, 0.0]
    for redshift, particles in zip(
        redshifts, evolve_epochs(modes, BOX, COSMOLOGY, redshifts=redshifts, steps=FEW), strict=True
    ):
        expected = first * COSMOLOGY.growth(redshift)
        velocity = particles.velocities[0].T.reshape(first.shape) / COSMOLOGY.velocity_factor(redshift)
        for found in (displaced(particles, BOX), velocity):
            assert (found - expected).square().mean().sqrt() < 5e-3 * expected.square().mean().sqrt()


def test_epochs_of_one_evolution_are_those_of_runs_apart(modes):
    """The first with the same steps, bit by bit; the others have finer steps, none longer than a run apart has."""
    steps, ticks = Steps(count=6), []
    redshifts = [1.5, 0.6, 0.0]
    epochs = evolve_epochs(
        modes, BOX, COSMOLOGY, redshifts=redshifts, steps=steps, progress=lambda *at: ticks.append(at)
    )
    for redshift, particles in zip(redshifts, epochs, strict=True):
        alone = evolve(modes, BOX, COSMOLOGY, redshift=redshift, steps=steps)
        both = torch.stack([particles.velocities.flatten(), alone.velocities.flatten()])
        assert torch.corrcoef(both)[0, 1] > 0.99
        assert (both[0] * both[1]).sum() / both[1].square().sum() == pytest.approx(1, abs=0.01)
        if redshift == redshifts[0]:
            assert torch.equal(particles.positions, alone.positions)
            assert torch.equal(*both)
    total = sum(steps.to_epochs(redshifts))
    assert ticks == [(step, total) for step in range(total + 1)]


def test_steps_pass_through_the_epochs():
    assert Steps(count=12).to_epochs([0.59]) == [12]
    assert Steps(count=1).to_epochs([3.0, 2.9, 0.0]) == [1, 1, 1]
    ends = [1 / (1 + redshift) for redshift in (1.5, 1.0, 0.6, 0.3, 0.0)]
    for number, before, end in zip([3, 3, 3, 4], ends[:-1], ends[1:], strict=True):
        assert (end - before) / number <= (end - 0.1) / 12 < (end - before) / (number - 1)


@pytest.mark.parametrize("count", [2, 6])
def test_mesh_force_grows_small_modes_as_d(count):
    """To 1 % at k < 0.2 of the particles' Nyquist wavenumber; the mesh's window takes 5 % at 0.5."""
    kx, ky, kz = integer_modes(BOX.mesh)
    k = torch.stack([c.float().expand(BOX.mesh, BOX.mesh, BOX.mesh // 2 + 1) for c in (kx, ky, kz)])
    length = k.square().sum(0).sqrt()
    small = white_noise(BOX.mesh, 1) * length * (BOX.mesh**1.5 * 3e-3)  # the same displacement in every mode
    end = evolve(small[None], BOX, COSMOLOGY, redshift=REDSHIFT, steps=Steps(count=count))
    expected = displacements(small, BOX)[0] * COSMOLOGY.growth(REDSHIFT)
    velocity = end.velocities[0].T.reshape(expected.shape) / COSMOLOGY.velocity_factor(REDSHIFT)
    along = (torch.fft.rfftn(expected, dim=(1, 2, 3)) * k).sum(0)
    for measured, near, far in ((displaced(end, BOX), 0.01, 0.055), (velocity, 0.015, 0.095)):
        found = (torch.fft.rfftn(measured, dim=(1, 2, 3)) * k).sum(0)
        for low, high, tolerance in ((0.5, 2.5, near), (2.5, 6.01, far)):
            shell = (length > low) & (length <= high)
            ratio = (found * along.conj()).real[shell].sum() / along.abs().square()[shell].sum()
            assert -tolerance < ratio - 1 < 0.002
            assert (found / along - 1).abs()[shell].max() < 3 * tolerance  # each mode, with rounding


def test_zeldovich_wave_is_exact_before_shells_cross():
    """A plane wave in one dimension moves as Zel'dovich (1970) until shells cross, however steep it is."""
    box = Box(64.0, 32)
    k = 2 * math.pi / box.size
    q = lattice(box.mesh, box.size)
    amplitude = 0.6 / COSMOLOGY.growth(REDSHIFT)  # 1 is the crossing
    wave = torch.fft.rfftn(amplitude * torch.cos(k * q[0]))[None]
    expected = -amplitude * COSMOLOGY.growth(REDSHIFT) / k * torch.sin(k * q[0])
    start = start_from_lpt(wave, box, COSMOLOGY, redshift=REDSHIFT)
    torch.testing.assert_close(displaced(start, box)[0], expected, rtol=0, atol=2e-5)
    speed = start.velocities[0, :, 0].reshape(q[0].shape)
    torch.testing.assert_close(speed, expected * COSMOLOGY.velocity_factor(REDSHIFT), rtol=1e-5, atol=1e-3)
    end = displaced(evolve(wave, box, COSMOLOGY, redshift=REDSHIFT, steps=Steps(count=8)), box)
    assert (end[0] - expected).abs().max() < 0.01 * expected.abs().max()
    assert end[1:].abs().max() < 1e-3


def test_total_momentum_stays_zero(particles):
    velocities = particles.velocities[0].double()
    assert velocities.mean(0).abs().max() < 1e-4 * velocities.std()
    assert velocities.std() > 100


def test_forces_sum_to_zero_and_do_not_act_on_oneself():
    positions = torch.rand(1, 500, 3, generator=torch.Generator().manual_seed(1)) * 10
    force = accelerations(positions, 10.0, mesh=16)[0].double()
    assert force.sum(0).abs().max() < 1e-4 * force.abs().sum()
    alone = torch.tensor([[[3.3, 7.1, 0.2]]])
    assert accelerations(alone, 10.0, mesh=16).abs().max() < 1e-3 * force.abs().max()


def test_acceleration_points_to_a_mass_across_the_edge():
    heavy = torch.tensor([0.1, 5.0, 5.0]).repeat(50, 1)
    test = torch.tensor([[9.0, 5.0, 5.0]])
    force = accelerations(torch.cat([heavy, test])[None], 10.0, mesh=16)[0, -1]
    assert force[0] > 0
    assert force[1:].abs().max() < 0.02 * force[0]


def test_shifting_the_modes_by_a_cell_shifts_the_particles(modes, particles):
    """The result knows no edge: a translation of the initial field is a translation of the particles."""
    kx, _, _ = integer_modes(BOX.mesh)
    phase = torch.polar(torch.ones_like(kx, dtype=torch.float32), kx * (-2 * math.pi * 5 / BOX.mesh))
    moved = evolve(modes * phase, BOX, COSMOLOGY, redshift=REDSHIFT, steps=FEW)
    difference = displaced(moved, BOX) - displaced(particles, BOX).roll(5, 1)
    assert difference.abs().max() < 5e-3


def test_positions_are_wrapped(particles):
    assert particles.positions.min() >= 0
    assert particles.positions.max() < BOX.size
    edge = particle_mesh.wrap(torch.tensor([[-1e-9, 60.0, 59.9, -0.5, 121.0]]), 60.0)
    torch.testing.assert_close(edge, torch.tensor([[0.0, 0.0, 59.9, 59.5, 1.0]]))


def test_batch_of_boxes_equals_single_boxes(modes, particles):
    other = linear_density(BOX, COSMOLOGY, seed=2)[None]
    both = evolve(torch.cat([modes, other]), BOX, COSMOLOGY, redshift=REDSHIFT, steps=FEW)
    assert both.positions.shape == (2, BOX.mesh**3, 3)
    single = evolve(other, BOX, COSMOLOGY, redshift=REDSHIFT, steps=FEW)
    # The FFT of a batch may round in another order than that of one box.
    for i, one in enumerate((particles, single)):
        assert wrapped(both.positions[i] - one.positions[0], BOX.size).abs().max() < 1e-2
        assert (both.velocities[i] - one.velocities[0]).abs().max() < 1.0
    assert (particles.positions - single.positions).abs().max() > 1


def test_torch_kernels_equal_numba_kernels():
    generator = torch.Generator().manual_seed(3)
    positions = torch.rand(2, 4000, 3, generator=generator) * 30
    positions[0, :3] = torch.tensor([[0.0, 0.0, 0.0], [29.9999, 0.01, 15.0], [0.6, 29.4, 0.3]])
    potential = torch.randn(2, 24, 24, 24, generator=generator)
    counts = particle_mesh._paint_with_torch(positions, 24, 30.0)
    slopes = particle_mesh._gradient_with_torch(potential, positions, 30.0)
    for i in range(2):
        numba_counts = paint_kernel(positions[i].numpy(), None, 24, size=30.0)[0]
        np.testing.assert_allclose(counts[i].numpy(), numba_counts, atol=2e-5)
        numba_slopes = gradient_kernel(potential[i].numpy(), positions[i].numpy(), size=30.0)
        np.testing.assert_allclose(slopes[i].numpy(), numba_slopes, atol=2e-5)


def test_second_order_adds_to_zeldovich(modes):
    first, second = (start_from_lpt(modes, BOX, COSMOLOGY, redshift=9.0, order=order) for order in (1, 2))
    _, psi_2 = displacements(modes[0], BOX)
    added = displaced(second, BOX) - displaced(first, BOX)
    torch.testing.assert_close(added, psi_2 * COSMOLOGY.growth_second(9.0), rtol=0, atol=2e-5)


def test_progress_counts_the_steps(modes):
    seen = []
    evolve(
        modes,
        BOX,
        COSMOLOGY,
        redshift=3.0,
        steps=FEW,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize("bad", [{"count": 0}, {"start": 0.0}, {"start": 1.0}, {"mesh_factor": 0}])
def test_steps_out_of_range_are_refused(bad):
    with pytest.raises(InputError, match="count must be 1 to 10000|0 < start < 1"):
        Steps(**bad)


def test_end_before_the_start_is_refused(modes):
    with pytest.raises(InputError, match=r"redshift must be >= 0 and below 9, where particles start, got 20"):
        evolve(modes, BOX, COSMOLOGY, redshift=20.0)
