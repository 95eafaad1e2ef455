import numpy as np
import pytest

from peculiar.core import PRESETS, Box, Catalogue, InputError
from peculiar.fields.redshift_space import shift_along_sight, to_redshift_space


def catalogue(*, periodic: bool = True, **changes) -> Catalogue:
    values = {
        "positions": np.array([[1.0, 5.0, 5.0], [9.0, 5.0, 5.0], [4.0, 5.0, 6.0]]),
        "box": Box(10.0, periodic=periodic),
        "redshift": 0.0,
        "line_of_sight": "x",
        "space": "real",
        "velocities": np.zeros((3, 3)),
        "masses": np.array([1.0, 2.0, 3.0]),
        "weights": np.array([0.1, 0.2, 0.3]),
    }
    return Catalogue(**{**values, **changes})


@pytest.mark.parametrize(("axis", "column"), [("x", 0), ("y", 1), ("z", 2)])
def test_shift_is_along_the_line_of_sight_and_wraps(axis, column):
    start = catalogue(line_of_sight=axis)
    moved = shift_along_sight(start, np.array([2.0, 2.0, -7.0]))
    expected = start.positions.copy()
    expected[:, column] = (expected[:, column] + [2.0, 2.0, -7.0]) % 10.0
    np.testing.assert_allclose(moved.positions, expected)
    assert moved.space == "real"


def test_what_leaves_a_box_that_is_not_periodic_is_dropped_with_its_columns():
    moved = shift_along_sight(catalogue(periodic=False), np.array([2.0, 2.0, 0.0]))
    np.testing.assert_allclose(moved.positions[:, 0], [3.0, 4.0])
    np.testing.assert_array_equal(moved.masses, [1.0, 3.0])
    np.testing.assert_array_equal(moved.weights, [0.1, 0.3])
    assert moved.velocities.shape == (2, 3)


def test_there_and_back():
    start = catalogue(line_of_sight="radial", observer=(5.0, -40.0, 5.0))
    shift = np.array([0.3, -0.2, 0.1])
    back = shift_along_sight(shift_along_sight(start, shift), -shift)
    np.testing.assert_allclose(back.positions, start.positions)


def test_wrap_stays_in_the_box_at_the_edge_of_rounding():
    box = Box(0.3, origin=(0.1, -7.7, 1e3))
    edge = np.asarray(box.origin) + np.array([[0.0], [-1e-18], [0.3], [-0.3], [0.6], [0.29999999999999999]])
    assert box.contains(box.wrap(edge)).all()
    tiny = np.full((1, 3), -1e-18)
    assert (Box(10.0).wrap(tiny) == 0).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"space": "redshift"}, "must be 'real'"), ({"velocities": None}, "velocities must be given")],
)
def test_what_cannot_be_moved_is_an_error(changes, message):
    with pytest.raises(InputError, match=message):
        to_redshift_space(catalogue(**changes), PRESETS["xiao2024"])


def test_one_finite_displacement_per_object():
    for bad in (np.zeros(2), np.zeros((3, 1)), np.array([0.0, np.nan, 0.0])):
        with pytest.raises(InputError, match="one finite value per object"):
            shift_along_sight(catalogue(), bad)
