import os

import numpy as np
import pytest
import torch

from peculiar.core.box import Box
from peculiar.core.cosmology import PRESETS
from peculiar.core.errors import InputError
from peculiar.simulate.boxes import BoxSettings, simulate_box
from peculiar.simulate.matter import matter_fields
from peculiar.simulate.mocks import SimulatedBox
from peculiar.simulate.particle_mesh import Steps
from peculiar.training.counts import CountInputs, cached_counts, count_halos
from peculiar.training.dataset import Crops

EDGES = (1e13, 1e14, 1e15, 1e16)
INPUTS = CountInputs(cell_size=3.0, mass_edges=(3e12, 1e13, 3e13, 1e15))


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "box-00003.h5"
    settings = BoxSettings(
        size=48.0, particles=32, cells=16, redshift=0.5, steps=Steps(count=3), min_particles=8
    )
    simulate_box(path, settings, PRESETS["xiao2024"], seed=3)
    return path


@pytest.fixture
def pair(path):
    return cached_counts([path], INPUTS)[0]


def test_halos_are_counted_in_their_cell_and_bin():
    positions = np.array(
        [[0.1, 0.1, 0.1], [9.9, 0.1, 0.1], [9.9, 0.1, 0.1], [5.1, 5.1, 5.1], [5.1, 5.1, 5.1]]
    )
    masses = np.array([1e13, 9.9e13, 1e14, 9.9e12, 1e16])  # the last two lie outside
    counts = count_halos(positions, masses, Box(10.0, 4), mass_edges=EDGES)
    assert counts.shape == (3, 4, 4, 4)
    assert counts.sum(dim=(1, 2, 3)).tolist() == [2, 1, 0]
    assert counts[0, 0, 0, 0] == counts[0, 3, 0, 0] == counts[1, 3, 0, 0] == 1


@pytest.mark.parametrize("wrong", [(1e12,), (1e12, 1e12), (0.0, 1e12)])
def test_edges_must_rise(wrong):
    with pytest.raises(InputError, match="mass_edges must be"):
        count_halos(np.zeros((1, 3)), np.ones(1), Box(10.0, 4), mass_edges=wrong)


def test_pairs_hold_the_2lpt_density_and_all_halos_of_a_box(path, pair):
    box = SimulatedBox.open(path)
    assert (pair.cells, pair.box, pair.label) == (16, Box(48.0, 16), "box-00003")
    assert pair.velocity_factor == box.cosmology.velocity_factor(0.5)
    inputs, counts = pair.crop((0, 0, 0), 0)
    theory = matter_fields(pair.box, box.cosmology, seed=3, redshift=0.5).density.data
    torch.testing.assert_close(inputs, torch.log(2 + theory), rtol=1e-3, atol=1e-3)
    assert counts.shape == (3, 16, 16, 16)
    masses = box.halos.masses
    expected = np.histogram(masses, pair.mass_edges)[0]
    assert expected.sum() > 50
    assert counts.sum(dim=(1, 2, 3)).tolist() == expected.tolist()
    both = torch.stack([inputs.flatten(), counts.sum(0).flatten()])
    assert torch.corrcoef(both)[0, 1] > 0.3


def test_crops_keep_density_and_counts_together(pair):
    inputs, counts = pair.crop((14, 3, 9), 6)
    whole, all_counts = pair.crop((0, 0, 0), 0)
    inner = (slice(None), slice(0, 6), slice(0, 6), slice(0, 6))
    shift = (-14, -3, -9)
    assert torch.equal(inputs, whole.roll(shift, (1, 2, 3))[inner])
    assert torch.equal(counts, all_counts.roll(shift, (1, 2, 3))[inner])
    batch = Crops([pair], crop=8, batch_size=2, steps=1, seed=0).batch(0)
    assert [tuple(mesh.shape) for mesh in batch] == [(2, 1, 8, 8, 8), (2, 3, 8, 8, 8)]


def test_meshes_are_made_once_and_again_for_other_settings(path, pair, tmp_path):
    before = {file: file.stat().st_mtime_ns for file in path.parent.rglob("*.npy")}
    told = []
    again = cached_counts([path], INPUTS, advance=told.append)
    assert again == [pair]
    assert told == [1]
    assert before
    assert {file: file.stat().st_mtime_ns for file in path.parent.rglob("*.npy")} == before
    other = cached_counts([path], CountInputs(cell_size=3.0, mass_edges=(3e12, 1e15)))[0]
    assert other.inputs == pair.inputs
    assert other.targets != pair.targets
    coarse = cached_counts([path], INPUTS.model_copy(update={"cell_size": 6.0}))[0]
    assert coarse.cells == 8
    assert coarse.crop((0, 0, 0), 0)[1].sum() == pair.crop((0, 0, 0), 0)[1].sum()
    os.utime(path)
    assert cached_counts([path], INPUTS) == [pair]
    (tmp_path / path.name).write_bytes(path.read_bytes() + b" ")
    changed = cached_counts([tmp_path / path.name], INPUTS)[0]
    assert changed.inputs.name != pair.inputs.name
    assert changed.inputs.parent == tmp_path / "cache" / path.stem


def test_bins_below_the_resolution_are_refused(path):
    with pytest.raises(InputError, match="must begin where halos are resolved"):
        cached_counts([path], CountInputs(cell_size=3.0, mass_edges=(1e10, 1e15)))
