"""Particle kernels against sums written out, and their independence of threads."""

import itertools
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from peculiar.core.readout import ORDERS, readout_kernel
from peculiar.fields.kernels import gradient_kernel, paint_kernel

SIZE = 12.0


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(4)


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def cloud(distance: np.ndarray, order: int) -> np.ndarray:
    """Share of a cell at a distance (in cells) from a particle, one axis: Hockney & Eastwood 1988, sect. 5-3."""
    d = np.abs(distance)
    if order == 1:
        return ((distance > -0.5) & (distance <= 0.5)).astype(float)
    if order == 2:
        return np.clip(1 - d, 0, None)
    return np.where(d < 0.5, 0.75 - d**2, np.where(d < 1.5, 0.5 * (1.5 - d) ** 2, 0.0))


def brute_force(positions, weights, cells, order, *, shift=0.0, periodic=True, origin=0.0) -> np.ndarray:
    mesh = np.zeros((weights.shape[1], cells, cells, cells))
    centres = np.arange(cells) + 0.5 + shift
    for position, weight in zip((positions - origin) * (cells / SIZE), weights, strict=True):
        distance = centres[None] - position[:, None]
        if periodic:
            distance -= cells * np.round(distance / cells)
        share = cloud(distance, order)
        mesh += weight[:, None, None, None] * np.einsum("i,j,k->ijk", *share)
    return mesh


@pytest.mark.parametrize("order", ORDERS.values())
@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_painting_is_the_sum_of_clouds(rng, order, shift):
    positions = rng.uniform(0, SIZE, (60, 3)).astype(np.float32)
    positions[:2] = [[0.01, 11.99, 6.0], [11.97, 0.02, 0.3]]
    weights = rng.normal(1, 1, (60, 2)).astype(np.float32)
    mesh = paint_kernel(positions, weights, 8, size=SIZE, order=order, shift=shift)
    assert mesh.dtype == np.float32
    np.testing.assert_allclose(mesh, brute_force(positions, weights, 8, order, shift=shift), atol=2e-5)


@pytest.mark.parametrize("order", ORDERS.values())
def test_painting_conserves_mass_and_wraps(rng, order):
    positions = rng.uniform(-2 * SIZE, 3 * SIZE, (500, 3)).astype(np.float32)
    mesh = paint_kernel(positions, None, 8, size=SIZE, order=order)
    assert mesh.shape == (1, 8, 8, 8)
    assert mesh.sum(dtype=np.float64) == pytest.approx(500, rel=1e-5)
    inside = paint_kernel(np.mod(positions, np.float32(SIZE)), None, 8, size=SIZE, order=order)
    np.testing.assert_allclose(mesh, inside, atol=2e-3 if order > 1 else 1.0)


@pytest.mark.parametrize("order", ORDERS.values())
def test_what_lies_beyond_a_face_is_dropped(rng, order):
    origin = np.float32(-5.0)
    positions = rng.uniform(-5 - 2, -5 + SIZE + 2, (80, 3)).astype(np.float32)
    weights = np.ones((80, 1), np.float32)
    mesh = paint_kernel(positions, weights, 8, size=SIZE, origin=(origin,) * 3, order=order, periodic=False)
    expected = brute_force(positions, weights, 8, order, periodic=False, origin=origin)
    np.testing.assert_allclose(mesh, expected, atol=2e-5)
    assert mesh.sum() < 80


def test_painting_does_not_depend_on_threads(rng, threads):
    """Bit by bit, clustered particles on slabs of uneven width; and equal to the sum without slabs."""
    positions = rng.normal(SIZE / 2, 1.5, (220_000, 3)).astype(np.float32)
    positions[::3] = rng.uniform(0, SIZE, (len(positions[::3]), 3))
    positions[:4, 0] = [0.0, -1e-6, SIZE - 1e-6, SIZE]
    results = []
    for number in (1, 2, 5):
        threads(number)
        results.append(paint_kernel(positions, None, 130, size=SIZE))
    assert np.array_equal(results[0], results[1])
    assert np.array_equal(results[0], results[2])
    parts = np.array_split(positions, 2)  # too few each for slabs
    whole = sum(paint_kernel(part, None, 130, size=SIZE) for part in parts)
    np.testing.assert_allclose(results[0], whole, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("order", ORDERS.values())
@pytest.mark.parametrize("periodic", [True, False])
def test_reading_is_the_transpose_of_painting(rng, order, periodic):
    positions = rng.uniform(2.5, SIZE - 2.5, (200, 3)).astype(np.float32)
    if periodic:
        positions[:100] = rng.uniform(0, SIZE, (100, 3))
    weights = rng.normal(size=(200, 1)).astype(np.float32)
    mesh = rng.normal(size=(1, 8, 8, 8)).astype(np.float32)
    painted = paint_kernel(positions, weights, 8, size=SIZE, order=order, periodic=periodic)
    read = readout_kernel(mesh, positions, size=SIZE, order=order, periodic=periodic)
    assert read.shape == (200, 1)
    assert (painted * mesh).sum(dtype=float) == pytest.approx((weights * read).sum(dtype=float), abs=1e-3)


def test_reading_beyond_a_face_takes_the_nearest_cells():
    mesh = np.arange(8, dtype=np.float32)[None, :, None, None] * np.ones((1, 8, 8, 8), np.float32)
    positions = np.array([[0.1, 5, 5], [11.9, 5, 5], [6.0, 0.1, 11.9]], np.float32)
    read = readout_kernel(mesh, positions, size=SIZE, periodic=False)[:, 0]
    np.testing.assert_allclose(read, [0.0, 7.0, 3.5], atol=1e-5)
    wrapped = readout_kernel(mesh, positions, size=SIZE)[:, 0]
    assert wrapped[0] > 2


def test_reading_does_not_depend_on_threads(rng, threads):
    positions = rng.uniform(0, SIZE, (120_000, 3)).astype(np.float32)
    mesh = rng.normal(size=(2, 16, 16, 16)).astype(np.float32)
    results = []
    for number in (1, 2):
        threads(number)
        results.append(readout_kernel(mesh, positions, size=SIZE))
    assert np.array_equal(*results)


def test_gradient_is_four_point_differences_with_cic_weights(rng):
    cells = 8
    potential = rng.normal(size=(cells,) * 3).astype(np.float32)
    positions = rng.uniform(0, SIZE, (50, 3)).astype(np.float32)
    positions[:3] = [[0, 0, 0], [11.9999, 0.01, 11.99], [0.7, 11.3, 0.2]]
    expected = np.zeros((50, 3))
    for axis in range(3):
        slope = sum(
            factor * np.roll(potential, -step, axis)
            for step, factor in ((1, 2 / 3), (-1, -2 / 3), (2, -1 / 12), (-2, 1 / 12))
        )
        for p, position in enumerate(positions * (cells / SIZE) - 0.5):
            low = np.floor(position).astype(int)
            for corner in itertools.product((0, 1), repeat=3):
                cell = tuple((low + corner) % cells)
                expected[p, axis] += np.prod(1 - np.abs(low + corner - position)) * slope[cell]
    np.testing.assert_allclose(gradient_kernel(potential, positions, size=SIZE), expected, atol=1e-5)


def test_gradient_of_a_wave():
    cells = 32
    x = (np.arange(cells) + 0.5) * SIZE / cells
    k = 2 * np.pi / SIZE
    potential = np.broadcast_to(np.sin(k * x)[:, None, None], (cells,) * 3).astype(np.float32)
    positions = np.stack([x, np.full(cells, 3.3), np.full(cells, 7.7)], axis=1).astype(np.float32)
    slope = gradient_kernel(np.ascontiguousarray(potential), positions, size=SIZE) * (cells / SIZE)
    np.testing.assert_allclose(slope[:, 0], k * np.cos(k * x), atol=2e-4)
    np.testing.assert_allclose(slope[:, 1:], 0, atol=1e-5)


def test_every_process_finds_its_kernels_in_the_cache(tmp_path):
    code = (
        "import numpy as np\n"
        "from peculiar.core import readout\n"
        "from peculiar.fields import kernels\n"
        "points = np.full((2, 3), 5.0, np.float32)\n"
        "mesh = kernels.paint_kernel(points, None, 8, size=10.0)\n"
        "readout.readout_kernel(mesh, points, size=10.0)\n"
        "print(*(sum(kernel.stats.cache_misses.values()) for kernel in (kernels._paint_some, readout._readout_some)))"
    )
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    for misses in ("1 1", "0 0"):
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
        )
        assert done.stdout.split() == misses.split()
        files = sorted(path.name for path in tmp_path.rglob("*.nb?"))
    assert len(files) == 4
