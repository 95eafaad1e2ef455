import h5py
import numpy as np
import pytest
import torch

from peculiar.core import PRESETS, Box, Field, InputError
from peculiar.simulate.box_files import write_box
from peculiar.simulate.halos import Halos
from peculiar.simulate.mocks import SimulatedBox
from peculiar.simulate.satellites import Members


@pytest.fixture
def path(tmp_path):
    """A box of 4^3 cells with three halos and two members."""
    box = Box(20.0, 4)
    fields = {
        "density": Field(torch.zeros(1, 4, 4, 4), box, ["density"]),
        "velocity": Field(torch.ones(3, 4, 4, 4), box, "xyz", "km/s", kind="vector"),
        "linear_density": Field(torch.zeros(1, 4, 4, 4), box, ["linear_density"]),
    }
    halos = Halos(
        positions=np.full((3, 3), 5, np.float32),
        velocities=np.zeros((3, 3), np.float32),
        masses=np.array([3e13, 2e13, 1e13]),
        counts=np.array([30, 20, 10], np.int32),
        members=np.empty(0, np.int64),
        offsets=np.zeros(4, np.int64),
    )
    members = Members(np.zeros((2, 3), np.float16), np.zeros((2, 3), np.float16), np.array([0, 2], np.int32))
    path = tmp_path / "box-00003.h5"
    write_box(
        path,
        PRESETS["xiao2024"],
        seed=3,
        redshift=0.5,
        fields=fields,
        halos=halos,
        members=members,
        attributes={},
    )
    return path


def test_a_box_opens(path):
    box = SimulatedBox.open(path)
    assert (box.seed, box.redshift, box.box, box.cosmology) == (3, 0.5, Box(20.0, 4), PRESETS["xiao2024"])
    assert len(box.members) == 2


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("seed", "three", "seed must be valid in .*box-00003.h5: .*, got 'three': make it again"),
        ("seed", -1, "seed must be valid"),
        ("box_size", [1.0, 2.0], "box_size must be valid"),
        ("redshift", np.nan, "redshift must be valid in .*: Input should be a finite number, got nan"),
        ("cells", 0, "cells must be valid"),
        ("cells", 5, r"arrays of matching shapes, got \(4, 4, 4\) of 'density'"),
        ("cosmology", 7.0, "cosmology must be valid"),
        ("cosmology", "{}}", "cosmology must be valid in .*: Invalid JSON"),
        ("cosmology", '{"Omega_m": 9}', r"Cosmology.Omega_m must lie in \(0, 5\), got 9"),
    ],
)
def test_wrong_attributes_are_refused(path, name, value, words):
    with h5py.File(path, "r+") as file:
        file.attrs[name] = value
    with pytest.raises(InputError, match=words):
        SimulatedBox.open(path)


@pytest.mark.parametrize(
    ("name", "values", "words"),
    [
        ("density", np.zeros((1, 4, 4, 4)), r"matching shapes, got \(1, 4, 4, 4\) of 'density'"),
        ("density", np.full((4, 4, 4), b"far"), "arrays of numbers, got others of 'density'"),
        ("density", 3.0, r"matching shapes, got \(\) of 'density'"),
        ("velocity", np.zeros((2, 4, 4, 4)), r"matching shapes, got \(2, 4, 4, 4\) of 'velocity'"),
        ("halos/velocity", np.zeros((2, 3)), r"matching shapes, got \(2, 3\) of 'halos/velocity'"),
        ("halos/mass", np.zeros((3, 1)), r"matching shapes, got \(3, 1\) of 'halos/mass'"),
        ("members/host", np.zeros(3, int), r"matching shapes, got \(3,\) of 'members/host'"),
    ],
)
def test_arrays_of_other_shapes_are_refused(path, name, values, words):
    with h5py.File(path, "r+") as file:
        del file[name]
        file[name] = values
    with pytest.raises(InputError, match=words):
        SimulatedBox.open(path)


@pytest.mark.parametrize(
    ("name", "values", "words"),
    [
        ("density", np.full((4, 4, 4), np.nan), "density must be finite, got 64 values that are not"),
        ("velocity", np.full((3, 4, 4, 4), np.inf), "velocity must be finite"),
        ("members/host", np.array([0, 3]), "members/host must be rows of the 3 halos"),
        ("members/host", np.array([0.0, 1.0]), "members/host must be rows of the 3 halos"),
    ],
)
def test_arrays_of_other_values_are_refused(path, name, values, words):
    with h5py.File(path, "r+") as file:
        del file[name]
        file[name] = values
    box = SimulatedBox.open(path)
    with pytest.raises(InputError, match=words):
        getattr(box, name.partition("/")[0])
