import h5py
import numpy as np
import pytest
import torch

from peculiar.core import PRESETS, Box, Field, InputError
from peculiar.core.errors import OutputExistsError
from peculiar.simulate.initial import linear_density
from peculiar.simulate.lagrangian import LagrangianInputs, lagrangian_fields, lagrangian_inputs
from peculiar.simulate.lpt import displacement_of, lattice
from peculiar.simulate.pairs import (
    AMPLITUDE_DRAWN,
    OMEGA_M_DRAWN,
    DisplacementPair,
    PairSettings,
    simulate_pair,
)
from peculiar.simulate.particle_mesh import Steps
from peculiar.simulate.runs import open_pairs
from peculiar.statistics import compare_power

BASE = PRESETS["he2019"]
SMALL = PairSettings(size=64.0, particles=16, steps=Steps(count=4))


@pytest.fixture
def calm():
    """A cosmology of so little power that linear theory holds."""
    return BASE.with_amplitude(1e-6 * BASE.A_s + 1.1e-11)


def test_calm_pairs_follow_perturbation_theory(tmp_path, calm):
    simulate_pair(tmp_path / "pair-00001.h5", SMALL, calm, seed=1)
    pair = DisplacementPair.open(tmp_path / "pair-00001.h5")
    displacement, velocity = pair.read("displacement", "velocity")
    theory = pair.theory()
    second_order = theory.moved
    found = {
        "displacement": displacement,
        "velocity": velocity / pair.velocity_factor,
        "acceleration": theory.acceleration,
        "moving": theory.moving,
        "two steps": pair.theory(2).moved,
    }
    for name, mesh in found.items():
        comparison = compare_power(vector(mesh), vector(second_order))
        # The mesh's force lags behind on waves of a few particles.
        large = (comparison.k > 0) & (comparison.k < 0.25)
        assert comparison.transfer[large] == pytest.approx(1.0, abs=0.03), name
        assert comparison.correlation_coefficient[large].min() > 0.998, name


def vector(mesh):
    return Field(mesh, Box(64.0, 16), "xyz", "Mpc/h", kind="vector")


def test_displacement_takes_the_shorter_way_around():
    box = Box(16.0, 4)
    truth = torch.full((3, 4, 4, 4), -3.0)
    moved = (lattice(4, 16.0) + truth).remainder(16.0)
    found = displacement_of(moved.reshape(3, -1).T, box)
    torch.testing.assert_close(found, truth)


def test_seeds_decide_which_cosmologies_vary():
    settings = PairSettings(varied=0.5)
    drawn = [settings.cosmology_of(seed, BASE) for seed in range(40)]
    varied = [one for one in drawn if one != BASE]
    assert 8 < len(varied) < 32
    assert drawn == [settings.cosmology_of(seed, BASE) for seed in range(40)]
    low, high = AMPLITUDE_DRAWN
    assert all(one.Omega_m in OMEGA_M_DRAWN for one in varied)
    assert all(0.99 * low < one.A_s / BASE.A_s < 1.01 * high for one in varied)
    assert all(PairSettings().cosmology_of(seed, BASE) == BASE for seed in range(10))


def test_inputs_are_vectors_then_numbers():
    box = Box(32.0, 8)
    theory = lagrangian_fields(linear_density(box, BASE, seed=1), box, BASE, redshift=0.0)
    spec = LagrangianInputs(conditions=("Omega_m", "growth"))
    inputs = lagrangian_inputs(theory, box, BASE, redshift=0.0, spec=spec)
    assert inputs.shape == (len(spec.names), 8, 8, 8)
    assert torch.equal(inputs[3:6], theory.second_order)
    assert inputs[9].unique().item() == pytest.approx(BASE.Omega_m - 0.3)
    assert inputs[10].unique().item() == pytest.approx(np.log(BASE.sigma8))
    several = LagrangianInputs(fields=("moved",), steps=(1, 3), conditions=("growth",))
    after = lagrangian_fields(linear_density(box, BASE, seed=1), box, BASE, redshift=0.0, steps=3)
    inputs = lagrangian_inputs(after, box, BASE, redshift=0.0, spec=several)
    assert several.names[3:] == ("steps", "growth")
    assert torch.equal(inputs[:3], after.moved)
    assert inputs[3].unique().item() == pytest.approx(np.log(3))
    with pytest.raises(ValueError, match="steps must rise, got 3, 1"):
        LagrangianInputs(steps=(3, 1))
    published = LagrangianInputs(fields=("zeldovich",))
    assert torch.equal(lagrangian_inputs(theory, box, BASE, redshift=0.0, spec=published), theory.zeldovich)


def test_bad_input_is_refused(tmp_path):
    with pytest.raises(InputError, match="even"):
        PairSettings(particles=15)
    with pytest.raises(InputError, match=r"varied must lie in \[0, 1\]"):
        PairSettings(varied=2.0)
    with pytest.raises(InputError, match="--kind pairs"):
        open_pairs(tmp_path)
    path = tmp_path / "pair-00002.h5"
    path.write_bytes(b"no HDF5")
    with pytest.raises(InputError, match="whole HDF5 file"):
        DisplacementPair.open(path)
    with pytest.raises(OutputExistsError):
        simulate_pair(path, SMALL, BASE, seed=2)


def test_a_pair_with_a_value_that_is_not_finite_is_refused(tmp_path, calm):
    path = tmp_path / "pair-00001.h5"
    simulate_pair(path, SMALL, calm, seed=1)
    with h5py.File(path, "r+") as file:
        file["displacement"][1, 2, 3, 4] = np.nan
    with pytest.raises(
        InputError, match="displacement must be finite, got 1 values that are not in .*pair-00001"
    ):
        DisplacementPair.open(path).read("velocity", "displacement")
