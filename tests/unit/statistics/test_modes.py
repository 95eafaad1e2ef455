"""Modes of catalogues and fields, and the shells they are summed in."""

import numpy as np
import pytest
import torch

from peculiar.core import Box, Catalogue, Field, InputError
from peculiar.fields.fourier import to_fourier
from peculiar.statistics import modes as module
from peculiar.statistics.modes import catalogue_modes, modes_of, shell_sums


def test_modes_of_one_object_have_unit_amplitude_and_its_phase():
    box, position = Box(64.0), np.array([[11.3, 40.2, 7.7]])
    modes = catalogue_modes(Catalogue(position, box, redshift=0.0), 32)
    n = np.array([1, 2, 3])
    # The mesh's own origin is the centre of its first cell, half a cell from the corner.
    phase = np.exp(-1j * box.k_fundamental * n @ (position[0] - 1.0))
    assert complex(modes.data[0, 1, 2, 3]) == pytest.approx(phase, abs=2e-3)
    assert modes.data[0, 0, 0, 0] == 0
    assert modes.shot_noise == box.volume


@pytest.mark.parametrize("cells", [9, 10])
def test_shells_count_every_mode_once(cells):
    field = torch.randn(cells, cells, cells, dtype=torch.float64)
    half, full = to_fourier(field), torch.fft.fftn(field)
    sums, counts = shell_sums(cells, "cpu", lambda slab: [half[slab.rows].abs() ** 2])
    index = np.rint(np.fft.fftfreq(cells, 1 / cells)).astype(int) ** 2
    squared = (index[:, None, None] + index[:, None] + index).ravel()
    np.testing.assert_array_equal(counts[1:], np.bincount(squared, minlength=len(counts))[1:])
    other = np.bincount(squared, (full.abs() ** 2).numpy().ravel(), minlength=len(counts))
    np.testing.assert_allclose(sums[1:], other[1:], rtol=1e-10, atol=1e-9)
    assert sums[0] == counts[0] == 0
    kept = shell_sums(cells, "cpu", lambda slab: [half[slab.rows].abs() ** 2], keep_zero=True)
    assert kept[1, 0] == 1
    assert kept[0].sum() == pytest.approx(float((field**2).sum()) * cells**3)


def test_slabs_do_not_change_sums(monkeypatch):
    data = torch.randn(12, 12, 7)
    whole = shell_sums(12, "cpu", lambda slab: [data[slab.rows].double()])
    monkeypatch.setattr(module, "SLAB_CELLS", 12 * 7 * 5)
    parts = shell_sums(12, "cpu", lambda slab: [data[slab.rows].double()])
    np.testing.assert_allclose(parts, whole, rtol=1e-12, atol=1e-12)


def test_modes_pass_through():
    modes = modes_of(Field(torch.randn(1, 8, 8, 8), Box(10.0, 8), ("delta",)))
    assert modes_of(modes) is modes


def test_bad_catalogues():
    points = np.full((4, 3), 5.0)
    with pytest.raises(InputError, match="periodic box"):
        catalogue_modes(Catalogue(points, Box(10.0, periodic=False), redshift=0.0), 8)
    mask = Field(torch.ones(1, 4, 4, 4), Box(10.0, 4), ("completeness",))
    with pytest.raises(InputError, match="periodic box"):
        catalogue_modes(Catalogue(points, Box(10.0), redshift=0.0, completeness=mask), 8)
    with pytest.raises(InputError, match="weights must be >= 0 and not all 0"):
        catalogue_modes(Catalogue(points, Box(10.0), redshift=0.0, weights=np.zeros(4)), 8)
