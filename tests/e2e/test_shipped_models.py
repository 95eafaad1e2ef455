"""The weights that come with the package, on the held-out box that comes with it."""

from functools import cache
from importlib.resources import files

import numpy as np
import pytest

import peculiar
from peculiar.linear import IterativeFFT
from peculiar.simulate.mocks import SimulatedBox
from peculiar.statistics.pointwise import compare_vectors
from peculiar.statistics.power import compare_power

SATELLITES = 0.25


@cache
def box():
    (path,) = (files("peculiar") / "examples" / "box").glob("box-*.h5")
    return SimulatedBox.open(path)


@cache
def fields(model):
    catalogue = box().catalogue(satellite_fraction=SATELLITES)
    return peculiar.reconstruct(catalogue, model=model, cells=box().box.mesh, cosmology=box().cosmology)


def residual_variance(model):
    return compare_vectors(fields(model)["velocity"], box().velocity).rms_error ** 2


def test_the_box_was_not_trained_on():
    for name in peculiar.available_models():
        _, card = peculiar.load_model(name)
        assert box().seed in card.splits["test"]
        assert box().seed not in (*card.splits["train"], *card.splits["validation"])


def test_the_default_network_beats_the_tuned_iterative_fft():
    tuned = IterativeFFT(smoothing=2.75, bias=1.6)  # the best of validation boxes with these satellites
    assert residual_variance("residual") < 0.75 * residual_variance(tuned)


def test_the_wiener_filter_beats_linear_theory():
    assert residual_variance("wiener") < residual_variance("linear")


def test_the_density_has_the_true_power():
    found = compare_power(fields("residual")["density"], box().density)
    large = found.select(0.05, 0.3)
    assert np.abs(found.relative_deviation[large].mean()) < 0.15
    assert found.correlation_coefficient[large].min() > 0.85


@pytest.mark.parametrize("model", peculiar.available_models())
def test_every_network_follows_the_flow(model):
    found = compare_vectors(fields(model)["velocity"], box().velocity)
    assert found.magnitude_correlation > 0.6
    assert found.angle_mean < 0.15
