import h5py
import numpy as np
import pytest
from astropy.table import MaskedColumn, Table

from peculiar.catalogues import read_catalogue, read_table, write_table
from peculiar.catalogues.table_file import TableFile
from peculiar.core import Box, InputError

BOX = Box(100.0)


@pytest.fixture
def positions(table):
    return np.stack([table[axis] for axis in "xyz"], axis=1)


def compressed(file, name, values, code=32001):
    """Write a dataset whose pipeline holds a filter (blosc) that is not installed."""
    settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    settings.set_chunk(values.shape)
    settings.set_filter(code, h5py.h5z.FLAG_OPTIONAL, ())
    space = h5py.h5s.create_simple(values.shape)
    h5py.h5d.create(file.id, name.encode(), h5py.h5t.NATIVE_DOUBLE, space, dcpl=settings).write(
        h5py.h5s.ALL, h5py.h5s.ALL, np.ascontiguousarray(values, dtype=np.float64)
    )


@pytest.mark.parametrize("attribute", ["unit", "units", "Units"])
def test_units_of_datasets(tmp_path, positions, attribute):
    with h5py.File(tmp_path / "halos.h5", "w") as file:
        file["Coordinates"] = positions * 1000
        file["Coordinates"].attrs[attribute] = np.bytes_("ckpc/h")
        file["Velocity"] = positions
        file["Velocity"].attrs[attribute] = "m/s"
    halos = read_catalogue(tmp_path / "halos.h5", box=BOX, redshift=0.59)
    np.testing.assert_allclose(halos.positions, positions)
    np.testing.assert_allclose(halos.velocities, positions / 1000)


def test_units_of_a_table(tmp_path, positions):
    with h5py.File(tmp_path / "halos.h5", "w") as file:
        file["halos"] = np.rec.fromarrays(positions.T * 1000, names="x,y,z")
        file["halos"].attrs["units"] = ["kpc/h"] * 3
    np.testing.assert_allclose(
        read_catalogue(tmp_path / "halos.h5", box=BOX, redshift=0.59).positions, positions
    )


def test_a_part_by_name(tmp_path, positions, table):
    with h5py.File(tmp_path / "snap.hdf5", "w") as file:
        file["PartType0/Coordinates"] = positions[::2]
        file["PartType1/Coordinates"] = positions
    with pytest.raises(
        InputError, match=r"got PartType0, PartType1 .*name one of them, snap.hdf5\[PartType0\]"
    ):
        read_table(tmp_path / "snap.hdf5")
    for part in ("PartType1", "/PartType1", "PartType1/Coordinates"):
        halos = read_catalogue(f"{tmp_path / 'snap.hdf5'}[{part}]", box=BOX, redshift=0.59)
        np.testing.assert_array_equal(halos.positions, positions)
    with pytest.raises(InputError, match="'PartType4' must be a path in .* got PartType0, PartType1"):
        read_table(f"{tmp_path / 'snap.hdf5'}[PartType4]")
    table.write(tmp_path / "two.h5", path="a")
    table[:7].write(tmp_path / "two.h5", path="b", append=True)
    assert len(read_table(f"{tmp_path / 'two.h5'}[b]")) == 7


def test_filters_that_are_not_installed_are_named(tmp_path, positions):
    with h5py.File(tmp_path / "halos.h5", "w") as file:
        for name, values in zip("xyz", positions.T, strict=True):
            compressed(file, name, values)
    with pytest.raises(InputError, match=r"the filter blosc \(32001\): install hdf5plugin") as caught:
        read_table(tmp_path / "halos.h5")
    assert "copy it again" not in str(caught.value)


def test_a_column_that_is_not_needed_may_be_unreadable(tmp_path, positions):
    with h5py.File(tmp_path / "halos.h5", "w") as file:
        file["position"] = positions
        compressed(file, "id", np.arange(len(positions)))
    with pytest.warns(UserWarning, match=r"not read: id \(the filter blosc \(32001\)\)"):
        assert len(read_catalogue(tmp_path / "halos.h5", box=BOX, redshift=0.59)) == len(positions)


def test_text_of_variable_length(tmp_path, positions):
    with h5py.File(tmp_path / "halos.h5", "w") as file:
        file["position"] = positions[:3]
        file["name"] = ["a", "Öpik", ""]
    assert read_table(tmp_path / "halos.h5")["name"].tolist() == ["a", "Öpik", ""]


def test_text_keeps_its_unit_and_what_is_said_of_it(tmp_path):
    table = Table({"x": np.arange(3.0), "band": ["g", "é", "z"]})
    table["missing"] = MaskedColumn(["a", "b", "c"], mask=[False, True, False])
    for name, unit in (("x", "Mpc"), ("band", "mag"), ("missing", "km / s")):
        table[name].unit, table[name].description = unit, f"which {name}"
    table["band"].meta = {"survey": "X"}
    write_table(tmp_path / "t.hdf5", table, kind="hdf5")
    for found in (read_table(tmp_path / "t.hdf5"), TableFile(tmp_path / "t.hdf5")):
        for name in table.colnames:
            assert found[name].unit == table[name].unit
            assert found[name].description == f"which {name}"
            assert found[name].tolist() == table[name].tolist()
        assert found["band"].meta == {"survey": "X"}
