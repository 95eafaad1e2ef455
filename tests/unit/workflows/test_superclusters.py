"""Superclusters at places where a flow was made to converge, and at others."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from peculiar.catalogues import to_cartesian
from peculiar.catalogues.superclusters import Superclusters
from peculiar.core import Box, Cosmology, Field
from peculiar.fields.calculus import displacement
from peculiar.inference.reconstruction import Reconstruction
from peculiar.workflows.superclusters import superclusters_in

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
def known():
    """One supercluster of two clusters about HERE, one of one cluster elsewhere, one outside the box."""
    positions = np.vstack([HERE, ELSEWHERE, [[-200.0, 0.0, 0.0]]])
    return Superclusters(
        ("here", "elsewhere", "outside"), ("r",) * 3, ("A, B", "C", "D"), positions, np.array([6.0, 0.0, 0.0])
    )


def test_a_supercluster_in_the_flow_is_found_and_another_is_not(flow, known):
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


def test_an_outflow_matches_nothing(flow, known):
    away = flow.replace(data=-flow.data)
    found = superclusters_in(survey(away), known)
    assert found.matched == 0
    assert found.named["infall"][0] < -150
