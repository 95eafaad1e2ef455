import numpy as np
import pytest
import torch
from pydantic import ValidationError

from peculiar.core import Box
from peculiar.fields.calculus import divergence
from peculiar.fields.fourier import to_fourier
from peculiar.inference.card_values import Residuals
from peculiar.inference.residuals import UnitResiduals, drawn_density
from peculiar.linear.spectra import Shells

K = (0.05, 0.2, 1.0)
ROW = {
    "level": 1.0,
    "error": 1.2,
    "cell_size": 4.0,
    "slope_density": (1.0, 1.0, 0.9),
    "slope_velocity": (1.0, 1.0, 0.9),
    "convergence": (8.0, 4.0, 1.0),
    "rotation": (0.5, 0.5, 0.5),
    "density": (4.0, 2.0, 1.0),
    "coherence": (0.9, 0.6, 0.0),
    "scatter": (0.4, 0.8),
}
TABLE = Residuals(k=K, log_density=(-1.0, 1.0), rows=(ROW, ROW | {"level": 3.0, "error": 3.0}))
BOX = Box(192.0, 48)


@pytest.fixture(scope="module")
def drawn():
    unit = UnitResiduals.of(TABLE, TABLE.at(1.0, 4.0), BOX)
    return unit.draw(torch.Generator().manual_seed(2))


def test_components_and_log_density_have_variance_one(drawn):
    velocity, density = drawn
    assert float(velocity.square().mean()) == pytest.approx(1, abs=0.06)
    assert float(density.square().mean()) == pytest.approx(1, abs=0.06)


def test_powers_and_coherence_are_those_of_the_row(drawn):
    from peculiar.core import Field

    velocity, density = drawn
    flow = Field(velocity, BOX, names=("x", "y", "z"), kind="vector")
    convergence, modes = to_fourier(-divergence(flow).data[0]), to_fourier(density)
    shells = Shells.of(BOX, np.array([0.06, 0.12, 0.24, 0.48]))
    found = shells.mean(modes.abs().square())
    expected = np.exp(np.interp(np.log(shells.k), np.log(K), np.log(ROW["density"])))
    np.testing.assert_allclose(found / found[-1], expected / expected[-1], rtol=0.1)
    cross = shells.mean((modes * convergence.conj()).real)
    coherence = cross / np.sqrt(found * shells.mean(convergence.abs().square()))
    # Rotation is part of the convergence that is measured: it brings Q k^2 to C.
    k = shells.k
    power = np.exp(np.interp(np.log(k), np.log(K), np.log(ROW["convergence"])))
    shared = np.interp(np.log(k), np.log(K), ROW["coherence"]) * np.sqrt(power / (power + 0.5 * k**2))
    np.testing.assert_allclose(coherence, shared, atol=0.08)


def test_a_row_lies_between_its_neighbours_and_far_ones_count_little():
    assert TABLE.at(1.0, 4.0).error == pytest.approx(1.2, rel=0.01)
    assert TABLE.at(3.0, 4.0).error == pytest.approx(3.0, rel=0.01)
    between = TABLE.at(np.sqrt(3.0), 4.0)
    assert between.error / between.level == pytest.approx(np.sqrt(1.2), rel=1e-3)
    assert between.density == pytest.approx(ROW["density"])


def test_drawn_densities_are_positive_and_keep_their_mean():
    random = torch.Generator().manual_seed(0)
    mean = torch.full((64, 64, 64), 0.5)
    found = drawn_density(mean, torch.randn(mean.shape, generator=random), TABLE, TABLE.rows[0])
    scatter = np.interp(np.log(0.5), (-1.0, 1.0), ROW["scatter"])
    assert found.min() > 0
    assert float(found.mean()) == pytest.approx(0.5, rel=0.01)
    assert float(found.var()) == pytest.approx(0.25 * (np.exp(scatter**2) - 1), rel=0.05)


def test_a_row_has_a_value_for_each_wavenumber():
    with pytest.raises(ValidationError, match="coherence must have 3 values, got 2"):
        Residuals(k=K, log_density=(-1.0, 1.0), rows=(ROW | {"coherence": (0.1, 0.2)},))
