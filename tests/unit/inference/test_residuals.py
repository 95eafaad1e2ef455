import numpy as np
import pytest
import torch
from pydantic import ValidationError

from peculiar.core import PRESETS, Box, Field
from peculiar.fields.calculus import divergence
from peculiar.fields.fourier import inverse_k_squared, to_fourier, to_real
from peculiar.inference.card_values import ErrorFactor
from peculiar.inference.residuals import DrawnResiduals, MatterPower, of_logarithm, slowed, spread
from peculiar.linear.spectra import Shells

BOX, COSMOLOGY, REDSHIFT = Box(200.0, 48), PRESETS["xiao2024"], 0.5
SHELLS = Shells.of(BOX, np.array([0.05, 0.1, 0.2, 0.3, 0.4, 0.6]))


def spectrum(a, b=None):
    other = a if b is None else b
    cross = (to_fourier(a) * to_fourier(other).conj()).real
    return SHELLS.mean(cross) * BOX.cell_size**3 / BOX.cell_count


@pytest.fixture(scope="module")
def power():
    return MatterPower(BOX, COSMOLOGY, REDSHIFT)


@pytest.fixture(scope="module")
def answer(power):
    """A lognormal field with the power that is known, but for an amplitude that is too small by a tenth."""
    white = to_fourier(torch.randn(BOX.shape, generator=torch.Generator().manual_seed(1)))
    known = power.known(np.exp(-1.0), 0.8) * power.painted
    known[0, 0, 0] = 0
    logarithm, variance = of_logarithm(known, torch.ones(BOX.shape), BOX)
    return 0.9 * ((to_real(white * logarithm.sqrt(), BOX.shape) - variance / 2).exp() - 1)


def residuals_of(table, answer, level=1.0, **changes):
    return DrawnResiduals.of(
        table, answer, BOX, level=level, cosmology=COSMOLOGY, redshift=REDSHIFT, **changes
    )


@pytest.fixture(scope="module")
def left(residuals, answer):
    tabulated = np.log(1 / 0.9)
    return residuals_of(residuals(density=((0.0,) * 5, (0.0,) * 5, (tabulated, 0, 0, 0, 0))), answer)[0]


@pytest.fixture(scope="module")
def drawn(left):
    return left.draw(torch.Generator().manual_seed(2))


def test_answer_and_draw_together_have_the_power_of_matter(left, power):
    random = torch.Generator().manual_seed(2)
    found = np.mean([spectrum(left.density * left.draw(random)[1]) for _ in range(8)], axis=0)
    expected = SHELLS.mean(power.painted)
    np.testing.assert_allclose(found[1:], expected[1:], rtol=0.06)


def test_an_answer_of_another_amplitude_is_brought_towards_what_is_known(left, answer, residuals, power):
    known = SHELLS.mean(power.known(np.exp(-1.0), 0.8) * power.painted)
    np.testing.assert_allclose(spectrum(left.density)[1:], known[1:], rtol=0.08)
    # Not tabulated, the power alone asks for it: by so much as the scatter of slopes allows.
    alone = residuals_of(residuals(), answer)[0]
    ratio = float((spectrum(alone.density) / spectrum(1 + answer))[2:].mean())
    assert 1.1 < ratio < (1 / 0.9) ** 2 - 0.03


def test_what_is_drawn_does_not_go_together_with_the_answer(left):
    random = torch.Generator().manual_seed(2)
    noise = torch.stack([left.density * (left.draw(random)[1] - 1) for _ in range(8)]).mean(dim=0)
    both = spectrum(noise, left.density) / np.sqrt(spectrum(noise) * spectrum(left.density))
    np.testing.assert_allclose(both[1:], 0, atol=0.12)


def test_long_waves_are_left_to_whom_knows_them(residuals, answer):
    drawn = [
        residuals_of(residuals(), answer, without=radius)[0].draw(torch.Generator().manual_seed(2))
        for radius in (0.0, 10.0)
    ]
    whole, short = (spectrum(velocity[0]) for velocity, _ in drawn)
    shape = 1 - np.exp(-((SHELLS.k * 10.0) ** 2))
    np.testing.assert_allclose(short / short[-1], shape * whole / whole[-1], rtol=0.2)
    assert float(drawn[1][0].square().mean()) == pytest.approx(1, abs=0.06)
    assert torch.equal(drawn[0][1], drawn[1][1])  # those of density are not


def test_components_of_velocity_have_variance_one_and_densities_are_positive(drawn):
    velocity, factor = drawn
    assert float(velocity.square().mean()) == pytest.approx(1, abs=0.06)
    assert float(factor.min()) > 0
    assert float(factor.mean()) == pytest.approx(1, abs=0.02)


def test_velocity_follows_density_as_the_table_says(drawn, left):
    velocity, factor = drawn
    flow = Field(velocity, BOX, names=("x", "y", "z"), kind="vector")
    convergence, noise = -divergence(flow).data[0], left.density * (factor - 1)
    coherence = spectrum(convergence, noise) / np.sqrt(spectrum(convergence) * spectrum(noise))
    expected = np.interp(np.log(SHELLS.k), np.log((0.05, 0.2, 1.0)), (0.9, 0.8, 0.1))
    np.testing.assert_allclose(coherence, expected, atol=0.08)
    ratio = np.log(spectrum(convergence) / spectrum(noise))
    transfer = np.interp(np.log(SHELLS.k), np.log((0.05, 0.2, 1.0)), (-0.1, -0.5, -1.5))
    np.testing.assert_allclose((ratio - transfer)[1:], (ratio - transfer)[1:].mean(), atol=0.1)
    modes = to_fourier(velocity).abs().square().sum(dim=0)
    along = SHELLS.mean(to_fourier(convergence).abs().square() * inverse_k_squared(BOX))
    across = 1 - along / SHELLS.mean(modes)
    expected = np.interp(np.log(SHELLS.k), np.log((0.05, 0.2, 1.0)), (0.05, 0.1, 0.4))
    np.testing.assert_allclose(across[1:], expected[1:], atol=0.05)


def test_a_lognormal_factor_gets_the_power_that_is_wanted():
    mean = 1 + 0.5 * torch.sin(torch.arange(48) * 2 * torch.pi / 48)[:, None, None].expand(48, 48, 48)
    wanted = torch.full((48, 48, 25), 30.0)
    wanted[0, 0, 0] = 0
    power, variance = of_logarithm(wanted, mean, BOX)
    random = torch.Generator().manual_seed(0)
    noise = []
    for _ in range(4):
        gaussian = to_real(to_fourier(torch.randn(BOX.shape, generator=random)) * power.sqrt(), BOX.shape)
        noise.append(spectrum(mean * ((gaussian - variance / 2).exp() - 1)))
    np.testing.assert_allclose(np.mean(noise, axis=0), 30, rtol=0.06)


def test_what_is_left_follows_what_is_known_of_a_sample(residuals):
    table = residuals(
        error=(0.1, 0.0, 1.0, 0.0, 0.0),
        known=((-1.0, 2.0, 0.0, 0.0, 0.0), (0.8, 0.0, 0.0, 0.0, 0.0)),
        least=(-1.0,) * 4,
        most=(1.0,) * 4,
    )
    sample = table.at(level=2.0, amplitude=0.5, cell_size=2.0, share=0.9)
    assert sample.error == pytest.approx(2 * np.exp(0.1) * 0.5)
    assert sample.known == pytest.approx((np.exp(-1.0) * 4, 0.8))
    # Beyond what was measured it stays what it is at the end.
    assert table.at(level=50.0, amplitude=0.5, cell_size=2.0, share=0.9).known[0] == pytest.approx(np.e)


def test_a_table_follows_how_the_objects_of_a_sample_were_chosen(residuals):
    def factor(slope):
        return ErrorFactor(constant=0.0, slopes={"bias": slope}, least={"bias": -0.3}, most={"bias": 0.2})

    here = {"level": 2.0, "amplitude": 0.5, "cell_size": 2.0, "share": 0.9}
    table = residuals(factors={"error": factor(1.0), "a": factor(-2.0), "velocity": factor(0.5)})
    before = residuals().at(**here)
    for bias, kept in ((0.1, 0.1), (-5.0, -0.3)):
        found = table.chosen({"bias": bias, "ranked": 1.0}).at(**here)
        assert found.error == pytest.approx(before.error * np.exp(kept))
        assert found.known == pytest.approx((before.known[0] * np.exp(-2 * kept), before.known[1]))
        assert found.density == pytest.approx(before.density)
        assert found.velocity == pytest.approx(before.velocity * np.exp(0.5 * kept))


def test_a_table_has_a_value_for_each_wavenumber(residuals):
    with pytest.raises(ValidationError, match="coherence must have 3 values, got 2"):
        residuals(coherence=((0.1, 0, 0, 0, 0), (0.2, 0, 0, 0, 0)))


def test_in_dense_cells_a_velocity_is_slower_and_as_a_whole_it_keeps_its_slope():
    random = torch.Generator().manual_seed(3)
    velocity, rho = torch.randn(3, 8, 8, 8, generator=random), torch.ones(8, 8, 8)
    rho[:2] = 20.0
    found = slowed(velocity, rho, 0.01)
    ratio = found / velocity
    assert float(ratio[:, 0].mean() / ratio[:, 5].mean()) == pytest.approx(1.01 / 1.2, rel=1e-5)
    assert float((found * velocity).sum() / velocity.square().sum()) == pytest.approx(1, rel=1e-5)
    assert slowed(velocity, rho, 0.0) is velocity


def test_an_error_follows_the_density_and_is_as_large_as_before_where_it_counts():
    rho = torch.ones(8, 8, 8)
    rho[:2], rho[6:] = 16.0, 0.01
    error, seen = torch.full((8, 8, 8), 2.0), torch.ones(8, 8, 8, dtype=torch.bool)
    seen[4:] = False
    found = spread(error, rho, 0.25, seen=seen)
    assert float(found[0, 0, 0] / found[3, 0, 0]) == pytest.approx(2, rel=1e-5)
    assert float(found[7, 0, 0] / found[3, 0, 0]) == pytest.approx(0.3**0.25, rel=1e-5)
    assert float(found[seen].square().mean()) == pytest.approx(4, rel=1e-5)
