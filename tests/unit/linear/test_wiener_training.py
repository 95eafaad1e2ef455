import numpy as np
import pytest
import torch

from peculiar.core import PRESETS, Box, Catalogue, Field, InputError
from peculiar.fields.calculus import displacement
from peculiar.linear import Spectra, accumulate, fit_wiener, solve

COSMOLOGY = PRESETS["xiao2024"]
ABUNDANCES = (1e-4, 3e-4)


def spectra(seed: int, cells: int = 16) -> Spectra:
    n, box = cells, Box(100.0, cells)
    bins = torch.randn(2, n, n, n, generator=torch.Generator().manual_seed(seed))
    total = bins.sum(dim=0, keepdim=True)
    density = 0.5 * bins[0] - 0.25 * bins[1]
    return Spectra.of(torch.cat([bins, total]), density, displacement(2 * bins[1], box), box)


def test_exact_relations_are_learned_exactly():
    wiener = solve(spectra(0) + spectra(1), abundances=ABUNDANCES)
    np.testing.assert_allclose(wiener.weights_density, [[0.5, -0.25]] * len(wiener.k), atol=1e-4)
    # Divergences have no part on the planes at the Nyquist frequency.
    inside = wiener.k < 0.8 * Box(100.0, 16).k_nyquist
    np.testing.assert_allclose(wiener.weights_velocity[inside], [[0.0, 2.0]] * inside.sum(), atol=1e-4)
    assert wiener.training["boxes"] == 2
    assert (np.diff(wiener.k) > 0).all()


def test_a_bin_without_tracers_gets_no_weight():
    one = spectra(0)
    one.tracers[:, 0] = one.tracers[:, :, 0] = one.targets[:, 0] = 0.0
    wiener = solve(one, abundances=ABUNDANCES)
    np.testing.assert_array_equal(wiener.weights_density[:, 0], 0.0)
    assert wiener.weights_velocity[0, 1] == pytest.approx(2.0, rel=1e-3)


def test_spectra_of_different_meshes_do_not_add():
    with pytest.raises(InputError, match="share shells and channels"):
        spectra(0) + spectra(0, 8)


def test_number_of_bins_must_fit():
    with pytest.raises(InputError, match="must have 4 bins"):
        solve(spectra(0))


def simulated(**changes) -> tuple[Catalogue, Field, Field]:
    rng = np.random.default_rng(0)
    box = Box(100.0, 8)
    settings = {"redshift": 0.59, "masses": rng.random(300)} | changes
    catalogue = Catalogue(rng.uniform(0, 100, (300, 3)), Box(100.0), **settings)
    density = Field(torch.rand(1, 8, 8, 8), box, names=("density",))
    return catalogue, density, Field(torch.rand(3, 8, 8, 8), box, names="xyz", unit="km/s", kind="vector")


def test_training_conditions_travel_with_the_filter():
    wiener = fit_wiener(
        [simulated()], cosmology=COSMOLOGY, abundances=ABUNDANCES, smoothing=7.0, bias=1.3, iterations=2
    )
    assert (wiener.smoothing, wiener.bias, wiener.iterations) == (7.0, 1.3, 2)
    assert wiener.training == pytest.approx(
        {"boxes": 1, "cell_size": 12.5, "redshift": 0.59, "number_density": 3e-4}
    )


def test_unusable_boxes_are_refused():
    with pytest.raises(InputError, match="at least one simulated box"):
        fit_wiener([], cosmology=COSMOLOGY)
    with pytest.raises(InputError, match="masses must be given"):
        accumulate(*simulated(masses=None), cosmology=COSMOLOGY)
    catalogue, density, velocity = simulated()
    with pytest.raises(InputError, match="share one box"):
        accumulate(catalogue, density, velocity.replace(box=Box(50.0, 8)), cosmology=COSMOLOGY)
    survey = Box(100.0, 8, periodic=False)
    with pytest.raises(InputError, match="periodic must be true"):
        accumulate(catalogue, density.replace(box=survey), velocity.replace(box=survey), cosmology=COSMOLOGY)
