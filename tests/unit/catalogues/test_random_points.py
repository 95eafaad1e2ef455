import numpy as np
import pytest
from astropy.table import Table

from peculiar.catalogues import read_survey, to_catalogue, to_sky
from peculiar.catalogues.formats import save_table
from peculiar.catalogues.random_points import Randoms
from peculiar.catalogues.survey import make_survey
from peculiar.catalogues.tables import table_format
from peculiar.catalogues.weights import Weights
from peculiar.core import Cosmology, InputError

COSMOLOGY = Cosmology(Omega_m=0.3)


def cap(count, seed):
    """A table of points in a cap of 30 degrees between 30 and 90 Mpc/h, with weights."""
    rng = np.random.default_rng(seed)
    along, angle = rng.uniform(np.cos(np.radians(30)), 1, count), rng.uniform(0, 2 * np.pi, count)
    across = np.sqrt(1 - along**2)
    unit = np.stack([along, across * np.cos(angle), across * np.sin(angle)], axis=1)
    distance = rng.uniform(30.0**3, 90.0**3, count) ** (1 / 3)
    ra, dec, z = to_sky(unit * distance[:, None], cosmology=COSMOLOGY)
    columns = {
        "RA": ra,
        "DEC": dec,
        "Z": z,
        "NAME": np.full(count, "random"),
        "WEIGHT": rng.uniform(0.5, 1.5, count),
    }
    return Table(columns)


@pytest.fixture
def pieces_of(monkeypatch):
    """How many rows a piece has."""

    def change(rows):
        from peculiar.catalogues import tables

        monkeypatch.setattr(tables.read_pieces, "__kwdefaults__", {"rows": rows})

    return change


def described(*paths, **settings):
    return make_survey({"frame": "cmb", "randoms": paths, "cell_size": 4.0, "padding": 8.0} | settings)


def survey_of(*paths, **settings):
    galaxies = cap(6000, 3)["RA", "DEC", "Z"]
    sample = read_survey(galaxies, described(*paths, **settings), cosmology=COSMOLOGY)
    return sample, to_catalogue(sample, sample.box()).catalogue


@pytest.mark.parametrize(
    "name", ["r.fits", "r.fits.gz", "r.hdf5", "r.parquet", "r.csv", "r.csv.gz", "r.ecsv"]
)
def test_pieces_of_any_format_and_in_any_order_give_what_one_piece_gives(tmp_path, pieces_of, name):
    table = cap(60000, 1)
    table.write(tmp_path / "whole.fits")
    sample, whole = survey_of(tmp_path / "whole.fits")
    shuffled = table[np.random.default_rng(2).permutation(len(table))]
    save_table(shuffled, tmp_path / name, kind=table_format(name))
    pieces_of(7001)
    other_sample, other = survey_of(tmp_path / name)
    np.testing.assert_array_equal(other_sample.mask.values, sample.mask.values)
    np.testing.assert_allclose(other_sample.n_of_r.density, sample.n_of_r.density, rtol=1e-9)
    assert other_sample.randoms.counts.total == pytest.approx(sample.randoms.counts.total, rel=1e-9)
    np.testing.assert_allclose(other.completeness.numpy(), whole.completeness.numpy(), rtol=1e-5, atol=1e-5)
    assert whole.completeness.numpy().max() > 0.5


def test_datasets_of_an_hdf5_file_in_pieces(tmp_path, pieces_of):
    import h5py

    table = cap(20000, 1)
    with h5py.File(tmp_path / "r.h5", "w") as file:
        for column in ("RA", "DEC", "Z"):
            file[column] = np.asarray(table[column])
    pieces_of(3000)
    (tmp_path / "r.csv").write_text("")
    table["RA", "DEC", "Z"].write(tmp_path / "r.csv", overwrite=True)
    one, other = (Randoms(described(tmp_path / name), Weights(None), COSMOLOGY) for name in ("r.h5", "r.csv"))
    parts = list(one.points())
    assert [len(part.positions) for part in parts] == [3000] * 6 + [2000]
    whole = np.concatenate([part.positions for part in other.points()])
    np.testing.assert_allclose(np.concatenate([part.positions for part in parts]), whole, rtol=1e-9)


def test_what_only_the_whole_file_tells(tmp_path, pieces_of, recwarn):
    pieces_of(500)
    table = cap(4000, 1)
    heavy = table.copy()
    heavy["WEIGHT"][3210] = 1e3
    heavy.write(tmp_path / "heavy.fits")
    with pytest.raises(InputError, match=r"heavy.fits: weight must be at most 100 times .* at row 3210"):
        survey_of(tmp_path / "heavy.fits")
    sorted_by_distance = table[np.argsort(table["Z"])]
    sorted_by_distance["Z"][:1000] = -0.001  # two whole pieces: a quarter of the file, which may be
    sorted_by_distance.write(tmp_path / "near.fits")
    points = list(Randoms(described(tmp_path / "near.fits"), Weights(None), COSMOLOGY).points(again=False))
    assert sum(len(some.positions) for some in points) == 3000
    narrow = table[np.argsort(table["RA"])]  # each piece spans a few degrees, which could be radians
    narrow.write(tmp_path / "narrow.fits")
    survey_of(tmp_path / "narrow.fits")
    assert not [warning for warning in recwarn if "radians" in str(warning.message)]


def test_rows_of_a_later_piece_are_named(tmp_path, pieces_of):
    pieces_of(500)
    table = cap(2000, 1)
    table["Z"][1234] = np.nan
    table.write(tmp_path / "r.parquet")
    with pytest.raises(InputError, match=r"randoms .*r.parquet from row 1000 on: .* \(first: row 234, "):
        survey_of(tmp_path / "r.parquet")


def test_a_file_that_is_cut(tmp_path, pieces_of):
    pieces_of(500)
    cap(20000, 1).write(tmp_path / "r.fits")
    whole = (tmp_path / "r.fits").read_bytes()
    (tmp_path / "r.fits").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="must be a whole FITS file"):
        survey_of(tmp_path / "r.fits")
