import numpy as np
import pytest
import torch

from peculiar.core import PRESETS, Box, Catalogue, InputError
from peculiar.linear import IterativeFFT, LinearTheory, move_back
from peculiar.linear.smoothing import best_smoothing, flow_bias

COSMOLOGY = PRESETS["xiao2024"]


def clustered(**changes) -> Catalogue:
    rng = np.random.default_rng(0)
    centres = rng.uniform(0, 100, (20, 3))
    points = np.mod(centres[rng.integers(0, 20, 400)] + rng.normal(0, 5, (400, 3)), 100)
    return Catalogue(points, Box(100.0), redshift=0.59).replace(**changes)


def test_real_space_catalogues_keep_their_positions():
    catalogue = clustered(space="real")
    positions = move_back(catalogue, cells=16, cosmology=COSMOLOGY, smoothing=3.0, bias=1.5)
    np.testing.assert_array_equal(positions, catalogue.positions)
    iterative, linear = (
        method(smoothing=3.0, bias=1.5).reconstruct(catalogue, cells=16, cosmology=COSMOLOGY)["velocity"].data
        for method in (IterativeFFT, LinearTheory)
    )
    torch.testing.assert_close(iterative, linear, rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize(("line_of_sight", "moved"), [("x", 0), ("y", 1), ("z", 2)])
def test_tracers_move_along_the_line_of_sight_only_and_stay_in_the_box(line_of_sight, moved):
    catalogue = clustered(line_of_sight=line_of_sight)
    positions = move_back(catalogue, cells=16, cosmology=COSMOLOGY)
    still = [axis for axis in range(3) if axis != moved]
    np.testing.assert_allclose(positions[:, still], catalogue.positions[:, still])
    assert np.abs(positions[:, moved] - catalogue.positions[:, moved]).max() > 0.5
    assert catalogue.box.contains(positions).all()


def test_moving_back_is_deterministic():
    first, second = (move_back(clustered(), cells=16, cosmology=COSMOLOGY) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_one_iteration_moves_by_the_flow_of_the_tracers_as_they_are():
    catalogue = clustered()
    moved = move_back(catalogue, cells=16, cosmology=COSMOLOGY, smoothing=3.0, bias=1.4, iterations=1)
    linear = LinearTheory(smoothing=3.0, bias=1.4).reconstruct(catalogue, cells=16, cosmology=COSMOLOGY)
    speed = linear["velocity"].at(catalogue.positions)[:, 2]
    expansion = COSMOLOGY.velocity_factor(0.59) / COSMOLOGY.growth_rate(0.59)  # a H
    expected = (catalogue.positions[:, 2] - speed / expansion) % 100.0
    np.testing.assert_allclose(moved[:, 2], expected, atol=2e-3)


def test_no_tracer_passes_the_observer():
    observer = (50.0, 50.0, 50.0)
    catalogue = clustered(line_of_sight="radial", observer=observer, box=Box(100.0, periodic=False))
    positions = move_back(catalogue, cells=16, cosmology=COSMOLOGY, bias=0.5)
    before = catalogue.positions - observer
    along = ((positions - observer) * before).sum(axis=1)
    assert (along >= -1e-9 * (before**2).sum(axis=1)).all()
    # Sideways they stay.
    np.testing.assert_allclose(np.cross(positions - observer, before), 0.0, atol=1e-8)


def test_mesh_of_a_survey_is_the_mesh_of_its_box():
    fields = IterativeFFT().reconstruct(
        clustered(box=Box(100.0, periodic=False)), cells=12, cosmology=COSMOLOGY
    )
    assert {name: tuple(field.data.shape) for name, field in fields.items()} == {
        "density": (1, 12, 12, 12),
        "velocity": (3, 12, 12, 12),
        "momentum": (3, 12, 12, 12),
    }
    assert not fields["velocity"].box.periodic
    assert torch.isfinite(fields["velocity"].data).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"smoothing": float("nan")}, "smoothing must be >= 0"),
        ({"bias": -1.0}, "bias must be > 0"),
        ({"iterations": 0}, "iterations must be an integer >= 1"),
        ({"iterations": 1.5}, "iterations must be an integer >= 1"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        IterativeFFT(**settings)
    with pytest.raises(InputError, match=message):
        move_back(clustered(), cells=16, cosmology=COSMOLOGY, **settings)


def test_the_settings_are_those_of_tuned_boxes():
    """Best smoothing and bias of samples of `benchmarks/smoothing.py` at z = 0.59, by their noise and bias."""
    tuned = [
        (1.1e4, 2.50, 5.9, 2.80),
        (5.85e3, 2.17, 4.8, 2.46),
        (1.4e3, 1.49, 3.5, 1.62),
        (563, 1.275, 3.0, 1.37),
    ]
    for noise, bias, smoothing, flow in tuned:
        matter = {"bias": bias, "cosmology": COSMOLOGY, "redshift": 0.59}
        found = best_smoothing(noise, **matter)
        assert found == pytest.approx(smoothing, rel=0.08)
        assert flow_bias(found, noise, **matter) == pytest.approx(flow, rel=0.06)  # 3 % of the variance


def test_what_is_not_given_is_measured():
    catalogue = clustered()
    fitted = IterativeFFT().fitted(catalogue, cosmology=COSMOLOGY)
    assert fitted.fitted(catalogue, cosmology=COSMOLOGY) == fitted
    first, second = (
        method.reconstruct(catalogue, cells=12, cosmology=COSMOLOGY)["velocity"].data
        for method in (IterativeFFT(), fitted)
    )
    assert torch.equal(first, second)
    smoother = IterativeFFT(smoothing=2 * fitted.smoothing).fitted(catalogue, cosmology=COSMOLOGY)
    assert smoother.bias < fitted.bias  # less noise is let in


@pytest.mark.parametrize(("noise", "bias"), [(0.0, 1.0), (1e3, 0.0), (float("nan"), 1.0)])
def test_a_smoothing_needs_noise_and_a_bias(noise, bias):
    for found in (best_smoothing, lambda *given, **named: flow_bias(4.0, *given, **named)):
        with pytest.raises(InputError, match="noise and bias must be > 0"):
            found(noise, bias=bias, cosmology=COSMOLOGY, redshift=0.0)
