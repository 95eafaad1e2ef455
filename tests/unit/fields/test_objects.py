import numpy as np
import pytest
import torch

from peculiar.core import PRESETS, Box, Catalogue, Field, InputWarning
from peculiar.fields.objects import DISPERSION, at_objects, mean_along_sight
from peculiar.fields.sight import BoxSight, SkySight

COSMOLOGY = PRESETS["xiao2024"]
BOX = Box(100.0, 40, origin=(-50.0, -50.0, -50.0), periodic=False)
RNG = np.random.default_rng(3)


def fields(box=BOX, *, speed=0.0, delta=0.0):
    """A uniform flow along x, and a density."""
    n = box.mesh
    velocity = torch.zeros(3, n, n, n)
    velocity[0] = speed
    return {
        "velocity": Field(velocity, box, names=("x", "y", "z"), unit="km/s", kind="vector"),
        "density": Field(torch.full((1, n, n, n), delta), box, names=("density",)),
    }


def test_objects_of_a_survey_have_the_answer_of_their_redshifts():
    """What `at_objects` says of an object and what a query of its ra, dec and z says are one thing."""
    rough = fields()
    rough["velocity"] = rough["velocity"].replace(data=400 * torch.randn(3, 40, 40, 40))
    rough["density"] = rough["density"].replace(data=torch.randn(1, 40, 40, 40).exp() - 1)
    completeness = Field(torch.ones(1, 40, 40, 40), BOX, names=("completeness",), space="redshift")
    positions = RNG.uniform(-45, 45, (50, 3))
    survey = Catalogue(
        positions,
        box=BOX,
        redshift=0.3,  # an effective one, of no object
        line_of_sight="radial",
        observer=(0.0, 0.0, 0.0),
        completeness=completeness,
    )
    found = at_objects(survey, rough, cosmology=COSMOLOGY)
    distance = np.linalg.norm(positions, axis=1)
    sight = SkySight(
        (0.0, 0.0, 0.0), positions / distance[:, None], COSMOLOGY.redshift_at(distance), COSMOLOGY
    )
    asked = mean_along_sight(rough, sight)
    np.testing.assert_allclose(found.v_los, asked.v_los, atol=1e-6)
    np.testing.assert_allclose(found.positions_real, asked.positions_real, atol=1e-9)
    assert (found.solutions > 1).any()
    assert (found.v_los_scatter > 100).any()


def test_places_outside_a_box_with_faces_do_not_count():
    """An object seen at a face stands inside of it, by the mean of half a Gaussian."""
    box = Box(100.0, 100, periodic=False)
    seen = np.array([[50.0, 50.0, 100.0]])
    sight = BoxSight(seen, np.array([[0.0, 0.0, 1.0]]), np.array([np.inf]), 0.01)
    found = mean_along_sight(fields(box), sight)
    inward = 100.0 - found.positions_real[0, 2]
    # The places are 50 km/s apart, and the one at the face counts whole.
    steps = np.arange(0, 2001, 50.0)
    weight = np.exp(-(steps**2) / (2 * DISPERSION**2))
    assert inward == pytest.approx(0.01 * (weight * steps).sum() / weight.sum(), abs=1e-3)


@pytest.mark.parametrize(("delta", "wider"), [(3.0, 2.0), (-0.36, 0.8), (99.0, 12**0.5), (-0.95, 0.5)])
def test_motions_about_the_flow_grow_as_the_root_of_the_density(delta, wider):
    """From 1 + delta = 0.25 to 12."""
    box = Box(100.0, 100, periodic=False)
    seen = np.array([[50.0, 50.0, 100.0]])
    sight = BoxSight(seen, np.array([[0.0, 0.0, 1.0]]), np.array([np.inf]), 0.01)
    found = mean_along_sight(fields(box, delta=delta), sight, sigma=100.0)
    steps = np.arange(0, 1401, 50.0)
    weight = np.exp(-(steps**2) / (2 * (100 * wider) ** 2))
    inward = 100.0 - found.positions_real[0, 2]
    assert inward == pytest.approx(0.01 * (weight * steps).sum() / weight.sum(), abs=1e-3)


def test_an_object_at_a_corner_of_the_box_has_a_velocity():
    box = Box(10.0, 16, periodic=False)
    seen = np.array([[10.0, 10.0, 10.0]])
    sight = BoxSight(seen, np.array([[-0.6, 0.0, -0.8]]) * -1, np.array([20.0]), 0.01)
    found = mean_along_sight(fields(box, speed=100.0), sight)
    assert found.v_los[0] == pytest.approx(60.0, abs=1e-3)


def test_more_objects_stand_farther_away_where_lines_of_sight_diverge():
    seen = np.array([[30.0, 0.0, 0.0]])
    along = np.array([[1.0, 0.0, 0.0]])
    near, far = (
        mean_along_sight(fields(speed=50.0), BoxSight(seen, along, np.array([distance]), 0.01))
        for distance in (30.0, np.inf)
    )
    assert far.positions_real[0, 0] == pytest.approx(29.5, abs=1e-4)
    expected = 29.5 + 2 * 2.0**2 * 29.5 / (29.5**2 + 2.0**2)  # the mean of r^3 over that of r^2
    assert near.positions_real[0, 0] == pytest.approx(expected, abs=1e-3)


def test_a_narrow_gaussian_between_the_places_of_the_mesh_still_gives_a_velocity():
    seen = np.array([[30.0, 0.0, 0.0]])
    sight = BoxSight(seen, np.array([[1.0, 0.0, 0.0]]), np.array([30.0]), 0.01)
    assert mean_along_sight(fields(speed=333.0), sight, sigma=20.0).v_los[0] == pytest.approx(333, abs=1e-3)


@pytest.mark.parametrize("space", ["real", "redshift"])
def test_a_periodic_box_takes_objects_back(space):
    box = Box(100.0, 8)
    rough = {
        "velocity": fields(box)["velocity"].replace(data=100 * torch.randn(3, 8, 8, 8)),
        "density": fields(box)["density"],
    }
    inside = np.array([[0.0, 30.0, 99.999999], [0.0, 30.0, 60.0], [95.0, 30.0, 60.0]])
    seen = Catalogue(inside, box=box, redshift=0.5, space=space)
    beyond = inside + np.array([[-1e-7, 0.0, 0.0], [100.0, 0.0, 0.0], [-100.0, 100.0, 0.0]])
    expected = at_objects(seen, rough, cosmology=COSMOLOGY, positions=inside)
    with pytest.warns(
        InputWarning, match=r"1 of 3 positions lie outside .* \(first: row 2 at \(-5, 130, 60\)\): check"
    ):
        found = at_objects(seen, rough, cosmology=COSMOLOGY, positions=beyond)
    for quiet in (box.wrap(beyond), beyond[:1], np.array([[np.nan, 1.0, 1.0]])):
        at_objects(seen, rough, cosmology=COSMOLOGY, positions=quiet)
    np.testing.assert_allclose(found.velocities, expected.velocities, atol=1e-3)
    assert box.contains(found.positions_real).all()
    assert len(Catalogue(beyond[:1], box=box, redshift=0.5)) == 1
