"""Superclusters at places where a flow was made to converge, and at others."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from astropy.table import Table

from peculiar.catalogues import to_cartesian, to_sky
from peculiar.catalogues.frames import convert_redshift
from peculiar.catalogues.sky import directions
from peculiar.core import Box, Cosmology, Field, InputError
from peculiar.fields.calculus import displacement
from peculiar.inference.reconstruction import Reconstruction
from peculiar.workflows.superclusters import read_superclusters, superclusters_in

COSMOLOGY = Cosmology(Omega_m=0.3)
BOX = Box(240.0, 48, origin=(40.0, -120.0, -120.0), periodic=False)
OBSERVER = (0.0, 0.0, 0.0)
HERE = np.array([[152.5, 22.5, 12.5]])
ELSEWHERE = np.array([[152.5, -57.5, -47.5]])


@pytest.fixture
def flow():
    """Linear flow into a lump at HERE, and into one a third as dense 90 Mpc/h from it."""
    delta = np.zeros((48, 48, 48))
    for place, peak in ((HERE[0], 1.0), (HERE[0] + [40.0, 60.0, 55.0], 0.3)):
        offset = [BOX.coordinates(axis) - place[axis] for axis in range(3)]
        delta += peak * np.exp(-sum(part**2 for part in np.meshgrid(*offset, indexing="ij")) / 450)
    data = COSMOLOGY.velocity_factor(0.05) * displacement(torch.from_numpy(delta).float(), BOX)
    return Field(data, BOX, "xyz", "km/s", kind="vector", definition="test")


def survey(flow):
    fields = {"velocity": flow, "density": Field(torch.zeros(1, 48, 48, 48), BOX, ("density",))}
    return Reconstruction(fields, COSMOLOGY, 0.05, observer=OBSERVER)


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


def test_a_supercluster_in_the_flow_is_found_and_another_is_not(flow, table):
    known = read_superclusters(table, cosmology=COSMOLOGY)
    found = superclusters_in(survey(flow), known)
    here, elsewhere, outside = found.named
    assert here["percentile"] > 99.9
    assert here["point_distance"] < 5
    assert here["chance"] < 0.01
    assert here["infall"] > 150
    assert np.isnan(elsewhere["point_convergence"])
    assert elsewhere["percentile"] < 90
    assert abs(elsewhere["infall"]) < 50
    assert np.isnan(outside["convergence"])
    assert (found.judged, found.matched) == (2, 1)
    assert 0 < found.expected < 0.1
    first = found.strongest[0]
    assert first["match"] == "here"
    place = to_cartesian(
        np.array([first["ra"]]),
        np.array([first["dec"]]),
        redshift=np.array([first["z"]]),
        cosmology=COSMOLOGY,
    )
    np.testing.assert_allclose(place, HERE, atol=0.1)
    assert "no match in the table" in found.strongest["match"][1:].tolist()


def test_an_outflow_matches_nothing(flow, table):
    known = read_superclusters(table, cosmology=COSMOLOGY)
    away = flow.replace(data=-flow.data)
    found = superclusters_in(survey(away), known)
    assert found.matched == 0
    assert found.named["infall"][0] < -150


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
