"""Fields and points that all codes measure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from peculiar.core import Box, Catalogue, Field
from peculiar.fields.fourier import inverse_k_squared, k_squared, to_fourier, to_real, wavevectors
from peculiar.fields.smooth import gaussian
from peculiar.statistics import tidal_web

SMALL = 64  # cells of the three-point field: sarabande's transforms go through files
SHAPES = ((-1, 1, 1), (1, -1, 1), (1, 1, -1))


@dataclass(frozen=True, eq=False)
class Inputs:
    """What both sides measure; everything with its mesh."""

    box: Box
    delta: Field
    other: Field
    velocity: Field
    smooth: Field
    small: Field
    points: Catalogue
    on_mesh: Catalogue
    arrays: dict[str, np.ndarray]

    def __getitem__(self, name: str) -> np.ndarray:
        return self.arrays[name]


def make_inputs(cells: int, size: float) -> Inputs:
    """A skewed density with the slope of the matter power, a second one, a flow with a curl, and clustered points."""
    box, generator = Box(size, cells), torch.Generator().manual_seed(1)
    noise = torch.randn(4, cells, cells, cells, generator=generator)
    k = k_squared(box).sqrt()
    g = to_real(to_fourier(noise) * (k / (1 + (k / 0.05) ** 2.5)).sqrt(), cells)
    g /= g[0].std()
    delta = torch.exp(0.8 * g[0] - 0.32) - 1
    other = 0.7 * delta + 0.3 * g[1]
    flow_k = to_fourier(torch.stack([100 * g[i] for i in (1, 2, 3)]))
    delta_k = to_fourier(delta)
    for i, component in enumerate(wavevectors(box, odd=True)):
        flow_k[i] += 50j * component * inverse_k_squared(box) * delta_k
    rng = np.random.default_rng(2)
    centres = rng.uniform(0, size, (20000, 3))
    points = (centres[rng.integers(0, 20000, 200000)] + rng.normal(0, 3.0, (200000, 3))) % size
    on_mesh = (np.floor(points / box.cell_size) + 0.5) * box.cell_size

    def scalar(data: torch.Tensor, where: Box = box) -> Field:
        return Field(data[None], where, ("delta",))

    smooth = gaussian(scalar(delta), 2.5 * box.cell_size)
    small_box = Box(size, SMALL)
    index = torch.fft.fftfreq(cells, 1 / cells, dtype=torch.float64)
    squares = [c.reshape(s) for c, s in zip([index] * 2 + [index[: cells // 2 + 1]], SHAPES, strict=True)]
    finite = sum(torch.sin(torch.pi * c / cells) ** 2 for c in squares)
    length = sum(c**2 for c in squares)
    # Times sum(sin^2) / n^2: Pylians' Green function of finite differences becomes ours, 1 / k^2.
    for_tides = -to_real(to_fourier(smooth.data[0].double()) * (finite / length.clamp(min=1)), cells)
    r_edges = np.array([8.0, 12.0, 16.0, 20.0, 25.0, 30.0])
    across, along = np.array([5.0, 10.0, 15.0, 20.0]), np.arange(0.0, 21.0, 5.0)
    offsets = np.arange(-(cells // 2), cells // 2) * box.cell_size
    x, y, z = np.meshgrid(offsets, offsets, offsets, indexing="ij", sparse=True)
    counts = np.histogram(np.sqrt(x**2 + y**2 + z**2), r_edges)[0]
    rp, pi = (a.ravel() for a in np.broadcast_arrays(np.sqrt(x**2 + y**2), np.abs(z)))
    plane_counts = np.histogram2d(rp, pi, [across, along])[0]
    half = np.round((np.arange(cells // 2) + 0.5) * box.k_fundamental, 5)
    webs = [tidal_web(gaussian(scalar(d), 2.5 * box.cell_size)).classes for d in (delta, other)]
    arrays = {
        "size": np.array(size),
        "delta": delta.numpy(),
        "other": other.numpy(),
        "velocity": to_real(flow_k, cells).numpy(),
        "small": delta[:SMALL, :SMALL, :SMALL].contiguous().numpy(),
        "for_tides": for_tides.float().numpy(),
        "points": points,
        "points_on_mesh": on_mesh,
        "theta": np.linspace(0.3, 2.8, 10),
        "k1": np.array(10 * box.k_fundamental),
        "k2": np.array(14 * box.k_fundamental),
        # Edges between the lengths that mesh vectors have, for codes that bin by rounded k or r.
        "k_edges": half,
        "b_edges": half[[4, 6, 8, 10]],
        "r_edges": r_edges,
        "separations": counts.astype(np.float64),
        "across_edges": across,
        "along_edges": along,
        "plane_separations": plane_counts,
        "three_point_edges": np.array([1.3, 4.3, 7.3, 10.3, 13.3]),
        "wedge_edges": np.arange(1, cells // 2 + 1, 4) - 0.01,
        "mu_edges": np.linspace(0, 1.0001, 6),
        "value_edges": np.linspace(-1, 4, 41),
        "steps": np.array(5),
        "radii": np.array([5.0, 10.0, 20.0]) * box.cell_size * 1.001,
        "classes": webs[0],
        "other_classes": webs[1],
    }
    velocity = Field(
        torch.from_numpy(arrays["velocity"]), box, ("vx", "vy", "vz"), unit="km/s", kind="vector"
    )
    return Inputs(
        box=box,
        delta=scalar(delta),
        other=scalar(other),
        velocity=velocity,
        smooth=smooth,
        small=scalar(torch.from_numpy(arrays["small"]), small_box),
        points=Catalogue(points, Box(size), redshift=0.0),
        on_mesh=Catalogue(on_mesh, Box(size), redshift=0.0),
        arrays=arrays,
    )
