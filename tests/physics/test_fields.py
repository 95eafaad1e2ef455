"""Truths that fields must hold: plane waves, continuity, point sets whose transform is known, known flows."""

import math

import numpy as np
import pytest
import torch

from peculiar.core import PRESETS, Box, Catalogue, Field
from peculiar.fields.calculus import curl, displacement, divergence, gradient, helmholtz
from peculiar.fields.fourier import to_fourier, to_real
from peculiar.fields.paint import deconvolve, paint, paint_interlaced_fourier, window
from peculiar.fields.redshift_space import to_redshift_space
from peculiar.fields.smooth import gaussian, tophat
from peculiar.fields.velocity import delaunay, from_momentum, nearest_particle

BOX = Box(120.0, 24, origin=(-10.0, 20.0, 5.0))
MODES = [(1, 0, 0), (0, 3, 0), (0, 0, 11), (2, -3, 5), (-7, 1, 4)]


def wave(mode: tuple[int, int, int], phase: float, box: Box = BOX) -> tuple[np.ndarray, np.ndarray]:
    """Wavevector [h/Mpc] and k . x + phase at the cell centres."""
    k = box.k_fundamental * np.asarray(mode)
    x, y, z = np.meshgrid(*(box.coordinates(axis) for axis in range(3)), indexing="ij")
    return k, k[0] * x + k[1] * y + k[2] * z + phase


def scalar(values: np.ndarray, box: Box = BOX) -> Field:
    return Field(torch.as_tensor(values, dtype=torch.float32)[None], box, ["delta"])


def vector(values: np.ndarray, box: Box = BOX) -> Field:
    return Field(
        torch.as_tensor(values, dtype=torch.float32), box, ["x", "y", "z"], unit="km/s", kind="vector"
    )


def random_band_limited(channels: int, seed: int = 1) -> torch.Tensor:
    """White noise without its Nyquist planes, which no real derivative can represent."""
    data_k = to_fourier(torch.randn(channels, 24, 24, 24, generator=torch.Generator().manual_seed(seed)))
    for axis in (1, 2, 3):
        data_k.narrow(axis, 12, 1).zero_()
    return to_real(data_k, 24)


@pytest.mark.parametrize("mode", MODES)
def test_derivatives_of_a_plane_wave_are_exact(mode):
    k, angle = wave(mode, 0.4)
    np.testing.assert_allclose(
        gradient(scalar(np.cos(angle))).numpy(),
        -k[:, None, None, None] * np.sin(angle),
        atol=2e-6 * np.linalg.norm(k) + 1e-7,
    )
    amplitude = np.array([3.0, -1.0, 2.0])
    flow = vector(amplitude[:, None, None, None] * np.cos(angle))
    tolerance = 1e-5 * np.linalg.norm(k)
    np.testing.assert_allclose(divergence(flow).numpy()[0], -(k @ amplitude) * np.sin(angle), atol=tolerance)
    np.testing.assert_allclose(
        curl(flow).numpy(), -np.cross(k, amplitude)[:, None, None, None] * np.sin(angle), atol=tolerance
    )


@pytest.mark.parametrize("mode", MODES)
def test_displacement_of_a_plane_wave(mode):
    k, angle = wave(mode, -1.1)
    expected = -k[:, None, None, None] / (k @ k) * np.sin(angle)
    found = displacement(torch.as_tensor(np.cos(angle)).float(), BOX).numpy()
    np.testing.assert_allclose(found, expected, atol=3e-6 / np.linalg.norm(k))


def test_displacement_points_into_an_overdensity_and_obeys_continuity():
    clump = torch.zeros(24, 24, 24)
    clump[12, 12, 12] = 1.0
    psi = displacement(clump, BOX)
    assert psi[0, 9, 12, 12] > 0 > psi[0, 15, 12, 12]
    assert psi[2, 12, 12, 9] > 0 > psi[2, 12, 12, 15]
    delta = random_band_limited(1)
    delta -= delta.mean()
    flow = vector(displacement(delta[0], BOX))
    torch.testing.assert_close(divergence(flow).data, -delta, atol=1e-5, rtol=0)


def test_curl_of_a_gradient_vanishes_on_every_mode_even_nyquist():
    noise = scalar(torch.randn(24, 24, 24, generator=torch.Generator().manual_seed(2)))
    slope = gradient(noise)
    assert curl(slope).data.abs().max() < 1e-6 * 24 * slope.data.abs().max()


def test_helmholtz_recovers_the_two_flows_that_were_summed():
    box_mean = 250.0
    potential_flow = displacement(random_band_limited(1, 3)[0], BOX) + box_mean
    rotational_flow = curl(vector(random_band_limited(3, 4))).data
    potential, rotational = helmholtz(vector(potential_flow + rotational_flow))
    torch.testing.assert_close(potential.data, potential_flow, atol=2e-4, rtol=0)
    torch.testing.assert_close(rotational.data, rotational_flow, atol=2e-4, rtol=0)


def test_helmholtz_parts_are_pure_for_white_noise():
    noise = vector(torch.randn(3, 24, 24, 24, generator=torch.Generator().manual_seed(5)))
    potential, rotational = helmholtz(noise)
    assert curl(potential).data.abs().max() < 1e-5
    assert divergence(rotational).data.abs().max() < 1e-5
    torch.testing.assert_close(potential.data + rotational.data, noise.data)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("radius", [3.0, 12.0])
def test_smoothing_scales_a_plane_wave_by_the_window(mode, radius):
    k, angle = wave(mode, 0.2)
    x = np.linalg.norm(k) * radius
    delta = scalar(2.0 * np.cos(angle))
    np.testing.assert_allclose(gaussian(delta, radius).data, math.exp(-(x**2) / 2) * delta.data, atol=2e-6)
    expected = 3 * (math.sin(x) - x * math.cos(x)) / x**3
    np.testing.assert_allclose(tophat(delta, radius).data, expected * delta.data, atol=2e-6)


@pytest.mark.parametrize("scheme", ["ngp", "cic", "tsc"])
def test_painting_conserves_mass(scheme):
    rng = np.random.default_rng(0)
    weights = rng.uniform(0.5, 2.0, (4000, 2))
    mesh = paint(rng.uniform(-200, 300, (4000, 3)), BOX, weights=weights, scheme=scheme)
    np.testing.assert_allclose(mesh.double().sum(dim=(1, 2, 3)), weights.sum(axis=0), rtol=1e-6)


@pytest.mark.parametrize("scheme", ["ngp", "cic", "tsc"])
@pytest.mark.parametrize("mode", [1, 5, 9])
def test_a_painted_wave_is_damped_by_the_window(scheme, mode):
    # Particles 32 to a cell along x, at the centres across: their own discreteness aliases in only at 64 k_Nyquist.
    box = Box(24.0, 24)
    x = (np.arange(24 * 32) + 0.5) / 32
    k = mode * box.k_fundamental
    positions = np.column_stack([x, np.full_like(x, 12.5), np.full_like(x, 12.5)])
    mesh = paint(positions, box, weights=np.cos(k * x) / 32, scheme=scheme)[0].sum(dim=(1, 2))
    expected = float(window(torch.tensor(k), 1.0, scheme=scheme)) * np.cos(k * box.coordinates())
    np.testing.assert_allclose(mesh, expected, atol=1e-3 if scheme != "ngp" else 0.02)


def test_interlaced_cic_power_is_right_to_half_nyquist():
    box, half = Box(64.0, 32), 8
    rng = np.random.default_rng(7)
    positions = rng.uniform(0, 64, (3000, 3))
    # The transform of the point set itself, in the phases of a mesh whose first value is at half a cell.
    waves = np.exp(
        -1j
        * box.k_fundamental
        * np.arange(-half, half + 1)[:, None, None]
        * (positions.T - 0.5 * box.cell_size)
    )
    waves = np.moveaxis(waves, 0, 1)  # axis, mode, particle
    truth = np.einsum("xp,yp,zp->xyz", *waves, optimize=True)
    index = np.arange(-half, half + 1)
    norm = np.sqrt(index[:, None, None] ** 2 + index[:, None] ** 2 + index**2)

    def worst(data_k: torch.Tensor) -> float:
        full = np.fft.fftn(to_real(data_k[0], 32).numpy())[np.ix_(index, index, index)]
        ratios = []
        for low in range(1, half):
            shell = (norm >= low) & (norm < low + 1)
            ratios.append((np.abs(full[shell]) ** 2).sum() / (np.abs(truth[shell]) ** 2).sum() - 1)
        return float(np.abs(ratios).max())

    assert worst(paint_interlaced_fourier(positions, box)) < 0.005
    assert worst(deconvolve(to_fourier(paint(positions, box)), box)) > 0.005  # what interlacing is for


def test_positions_that_move_by_cells_move_the_mesh_exactly():
    # Multiples of 2^-8 are exact in single precision, so nothing but the index may change.
    rng = np.random.default_rng(3)
    box = Box(32.0, 16)
    positions = rng.integers(0, 32 * 256, (2000, 3)) / 256
    weights = rng.integers(1, 9, 2000)
    for scheme in ("ngp", "cic", "tsc"):
        mesh = paint(positions, box, weights=weights, scheme=scheme)
        moved = paint(positions + np.array([8.0, -4.0, 32.0]), box, weights=weights, scheme=scheme)
        assert torch.equal(moved, torch.roll(mesh, (4, -2, 0), dims=(1, 2, 3)))


FLOW_BOX = Box(50.0, 12, origin=(100.0, 0.0, -25.0))


def flow_at(points: np.ndarray) -> np.ndarray:
    """A smooth periodic flow, steepest across the faces of the box."""
    k = 2 * math.pi / 50.0
    x, y, z = (points - np.asarray(FLOW_BOX.origin)).T
    return 300.0 * np.column_stack([np.sin(k * x), np.sin(k * (x + y)), np.cos(k * z)]) + 50.0


def flow_error(field: Field) -> np.ndarray:
    centres = np.stack(
        np.meshgrid(*(FLOW_BOX.coordinates(axis) for axis in range(3)), indexing="ij"), axis=-1
    )
    truth = flow_at(centres.reshape(-1, 3)).T.reshape(3, 12, 12, 12)
    return np.abs(field.numpy() - truth)


@pytest.fixture(scope="module")
def particles():
    points = np.asarray(FLOW_BOX.origin) + np.random.default_rng(11).uniform(0, 50, (5000, 3))
    return points, flow_at(points)


def mass_weighted(points: np.ndarray, speeds: np.ndarray, scheme: str = "cic") -> Field:
    mean = len(points) / FLOW_BOX.mesh**3
    density = paint(points, FLOW_BOX, scheme=scheme) / mean - 1
    momentum = paint(points, FLOW_BOX, weights=speeds, scheme=scheme) / mean
    return from_momentum(Field(density, FLOW_BOX, ["delta"]), vector(momentum, FLOW_BOX))


@pytest.fixture(scope="module")
def velocity_fields(particles):
    return {
        "mass weighted": mass_weighted(*particles),
        "nearest particle": nearest_particle(*particles, FLOW_BOX),
        "Delaunay": delaunay(*particles, FLOW_BOX, samples=2),
    }


@pytest.mark.parametrize(
    ("definition", "typical", "worst"),
    # A cell is 0.52 rad of the wave, so its average is below the central value by 1 to 5 per cent.
    [("mass weighted", 20.0, 100.0), ("nearest particle", 35.0, 170.0), ("Delaunay", 10.0, 30.0)],
)
def test_every_velocity_definition_recovers_a_smooth_flow(velocity_fields, definition, typical, worst):
    field = velocity_fields[definition]
    error = flow_error(field)
    assert math.sqrt((error**2).mean()) < typical
    assert error.max() < worst
    assert (field.kind, field.unit) == ("vector", "km/s")
    assert definition in field.definition


@pytest.mark.parametrize("definition", ["nearest particle", "Delaunay"])
def test_velocities_do_not_see_the_faces_of_a_periodic_box(velocity_fields, definition):
    error = flow_error(velocity_fields[definition]).max(axis=0)
    faces = np.ones((12, 12, 12), dtype=bool)
    faces[1:-1, 1:-1, 1:-1] = False
    assert error[faces].mean() < 1.25 * error[~faces].mean()


def test_empty_cells_take_the_flow_around_them(particles):
    points, speeds = particles
    hole = np.abs(points - np.asarray(FLOW_BOX.origin) - 2.0).max(axis=1) < 9.0
    # A hole of four cells in a flow of up to 350 km/s: neighbours are wrong by part of a wave, zeros by all of it.
    filled = mass_weighted(points[~hole], speeds[~hole])
    assert flow_error(filled).max() < 180.0
    half = points[points[:, 0] < 115.0]
    uniform = mass_weighted(half, np.tile([300.0, -20.0, 7.0], (len(half), 1)))
    for component, speed in enumerate((300.0, -20.0, 7.0)):
        np.testing.assert_allclose(uniform.data[component], speed, rtol=1e-3)
    assert "empty cells" in uniform.definition


def test_mass_and_volume_weighting_differ_where_a_clump_moves(particles):
    points = particles[0]
    centre = np.asarray(FLOW_BOX.origin) + 6.5 * FLOW_BOX.cell_size
    clump = centre + np.random.default_rng(2).normal(0, 0.1, (1000, 3))
    everything = np.concatenate([points, clump])
    speeds = np.zeros_like(everything)
    speeds[len(points) :] = 100.0
    cell = (slice(None), 6, 6, 6)
    assert (mass_weighted(everything, speeds).data[cell] > 95.0).all()
    assert (delaunay(everything, speeds, FLOW_BOX, samples=2).data[cell].abs() < 50.0).all()


def test_redshift_space_is_equation_one_with_wrap():
    cosmology, box = PRESETS["xiao2024"], Box(100.0)
    catalogue = Catalogue(
        np.array([[50.0, 50.0, 50.0], [50.0, 50.0, 99.0], [50.0, 50.0, 1.0]]),
        box,
        redshift=0.59,
        line_of_sight="z",
        space="real",
        velocities=np.array([[900.0, -900.0, 500.0], [0.0, 0.0, 500.0], [0.0, 0.0, -500.0]]),
    )
    shift = 500.0 * 1.59 / (100 * math.sqrt(0.268 * 1.59**3 + 0.732))
    moved = to_redshift_space(catalogue, cosmology)
    np.testing.assert_allclose(moved.positions[:, 2], [50 + shift, shift - 1, 101 - shift])
    np.testing.assert_array_equal(moved.positions[:, :2], catalogue.positions[:, :2])
    assert moved.space == "redshift"


def test_radial_redshift_space_moves_along_each_sight_line_only():
    observer = np.array([20.0, 30.0, 40.0])
    rng = np.random.default_rng(5)
    positions = rng.uniform(30, 70, (200, 3))
    outwards = (positions - observer) / np.linalg.norm(positions - observer, axis=1, keepdims=True)
    across = np.cross(outwards, [0.0, 0.0, 1.0])
    speed = rng.normal(0, 300, 200)
    catalogue = Catalogue(
        positions,
        Box(100.0, periodic=False),
        redshift=0.0,
        line_of_sight="radial",
        space="real",
        observer=tuple(observer),
        velocities=speed[:, None] * outwards + 800.0 * across,
    )
    moved = to_redshift_space(catalogue, PRESETS["xiao2024"])
    np.testing.assert_allclose(moved.positions - positions, speed[:, None] / 100.0 * outwards, atol=1e-9)
