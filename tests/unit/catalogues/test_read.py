import h5py
import numpy as np
import pytest
from astropy.table import Table

from peculiar.catalogues import read_catalogue, read_table, write_catalogue
from peculiar.core import Box, Catalogue, InputError

BOX = Box(100.0)
ENDINGS = (".fits", ".h5", ".parquet", ".ecsv", ".csv")


def save(table, path):
    """Write a table as a user would, whatever the ending."""
    options = {"path": "halos", "serialize_meta": True} if path.suffix == ".h5" else {}
    table.write(path, **options)
    return path


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_format_gives_the_rows_in_order(tmp_path, table, ending):
    catalogue = read_catalogue(
        save(table, tmp_path / f"halos{ending}"), box=BOX, line_of_sight="y", redshift=0.3
    )
    np.testing.assert_array_equal(catalogue.positions, np.stack([table[name] for name in "xyz"], axis=1))
    np.testing.assert_array_equal(catalogue.velocities[:, 1], table["vy"])
    np.testing.assert_array_equal(catalogue.masses, table["mass"])
    assert catalogue.weights is None
    assert (catalogue.line_of_sight, catalogue.redshift, catalogue.space) == ("y", 0.3, "redshift")


def test_plain_hdf5_datasets_in_one_group(tmp_path, table):
    with h5py.File(tmp_path / "halos.hdf5", "w") as file:
        file["halos/position"] = np.stack([table[name] for name in "xyz"], axis=1)
        file["halos/velocity"] = np.stack([table[name] for name in ("vx", "vy", "vz")], axis=1)
        file["halos/mass"] = table["mass"]
        file["members/id"] = np.arange(7)
    catalogue = read_catalogue(tmp_path / "halos.hdf5", box=BOX, redshift=0.59)
    np.testing.assert_array_equal(catalogue.positions[:, 2], table["z"])
    np.testing.assert_array_equal(catalogue.velocities[:, 0], table["vx"])
    assert catalogue.masses is not None


def test_plain_hdf5_datasets_at_the_root(tmp_path, table):
    with h5py.File(tmp_path / "halos.h5", "w") as file:
        for name in "xyz":
            file[name] = table[name]
        file["redshifts_of_snapshots"] = np.arange(3.0)  # another length: no column
    assert read_table(tmp_path / "halos.h5").colnames == ["x", "y", "z"]
    assert len(read_catalogue(tmp_path / "halos.h5", box=BOX, redshift=0.59)) == len(table)


def test_two_tables_in_one_hdf5_file_are_refused(tmp_path, table):
    table.write(tmp_path / "two.h5", path="a")
    table.write(tmp_path / "two.h5", path="b", append=True)
    with pytest.raises(InputError, match="one table, got a, b"):
        read_table(tmp_path / "two.h5")


def test_columns_of_other_names(tmp_path, table):
    table.rename_columns(["x", "mass"], ["X_GAL", "lum"])
    catalogue = read_catalogue(table, box=BOX, redshift=0.59, columns={"x": "X_GAL", "mass": "lum"})
    np.testing.assert_array_equal(catalogue.positions[:, 0], table["X_GAL"])
    np.testing.assert_array_equal(catalogue.masses, table["lum"])


def test_box_with_a_corner_elsewhere(table):
    for name in "xyz":
        table[name] -= 50
    catalogue = read_catalogue(table, box=Box(100.0, origin=(-50.0, -50.0, -50.0)), redshift=0.59)
    assert catalogue.positions.min() < 0


@pytest.mark.parametrize(
    ("unit", "factor"), [("kpc / h", 1e-3), ("Mpc / h", 1.0), ("Mpc / littleh", 1.0), ("h-1 Mpc", 1.0)]
)
def test_declared_units_are_obeyed(table, unit, factor):
    import astropy.cosmology.units as cu
    import astropy.units as u

    table["x"] /= factor
    table["x"].unit = u.Mpc / cu.littleh if "littleh" in unit else u.Unit(unit, parse_strict="silent")
    table["vx"].unit = "m / s"
    catalogue = read_catalogue(table, box=BOX, redshift=0.59)
    np.testing.assert_allclose(catalogue.positions[:, 0], table["x"] * factor)
    np.testing.assert_allclose(catalogue.velocities[:, 0], table["vx"] / 1000)


@pytest.mark.parametrize(("column", "unit"), [("x", "kpc"), ("x", "deg"), ("vx", "Mpc")])
def test_units_that_are_none_of_ours(table, column, unit):
    table[column].unit = unit
    with pytest.raises(InputError, match=f"got unit '{unit}'"):
        read_catalogue(table, box=BOX, redshift=0.59)


def test_missing_columns_name_the_likely_ones(table):
    table.rename_columns(["x", "y", "z"], ["X", "pos_y", "zed"])
    with pytest.raises(InputError, match="missing: y, z.*give columns={'y': 'pos_y'}") as caught:
        read_catalogue(table, box=BOX, redshift=0.59)
    assert "give --column y=pos_y" in caught.value.command


def test_a_survey_given_as_a_box(table):
    table.rename_columns(["x", "y"], ["RA", "DEC"])
    with pytest.raises(InputError, match="on the sky, which is read with read_sky_catalogue") as caught:
        read_catalogue(table, box=BOX, redshift=0.59)
    assert "read with --sky" in caught.value.command


def test_some_velocities_missing(table):
    table.remove_column("vy")
    with pytest.raises(InputError, match="missing: vy"):
        read_catalogue(table, box=BOX, redshift=0.59)


def test_a_column_that_was_named_but_is_not_there(table):
    with pytest.raises(InputError, match="missing: luminosity"):
        read_catalogue(table, box=BOX, redshift=0.59, columns={"mass": "luminosity"})


def test_unknown_key_of_columns(table):
    with pytest.raises(InputError, match="got masses"):
        read_catalogue(table, box=BOX, redshift=0.59, columns={"masses": "mass"})


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("column", ["y", "vz", "mass"])
def test_values_that_are_not_finite(table, value, column):
    table[column][[7, 30]] = value
    with pytest.raises(InputError, match="2 of 600 rows.*first: row 7"):
        read_catalogue(table, box=BOX, redshift=0.59)


def test_masked_positions_are_not_numbers(table):
    masked = Table(table, masked=True)
    masked["x"].mask[3] = True
    with pytest.raises(InputError, match="1 of 600 rows.*row 3"):
        read_catalogue(masked, box=BOX, redshift=0.59)


def test_text_in_a_column(table):
    written = [f"{value:.3f}" for value in table["x"]]
    table["x"] = written
    with pytest.raises(
        InputError, match=r"column x must hold .* \(first: '[0-9.]+'\): write it as numbers, as"
    ):
        read_catalogue(table, box=BOX, redshift=0.59)
    for rows in ([7], [411, 599], [0]):
        table["x"] = [b"1,5" if row in rows else value.encode() for row, value in enumerate(written)]
        with pytest.raises(InputError, match=f"'1,5' in row {rows[0]} is the first .* repair or remove"):
            read_catalogue(table, box=BOX, redshift=0.59)


def test_negative_weights(table):
    table["weight"] = 1.0
    table["weight"][5] = -0.1
    with pytest.raises(InputError, match="weight must be >= 0, got -0.1 at row 5"):
        read_catalogue(table, box=BOX, redshift=0.59)


def test_objects_outside_a_periodic_box(table):
    table["z"][11] = 100.5
    with pytest.raises(InputError, match="1 of 600 objects outside.*row 11.*x % 100"):
        read_catalogue(table, box=BOX, redshift=0.59)


def test_many_objects_outside_tell_the_span(table):
    with pytest.raises(InputError, match=r"objects outside.*span 1\.4\d* of the box"):
        read_catalogue(table, box=Box(70.0), redshift=0.59)


def test_positions_in_kpc(table):
    for name in "xyz":
        table[name] *= 1000
    with pytest.raises(InputError, match="look like kpc/h"):
        read_catalogue(table, box=BOX, redshift=0.59)


@pytest.mark.parametrize(
    ("stretched", "sides", "words"),
    [
        ((1, 1, 1), (0.1, 0.1, 0.1), r"the box size looks like Gpc/h \(multiply by 1000: 100\)"),
        ((1000, 1, 1), (100.0, 100.0, 100.0), "only x reaches so far: in other units than the others"),
        ((1, 1, 1), (100.0, 0.1, 100.0), "only y reaches so far: .* or a side of the box is wrong"),
        ((1, 10, 0.02), (100.0, 2.0, 1000.0), "sides of the box look swapped: 100,1000,2 holds them"),
        (
            (2, 1, 1),
            (100.0, 200.0, 100.0),
            "objects outside .*: the sides of the box look swapped: 200,100,100 holds them",
        ),
        ((50, 50, 50), (100.0, 100.0, 100.0), "they look like other units, or the box size is wrong"),
    ],
)
def test_what_is_wrong_with_far_positions_is_told_as_it_is(table, stretched, sides, words):
    for name, factor in zip("xyz", stretched, strict=True):
        table[name] *= factor
    with pytest.raises(InputError, match=words) as found:
        read_catalogue(table, box=Box(sides), redshift=0.59)
    assert "kpc/h" not in str(found.value)


def test_positions_in_units_of_the_box(table):
    for name in "xyz":
        table[name] /= 100
    with pytest.raises(InputError, match="multiply by the side"):
        read_catalogue(table, box=BOX, redshift=0.59)


def test_a_periodic_box_half_empty(table):
    with pytest.warns(UserWarning, match="of a periodic box of 141"):
        read_catalogue(table, box=Box(141.0), redshift=0.59)


def test_a_box_with_faces_half_empty(table):
    with pytest.warns(UserWarning, match="of a box of 141.*counts as a void"):
        read_catalogue(table, box=Box(141.0, periodic=False), redshift=0.59)


def test_redshifts_as_z(table):
    table["z"] /= 100
    with pytest.raises(InputError, match="z in 0.01 of its side: is z a redshift"):
        read_catalogue(table, box=BOX, redshift=0.59)


@pytest.mark.parametrize("ending", ENDINGS)
def test_no_rows(tmp_path, table, ending):
    with pytest.raises(InputError, match="at least one object"):
        read_catalogue(save(table[:0], tmp_path / f"none{ending}"), box=BOX, redshift=0.59)


def test_rows_twice(table):
    from astropy.table import vstack

    with pytest.raises(InputError, match="got 600 of 1200 rows that repeat"):
        read_catalogue(vstack([table, table]), box=BOX, redshift=0.59)


def test_few_repeated_rows_are_a_warning(table):
    table["x"][1], table["y"][1], table["z"][1] = table["x"][0], table["y"][0], table["z"][0]
    with pytest.warns(UserWarning, match="1 of 600 rows repeat"):
        assert len(read_catalogue(table, box=BOX, redshift=0.59)) == 600


@pytest.mark.parametrize("ending", [".fits", ".h5", ".parquet", ".ecsv"])
@pytest.mark.parametrize("kept", [0.5, 0.97])
def test_truncated_files(tmp_path, table, ending, kept):
    path = save(table, tmp_path / f"cut{ending}")
    content = path.read_bytes()
    # within the last row, not between two: a table that ends with a whole row is a whole table
    path.write_bytes(content[: int(len(content) * kept)].rstrip(b"\n")[:-3])
    with pytest.raises(InputError, match="truncated|must be finite"):
        read_catalogue(path, box=BOX, redshift=0.59)


def test_a_csv_file_cut_within_a_row(tmp_path, table):
    path = save(table, tmp_path / "cut.csv")
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:300], lines[300][:25]]))
    with pytest.raises(InputError, match="truncated|must be finite"):
        read_catalogue(path, box=BOX, redshift=0.59)


@pytest.mark.parametrize("ending", ENDINGS)
def test_files_that_are_something_else(tmp_path, ending):
    path = tmp_path / f"noise{ending}"
    path.write_bytes(np.random.default_rng(0).bytes(5000))
    with pytest.raises(InputError):
        read_catalogue(path, box=BOX, redshift=0.59)


def test_empty_file(tmp_path):
    (tmp_path / "none.fits").touch()
    with pytest.raises(InputError, match="0 bytes"):
        read_table(tmp_path / "none.fits")


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match="a file that exists"):
        read_table(tmp_path / "nowhere.fits")


def test_unknown_ending(tmp_path):
    (tmp_path / "halos.xyz").write_text("1 2 3")
    with pytest.raises(InputError, match="must end in .fits"):
        read_table(tmp_path / "halos.xyz")


@pytest.mark.parametrize("redshift", [25.0, float("nan")])
def test_redshift_out_of_range(table, redshift):
    with pytest.raises(InputError, match="redshift must lie in"):
        read_catalogue(table, box=BOX, redshift=redshift)


def test_a_radial_line_of_sight_needs_an_observer(table):
    with pytest.raises(InputError, match="observer must be given"):
        read_catalogue(table, box=BOX, redshift=0.59, line_of_sight="radial")
    assert read_catalogue(
        table, box=BOX, redshift=0.59, line_of_sight="radial", observer=(0.0, 0.0, 0.0)
    ).observer == (
        0,
        0,
        0,
    )


def test_a_redshift_that_nobody_states_is_asked_for(table):
    with pytest.raises(InputError, match="must be stated, got none: give redshift= ") as caught:
        read_catalogue(table, box=BOX)
    assert "got none: give --redshift (the effective redshift of the objects)" in caught.value.command
    assert read_catalogue(table, box=BOX, redshift=0.0).redshift == 0.0


@pytest.mark.parametrize("ending", [".fits", ".h5", ".parquet", ".ecsv"])
def test_what_our_own_file_states_is_used(tmp_path, table, ending):
    positions = np.stack([table[name] for name in "xyz"], axis=1)
    own = Catalogue(positions=positions, box=BOX, redshift=0.3, line_of_sight="y", space="real")
    path = write_catalogue(tmp_path / f"own{ending}", own)
    found = read_catalogue(path, box=BOX)
    assert (found.line_of_sight, found.redshift, found.space) == ("y", 0.3, "real")
    same = read_catalogue(path, box=BOX, line_of_sight="y", redshift=0.3, space="real")
    assert same.line_of_sight == "y"
    with pytest.warns(UserWarning, match="states is not used: redshift = 0.3, line_of_sight = y$"):
        other = read_catalogue(path, box=BOX, line_of_sight="x", redshift=0.5)
    assert (other.line_of_sight, other.redshift, other.space) == ("x", 0.5, "real")
    with pytest.warns(UserWarning, match=r"states is not used: box_size = 100.0"):
        read_catalogue(path, box=Box(100.5, periodic=False))


def test_columns_that_are_not_read_do_not_stop_a_run(table):
    table["vx"] = np.nan
    table.remove_column("vy")
    assert read_catalogue(table, box=BOX, redshift=0.59, velocities=False).velocities is None


def test_positions_that_rounding_puts_past_a_face(table):
    table["x"][0], table["y"][1] = np.float32(100.00001), -1e-7
    for periodic in (True, False):
        halos = read_catalogue(table, box=Box(100.0, periodic=periodic), redshift=0.5)
        assert halos.box.contains(halos.positions).all()
