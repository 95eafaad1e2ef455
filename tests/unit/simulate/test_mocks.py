"""Simulated boxes on disk: what is written is what is read, and the catalogues drawn from it."""

import dataclasses
import json
import shutil

import h5py
import numpy as np
import pytest
import torch

from peculiar.core.box import Box
from peculiar.core.cosmology import PRESETS
from peculiar.core.errors import InputError, OutputExistsError
from peculiar.core.hdf5 import CHECKSUM
from peculiar.simulate import boxes, mocks
from peculiar.simulate.boxes import BoxSettings, simulate_box
from peculiar.simulate.initial import linear_field
from peculiar.simulate.mocks import SimulatedBox
from peculiar.simulate.particle_mesh import Steps
from peculiar.simulate.runs import open_run

COSMOLOGY = PRESETS["xiao2024"]
SETTINGS = BoxSettings(size=50.0, particles=40, cells=16, redshift=0.5, steps=Steps(count=3), min_particles=8)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "box-00003.h5"
    simulate_box(path, SETTINGS, COSMOLOGY, seed=3)
    return path


@pytest.fixture(scope="module")
def box(path) -> SimulatedBox:
    return SimulatedBox.open(path)


def test_box_knows_what_it_is(box):
    assert (box.seed, box.redshift, box.box, box.cosmology) == (3, 0.5, Box(50.0, 16), COSMOLOGY)


def test_cosmology_comes_from_the_file(path, tmp_path):
    other = tmp_path / "box-00003.h5"
    shutil.copy(path, other)
    with h5py.File(other, "a") as file:
        file.attrs["cosmology"] = json.dumps(dataclasses.asdict(PRESETS["wu2021"]))
    assert SimulatedBox.open(other).cosmology == PRESETS["wu2021"]


def test_density_has_mean_zero_and_follows_the_linear_field(box):
    delta = box.density.data
    assert abs(delta.mean()) < 1e-5
    assert delta.min() >= -1
    torch.testing.assert_close(
        box.linear_density.data[0],
        linear_field(box.box, COSMOLOGY, seed=3, redshift=0.5),
        rtol=1e-4,
        atol=1e-5,
    )
    smooth = [torch.fft.rfftn(field.data[0])[:3, :3, :3] for field in (box.density, box.linear_density)]
    both = torch.stack([torch.view_as_real(modes).flatten() for modes in smooth])
    assert torch.corrcoef(both)[0, 1] > 0.9


def test_momentum_is_density_times_velocity_and_sums_to_zero(box):
    assert (box.velocity.unit, box.velocity.kind) == ("km/s", "vector")
    assert box.velocity.definition.startswith("mass weighted: momentum / density")
    torch.testing.assert_close(box.momentum.data, box.velocity.data * (1 + box.density.data))
    assert 50 < box.velocity.data.std() < 500
    assert box.momentum.data.mean(dim=(1, 2, 3)).abs().max() < 1e-3 * box.velocity.data.std()


def test_empty_cells_have_a_velocity(path):
    """Velocity is finite and not zero where the density is -1."""
    box = SimulatedBox.open(path)
    assert torch.isfinite(box.velocity.data).all()
    assert (box.velocity.data.norm(dim=0) > 0).all()


def test_a_box_may_hold_the_volume_weighted_velocity(box, tmp_path):
    """It is smoother in clumps than the mass-weighted one, agrees with it on large scales, and changes nothing else."""
    path = tmp_path / "box-00003.h5"
    simulate_box(path, dataclasses.replace(SETTINGS, volume_velocity=True), COSMOLOGY, seed=3)
    other = SimulatedBox.open(path)
    assert torch.equal(other.velocity.data, box.velocity.data)
    volume = other.velocity_by("volume")
    assert (volume.unit, volume.kind) == ("km/s", "vector")
    assert volume.definition.startswith("volume weighted: nearest particle")
    both = torch.stack([volume.data.flatten(), box.velocity.data.flatten()])
    assert 0.7 < torch.corrcoef(both)[0, 1] < 0.999
    with pytest.raises(InputError, match="volume_velocity must be stored.*--volume-velocity"):
        _ = box.volume_velocity


def test_empty_cells_follow_the_rule_that_is_asked_for(path, tmp_path):
    """All empty cells have one velocity, that of the matter as a whole; the others keep theirs."""
    sparse = tmp_path / "box-00003.h5"
    shutil.copy(path, sparse)
    with h5py.File(sparse, "a") as file:
        file["density"][:4] = -1.0
        del file["density"].attrs[CHECKSUM]
    box = SimulatedBox.open(sparse)
    background, mass = box.velocity_by("background").data, 1 + box.density.data
    mean = (mass * box.velocity.data).sum(dim=(1, 2, 3)) / mass.sum()
    assert mean.norm() > 1.0
    expected = mean[:, None, None, None].expand(3, 4, 16, 16)
    torch.testing.assert_close(background[:, :4], expected, atol=0.01, rtol=0)
    torch.testing.assert_close(background[:, 4:], box.velocity.data[:, 4:], atol=0.01, rtol=1e-4)
    assert box.velocity_by("neighbours") is box.velocity
    with pytest.raises(InputError, match="rule must be one of neighbours, background, volume"):
        box.velocity_by("zero")


def test_halos_have_whole_particles(box):
    mass = SETTINGS.particle_mass(COSMOLOGY)
    assert mass == pytest.approx(2.77536627e11 * 0.268 * (50 / 40) ** 3)
    np.testing.assert_allclose(box.halos.masses, box.halos.counts * mass)
    assert box.halos.counts.min() >= 8
    assert (np.diff(box.halos.masses) <= 0).all()
    assert len(box.members) > 0
    assert box.members.host.max() < len(box.halos)


def test_halos_of_equal_masses_are_in_random_order(box, path):
    """A sample is cut among halos of as many particles: in the order of the file one side would have more of them."""
    with h5py.File(path) as file:
        stored = {name: file[f"halos/{name}"][()] for name in ("position", "mass")}
        host, moved = file["members/host"][()], file["members/displacement"][()]

    def drift(positions, masses):
        values, counts = np.unique(masses, return_counts=True)
        kinds = [masses == value for value in values[counts > 12]]
        return np.mean([np.corrcoef(positions[kind, 0], np.arange(kind.sum()))[0, 1] for kind in kinds])

    assert drift(stored["position"], stored["mass"]) > 0.5
    assert abs(drift(box.halos.positions, box.halos.masses)) < 0.2
    # Members stay with their halos.
    members = box.members
    assert (np.diff(members.host) >= 0).all()
    before = np.column_stack([stored["position"][host], moved])
    after = np.column_stack([box.halos.positions[members.host], members.displacements])
    np.testing.assert_array_equal(before[np.lexsort(before.T)], after[np.lexsort(after.T)])


@pytest.mark.parametrize("fraction", [0.0, 0.25])
def test_catalogue_has_the_exact_number(box, fraction):
    catalogue = box.catalogue(1e-3, satellite_fraction=fraction, space="real")
    assert len(catalogue) == 125
    assert catalogue.number_density == pytest.approx(1e-3)
    assert catalogue.redshift == 0.5
    assert catalogue.space == "real"
    centrals = (catalogue.positions[:, None] == box.halos.positions[None]).all(-1).any(1)
    assert (~centrals).sum() == round(125 * fraction)
    assert (np.diff(catalogue.masses) <= 0).all()


def test_satellites_move_faster_than_their_halos(box):
    """They keep their own velocities, which is what makes fingers of God."""
    galaxies = box.catalogue(1e-3, satellite_fraction=0.25)
    halos = box.catalogue(1e-3)
    assert galaxies.velocities.std() > 1.02 * halos.velocities.std()


@pytest.mark.parametrize("axis", ["x", "y", "z"])
def test_plane_parallel_redshift_space(box, axis):
    real = box.catalogue(1e-3, space="real", line_of_sight=axis)
    seen = box.catalogue(1e-3, line_of_sight=axis)
    assert (seen.space, seen.line_of_sight) == ("redshift", axis)
    shift = np.zeros((len(real), 3))
    i = "xyz".index(axis)
    shift[:, i] = real.velocities[:, i] * COSMOLOGY.redshift_space_factor(0.5)
    assert np.abs(shift).max() > 1
    difference = seen.positions - real.positions - shift
    np.testing.assert_allclose(difference - 50 * np.round(difference / 50), 0, atol=1e-4)
    assert seen.positions.min() >= 0
    assert seen.positions.max() < 50


def test_radial_redshift_space(box):
    observer = (-200.0, 25.0, 30.0)
    real = box.catalogue(1e-3, space="real", line_of_sight="radial", observer=observer)
    seen = box.catalogue(1e-3, line_of_sight="radial", observer=observer)
    sight = real.sight_lines()
    shift = (real.velocities * sight).sum(1, keepdims=True) * COSMOLOGY.redshift_space_factor(0.5) * sight
    difference = seen.positions - real.positions - shift
    np.testing.assert_allclose(difference - 50 * np.round(difference / 50), 0, atol=1e-4)
    assert np.abs(shift[:, 1]).max() > 0.01


def test_radial_needs_an_observer(box):
    with pytest.raises(InputError, match="observer must be given for a radial line of sight"):
        box.catalogue(1e-3, line_of_sight="radial")


def test_satellite_seeds_differ_and_repeat(box):
    one, again, two = (box.catalogue(1e-3, satellite_fraction=0.3, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(one.positions, again.positions)
    assert not np.array_equal(one.positions, two.positions)


def test_more_objects_than_halos_are_refused(box):
    with pytest.raises(InputError, match="number must leave 1 to"):
        box.catalogue(1.0)
    for density in (float("nan"), -1.0):
        with pytest.raises(InputError, match=f"number_density must be > 0 and finite, got {density}"):
            box.catalogue(density)


def test_same_seed_makes_the_same_box(path, tmp_path):
    again = tmp_path / "again.h5"
    simulate_box(again, SETTINGS, COSMOLOGY, seed=3)
    with h5py.File(path) as one, h5py.File(again) as two:
        for name in mocks._SHAPES:
            assert np.array_equal(one[name][()], two[name][()]), name
            assert "unit" in one[name].attrs


def test_existing_box_is_kept(path):
    before = path.read_bytes()
    with pytest.raises(OutputExistsError, match="must not exist"):
        simulate_box(path, SETTINGS, COSMOLOGY, seed=4)
    assert path.read_bytes() == before


def test_failed_box_leaves_nothing(tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise RuntimeError("out of halos")

    monkeypatch.setattr(boxes, "friends_of_friends", fail)
    with pytest.raises(RuntimeError, match="out of halos"):
        simulate_box(tmp_path / "new" / "box.h5", SETTINGS, COSMOLOGY, seed=1)
    assert list(tmp_path.iterdir()) == []


def test_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="simulated box must be a file, got .*box-00009.h5: make one"):
        SimulatedBox.open(tmp_path / "box-00009.h5")


@pytest.mark.parametrize("content", [b"", b"not a box", None])
def test_truncated_file_is_refused(path, tmp_path, content):
    damaged = tmp_path / "box-00003.h5"
    damaged.write_bytes(path.read_bytes()[:-5000] if content is None else content)
    with pytest.raises(InputError, match="simulated box must be a whole HDF5 file, got .*: make it again"):
        SimulatedBox.open(damaged)


def test_other_schema_is_refused(path, tmp_path):
    other = tmp_path / "box-00003.h5"
    shutil.copy(path, other)
    with h5py.File(other, "a") as file:
        file.attrs["schema"] = 99
    with pytest.raises(InputError, match="must have schema 1, got 99"):
        SimulatedBox.open(other)
    with h5py.File(other, "w") as file:
        file["density"] = np.zeros(3)
    with pytest.raises(InputError, match="must have schema 1, got None"):
        SimulatedBox.open(other)


def test_file_without_its_arrays_is_refused(path, tmp_path):
    other = tmp_path / "box-00003.h5"
    shutil.copy(path, other)
    with h5py.File(other, "a") as file:
        del file["halos/mass"], file.attrs["redshift"]
    with pytest.raises(InputError, match="got .* without halos/mass, redshift: make it again"):
        SimulatedBox.open(other)


def test_run_lists_its_boxes_by_seed(tmp_path):
    for seed in (12, 3):
        (tmp_path / f"box-{seed:05d}.h5").touch()
    (tmp_path / "run.json").touch()
    assert [path.name for path in open_run(tmp_path)] == ["box-00003.h5", "box-00012.h5"]


@pytest.mark.parametrize("name", ["", "missing"])
def test_run_without_boxes_is_refused(tmp_path, name):
    with pytest.raises(InputError, match=r"run must be a directory with box-\*.h5 files"):
        open_run(tmp_path / name)


def test_boxes_of_a_run_are_chosen_by_seed(path):
    assert open_run(path.parent, [3]) == open_run(path) == [path]
    for seeds, got in (([4, 3], r"\[4\]"), ([3, 3], r"\[3, 3\]"), ([], r"\[\]")):
        with pytest.raises(InputError, match=rf"each once and at least one, got {got}: choose from \[3\]"):
            open_run(path.parent, seeds)


@pytest.mark.parametrize("bad", [{"particles": 15}, {"cells": 17}, {"size": -1.0}, {"cells": 0}])
def test_settings_out_of_range_are_refused(bad):
    with pytest.raises(InputError, match="must be"):
        BoxSettings(**bad)


def test_a_box_that_was_changed_is_refused(path, tmp_path):
    changed = tmp_path / "box-00001.h5"
    shutil.copy(path, changed)
    with h5py.File(changed, "r+") as file:
        file["density"][0, 0, :4] = 0.5
    with pytest.raises(InputError, match="density must be as it was written, got values of another checksum"):
        _ = SimulatedBox.open(changed).density


@pytest.mark.parametrize("name", ["density", "velocity", "halos/position"])
def test_a_box_with_a_value_that_is_not_finite_is_refused(path, tmp_path, name):
    damaged = tmp_path / path.name
    shutil.copy(path, damaged)
    with h5py.File(damaged, "r+") as file:
        file[name][0] = np.nan
    box = SimulatedBox.open(damaged)
    with pytest.raises(
        InputError, match=rf"{name} must be finite, got \d+ values that are not in .*box-00003.h5"
    ):
        _ = box.density, box.velocity, box.halos
