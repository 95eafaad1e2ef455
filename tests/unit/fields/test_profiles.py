import numpy as np
import torch

from peculiar.core import Box, Field
from peculiar.fields.objects import mean_along_sight
from peculiar.fields.profiles import OFFSETS, profiles
from peculiar.fields.sight import BoxSight

BOX = Box(64.0, 32)
FACTOR = 0.01


def made():
    random = torch.Generator().manual_seed(0)
    velocity = Field(
        300 * torch.randn(3, 32, 32, 32, generator=random), BOX, ("x", "y", "z"), "km/s", kind="vector"
    )
    density = Field(torch.randn(1, 32, 32, 32, generator=random).exp() - 1, BOX, ("density",))
    return {"velocity": velocity, "density": density}


def sight(n=40):
    random = np.random.default_rng(1)
    directions = random.normal(size=(n, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return BoxSight(random.uniform(0, 64, (n, 3)), directions, np.full(n, np.inf), FACTOR)


def test_profiles_are_the_fields_at_places_along_the_sight_lines():
    fields, lines = made(), sight()
    found = profiles(fields["velocity"], fields["density"], lines)
    assert found.shape == (40, len(OFFSETS), 2)
    for place in (0, len(OFFSETS) // 2, 20):
        points = BOX.wrap(lines.observed + FACTOR * OFFSETS[place] * lines.directions)
        along = (fields["velocity"].at(points) * lines.directions).sum(axis=1)
        np.testing.assert_allclose(found[:, place, 0], along, atol=0.05)
        np.testing.assert_allclose(
            found[:, place, 1], np.log1p(fields["density"].at(points)[:, 0]), atol=1e-4
        )


def test_a_reader_changes_velocities_along_the_sight_line_and_places():
    fields, lines = made(), sight()
    own = np.linspace(-900, 900, 40)

    def reader(profile, told):
        assert profile.shape == (40, len(OFFSETS), 2)
        assert np.isnan(told[:, 0]).all()  # the fields tell no error
        assert (told[:, 1] == 2.0).all()
        return 10.0 * np.arange(40), np.full(40, 50.0), own, np.full(40, 150.0)

    plain, found = mean_along_sight(fields, lines), mean_along_sight(fields, lines, reader=reader)
    np.testing.assert_array_equal(found.v_los, 10.0 * np.arange(40))
    moved = (found.v_los - plain.v_los)[:, None] * lines.directions
    np.testing.assert_allclose(found.velocities, plain.velocities + moved)
    np.testing.assert_allclose((found.velocities * lines.directions).sum(axis=1), found.v_los, atol=0.05)
    places = BOX.wrap(lines.observed - FACTOR * own[:, None] * lines.directions)
    np.testing.assert_allclose(found.positions_real, places, atol=1e-6)
    assert (found.v_los_scatter == 50).all()
    assert (found.v_los_own_error == 150).all()


def test_a_reader_is_told_errors_without_those_of_unseen_matter():
    lines = sight()
    box = Box(64.0, 32, periodic=False)
    fields = {name: field.replace(box=box) for name, field in made().items()}
    local, whole = (
        {name: Field(torch.full((1, 32, 32, 32), value), box, (name,), "km/s")}
        for name, value in (("local_error", 60.0), ("velocity_error", 100.0))
    )
    told_of = []

    def reader(profile, told):
        told_of.append(told[:, 0])
        return np.zeros(40), np.full(40, 50.0), np.zeros(40), np.full(40, 150.0)

    some = mean_along_sight(fields | local, lines, reader=reader)
    all_of_it = mean_along_sight(fields | local | whole, lines, reader=reader)
    untold = mean_along_sight(fields | whole, lines, reader=reader)
    np.testing.assert_allclose(told_of[:2], 60, rtol=1e-6)
    assert np.isnan(told_of[2]).all()  # linear theory's alone is mostly of unseen matter
    np.testing.assert_allclose(some.v_los_scatter, np.hypot(50, 60))  # all that is told, in one number
    np.testing.assert_allclose(some.v_los_own_error, 150)
    np.testing.assert_allclose(all_of_it.v_los_error, 100)
    np.testing.assert_allclose(all_of_it.v_los_scatter, 50)
    np.testing.assert_allclose(all_of_it.v_los_own_error, np.hypot(150, 80))
    np.testing.assert_allclose(untold.v_los_own_error, np.hypot(150, 100))


def test_the_mean_s_own_velocity_and_place_put_an_object_where_it_is_seen():
    fields, lines = made(), sight()
    found = mean_along_sight(fields, lines)
    back = found.positions_real + FACTOR * found.v_los_own[:, None] * lines.directions
    apart = back - lines.observed
    np.testing.assert_allclose(apart - 64 * np.round(apart / 64), 0, atol=1e-6)
    assert (found.v_los_own_error > found.v_los_scatter / 2).all()
    assert 100 < np.median(found.v_los_own_error) < 700
