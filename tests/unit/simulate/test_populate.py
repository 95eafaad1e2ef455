from types import SimpleNamespace

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from peculiar.core import Box, Field, InputError
from peculiar.simulate.populate import HaloProperties, measure_halo_properties, populate
from peculiar.simulate.second_order import SecondOrderFields

BOX = Box(64.0, 16, origin=(-10.0, 0.0, 5.0))
PROPERTIES = HaloProperties(
    mass_quantiles=((1e12, 2e12, 3e12), (3e12, 5e12, 1e13)),
    log_density=(0.5, 1.0),
    velocity_slope=(1.1, 1.1),
    velocity_dispersion=(80.0, 80.0),
    velocity_coherence=0.6,
)


def fields(box=BOX, *, contrast=0.0):
    wave = torch.cos(2 * torch.pi * torch.arange(box.mesh) / box.mesh)[:, None, None].expand(3, -1, 16, 16)
    return SecondOrderFields(
        Field(contrast * wave[:1].clone(), box, ["density"]),
        Field(200 * wave.transpose(1, 2).clone(), box, "xyz", "km/s", kind="vector"),
    )


def counts(numbers=(2, 1)):
    return torch.tensor(numbers, dtype=torch.float32)[:, None, None, None].expand(-1, 16, 16, 16)


def test_halos_stand_in_their_cells_and_bins():
    drawn = torch.zeros(2, 16, 16, 16)
    drawn[0, 3, 5, 7], drawn[1, 15, 0, 2] = 3, 2
    halos = populate(drawn, fields(), PROPERTIES, seed=1, redshift=0.5)
    assert len(halos) == 5
    assert halos.space == "real"
    cells = np.floor((halos.positions - np.array(BOX.origin)) / BOX.cell_size).astype(int)
    assert cells.tolist() == [[3, 5, 7]] * 3 + [[15, 0, 2]] * 2
    assert (halos.masses[:3] < 3e12).all()
    assert (halos.masses[3:] >= 3e12).all()


def test_masses_have_the_quantiles_of_their_bin():
    halos = populate(counts((4, 0)), fields(), PROPERTIES, seed=1, redshift=0.5)
    assert np.median(halos.masses) == pytest.approx(2e12, rel=0.02)
    assert np.quantile(halos.masses, 0.25) == pytest.approx(2**0.5 * 1e12, rel=0.02)  # straight in ln(mass)


def test_velocities_are_the_flow_times_the_slope_and_a_part_that_neighbours_share():
    halos = populate(counts((8, 0)), fields(), PROPERTIES, seed=1, redshift=0.5)
    flow = fields().velocity.at(halos.positions)
    slope = (halos.velocities * flow).sum() / (flow**2).sum()
    assert slope == pytest.approx(1.1, abs=0.03)
    rest = (halos.velocities - 1.1 * flow).reshape(16**3, 8, 3)
    assert rest.std() == pytest.approx(80, rel=0.02)
    together = rest.mean(axis=1).var() * 8 / 7 - rest.var() / 7  # the mean product of two in one cell
    assert 0.35 < together / rest.var() < 0.6


def test_positions_follow_the_density_inside_cells():
    box = Box(32.0, 16)
    halos = populate(counts((30, 0)), fields(box, contrast=0.9), PROPERTIES, seed=1, redshift=0.5)
    cell = np.floor(halos.positions[:, 0] / box.cell_size).astype(int)
    high = (halos.positions[:, 0] / box.cell_size) % 1 > 0.5
    for where in (3, 4, 11, 12):
        rho = 1 + fields(box, contrast=0.9).density.at(
            np.array([[(where + part) * box.cell_size, 1.0, 1.0] for part in (0.25, 0.75)])
        )
        assert high[cell == where].mean() == pytest.approx(rho[1, 0] / rho.sum(), abs=0.015)


def test_halos_follow_their_seed():
    first, same, other = (
        populate(counts(), fields(), PROPERTIES, seed=seed, redshift=0.5) for seed in (1, 1, 2)
    )
    assert np.array_equal(first.positions, same.positions)
    assert np.array_equal(first.velocities, same.velocities)
    assert not np.array_equal(first.positions, other.positions)


def test_bins_must_agree_and_hold_halos():
    with pytest.raises(InputError, match="2 mass bins"):
        populate(counts((1, 1, 1)), fields(), PROPERTIES, seed=1, redshift=0.5)
    with pytest.raises(InputError, match="at least one halo"):
        populate(counts((0, 0)), fields(), PROPERTIES, seed=1, redshift=0.5)


def test_measured_properties_are_those_that_halos_were_given():
    box = Box(64.0, 16)
    theory = fields(box, contrast=0.9)
    halos = populate(counts((3, 2)), theory, PROPERTIES, seed=4, redshift=0.5)
    simulated = SimpleNamespace(
        box=box,
        halos=SimpleNamespace(positions=halos.positions, velocities=halos.velocities, masses=halos.masses),
    )
    found = measure_halo_properties([(simulated, theory)], mass_edges=(1e12, 3e12, 1e13))
    assert np.allclose(found.velocity_slope, 1.1, atol=0.05)
    assert np.allclose(found.velocity_dispersion, 80, rtol=0.05)
    assert found.velocity_coherence == pytest.approx(
        0.6 * 0.85, abs=0.1
    )  # interpolated noise fades in a cell
    assert found.mass_quantiles[0][16] == pytest.approx(2e12, rel=0.03)
    with pytest.raises(InputError, match="at least two halos each"):
        measure_halo_properties([(simulated, theory)], mass_edges=(1e12, 3e12, 1e13, 1e15))


def test_properties_must_make_sense():
    with pytest.raises(ValidationError, match="log_density must rise"):
        HaloProperties(**(PROPERTIES.model_dump() | {"log_density": (1.0, 0.5)}))
    with pytest.raises(ValidationError, match="one length"):
        HaloProperties(**(PROPERTIES.model_dump() | {"velocity_slope": (1.0,)}))
