import numpy as np
import pytest

from peculiar.catalogues import RadialSelection, SkyMask, completeness, radial_selection
from peculiar.core import Box, InputError

FULL = SkyMask(np.ones(12 * 8**2))


def test_density_of_a_uniform_sample_flat_and_measured():
    rng = np.random.default_rng(4)
    distances = (rng.uniform(30**3, 120**3, 60000)) ** (1 / 3)
    truth = 60000 / (4 * np.pi / 3 * (120**3 - 30**3))
    for radial in ("flat", "measured"):
        selection = radial_selection(
            distances, solid_angle=4 * np.pi, distance_range=(30.0, 120.0), radial=radial, smoothing=20.0
        )
        np.testing.assert_allclose(selection.at(np.array([31.0, 60.0, 119.0])), truth, rtol=0.05)
        np.testing.assert_array_equal(selection.at(np.array([29.0, 121.0])), 0.0)


def test_measured_selection_follows_a_falling_density():
    rng = np.random.default_rng(4)
    distances = (rng.uniform(0, 400**3, 400000)) ** (1 / 3)
    kept = distances[rng.uniform(size=len(distances)) < np.exp(-distances / 150)]
    selection = radial_selection(kept, solid_angle=4 * np.pi, radial="measured", smoothing=20.0)
    ratio = selection.at(np.array([100.0])) / selection.at(np.array([300.0]))
    np.testing.assert_allclose(ratio, np.exp(200 / 150), rtol=0.08)
    with pytest.raises(InputError, match="give radial='measured'"):
        radial_selection(kept, solid_angle=4 * np.pi)


def test_weights_count():
    distances = np.linspace(10, 20, 50)
    single = radial_selection(distances, solid_angle=1.0)
    double = radial_selection(distances, solid_angle=1.0, weights=np.full(50, 2.0))
    assert double.peak == pytest.approx(2 * single.peak)


def test_range_without_objects():
    with pytest.raises(InputError, match="must hold objects, got 50 to 60"):
        radial_selection(np.linspace(10, 20, 50), solid_angle=1.0, distance_range=(50.0, 60.0))


def test_completeness_of_a_full_shell_is_its_volume():
    box = Box(100.0, 32, origin=(-50.0, -50.0, -50.0), periodic=False)
    selection = RadialSelection(np.array([20.0, 45.0]), np.array([1e-3, 1e-3]))
    field = completeness(box, FULL, n_of_r=selection)
    assert float(field.data.max()) == 1.0
    assert float(field.data.min()) == 0.0
    assert float(field.data.mean()) == pytest.approx(4 * np.pi / 3 * (45**3 - 20**3) / 100**3, rel=0.01)


def test_completeness_is_mask_times_relative_density():
    box = Box(40.0, 16, origin=(10.0, -20.0, -20.0), periodic=False)
    selection = RadialSelection(np.array([0.0, 100.0]), np.array([2e-3, 1e-3]))
    half = SkyMask(np.full(12, 0.5))
    values = completeness(box, half, n_of_r=selection, observer=(5.0, 0.0, 0.0)).data[0].numpy()
    centre = np.array([box.coordinates(0)[6] - 5, box.coordinates(1)[3], box.coordinates(2)[12]])
    expected = 0.5 * (1 - 0.5 * np.linalg.norm(centre) / 100)
    assert values[6, 3, 12] == pytest.approx(expected, rel=2e-3)
