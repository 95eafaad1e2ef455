"""Web classes of waves, of linear flows, and of matrices with known eigenvalues."""

import math

import numpy as np
import pytest
import torch

from peculiar.core import Box, Field, InputError
from peculiar.fields.calculus import displacement
from peculiar.fields.smooth import gaussian
from peculiar.statistics.cosmic_web import confusion, shear_web, symmetric_eigenvalues, tidal_web

BOX = Box(100.0, 16)


def scalar(data):
    return Field(data.reshape(1, 16, 16, 16).float(), BOX, ("delta",))


def test_eigenvalues_equal_lapack():
    a = torch.randn(500, 3, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    a = a + a.transpose(1, 2)
    a[0] = torch.diag(torch.tensor([2.0, 2.0, 2.0]))
    a[1] = torch.diag(torch.tensor([3.0, 1.0, 1.0]))
    a[2] = 0
    parts = a[:, 0, 0], a[:, 1, 1], a[:, 2, 2], a[:, 0, 1], a[:, 0, 2], a[:, 1, 2]
    found = torch.stack(symmetric_eigenvalues(*parts), dim=1)
    torch.testing.assert_close(found, torch.linalg.eigvalsh(a).flip(1), rtol=1e-6, atol=1e-7)


def test_walls_filaments_and_knots_of_waves():
    x, y, z = (torch.as_tensor(BOX.coordinates()).reshape(s) for s in ((-1, 1, 1), (1, -1, 1), (1, 1, -1)))
    k = BOX.k_fundamental
    waves = [torch.cos(k * c).expand(16, 16, 16) for c in (x, y, z)]
    for count, field in ((1, waves[0]), (3, waves[0] + waves[1] + waves[2])):
        web = tidal_web(scalar(field), threshold=0.05)
        expected = sum((w > 0.05).int() for w in waves[:count]).numpy()
        np.testing.assert_array_equal(web.classes, expected)
        np.testing.assert_allclose(web.eigenvalues.sum(axis=0), field.numpy(), atol=1e-5)
    np.testing.assert_allclose(web.fractions, [1 / 8, 3 / 8, 3 / 8, 1 / 8])


def test_linear_flow_has_the_web_of_its_density():
    noise = torch.randn(1, 16, 16, 16, generator=torch.Generator().manual_seed(2))
    density = gaussian(Field(noise, BOX, ("delta",)), 8.0)
    flow = Field(75.0 * displacement(density.data[0], BOX), BOX, "xyz", unit="km/s", kind="vector")
    tidal = tidal_web(density, threshold=0.01)
    shear = shear_web(flow, threshold=0.01, expansion_rate=75.0)
    assert confusion(shear, tidal).agreement > 0.99
    assert len(np.unique(tidal.classes)) == 4


def test_confusion_counts():
    rng = np.random.default_rng(1)
    a, b = (tidal_web(scalar(torch.as_tensor(rng.normal(size=(16, 16, 16))))) for _ in range(2))
    result = confusion(a, b)
    for true in range(4):
        for predicted in range(4):
            assert result.counts[true, predicted] == ((b.classes == true) & (a.classes == predicted)).sum()
    np.testing.assert_allclose(np.nansum(result.rates, axis=1)[1:3], 1)
    assert result.agreement == pytest.approx((a.classes == b.classes).mean())
    assert abs(result.kappa) < 0.1
    assert confusion(a, a).kappa == pytest.approx(1)


def test_bad_input():
    field = scalar(torch.randn(16, 16, 16))
    with pytest.raises(InputError, match="periodic"):
        tidal_web(field.replace(box=Box(100.0, 16, periodic=False)))
    with pytest.raises(InputError, match="threshold must be finite"):
        tidal_web(field, threshold=math.nan)
    with pytest.raises(InputError, match="must be a vector"):
        shear_web(field)
    vector = Field(torch.randn(3, 16, 16, 16), BOX, "xyz", kind="vector")
    with pytest.raises(InputError, match="expansion_rate"):
        shear_web(vector, expansion_rate=0.0)
    with pytest.raises(InputError, match="share one box"):
        confusion(tidal_web(field), tidal_web(field.replace(box=Box(99.0, 16))))
