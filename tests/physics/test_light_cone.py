"""Tracers of linear theory on a light cone of 0.4 < z < 1.1, with a bias that grows: the true velocities are known."""

import numpy as np
import pytest
import torch

from peculiar.core import Box, Catalogue, Cosmology, Field
from peculiar.core.readout import readout
from peculiar.fields.calculus import displacement_from_fourier
from peculiar.fields.fourier import k_squared, to_fourier, to_real
from peculiar.fields.objects import at_objects
from peculiar.linear import IterativeFFT, MultiTracerWiener
from peculiar.linear.light_cone import AlongDistance, bias_evolution, of_epoch, velocity_factor

COSMOLOGY = Cosmology(Omega_m=0.31, sigma8=0.3)  # so little that linear theory is all there is
BOX = Box((600.0, 600.0, 1440.0), (50, 50, 120), periodic=False)
OBSERVER = (300.0, 300.0, -1070.0)
BINS = np.arange(0.5, 1.01, 0.1)  # nearer ones are all next to faces, beyond which the flow is unknown


def bias(redshift):
    return 1.2 + 1.0 * (redshift - 0.4)


@pytest.fixture(scope="module")
def cone() -> Catalogue:
    """A catalogue in redshift space with its true velocities; it is complete, and its faces are open."""
    random = np.random.default_rng(3)
    torch.manual_seed(3)
    whole = Box((840.0, 840.0, 1680.0), (70, 70, 140), origin=(-120.0, -120.0, -120.0))
    k = k_squared(whole, dtype=torch.float64).sqrt()
    power = torch.from_numpy(COSMOLOGY.linear_power(k.numpy(), 0.0)) / whole.cell_size**3
    delta_k = to_fourier(torch.randn(whole.shape, dtype=torch.float64)) * power.sqrt()
    psi = displacement_from_fourier(delta_k, whole)
    delta = to_real(delta_k, whole.shape).numpy()
    centres = np.stack(np.meshgrid(*(whole.coordinates(i) for i in range(3)), indexing="ij"), axis=-1)
    z = COSMOLOGY.redshift_at(np.linalg.norm(centres - OBSERVER, axis=-1))
    growth = np.interp(z, *table(COSMOLOGY.growth))
    number = random.poisson(2e-3 * whole.cell_size**3 * np.exp(bias(z) * growth * delta))
    cells = np.repeat(centres.reshape(-1, 3), number.ravel(), axis=0)
    points = cells + random.uniform(-0.5, 0.5, cells.shape) * whole.cell_size
    direction = points - OBSERVER
    distance = np.linalg.norm(direction, axis=1, keepdims=True)
    direction /= distance
    z = COSMOLOGY.redshift_at(distance[:, 0])
    growth, rate, factor = (
        np.interp(z, *table(of))
        for of in (COSMOLOGY.growth, COSMOLOGY.growth_rate, COSMOLOGY.velocity_factor)
    )
    displacement = growth[:, None] * readout(psi.float(), points, whole).numpy()
    along = (displacement * direction).sum(axis=1)
    seen = points + (rate * along)[:, None] * direction
    inside = BOX.contains(seen)
    complete = Field(torch.ones(1, *BOX.shape), BOX, ("completeness",), space="redshift")
    return Catalogue(
        seen[inside],
        BOX,
        redshift=0.75,
        line_of_sight="radial",
        observer=OBSERVER,
        completeness=complete,
        velocities=(factor[:, None] * displacement)[inside],
        light_cone=True,
    )


def table(function):
    redshifts = np.linspace(0.2, 1.4, 61)
    return redshifts, [function(z) for z in redshifts]


def slopes(catalogue: Catalogue, method: IterativeFFT | MultiTracerWiener) -> np.ndarray:
    """Slope of true on predicted velocity along the line of sight in bins of redshift, away from the faces."""
    fields = method.reconstruct(catalogue, cells=120, cosmology=COSMOLOGY)
    found = at_objects(catalogue, fields, cosmology=COSMOLOGY)
    direction = catalogue.sight_lines()
    true = (catalogue.velocities * direction).sum(axis=1)
    z = COSMOLOGY.redshift_at(np.linalg.norm(catalogue.positions - OBSERVER, axis=1))
    distance = np.minimum(catalogue.positions, np.asarray(BOX.sides) - catalogue.positions).min(axis=1)
    result = []
    for low in BINS:
        rows = (z >= low) & (z < low + 0.1) & (distance > 60) & np.isfinite(found.v_los)
        predicted = found.v_los[rows] - found.v_los[rows].mean()
        result.append((predicted * (true[rows] - true[rows].mean())).sum() / (predicted**2).sum())
    return np.asarray(result)


def test_the_bias_is_found_to_grow(cone):
    found = bias_evolution(cone, cosmology=COSMOLOGY)
    assert isinstance(found, AlongDistance)
    at = np.asarray(COSMOLOGY.comoving_distance(np.array([0.5, 0.7, 0.9]))) + OBSERVER[2]
    ratio = found.at(np.stack([np.full(3, 300.0), np.full(3, 300.0), at], axis=1))
    true = bias(np.array([0.5, 0.7, 0.9]))
    np.testing.assert_allclose(ratio / ratio[1], true / true[1], atol=0.08)
    assert bias_evolution(cone.replace(light_cone=False), cosmology=COSMOLOGY) == 1.0


def test_velocities_are_right_at_every_redshift(cone):
    """With the bias that is found, as with the true one, the slope follows no redshift; with one epoch it does."""
    truth = of_epoch(cone, bias, cosmology=COSMOLOGY)
    for method in (IterativeFFT(smoothing=8.0, bias=1.0, evolution=truth), IterativeFFT(smoothing=8.0)):
        right = slopes(cone, method)
        assert np.abs(right - 1).max() < 0.15
        assert abs(np.polyfit(BINS, right, 1)[0]) < 0.08
    once = slopes(cone.replace(light_cone=False), IterativeFFT(smoothing=8.0, bias=1.55))
    assert np.polyfit(BINS, once, 1)[0] < -0.12


def test_a_thin_shell_has_one_epoch(cone):
    """At one distance the mesh has the one number that its redshift has."""
    thin = cone.replace(redshift=float(COSMOLOGY.redshift_at(1800.0)))
    box = Box((12.0, 12.0, 12.0), 2, origin=(294.0, 294.0, 1800.0 + OBSERVER[2] - 6.0))
    mesh = velocity_factor(thin, box, cosmology=COSMOLOGY)
    torch.testing.assert_close(
        mesh, torch.full_like(mesh, COSMOLOGY.velocity_factor(thin.redshift)), rtol=5e-3, atol=0
    )
    assert velocity_factor(cone.replace(light_cone=False), box, cosmology=COSMOLOGY) == pytest.approx(
        COSMOLOGY.velocity_factor(0.75)
    )


def test_the_wiener_filter_is_right_at_every_redshift(cone):
    """Waves grow, and are then known better: with the power of one epoch slopes would fall by 0.17 within 1 of z."""
    truth = of_epoch(cone, bias, cosmology=COSMOLOGY)
    right = slopes(cone, MultiTracerWiener(bias=1.0, evolution=truth))
    assert abs(np.polyfit(BINS, right, 1)[0]) < 0.08
