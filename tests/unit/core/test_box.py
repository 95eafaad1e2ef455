import numpy as np
import pytest

from peculiar.core import Box, InputError


def test_three_sides():
    box = Box((100.0, 50.0, 200.0), 40, origin=(1.0, 2.0, 3.0))
    assert box.shape == (20, 10, 40)
    assert box.cell_size == 5.0
    assert box.volume == 1e6
    assert box.cell_count == 8000
    assert box.k_fundamental == pytest.approx(2 * np.pi / 200)
    assert (box.extent, box.mesh_text) == ("100 x 50 x 200 Mpc/h", "20 x 10 x 40")
    assert box.coordinates(1).tolist() == [2 + 5 * (i + 0.5) for i in range(10)]
    assert box == Box((100.0, 50.0, 200.0), (20, 10, 40), origin=(1.0, 2.0, 3.0))
    assert box.contains(np.array([[101.0, 52.0, 203.0], [101.0, 53.0, 203.0]])).tolist() == [True, False]
    assert box.wrap(np.array([[0.5, 2.0, 204.0]])).tolist() == [[100.5, 2.0, 4.0]]
    assert box.with_cell_size(9.0).shape == (12, 6, 24)
    assert box.extended((0, 2, 8)).shape == (20, 12, 48)
    assert Box((1000.0, 997.0, 500.0)).least_cells == 1000


def test_three_equal_sides_are_a_cube():
    assert Box((90.0, 90.0, 90.0), (30, 30, 30)) == Box(90.0, 30)
    assert Box((90, 90, 90)).is_cube
    assert Box(90).side == 90.0


@pytest.mark.parametrize(
    ("size", "cells", "words"),
    [
        ((100.0, 50.0), None, "one number or three"),
        ((100.0, 50.0, 0.0), None, "> 0"),
        ((100.0, 50.0, 33.0), 10, "integer"),
        ((100.0, 50.0, 25.0), (20, 10, 10), "cubes"),
        ("wide", None, "one number or three"),
    ],
)
def test_wrong_sides_are_refused(size, cells, words):
    with pytest.raises(InputError, match=words):
        Box(size, cells)


def test_what_needs_a_cube_says_so():
    box = Box((100.0, 50.0, 200.0), 40)
    for name in ("side", "mesh"):
        with pytest.raises(InputError, match="must be a cube"):
            getattr(box, name)


def test_what_rounding_puts_outside_a_box_is_brought_back():
    beyond = np.array([[-1e-7, 5.0, 100.0 + 8e-6], [99.0, 100.0, 0.0], [-1.0, 5.0, 5.0]])
    back = Box(100.0).settled(beyond)
    np.testing.assert_allclose(back[0], [100.0, 5.0, 8e-6], atol=1e-6)
    assert (
        back[1:].tolist() == beyond[1:].tolist()
    )  # what lies inside stays, and so does what is another error
    assert Box(100.0).contains(back).tolist() == [True, True, False]
    faces = Box(100.0, periodic=False).settled(beyond)
    assert faces.tolist() == [[0.0, 5.0, 100.0], *beyond[1:].tolist()]


def test_wrapping_leaves_what_is_inside_as_it_is():
    box = Box(0.3, origin=(0.1, 0.1, 0.1))
    inside = np.random.default_rng(0).uniform(0.1, 0.39, (1000, 3))
    assert (box.wrap(inside) == inside).all()
    assert np.isnan(box.wrap(np.array([[np.inf, np.nan, 0.2]]))[0, :2]).all()
