from __future__ import annotations

import numpy as np
import pytest
from astropy.table import Table

from peculiar.catalogues import directions, to_sky
from peculiar.catalogues.frames import convert_redshift
from peculiar.catalogues.superclusters import read_superclusters
from peculiar.core import Cosmology, InputError

COSMOLOGY = Cosmology(Omega_m=0.3)
HERE = np.array([[152.5, 22.5, 12.5]])
ELSEWHERE = np.array([[152.5, -57.5, -47.5]])


@pytest.fixture
def table(tmp_path):
    """One supercluster with two clusters about HERE, one of one cluster elsewhere, one outside the box."""
    places = np.vstack([HERE + [[0, 6, 0]], HERE - [[0, 6, 0]], ELSEWHERE, [[-200.0, 0.0, 0.0]]])
    ra, dec, z = to_sky(places, cosmology=COSMOLOGY)
    z = convert_redshift(z, directions(ra, dec), source="cmb", target="heliocentric")
    names = ["here", "here", "elsewhere", "outside"]
    columns = {"supercluster": names, "cluster": ["A", "B", "C", "D"], "reference": ["r"] * 4}
    Table({"ra": ra, "dec": dec, "z": z} | columns).write(tmp_path / "known.csv")
    return tmp_path / "known.csv"


def test_members_make_the_place_and_the_size(table):
    known = read_superclusters(table, cosmology=COSMOLOGY, observer=(10.0, 0.0, 0.0))
    assert known.names == ("here", "elsewhere", "outside")
    assert known.clusters[0] == "A, B"
    np.testing.assert_allclose(known.positions[0], HERE[0] + [10, 0, 0], atol=1e-3)
    np.testing.assert_allclose(known.sizes, [6.0, 0.0, 0.0], atol=1e-3)


def test_the_superclusters_of_the_package():
    known = read_superclusters(cosmology=COSMOLOGY)
    assert len(known.names) == len(known.references) == 12
    distance = np.linalg.norm(known.positions, axis=1)
    assert (np.diff(distance)[1:] > -150).all()
    place = dict(zip(known.names, known.positions, strict=True))
    ra, dec, z = to_sky(np.array([place["Coma"], place["Corona Borealis"]]), cosmology=COSMOLOGY)
    np.testing.assert_allclose(ra, [185.5, 231.4], atol=1.5)
    np.testing.assert_allclose(dec, [24.3, 29.4], atol=1.0)
    np.testing.assert_allclose(z, [0.0235, 0.0740], atol=0.002)
    assert (known.sizes < 20).all()
    assert all(any(character.isdigit() for character in text) for text in known.references)


def test_tables_that_lack_something_are_refused(tmp_path):
    Table({"ra": [1.0], "dec": [1.0], "z": [0.1]}).write(tmp_path / "a.csv")
    with pytest.raises(InputError, match="superclusters must have the columns"):
        read_superclusters(tmp_path / "a.csv", cosmology=COSMOLOGY)
    columns = {"supercluster": ["a"], "cluster": ["b"], "reference": ["c"]}
    Table({"ra": [1.0], "dec": [100.0], "z": [0.1]} | columns).write(tmp_path / "b.csv")
    with pytest.raises(InputError, match="dec must lie in"):
        read_superclusters(tmp_path / "b.csv", cosmology=COSMOLOGY)
