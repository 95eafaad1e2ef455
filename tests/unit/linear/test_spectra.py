import numpy as np
import pytest
import torch

from peculiar.core import Box
from peculiar.fields.fourier import to_fourier
from peculiar.linear.spectra import Shells, uniform_edges


@pytest.mark.parametrize("cells", [8, 9])
def test_shells_count_every_mode_once(cells):
    box = Box(100.0, cells)
    shells = Shells.of(box, np.array([0.0, 0.1, 10.0]))
    assert shells.modes.sum() == cells**3 - 1  # all but k = 0
    data = torch.randn(cells, cells, cells, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    power = to_fourier(data).abs().square()
    # Parseval
    expected = cells**3 * float((data - data.mean()).square().sum())
    assert shells.sum(power).sum() == pytest.approx(expected)


def test_shell_means_and_wavenumbers():
    box = Box(100.0, 16)
    shells = Shells.of(box, np.array([0.9, 1.1, 1.3]) * box.k_fundamental)
    np.testing.assert_array_equal(shells.modes, [6, 0])
    assert shells.k[0] == pytest.approx(box.k_fundamental)
    values = torch.full((16, 16, 9), 3.0)
    np.testing.assert_allclose(shells.mean(values), [3.0, 0.0])


def test_uniform_edges_span_the_range():
    edges = uniform_edges(0.3, 0.02)
    assert edges[0] == pytest.approx(0.01)
    assert edges[-1] == pytest.approx(0.3)
    np.testing.assert_allclose(np.diff(edges), 0.02, rtol=0.1)
