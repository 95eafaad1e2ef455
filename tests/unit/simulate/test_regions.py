import json
from dataclasses import asdict

import numpy as np
import pytest
import torch

from peculiar.core import PRESETS, Box, Catalogue, Field, InputError
from peculiar.fields.symmetry import Symmetry, apply_symmetry, turn_vectors
from peculiar.simulate.box_files import write_box
from peculiar.simulate.halos import Halos
from peculiar.simulate.mocks import SimulatedBox
from peculiar.simulate.regions import TracerSettings, box_tracers, observe_region, with_margin
from peculiar.simulate.satellites import Members

SIZE, CELLS = 80.0, 16
COSMOLOGY = PRESETS["wang2024"]


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    """A box whose fields and halos tell where they are."""
    random = np.random.default_rng(3)
    box = Box(SIZE, CELLS)
    mesh = torch.from_numpy(random.normal(size=(4, CELLS, CELLS, CELLS)).astype(np.float32))
    positions = random.uniform(0, SIZE, (4000, 3)).astype(np.float32)
    masses = np.sort(random.lognormal(27, 1, 4000))[::-1].copy()
    path = tmp_path_factory.mktemp("boxes") / "box-00001.h5"
    write_box(
        path,
        COSMOLOGY,
        seed=1,
        redshift=0.0,
        fields={
            "density": Field(mesh[:1].abs(), box, ["density"]),
            "velocity": Field(100 * mesh[1:], box, "xyz", "km/s", kind="vector"),
            "linear_density": Field(mesh[:1], box, ["linear_density"]),
        },
        halos=Halos(
            positions=positions,
            velocities=random.normal(0, 300, (4000, 3)).astype(np.float32),
            masses=masses,
            counts=np.ones(4000, np.int32),
            members=np.empty(0, np.int64),
            offsets=np.zeros(4001, np.int64),
        ),
        members=Members(np.zeros((0, 3), np.float16), np.zeros((0, 3), np.float16), np.zeros(0, np.int32)),
        attributes={"settings": json.dumps(asdict(COSMOLOGY))},
    )
    return SimulatedBox.open(path)


@pytest.fixture(scope="module")
def tracers(simulated):
    return box_tracers(simulated, TracerSettings())


def cube(cells=8, origin=(0.0, 0.0, 0.0)):
    return Box(cells * SIZE / CELLS, cells, origin=origin, periodic=False)


def test_a_region_holds_the_box_at_its_place(simulated, tracers):
    mock = observe_region(
        simulated,
        tracers,
        cube(origin=(100.0, -40.0, 7.0)),
        at=(12, 3, 0),
        margin=2,
        line_of_sight="z",
        seed=0,
    )
    rows = [(np.arange(12) + corner - 2) % CELLS for corner in (12, 3, 0)]
    assert np.array_equal(mock.velocity.numpy(), simulated.velocity.numpy()[np.ix_(range(3), *rows)])
    assert mock.density.box == mock.catalogue.box == with_margin(mock.inner, 2)
    # back in the box, every object is one of its halos
    back = (mock.positions_real - [100.0, -40.0, 7.0] + np.array([60.0, 15.0, 0.0])) % SIZE
    distance = np.abs(back[:, None] - tracers.positions[None]).max(axis=2).min(axis=1)
    assert distance.max() < 1e-4


@pytest.mark.parametrize("sight", ["x", "z", "radial"])
def test_objects_stand_in_redshift_space(simulated, tracers, sight):
    observer = (-60.0, 10.0, 300.0)
    mock = observe_region(
        simulated, tracers, cube(), at=(0, 0, 0), line_of_sight=sight, observer=observer, seed=0
    )
    shift = mock.catalogue.positions - mock.positions_real
    unit = np.eye(3)["xz".index(sight) * 2] if sight != "radial" else mock.positions_real - observer
    unit = np.broadcast_to(unit / np.linalg.norm(unit, axis=-1, keepdims=True), shift.shape)
    along = (mock.catalogue.velocities * unit).sum(axis=1)
    assert np.allclose(shift, along[:, None] / 100 * unit, atol=1e-6)  # a H = 100 km/s per Mpc/h at z = 0


def test_a_box_that_is_turned_is_seen_along_another_of_its_axes(simulated, tracers):
    turn = Symmetry((2, 0, 1), (True, False, True))  # z is the old y, from its other end
    place = {"at": (12, 3, 0), "margin": 2, "seed": 0}
    plain = observe_region(simulated, tracers, cube(), line_of_sight="y", **place)
    mock = observe_region(simulated, tracers, cube(), line_of_sight="z", turn=turn, **place)
    for name in ("positions", "velocities"):
        centre = 20.0 * (name == "positions")
        expected = turn_vectors(getattr(plain.catalogue, name) - centre, turn) + centre
        assert np.allclose(getattr(mock.catalogue, name), expected, atol=1e-4)
    assert torch.equal(mock.density.data, apply_symmetry(plain.density.data, turn))
    assert torch.equal(mock.velocity.data, apply_symmetry(plain.velocity.data, turn, vectors=[(0, 1, 2)]))


def test_all_objects_of_the_cube_in_redshift_space_are_seen_and_no_other(simulated, tracers):
    mock = observe_region(simulated, tracers, cube(), at=(4, 4, 4), margin=3, line_of_sight="y", seed=0)
    observed = tracers.positions.copy()
    observed[:, 1] += tracers.velocities[:, 1] / 100
    inside = ((observed % SIZE >= 20) & (observed % SIZE < 60)).all(axis=1)
    assert len(mock.catalogue) == inside.sum()
    assert (np.abs(mock.catalogue.positions - 20) <= 20).all()


def test_objects_are_thinned_to_the_completeness(simulated, tracers):
    region = with_margin(cube(CELLS - 2), 1)
    fraction = torch.zeros(1, 16, 16, 16)
    fraction[:, :8] = 0.8
    fraction[:, 8:] = 0.2
    expected = Field(fraction, region, ["completeness"], space="redshift")
    half = tracers.number_density / 2
    mock = observe_region(
        simulated, tracers, cube(CELLS - 2), at=(0, 0, 0), margin=1, number_density=half,
        completeness=expected, line_of_sight="z", seed=4,
    )  # fmt: skip
    near = mock.catalogue.positions[:, 0] < 35
    volume = 35 * 70 * 70
    for found, share in ((near.sum(), 0.8), ((~near).sum(), 0.2)):
        mean = share * half * volume
        assert abs(found - mean) < 5 * np.sqrt(mean)
    assert float(mock.catalogue.completeness.data[0, 0].max()) == 0  # the margin is blind


def test_more_than_complete_is_weighted_down(simulated, tracers):
    fraction = torch.ones(1, 8, 8, 8)
    fraction[:, :4] = 3.0
    expected = Field(fraction, cube(), ["completeness"], space="redshift")
    third = tracers.number_density / 3
    catalogue = observe_region(
        simulated, tracers, cube(), at=(0, 0, 0), number_density=third, completeness=expected,
        line_of_sight="z", seed=0,
    ).catalogue  # fmt: skip
    near = catalogue.positions[:, 0] < 20
    assert set(catalogue.weights[near]) == {1 / 3}
    assert set(catalogue.weights[~near]) == {1.0}
    assert float(catalogue.completeness.data.max()) == 1.0
    halves = [catalogue.weights[rows].sum() for rows in (near, ~near)]
    assert abs(halves[0] - halves[1]) < 5 * np.sqrt(third * 40**3 / 2 * 4 / 3)


def test_equal_seeds_choose_equal_objects(simulated, tracers):
    def seen(seed):
        return observe_region(
            simulated, tracers, cube(), at=(0, 0, 0), number_density=2e-3, line_of_sight="z", seed=seed
        ).catalogue.positions

    assert np.array_equal(seen(1), seen(1))
    assert len(seen(1)) != len(seen(2)) or not np.array_equal(seen(1), seen(2))


def test_tracers_by_mass(simulated):
    heavy = box_tracers(simulated, TracerSettings(least_mass=1e12))
    assert heavy.masses.min() >= 1e12
    massive = box_tracers(simulated, TracerSettings("massive", number_density=1e-3, masses=False))
    assert massive.masses is None
    assert len(massive) == round(1e-3 * SIZE**3)


def test_bad_settings_are_refused(simulated, tracers):
    for settings, match in (
        ({"choice": "massive"}, "number_density"),
        ({"choice": "massive", "number_density": -1.0}, "must be > 0"),
        ({"satellite_fraction": 0.2}, "satellite_fraction"),
        ({"choice": "massive", "number_density": 1e-3, "least_mass": 1e12}, "least_mass"),
    ):
        with pytest.raises(InputError, match=match):
            TracerSettings(**settings)
    with pytest.raises(InputError, match="largest halo"):
        box_tracers(simulated, TracerSettings(least_mass=1e18))

    def observe(inner, **changes):
        observe_region(simulated, tracers, inner, at=(0, 0, 0), line_of_sight="z", seed=0, **changes)

    with pytest.raises(InputError, match="cells"):
        observe(Box(40.0, 9, periodic=False))
    with pytest.raises(InputError, match="larger box"):
        observe(cube(CELLS + 2))
    with pytest.raises(InputError, match="lighter halos"):
        observe(cube(), number_density=1.0)
    blind = Field(torch.zeros(1, 8, 8, 8), cube(), ["completeness"], space="redshift")
    with pytest.raises(InputError, match="got none"):
        observe(cube(), completeness=blind)
    with pytest.raises(InputError, match="mesh of 12"):
        observe(cube(), margin=2, completeness=blind)


def test_the_observer_must_be_given_for_a_radial_sight(simulated, tracers):
    assert isinstance(tracers, Catalogue)
    with pytest.raises(InputError, match="observer"):
        observe_region(simulated, tracers, cube(), at=(0, 0, 0), seed=0)
