"""Every kind of column, from every format to every format: it comes back, or is refused or named before the work."""

import warnings
from decimal import Decimal

import astropy.units as u
import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Column, MaskedColumn, QTable, Table
from astropy.time import Time

from peculiar.catalogues import read_table, write_table
from peculiar.catalogues.dry_run import require_held
from peculiar.catalogues.tables import table_format
from peculiar.core import InputError

ENDINGS = ("fits", "fits.gz", "h5", "parquet", "ecsv", "csv", "csv.gz")
TYPED = ("fits", "h5", "parquet", "ecsv")
MASK = np.array([False, False, True, False])
BIG = 2**60 + 1


def back(table, path):
    """Write a table as the commands do, and read it; with what the dry run warned of."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        require_held(table, path)
    write_table(path, table.copy(), kind=table_format(path))
    return read_table(path), [str(warning.message).split("changes to the catalogue: ")[1] for warning in told]


def same(column, expected):
    """Whether a column has the values and masked entries that are expected."""
    old, new = (np.ma.asarray(values) for values in (expected, column))
    np.testing.assert_array_equal(np.ma.getmaskarray(new), np.ma.getmaskarray(old))
    np.testing.assert_array_equal(new.compressed(), old.compressed())
    assert old.shape == new.shape
    return True


COLUMNS = {
    "big": np.array([BIG, -BIG, 0, 999999]),
    "masked": MaskedColumn([BIG, 999999, 7, -(2**63) + 1], mask=MASK),
    "masked_short": MaskedColumn(np.array([-32768, 999, 7, 32767], dtype=np.int16), mask=MASK),
    "unsigned": np.array([2**63 + 1, 0, 1, 2**64 - 1], dtype=np.uint64),
    "flag": np.array([True, False, True, False]),
    "masked_flag": MaskedColumn([True, False, True, False], mask=MASK),
    "single": np.array([0.1, 1e-30, 3.0, np.inf], dtype=np.float32),
    "half": np.array([0.1, 2.0, 3.0, np.inf], dtype=np.float16),
    "byte": np.array([-128, -1, 0, 127], dtype=np.int8),
    "masked_byte": MaskedColumn(np.array([-128, -1, 0, 127], dtype=np.int8), mask=MASK),
    "vector": np.arange(12.0).reshape(4, 3) / 3,
    "masked_vector": MaskedColumn(np.arange(12).reshape(4, 3), mask=np.arange(12).reshape(4, 3) % 5 == 0),
    "matrix": np.arange(16.0).reshape(4, 2, 2),
}


@pytest.mark.parametrize("ending", TYPED)
@pytest.mark.parametrize("name", COLUMNS)
def test_numbers_come_back(tmp_path, ending, name):
    table = Table({"row": np.arange(4), name: COLUMNS[name]})
    found, told = back(table, tmp_path / f"t.{ending}")
    assert same(found[name], COLUMNS[name])
    old, new = table[name].dtype, found[name].dtype
    assert new.kind == old.kind
    assert told == ([] if old.itemsize == new.itemsize else [f"{old} as {new.newbyteorder('=')} ({name})"])
    assert (ending == "fits" and name in ("half", "byte", "masked_byte")) == bool(told)


@pytest.mark.parametrize("ending", ["csv", "csv.gz"])
def test_numbers_are_exact_in_csv(tmp_path, ending):
    table = Table({name: values for name, values in COLUMNS.items() if np.ndim(values) == 1})
    table["third"] = Column(np.arange(4) / 3, format=".2f")  # as TDISP of a FITS file gives it
    path = tmp_path / f"t.{ending}"
    require_held(table, path)
    write_table(path, table, kind="ascii.csv")
    if ending == "csv.gz":
        assert path.read_bytes()[:2] == b"\x1f\x8b"
    names = [name for name in table.colnames if name not in ("unsigned", "flag", "masked_flag")]
    found = Table.read(path, format="ascii.csv", include_names=names)
    assert all(same(found[name], table[name]) for name in names if name not in ("single", "half"))
    assert same(found["single"].astype(np.float32), table["single"])
    texts = Table.read(path, format="ascii.csv", converters={"*": str}, fast_reader=False)
    assert texts["unsigned"].tolist() == ["9223372036854775809", "0", "1", "18446744073709551615"]
    assert texts["masked_flag"].tolist() == ["True", "False", None, "False"]


@pytest.mark.parametrize("ending", ENDINGS)
def test_nan_and_missing_numbers_are_one(tmp_path, ending):
    table = Table({"value": MaskedColumn([1 / 3, np.nan, 3.0, -0.0], mask=MASK)})
    found, told = back(table, tmp_path / f"t.{ending}")
    np.testing.assert_array_equal(np.ma.filled(found["value"], np.nan), [1 / 3, np.nan, np.nan, -0.0])
    assert told == []


@pytest.mark.parametrize("ending", ENDINGS)
def test_text_comes_back(tmp_path, ending):
    table = Table({"name": ["M 31", "", 'a "quoted", one', "NA"]})
    table["missing"] = MaskedColumn(["a", "b", "c", "d"], mask=MASK)
    found, told = back(table, tmp_path / f"t.{ending}")
    assert [str(text) for text in np.ma.filled(found["name"], "")] == table["name"].tolist()
    assert [str(text) for text in np.ma.filled(found["missing"], "")] == ["a", "b", "", "d"]
    assert told == []


@pytest.mark.parametrize("ending", ENDINGS)
def test_text_beyond_ascii(tmp_path, ending):
    table = Table({"row": np.arange(52), "name": ["plain"] * 50 + ["α Cen", "日本"]})
    path = tmp_path / f"t.{ending}"
    if not ending.startswith("fits"):
        assert back(table, path)[0]["name"].tolist() == table["name"].tolist()
        return
    with pytest.raises(
        InputError, match=r"FITS holds, got name \(text beyond ASCII\): write HDF5 or Parquet or ECSV"
    ):
        require_held(table, path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("ending", "exact"), [("fits", False), ("ecsv", False), ("h5", True), ("parquet", True)]
)
def test_blanks_at_the_ends_of_text(tmp_path, ending, exact):
    table = Table({"name": ["a"] * 9 + ["trailing "]})
    found, told = back(table, tmp_path / f"t.{ending}")
    assert found["name"][9].rstrip() == "trailing"
    assert told == ([] if exact else ["text without blanks at its ends (name)"])


@pytest.mark.parametrize("ending", TYPED)
def test_coordinates_and_times_come_back(tmp_path, ending):
    ra, dec = np.linspace(0, 359, 4) / 3, np.linspace(-90, 90, 4) / 3
    table = Table({"sky": SkyCoord(ra * u.deg, dec * u.deg, np.arange(1, 5) * u.Mpc, frame="fk5")})
    table["when"] = Time(58000 + np.arange(4) / 3, format="mjd", scale="tdb")
    table["iso"] = Time(["2020-01-01T01:02:03.123456789"] * 4)
    table["length"] = (np.arange(4) / 3) * u.kpc
    found, told = back(table, tmp_path / f"t.{ending}")
    assert told == []
    assert found["sky"].frame.name == "fk5"
    for part in ("ra", "dec", "distance"):
        np.testing.assert_array_equal(getattr(found["sky"], part), getattr(table["sky"], part))
    assert found["when"].scale == "tdb"
    assert abs((found["when"] - table["when"]).sec).max() < 1e-9
    assert abs((found["iso"] - table["iso"]).sec).max() < 1e-9
    assert found["length"].unit == u.kpc
    np.testing.assert_array_equal(np.asarray(found["length"]), np.arange(4) / 3)


def test_times_are_text_in_csv_and_coordinates_are_none(tmp_path):
    table = Table({"when": Time(["2020-01-01T01:02:03.123456789"] * 4)})
    found, told = back(table, tmp_path / "t.csv")
    assert told == ["times as text (when)"]
    assert found["when"][0] == "2020-01-01T01:02:03.123456789"
    assert table["when"].precision == 3
    table["sky"] = SkyCoord([0] * 4, [0] * 4, unit="deg")
    with pytest.raises(InputError, match=r"sky \(SkyCoord\): write FITS or HDF5 or Parquet or ECSV"):
        require_held(table, tmp_path / "t.csv")


@pytest.mark.parametrize("ending", ENDINGS)
def test_dates_are_dates_in_parquet_and_text_elsewhere(tmp_path, ending):
    days = np.array(["2020-01-01", "0001-02-03", "NaT", "2262-12-31"], dtype="M8[D]")
    seconds = np.array(["2020-01-01T01:02:03.123456"] * 4, dtype="M8[us]")
    found, told = back(Table({"day": days, "time": seconds}), tmp_path / f"t.{ending}")
    if ending == "parquet":
        assert told == []
        assert found["day"].dtype == "M8[D]"
        assert found["time"].dtype == "M8[us]"
        assert same(np.ma.masked_invalid(found["time"]), seconds)
    else:
        assert told == ([] if ending.startswith("csv") else ["dates as text (day, time)"])
    assert [str(day) for day in found["day"][[0, 1, 3]]] == ["2020-01-01", "0001-02-03", "2262-12-31"]
    assert np.ma.getmaskarray(found["day"])[2] or found["day"][2] == ""
    assert str(found["time"][0]) == "2020-01-01T01:02:03.123456"


@pytest.mark.parametrize("ending", TYPED)
def test_lists_of_any_length_come_back(tmp_path, ending):
    lists = np.empty(4, dtype=object)
    lists[:] = [np.arange(length) / 3 for length in (1, 3, 0, 2)]
    found, told = back(Table({"row": np.arange(4), "lists": lists}), tmp_path / f"t.{ending}")
    assert told == []
    for row, values in zip(found["lists"], lists, strict=True):
        np.testing.assert_array_equal(row, values)


@pytest.mark.parametrize(
    ("ending", "name", "values", "message"),
    [
        ("fits", "wide", np.arange(4, dtype=np.longdouble) / 3, r"\(float128\): write HDF5 or ECSV or CSV"),
        (
            "parquet",
            "wide",
            np.arange(4, dtype=np.longdouble) / 3,
            r"\(float128\): write HDF5 or ECSV or CSV",
        ),
        ("parquet", "complex", np.arange(4) * 1j, r"\(complex128\): write FITS or HDF5 or ECSV"),
        ("h5", "span", np.arange(4).astype("m8[s]"), r"\(timedelta64\[s\]\): write Parquet"),
        ("ecsv", "span", np.arange(4).astype("m8[s]"), r"\(timedelta64\[s\]\): write Parquet"),
        ("h5", "things", np.array([{}, {"a": 1}, None, 3], dtype=object), r"\(objects\): write "),
    ],
)
def test_what_cannot_be_held_is_refused_with_the_formats_that_can(tmp_path, ending, name, values, message):
    table = Table({"row": np.arange(4), name: values})
    with pytest.raises(InputError, match=f"got {name} {message}"):
        require_held(table, tmp_path / f"t.{ending}")


@pytest.mark.parametrize("ending", ["h5", "ecsv"])
def test_long_floats_come_back(tmp_path, ending):
    table = Table({"wide": np.arange(4, dtype=np.longdouble) / 3})
    assert same(back(table, tmp_path / f"t.{ending}")[0]["wide"], table["wide"])


@pytest.mark.parametrize("ending", ENDINGS)
def test_units_descriptions_and_metadata(tmp_path, ending):
    table = Table({"x": Column(np.arange(4.0), unit="Mpc / h", description="where it is, β")})
    table.meta = {"SURVEY": "mine", "nested": {"a": [1, 2]}, "title": "π"}
    found, told = back(table, tmp_path / f"t.{ending}")
    if ending.startswith("csv"):
        assert told == ["no units (x), no descriptions (x), no metadata (SURVEY, nested, title)"]
        return
    assert found["x"].unit == u.Unit("Mpc / h")
    assert found["x"].description == "where it is, β"
    assert found.meta["SURVEY"] == "mine"
    if ending.startswith("fits"):
        assert told == ["no metadata (nested, title)"]
    else:
        assert told == []
        assert {key: found.meta[key] for key in table.meta} == table.meta


def test_a_column_that_only_capitals_tell_from_ours_is_told(tmp_path):
    table = Table({"VX": [1.0], "vx": [2.0], "V_los_in": [3.0], "V_LOS": [4.0]})
    with pytest.warns(UserWarning, match=r"to the catalogue: VX as VX_in, V_LOS as V_LOS_in_in$"):
        require_held(table, tmp_path / "t.fits", added=("vx", "v_los"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        require_held(Table({"vx": [1.0]}), tmp_path / "t.fits", added=("vx",))


def test_nulls_of_other_writers_of_parquet(tmp_path):
    stored = pa.table(
        {
            "id": pa.array([BIG, None, 3]),
            "flag": pa.array([True, None, False]),
            "value": pa.array([1.5, None, float("nan")]),
            "name": pa.array(["é", None, ""]),
            "kind": pa.array(["spiral", None, "cluster"]).dictionary_encode(),
            "small": pa.array([1, None, 255], pa.uint8()),
            "time": pa.array([0, None, -(10**15)], pa.timestamp("us", "Europe/Paris")),
            "list": pa.array([[1.0], None, []]),
            "three": pa.array([[BIG, 2, 3], None, [4, None, 6]], pa.list_(pa.int64(), 3)),
            "price": pa.array([Decimal("1.10"), None, Decimal(10**16)], pa.decimal128(20, 2)),
        }
    ).replace_schema_metadata({"survey": "mine"})
    pyarrow.parquet.write_table(stored, tmp_path / "in.parquet")
    table = read_table(tmp_path / "in.parquet")
    assert table["id"].dtype == np.int64
    assert table["id"].tolist() == [BIG, None, 3]
    assert table["kind"].tolist() == ["spiral", None, "cluster"]
    assert table["time"].dtype == "M8[us]"
    found, told = back(table, tmp_path / "out.parquet")
    assert told == []
    assert found.meta["survey"] == "mine"
    written = pyarrow.parquet.read_table(tmp_path / "out.parquet")
    assert written.schema.metadata[b"survey"] == b"mine"
    for name in stored.column_names:
        expected = stored[name].to_pylist()
        if name == "three":
            assert written[name].to_pylist() == [expected[0], [None] * 3, expected[2]]
        elif name == "value":
            assert str(written[name].to_pylist()) == str(expected)
        else:
            assert written[name].to_pylist() == expected
    assert written["time"].type == stored["time"].type
    fits_table, _ = back(table["id", "flag", "small"], tmp_path / "out.fits")
    assert fits_table["id"].tolist() == [BIG, None, 3]
    assert fits_table["flag"].tolist() == [True, None, False]
    assert fits_table["small"].tolist() == [1, None, 255]


def test_astropy_reads_our_parquet(tmp_path):
    table = Table(
        {
            "x": Column([1.0, 2.0], unit="km / s"),
            "name": ["a", "bc"],
            "when": Time([58000, 58001], format="mjd"),
        }
    )
    write_table(tmp_path / "t.parquet", table, kind="parquet")
    found = Table.read(tmp_path / "t.parquet")
    assert found["x"].unit == u.km / u.s
    assert found["name"].tolist() == ["a", "bc"]
    assert found["when"].mjd.tolist() == [58000, 58001]


def test_what_other_writers_of_fits_have(tmp_path):
    columns = [
        fits.Column("byte", "B", bzero=-128, array=np.array([-128, 0, 127], dtype=np.int8)),
        fits.Column("flag", "L", array=[True, False, True]),
        fits.Column("value", "D", array=[1.0, np.nan, 3.0]),
        fits.Column("id", "K", null=0, array=[BIG, 0, 3]),
    ]
    hdu = fits.BinTableHDU.from_columns(columns)
    hdu.data.view(np.ndarray)["flag"][1] = 0  # neither true nor false
    hdu.writeto(tmp_path / "in.fits")
    table = read_table(tmp_path / "in.fits")
    assert table["byte"].dtype == np.int8
    for ending in TYPED:
        found, _ = back(table, tmp_path / f"out.{ending}")
        assert found["byte"].tolist() == [-128, 0, 127]
        assert found["flag"].tolist() == [True, None, True]
        assert found["id"].tolist() == [BIG, None, 3]
        np.testing.assert_array_equal(np.ma.filled(found["value"], np.nan), [1.0, np.nan, 3.0])
    again = fits.getdata(tmp_path / "out.fits", logical_as_bytes=True)
    assert again["flag"].tolist() == [b"T", b"", b"T"]


def test_quantities_of_ecsv(tmp_path):
    QTable({"r": [1.0, 2.0] * u.Mpc}).write(tmp_path / "in.ecsv")
    table = read_table(tmp_path / "in.ecsv")
    for ending in TYPED:
        found, told = back(table, tmp_path / f"out.{ending}")
        assert found["r"].unit == u.Mpc
        assert told == []


def test_text_and_lists_of_hdf5(tmp_path):
    with h5py.File(tmp_path / "in.h5", "w") as file:
        file["x"] = np.arange(3.0)
        file["name"] = ["α", "b", ""]
        lists = file.create_dataset("lists", (3,), dtype=h5py.vlen_dtype(np.int32))
        lists[0], lists[2] = [1, 2], [3]
    table = read_table(tmp_path / "in.h5")
    for ending in ("h5", "parquet", "ecsv"):
        found, _ = back(table, tmp_path / f"out.{ending}")
        assert [str(name) for name in np.ma.filled(found["name"], "")] == ["α", "b", ""]
        assert [list(row) for row in found["lists"]] == [[1, 2], [], [3]]
