import codecs
import gzip

import numpy as np
import pytest

from peculiar.catalogues import read_catalogue, read_table
from peculiar.core import Box, InputError

BOX = Box(100.0)


def rows(table, delimiter, *, names="xyz", end="\n", **formats):
    lines = [delimiter.join(f"{float(row[name])!r}" for name in names) for row in table]
    return end.join(lines) + end


@pytest.mark.parametrize(
    ("name", "head", "delimiter"),
    [
        ("comments.csv", "# from the archive\n#\n\nx,y,z\n", ","),
        ("header_in_a_comment.csv", "# x,y,z\n", ","),
        ("numpy.txt", "# x y z\n", " "),
        ("capitals.csv", "X,Y,Z\n", ","),
        ("semicolons.csv", "x;y;z\n", ";"),
        ("tabs.tsv", "x\ty\tz\n", "\t"),
        ("blanks.dat", "  x      y  z\n", "   "),
        ("bars.ascii", "x|y|z\n", "|"),
    ],
)
def test_delimiters_and_headers(tmp_path, table, name, head, delimiter):
    (tmp_path / name).write_text(head + rows(table, delimiter))
    found = read_catalogue(tmp_path / name, box=BOX, redshift=0.59).positions
    np.testing.assert_array_equal(found, np.stack([table[axis] for axis in "xyz"], axis=1))


@pytest.mark.parametrize(
    ("mark", "encoding"), [(codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le")]
)
def test_byte_order_marks_and_ends_of_lines(tmp_path, table, mark, encoding):
    text = "x,y,z\r\n" + rows(table, ",", end="\r\n")
    (tmp_path / "marked.csv").write_bytes(mark + text.encode(encoding))
    assert read_table(tmp_path / "marked.csv").colnames == ["x", "y", "z"]
    (tmp_path / "marked.csv.gz").write_bytes(gzip.compress(mark + text.encode(encoding)))
    assert len(read_table(tmp_path / "marked.csv.gz")) == len(table)


def test_rockstar(tmp_path, table):
    head = "#id num_p mvir x y z vx vy vz\n#a = 1.000000\n#Om = 0.3; Ol = 0.7; h = 0.7\n#Units: Masses in Msun / h\n"
    names = ("id", "id", "mass", "x", "y", "z", "vx", "vy", "vz")
    (tmp_path / "out_0.list").write_text(head + rows(table, " ", names=names))
    with pytest.warns(UserWarning, match="column mvir is not used as mass.*columns={'mass': 'mvir'}"):
        read_catalogue(tmp_path / "out_0.list", box=BOX, redshift=0.59)
    halos = read_catalogue(tmp_path / "out_0.list", box=BOX, redshift=0.59, columns={"mass": "mvir"})
    np.testing.assert_array_equal(halos.positions[:, 1], table["y"])
    np.testing.assert_array_equal(halos.velocities[:, 2], table["vz"])
    np.testing.assert_array_equal(halos.masses, table["mass"])


def test_ahf_in_its_own_units(tmp_path, table):
    head = "#ID(1)\thostHalo(2)\tMvir(4)\tXc(6)\tYc(7)\tZc(8)\tVXc(9)\n"
    lines = [
        f"{i}\t0\t{1e12 + i}\t{1e3 * x!r}\t{1e3 * y!r}\t{1e3 * z!r}\t5.0\t"
        for i, (x, y, z) in enumerate(np.stack([table[axis] for axis in "xyz"], axis=1).tolist())
    ]
    (tmp_path / "snap.z0.000.AHF_halos").write_text(head + "\n".join(lines) + "\n")
    with pytest.raises(InputError) as caught:
        read_catalogue(tmp_path / "snap.z0.000.AHF_halos", box=BOX, redshift=0.59)
    assert "--column x=Xc --column y=Yc --column z=Zc" in caught.value.command
    halos = read_catalogue(
        tmp_path / "snap.z0.000.AHF_halos",
        box=BOX,
        redshift=0.59,
        columns={"x": "Xc", "y": "Yc", "z": "Zc", "mass": "Mvir"},
    )
    np.testing.assert_allclose(halos.positions[:, 2], table["z"], rtol=1e-12)


def test_text_in_columns_is_kept(tmp_path):
    (tmp_path / "named.csv").write_text('name,x,y,z\n"NGC 1, north",1,2,3\nÖpik,4,,6\n', encoding="utf-8")
    found = read_table(tmp_path / "named.csv")
    assert list(found["name"]) == ["NGC 1, north", "Öpik"]
    assert found["y"].mask.tolist() == [False, True]
    (tmp_path / "named.txt").write_text("# name x y z\nNGC1 1 2 3\nNGC2 4 5 6\n")
    assert read_table(tmp_path / "named.txt").colnames == ["name", "x", "y", "z"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,2,3\n4,5,6\n", "must name its columns.*add a line of 3 names"),
        ("x,y,x\n4,5,6\n", "names of their own, got 'x'"),
        ("x,y,z\n1,2,3\n4,5\n", "cannot be read"),
        ("x,y,z\n", "no rows"),
        ("# x,y,z\n", "no rows"),
    ],
)
def test_tables_that_cannot_be_read(tmp_path, text, message):
    (tmp_path / "bad.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        read_table(tmp_path / "bad.csv")
