import errno
import os

import numpy as np
import pytest

from peculiar.catalogues import read_catalogue, read_table, write_catalogue, write_objects
from peculiar.core import Box, Catalogue, InputError, OutputExistsError

ADDED = ["vx", "vy", "vz", "v_los", "delta", "x_real", "y_real", "z_real"]


def reconstruction(n):
    rng = np.random.default_rng(2)
    result = {
        "velocities": rng.normal(size=(n, 3)),
        "v_los": rng.normal(size=n),
        "delta": rng.normal(size=n),
        "positions_real": rng.normal(size=(n, 3)),
    }
    for values in result.values():
        values[4] = np.nan  # an object outside the fields
    return result


@pytest.mark.parametrize("source", [".fits", ".h5", ".parquet", ".ecsv", ".csv"])
@pytest.mark.parametrize("target", [".fits", ".h5", ".parquet", ".ecsv", ".csv"])
def test_rows_and_columns_are_kept_and_added_to(tmp_path, table, source, target):
    table["name"] = [f"halo {i}" for i in range(len(table))]
    table.remove_columns(["vx", "vy", "vz"])
    table.write(
        tmp_path / f"in{source}", **({"path": "t", "serialize_meta": True} if source == ".h5" else {})
    )
    values = reconstruction(len(table))
    write_objects(tmp_path / f"out{target}", read_table(tmp_path / f"in{source}"), **values)
    result = read_table(tmp_path / f"out{target}")
    assert result.colnames == [*table.colnames, *ADDED]
    for name in ("x", "y", "z", "mass", "id"):
        np.testing.assert_array_equal(result[name], table[name])
    assert [str(name) for name in result["name"][:2]] == ["halo 0", "halo 1"]
    np.testing.assert_array_equal(np.ma.filled(result["vy"], np.nan), values["velocities"][:, 1])
    np.testing.assert_array_equal(np.ma.filled(result["z_real"], np.nan), values["positions_real"][:, 2])
    if target != ".csv":
        assert result["v_los"].unit.to_string() == "km / s"
    assert [path.name for path in tmp_path.iterdir() if "partial" in path.name] == []


def test_true_velocities_of_a_mock_are_kept_beside(tmp_path, table):
    path = write_objects(tmp_path / "out.fits", table, **reconstruction(len(table)))
    result = read_table(path)
    np.testing.assert_array_equal(result["vx_in"], table["vx"])
    assert not np.array_equal(result["vx"], table["vx"])
    assert "vx_in" not in table.colnames
    assert result.meta["comments"][0] == "vx_in was vx in the catalogue"
    again = read_table(write_objects(tmp_path / "again.fits", result, **reconstruction(len(table))))
    np.testing.assert_array_equal(again["vx_in_in"], result["vx"])
    np.testing.assert_array_equal(again["vx_in"], table["vx"])


def test_units_of_what_was_written_are_read_as_ours(tmp_path, table):
    values = reconstruction(len(table))
    values["positions_real"] = np.stack([table[name] for name in "xyz"], axis=1)
    path = write_objects(tmp_path / "out.fits", table, **values)
    columns = {"x": "x_real", "y": "y_real", "z": "z_real", "vx": "vx_in", "vy": "vy_in", "vz": "vz_in"}
    catalogue = read_catalogue(path, box=Box(100.0), redshift=0.59, space="real", columns=columns)
    np.testing.assert_array_equal(catalogue.positions, values["positions_real"])


@pytest.mark.parametrize("ending", [".fits", ".ecsv", ".h5", ".parquet"])
def test_provenance_is_in_the_file(tmp_path, table, ending):
    path = write_objects(
        tmp_path / f"out{ending}",
        table,
        **reconstruction(len(table)),
        provenance={"seed": 3, "long": "a" * 200},
    )
    comments = "".join(str(comment) for comment in read_table(path).meta["comments"])
    assert '"seed": 3' in comments
    assert "a" * 200 in comments


def test_an_existing_file_is_kept_unless_told(tmp_path, table):
    path = tmp_path / "out.csv"
    path.write_text("precious")
    values = reconstruction(len(table))
    with pytest.raises(OutputExistsError):
        write_objects(path, table, **values)
    assert path.read_text() == "precious"
    write_objects(path, table, **values, overwrite=True)
    assert len(read_table(path)) == len(table)


@pytest.mark.parametrize("ending", [".fits", ".h5", ".csv", ".parquet"])
def test_a_full_disk_leaves_nothing(tmp_path, table, ending, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def partly(table, target, *, kind):
        target.write_bytes(b"half")
        full()

    monkeypatch.setattr("peculiar.catalogues.write.save_table", partly)
    with pytest.raises(InputError, match="full disk"):
        write_objects(tmp_path / f"out{ending}", table, **reconstruction(len(table)))
    assert list(tmp_path.iterdir()) == []


def test_values_of_another_length(tmp_path, table):
    with pytest.raises(InputError, match="one row per object"):
        write_objects(tmp_path / "out.fits", table, **reconstruction(5))


def test_columns_that_a_format_cannot_hold(tmp_path, table):
    table["position"] = np.zeros((len(table), 3))
    message = r"got position \(3 values per row\): write FITS or HDF5 or Parquet or ECSV"
    with pytest.raises(InputError, match=message):
        write_objects(tmp_path / "out.csv", table, **reconstruction(len(table)))


def test_objects_in_a_column(tmp_path, table):
    table["anything"] = np.array([{} for _ in range(len(table))], dtype=object)
    with pytest.raises(InputError, match="got anything"):
        write_objects(tmp_path / "out.fits", table, **reconstruction(len(table)))


def test_unknown_ending(tmp_path, table):
    with pytest.raises(InputError, match="must end in"):
        write_objects(tmp_path / "out.txt", table, **reconstruction(len(table)))


@pytest.mark.parametrize("suffix", ["h5", "fits", "parquet", "ecsv", "csv"])
def test_a_written_catalogue_is_read_back(tmp_path, suffix):
    random = np.random.default_rng(1)
    halos = Catalogue(
        positions=random.uniform(0, 50, (20, 3)),
        box=Box(50.0),
        redshift=0.5,
        space="real",
        velocities=random.normal(0, 300, (20, 3)),
        masses=random.uniform(1e12, 1e14, 20),
        weights=random.uniform(1, 2, 20),
    )
    path = write_catalogue(tmp_path / f"halos.{suffix}", halos, provenance={"seed": 1})
    back = read_catalogue(path, box=Box(50.0), space="real", redshift=0.5)
    for name in ("positions", "velocities", "masses", "weights"):
        assert np.allclose(getattr(back, name), getattr(halos, name))
    with pytest.raises(OutputExistsError, match="force=True"):
        write_catalogue(path, halos)
