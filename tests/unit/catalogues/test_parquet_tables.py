from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from peculiar.catalogues import read_catalogue, read_table
from peculiar.core import Box


@pytest.fixture
def frame(table):
    frame = pd.DataFrame({axis: np.asarray(table[axis]) for axis in "xyz"})
    frame["name"] = [None if row % 3 else "a" for row in range(len(frame))]
    frame["kind"] = pd.Categorical(["spiral", "other"] * (len(frame) // 2))
    frame["id"] = pd.array([2**60 + 1] * (len(frame) - 1) + [None], dtype="Int64")
    frame["mass"] = [Decimal("1.25") + row for row in range(len(frame))]
    return frame


def test_null_text_categories_and_large_integers(tmp_path, frame):
    frame.to_parquet(tmp_path / "halos.parquet")
    table = read_table(tmp_path / "halos.parquet")
    assert table["name"].mask.sum() == 400
    assert table["kind"][:2].tolist() == ["spiral", "other"]
    assert table["id"].dtype == np.int64
    assert table["id"][0] == 2**60 + 1
    assert table["id"].mask.tolist() == [False] * 599 + [True]
    halos = read_catalogue(table, box=Box(100.0), redshift=0.59)
    np.testing.assert_array_equal(halos.positions[:, 0], frame["x"])
    np.testing.assert_array_equal(halos.masses, 1.25 + np.arange(600))


def test_a_folder_is_one_table(tmp_path, frame):
    (tmp_path / "halos").mkdir()
    for part in range(3):
        frame[200 * part : 200 * (part + 1)].to_parquet(tmp_path / f"halos/part-{part}.parquet")
    table = read_table(tmp_path / "halos")
    np.testing.assert_array_equal(table["x"], frame["x"])
    assert table["id"].mask.sum() == 1


def test_vectors_units_and_columns_that_are_neither(tmp_path, frame):
    values = frame[["x", "y", "z"]].to_numpy()
    position = pa.FixedSizeListArray.from_arrays(values.ravel() * 1000, 3)
    schema = pa.schema(
        [
            pa.field("position", position.type, metadata={"unit": "kpc/h"}),
            pa.field("tags", pa.list_(pa.string())),
            pa.field("empty", pa.null()),
        ]
    )
    columns = [position, pa.array([["a"]] * len(frame)), pa.nulls(len(frame))]
    pq.write_table(pa.Table.from_arrays(columns, schema=schema), tmp_path / "halos.parquet")
    table = read_table(tmp_path / "halos.parquet")
    assert table["tags"][0] == ["a"]
    assert table["empty"].mask.all()
    halos = read_catalogue(table, box=Box(100.0), redshift=0.59)
    np.testing.assert_allclose(halos.positions, values)
