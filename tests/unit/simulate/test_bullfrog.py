"""Few steps that are exact to second order."""

import math

import pytest
import torch

from peculiar.core import PRESETS, Box, InputError
from peculiar.simulate.bullfrog import bullfrog
from peculiar.simulate.initial import linear_density
from peculiar.simulate.lagrangian import lagrangian_fields
from peculiar.simulate.lpt import displacement_of, displacements, lattice
from peculiar.simulate.particle_mesh import Steps, evolve

BASE = PRESETS["he2019"]
BOX = Box(128.0, 32)


def moved(particles, box):
    """Displacement [Mpc/h] and velocity [km/s] on the lattice."""
    displacement = displacement_of(particles.positions[0], box)
    return displacement, particles.velocities[0].T.reshape(displacement.shape)


@pytest.fixture
def waves():
    """Two crossed waves, calm enough for third-order terms to vanish beside the second."""
    q = lattice(BOX.mesh, BOX.side)
    k = 2 * math.pi / BOX.side
    return torch.fft.rfftn(0.04 * (torch.cos(k * q[0]) + torch.cos(k * q[1])))


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("redshift", [0.0, 1.0])
def test_second_order_comes_out_whatever_the_steps(waves, count, redshift):
    """Waves of either sign have the same second-order displacement, and opposite first-order ones."""
    both = [
        moved(
            bullfrog(*displacements(sign * waves, BOX), BOX, BASE, redshift=redshift, steps=Steps(count)), BOX
        )
        for sign in (1, -1)
    ]
    theory = lagrangian_fields(waves, BOX, BASE, redshift=redshift)
    to_velocity = BASE.velocity_factor(redshift)
    second = theory.second_order
    for i, expected in enumerate((second, (theory.moving - theory.zeldovich) * to_velocity)):
        found = (both[0][i] + both[1][i]) / 2
        assert float((found * expected).sum() / expected.square().sum()) == pytest.approx(1, abs=0.03)
    first = (both[0][0] - both[1][0]) / 2
    assert float((first - theory.zeldovich).norm() / theory.zeldovich.norm()) < 0.01


def test_fastpm_has_no_second_order_in_one_step(waves):
    """What the coefficients are for: those of `evolve` are exact to first order only."""
    both = [
        moved(evolve(sign * waves[None], BOX, BASE, redshift=0.0, steps=Steps(1)), BOX)[0] for sign in (1, -1)
    ]
    second = lagrangian_fields(waves, BOX, BASE, redshift=0.0).second_order
    found = (both[0] + both[1]) / 2
    assert abs(float((found * second).sum() / second.square().sum()) - 1) > 0.1


def test_few_steps_miss_about_half_of_what_fastpm_does():
    modes = linear_density(BOX, BASE, seed=1)
    truth, speed = moved(evolve(modes[None], BOX, BASE, redshift=0.0, steps=Steps(20)), BOX)
    psi = displacements(modes, BOX)
    for count in (3, 5):
        steps = Steps(count)
        frog, flow = moved(bullfrog(*psi, BOX, BASE, redshift=0.0, steps=steps), BOX)
        fast, _ = moved(evolve(modes[None], BOX, BASE, redshift=0.0, steps=steps), BOX)
        errors = [float((one - truth).norm(dim=0).mean()) for one in (frog, fast)]
        assert errors[0] < 0.55 * errors[1]
        assert float((flow - speed).norm() / speed.norm()) < 0.2


def test_fields_of_a_few_steps_are_those_of_their_particles():
    modes = linear_density(BOX, BASE, seed=1)
    fields = lagrangian_fields(modes, BOX, BASE, redshift=0.5, steps=3)
    displacement, velocity = moved(
        bullfrog(*displacements(modes, BOX), BOX, BASE, redshift=0.5, steps=Steps(3)), BOX
    )
    assert torch.equal(fields.moved, displacement)
    torch.testing.assert_close(fields.moving * BASE.velocity_factor(0.5), velocity, rtol=1e-5, atol=1e-3)
    assert fields.steps == 3
    theory = lagrangian_fields(modes, BOX, BASE, redshift=0.5)
    assert torch.equal(theory.moved, theory.zeldovich + theory.second_order)


def test_a_redshift_before_the_start_is_refused():
    psi = displacements(linear_density(BOX, BASE, seed=1), BOX)
    with pytest.raises(InputError, match="redshift must"):
        bullfrog(*psi, BOX, BASE, redshift=9.5, steps=Steps(3))
