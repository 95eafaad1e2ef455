from types import SimpleNamespace

import numpy as np
import pytest
import torch

from peculiar.core import Box, Field, InputError
from peculiar.core.cosmology import PRESETS
from peculiar.simulate.halo_properties import measure_halo_properties
from peculiar.simulate.matter import MatterFields
from peculiar.simulate.populate import HaloProperties, draw_members, flow_scale, populate

BOX = Box(64.0, 16)
EDGES = (1e12, 3e12, 1e13)
EPOCH = {"cosmology": PRESETS["xiao2024"], "redshift": 0.5}
PROPERTIES = HaloProperties(
    mass_quantiles=((1e12, 2e12, 3e12), (3e12, 5e12, 1e13)),
    position_exponent=(1.0, 4.0),
    log_density=(0.5, 1.0),
    velocity_slope=(1.1, 1.1),
    velocity_infall=(300.0, 300.0),
    velocity_dispersion=(80.0, 80.0),
    velocity_coherence=0.6,
    member_spread=0.3,
    member_dispersion=150.0,
)


@pytest.fixture(scope="module")
def theory():
    """A wave of the density that cells resolve but badly, and a long one across it of the velocity."""
    x = torch.arange(16) / 16
    short = torch.cos(2 * torch.pi * 3 * x)[:, None, None].expand(1, 16, 16, 16)
    long = torch.cos(2 * torch.pi * x)[None, None, :, None].expand(3, 16, 16, 16)
    return MatterFields(
        Field(0.6 * short, BOX, ["density"]), Field(200 * long, BOX, "xyz", "km/s", kind="vector")
    )


@pytest.fixture(scope="module")
def simulated(theory):
    mean = torch.tensor((4.0, 3.0))[:, None, None, None] * (1 + theory.density.data).square()
    counts = torch.poisson(mean, generator=torch.Generator().manual_seed(1))
    halos = populate(counts, theory, PROPERTIES, seed=4, redshift=0.5)
    return SimpleNamespace(
        box=BOX,
        cosmology=PRESETS["xiao2024"],
        redshift=0.5,
        halos=SimpleNamespace(
            positions=halos.positions,
            velocities=halos.velocities,
            masses=halos.masses,
            counts=np.where(halos.masses > 2e12, 60, 20),
        ),
        members=draw_members(halos.masses, PROPERTIES, seed=1),
    )


@pytest.fixture(scope="module")
def found(simulated, theory):
    return measure_halo_properties([(simulated, theory)], mass_edges=EDGES, **EPOCH)


def test_places_are_measured_bin_by_bin(found):
    assert found.position_exponent == pytest.approx((1, 4), abs=0.25)


def test_velocities_are_measured_at_nodes_of_density(found):
    assert len(found.log_density) > 5
    assert np.diff(found.log_density).min() > 0
    assert np.allclose(found.velocity_slope, 1.1, atol=0.08)
    # Where the density has its crests and troughs there is no gradient to tell the infall from.
    assert np.median(found.velocity_infall) == pytest.approx(300, rel=0.12)
    assert np.allclose(found.velocity_dispersion, 80, rtol=0.15)
    assert found.velocity_coherence == pytest.approx(
        0.6 * 0.85, abs=0.1
    )  # interpolated noise fades in a cell


def test_velocities_of_another_epoch_are_scaled(simulated, theory, found):
    cosmology = PRESETS["xiao2024"]
    early = measure_halo_properties(
        [(simulated, theory)], mass_edges=EDGES, cosmology=cosmology, redshift=2.0
    )
    flow = flow_scale(cosmology, 2.0) / flow_scale(cosmology, 0.5)
    assert flow < 0.8
    assert np.allclose(early.velocity_slope, found.velocity_slope)
    again = found.moved(flow, (3 / 1.5) ** 0.5)
    for name in ("velocity_infall", "velocity_dispersion", "member_dispersion"):
        assert np.allclose(getattr(early, name), getattr(again, name), rtol=0.02)


def test_masses_are_quantiles_of_their_bins(found):
    assert found.mass_quantiles[0][16] == pytest.approx(2e12, rel=0.03)


def test_dispersion_is_scaled_to_the_power_of_redshift_space(simulated, theory, found):
    """Halos at rest need none, whatever the power of their places is."""
    halos = simulated.halos
    still = SimpleNamespace(
        positions=halos.positions,
        masses=halos.masses,
        counts=halos.counts,
        velocities=np.zeros_like(halos.velocities),
    )
    at_rest = measure_halo_properties(
        [(SimpleNamespace(**(vars(simulated) | {"halos": still})), theory)], mass_edges=EDGES, **EPOCH
    )
    assert max(at_rest.velocity_dispersion) < 1e-3 < min(found.velocity_dispersion)


def test_members_are_measured_in_well_resolved_halos(simulated, theory, found):
    assert (found.member_spread, found.member_dispersion) == pytest.approx((0.3, 150), rel=0.02)
    unresolved = SimpleNamespace(
        **(vars(simulated.halos) | {"counts": np.full(len(simulated.halos.masses), 20)})
    )
    box = SimpleNamespace(**(vars(simulated) | {"halos": unresolved}))
    without = measure_halo_properties([(box, theory)], mass_edges=EDGES, **EPOCH)
    assert (without.member_spread, without.member_dispersion) == (0, 0)


def test_rare_bins_take_the_exponent_of_lighter_ones(simulated, theory):
    heavy = np.flatnonzero(simulated.halos.masses >= 3e12)
    kept = np.setdiff1d(np.arange(len(simulated.halos.masses)), heavy[300:])
    halos = SimpleNamespace(**{name: values[kept] for name, values in vars(simulated.halos).items()})
    members = draw_members(halos.masses, PROPERTIES, seed=1)
    few = SimpleNamespace(**(vars(simulated) | {"halos": halos, "members": members}))
    first, second = measure_halo_properties([(few, theory)], mass_edges=EDGES, **EPOCH).position_exponent
    assert first == second == pytest.approx(1, abs=0.25)


def test_halos_must_be_there(simulated, theory):
    with pytest.raises(InputError, match="at least one simulated box"):
        measure_halo_properties([], mass_edges=EDGES, **EPOCH)
    with pytest.raises(InputError, match="at least two halos each"):
        measure_halo_properties([(simulated, theory)], mass_edges=(*EDGES, 1e15), **EPOCH)
