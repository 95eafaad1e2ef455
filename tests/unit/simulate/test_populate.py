import numpy as np
import pytest
import torch
from pydantic import ValidationError

from peculiar.core import Box, Field, InputError
from peculiar.simulate.matter import MatterFields
from peculiar.simulate.populate import HaloProperties, draw_members, populate

BOX = Box(64.0, 16, origin=(-10.0, 0.0, 5.0))
PROPERTIES = HaloProperties(
    mass_quantiles=((1e12, 2e12, 3e12), (3e12, 5e12, 1e13)),
    position_exponent=(0.0, 3.0),
    log_density=(0.5, 1.0),
    velocity_slope=(1.1, 1.1),
    velocity_infall=(0.0, 0.0),
    velocity_dispersion=(80.0, 80.0),
    velocity_coherence=0.6,
    member_spread=0.3,
    member_dispersion=150.0,
)


def fields(box=BOX, *, contrast=0.0):
    wave = torch.cos(2 * torch.pi * torch.arange(box.mesh) / box.mesh)[:, None, None].expand(3, -1, 16, 16)
    return MatterFields(
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


def test_positions_follow_the_density_by_the_power_of_their_bin():
    halos = populate(counts((30, 30)), fields(contrast=0.9), PROPERTIES, seed=1, redshift=0.5)
    x = (halos.positions[:, 0] + 10) / BOX.cell_size
    for light, expected in ((True, 0.5), (False, None)):
        rows = (halos.masses < 3e12) == light
        share = (x[rows & (np.floor(x) == 4)] % 1 > 0.5).mean()  # on the flank of the wave
        if expected is None:
            rho = 1 + 0.9 * np.cos(2 * np.pi * (np.array([4.25, 4.75]) - 0.5) / 16)
            expected = rho[1] ** 3 / (rho**3).sum()
        assert share == pytest.approx(expected, abs=0.015)


def test_halos_fall_along_the_gradient_of_the_density():
    falling = PROPERTIES.model_copy(update={"velocity_infall": (1000.0, 1000.0)})
    theory = fields(contrast=0.3)
    with_infall, without = (
        populate(counts(), theory, properties, seed=1, redshift=0.5) for properties in (falling, PROPERTIES)
    )
    gain = with_infall.velocities - without.velocities
    phase = 2 * np.pi / BOX.size * (with_infall.positions[:, 0] + 10 - 0.5 * BOX.cell_size)
    expected = -1000 * 0.3 * 2 * np.pi / BOX.size * np.sin(phase) / (1 + 0.3 * np.cos(phase))
    assert np.allclose(gain[:, 0], expected, atol=1.5)
    assert np.abs(gain[:, 1:]).max() < 0.01


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


def test_members_grow_with_the_mass_of_their_halo():
    masses = np.array([8e13, 1e13, 2e12])
    members = draw_members(masses, PROPERTIES, seed=1, most=30)
    assert np.bincount(members.host).tolist() == [30, 5, 4]
    many = draw_members(np.repeat(masses, 2000), PROPERTIES, seed=1)
    for host, factor in ((0, 2.0), (1, 1.0)):
        rows = many.host // 2000 == host
        assert many.displacements[rows].astype(float).std() == pytest.approx(0.3 * factor, rel=0.02)
        assert many.velocities[rows].astype(float).std() == pytest.approx(150 * factor, rel=0.02)


def test_properties_must_make_sense():
    with pytest.raises(ValidationError, match="log_density must rise"):
        HaloProperties(**(PROPERTIES.model_dump() | {"log_density": (1.0, 0.5)}))
    with pytest.raises(ValidationError, match="one length"):
        HaloProperties(**(PROPERTIES.model_dump() | {"velocity_slope": (1.0,)}))
    with pytest.raises(ValidationError, match="one number for each bin"):
        HaloProperties(**(PROPERTIES.model_dump() | {"position_exponent": (1.0,)}))
