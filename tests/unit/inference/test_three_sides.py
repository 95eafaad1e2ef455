"""A box with three sides, laid twice along its short one, is a cube: whatever is made of one is made of the other."""

import numpy as np
import pytest
import torch

from peculiar.core import PRESETS, Box, Catalogue, Field
from peculiar.fields.calculus import curl, divergence, helmholtz
from peculiar.fields.paint import paint, paint_interlaced_fourier
from peculiar.fields.smooth import gaussian, tophat
from peculiar.inference.reconstructor import NeuralReconstructor
from peculiar.linear import IterativeFFT, LinearTheory
from peculiar.linear.wiener import shipped_filter

CUBE = Box(120.0, 48)
SLAB = Box((120.0, 120.0, 60.0), 48)
COSMOLOGY = PRESETS["xiao2024"]


@pytest.fixture(scope="module")
def places() -> np.ndarray:
    rng = np.random.default_rng(5)
    centres = rng.uniform(0, SLAB.sides, (200, 3))
    return SLAB.wrap(np.repeat(centres, 10, axis=0) + rng.normal(0, 3, (2000, 3)))


def catalogue(places: np.ndarray, box: Box, **settings: object) -> Catalogue:
    masses = np.random.default_rng(6).lognormal(0, 1, len(places))
    if box.is_cube:
        places = np.concatenate([places, places + [0, 0, 60.0]])
        masses = np.tile(masses, 2)
    return Catalogue(positions=places, box=box, redshift=0.59, line_of_sight="x", masses=masses, **settings)


def assert_twice(cube: torch.Tensor, slab: torch.Tensor, tolerance: float = 1e-4) -> None:
    assert slab.shape[-1] == cube.shape[-1] // 2
    difference = (cube - torch.cat([slab, slab], dim=-1)).abs().max()
    assert float(difference) < tolerance * float(cube.abs().max())


def test_painting(places):
    twice = np.concatenate([places, places + [0, 0, 60.0]])
    for scheme in ("ngp", "cic", "tsc"):
        assert_twice(paint(twice, CUBE, scheme=scheme), paint(places, SLAB, scheme=scheme))
    cube, slab = (
        torch.fft.irfftn(paint_interlaced_fourier(at, box), s=box.shape, dim=(1, 2, 3))
        for at, box in ((twice, CUBE), (places, SLAB))
    )
    # Nyquist planes along z are those of other waves in the two meshes.
    assert_twice(cube, slab, 0.05)


def test_derivatives_and_smoothing(places):
    twice = np.concatenate([places, places + [0, 0, 60.0]])
    velocities = np.random.default_rng(7).normal(size=(len(places), 3))
    cube = gaussian(
        Field(paint(twice, CUBE, weights=np.tile(velocities, (2, 1))), CUBE, "xyz", kind="vector"), 4
    )
    slab = gaussian(Field(paint(places, SLAB, weights=velocities), SLAB, "xyz", kind="vector"), 4)
    for of in (divergence, curl, lambda field: helmholtz(field)[0], lambda field: tophat(field, 9.0)):
        assert_twice(of(cube).data, of(slab).data)


def test_reading(places):
    field = Field(paint(places, SLAB), SLAB, ("count",))
    box = Box(SLAB.sides, SLAB.shape, origin=(5.0, -7.0, 11.0), periodic=False)
    centres = np.stack(np.meshgrid(*(box.coordinates(i) for i in range(3)), indexing="ij"), axis=-1).reshape(
        -1, 3
    )
    np.testing.assert_allclose(
        field.replace(box=box).at(centres)[:, 0], field.data.flatten().numpy(), atol=1e-3
    )
    assert np.isnan(field.replace(box=box).at(np.array([[10.0, 0.0, 80.0]]))).all()


@pytest.mark.parametrize(
    "method", [LinearTheory(), IterativeFFT(smoothing=4.0, bias=1.6)], ids=["linear", "iterative"]
)
def test_classical_reconstructions(places, method):
    cube, slab = (
        method.reconstruct(catalogue(places, box), cells=48, cosmology=COSMOLOGY) for box in (CUBE, SLAB)
    )
    for name in ("density", "velocity", "momentum"):
        assert_twice(cube[name].data, slab[name].data, 1e-3)


@pytest.mark.filterwarnings("ignore::peculiar.core.OutOfRangeWarning")
@pytest.mark.parametrize("name", ["wiener", "residual"])
def test_filters_and_networks(places, name):
    model = shipped_filter() if name == "wiener" else NeuralReconstructor.load(name)
    cube, slab = (
        model.reconstruct(catalogue(places, box), cells=48, cosmology=COSMOLOGY)["velocity"].data
        for box in (CUBE, SLAB)
    )
    # A cut between bins may part an object from its copy, and the network's convolutions are in half precision.
    assert float((cube - torch.cat([slab, slab], dim=-1)).std()) < 0.03 * float(cube.std())


def test_a_survey_of_three_sides_equals_the_same_in_a_larger_cube(places):
    """Zeros beyond the faces are zeros in both, but for images a padded side away."""
    box = Box(SLAB.sides, SLAB.shape, periodic=False)
    cube = Box(120.0, 48, periodic=False)
    complete = torch.zeros(1, *cube.shape)
    complete[..., :24] = 1.0
    settings = {"masses": None, "redshift": 0.59, "line_of_sight": "radial", "observer": (60.0, 60.0, -200.0)}
    method = IterativeFFT(smoothing=6.0, bias=1.6)
    alone = method.reconstruct(
        Catalogue(
            places,
            box,
            completeness=Field(torch.ones(1, *box.shape), box, ("completeness",), space="redshift"),
            **settings,
        ),
        cells=48,
        cosmology=COSMOLOGY,
    )["velocity"]
    within = method.reconstruct(
        Catalogue(
            places, cube, completeness=Field(complete, cube, ("completeness",), space="redshift"), **settings
        ),
        cells=48,
        cosmology=COSMOLOGY,
    )["velocity"]
    assert alone.data.shape == (3, 48, 48, 24)
    difference = alone.data - within.data[..., :24]
    assert float(difference.std()) < 0.05 * float(alone.data.std())
