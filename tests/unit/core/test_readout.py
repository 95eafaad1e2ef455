import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from peculiar.core import Box, Field, InputError
from peculiar.core.readout import readout


@pytest.mark.parametrize("periodic", [True, False])
def test_a_field_is_read_by_trilinear_interpolation(periodic):
    """Against scipy, in double precision, far from the coordinates' zero."""
    box = Box(30.0, 12, origin=(-3.0, 5000.0, 0.0), periodic=periodic)
    rng = np.random.default_rng(0)
    field = Field(torch.from_numpy(rng.normal(size=(2, 12, 12, 12))), box, names=("a", "b"))
    inside = 0.0 if not periodic else 40.0
    positions = np.asarray(box.origin) + rng.uniform(-inside, 30 + inside, (500, 3))
    cells = ((positions - box.origin) / box.cell_size - 0.5).T
    mode = "grid-wrap" if periodic else "nearest"
    expected = [map_coordinates(channel, cells, order=1, mode=mode) for channel in field.numpy()]
    np.testing.assert_allclose(field.at(positions), np.transpose(expected), atol=1e-4)
    np.testing.assert_allclose(readout(field.data, positions, box), field.at(positions), atol=2e-3)


def test_outside_a_box_with_faces_there_is_nothing_to_read():
    box = Box(10.0, 4, periodic=False)
    field = Field(torch.ones(1, 4, 4, 4), box, names=("a",))
    values = field.at([[5.0, 5.0, 5.0], [10.0, 0.0, 10.0], [10.1, 5.0, 5.0]])
    np.testing.assert_array_equal(values[:, 0], [1.0, 1.0, np.nan])


@pytest.mark.parametrize(
    ("positions", "message"),
    [
        (np.zeros((3, 2)), r"shape \(n, 3\), got \(3, 2\)"),
        (np.zeros(3), r"shape \(n, 3\)"),
        ([[0, np.nan, 0]], "finite"),
    ],
)
def test_bad_positions_are_told_in_words(positions, message):
    field = Field(torch.ones(1, 4, 4, 4), Box(10.0, 4), names=("a",))
    with pytest.raises(InputError, match=message):
        field.at(positions)
