"""Growth, expansion and bias at each place of a catalogue: those of its own epoch on a light cone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float

from peculiar.core import Box, Catalogue, Cosmology, Field
from peculiar.linear.clustering import linear_bias

_NODES = 257
SHELL_WIDTH = 0.1
"""Least range of redshifts in which a bias is measured by itself."""
SHELL_VOLUME = 2e8
"""Least covered volume of such a shell [(Mpc/h)^3]: the bias of less is no better than that of the whole."""
MOST_SHELLS = 6
LUMINOSITY_POWER = 0.15
"""Of the number density of a flux-limited sample, with which its bias falls along the distance."""
LUMINOSITY_SCATTER = 0.05
"""Error of that power: it was chosen between 0.1 and 0.2, and one power does not hold at all densities."""
_WIDTH = 10.0  # of shells in which that density is measured [Mpc/h]


@dataclass(frozen=True)
class AlongDistance:
    """A quantity that depends on the distance from an observer alone, linear between nodes.

    Attributes
    ----------
    observer : (3,) [Mpc/h]
    distances : (node,) [Mpc/h]
    values : (node,)
    """

    observer: tuple[float, float, float]
    distances: Float[np.ndarray, " node"]
    values: Float[np.ndarray, " node"]

    def at(self, positions: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, " n"]:
        """Return it at places [Mpc/h]."""
        distance = np.linalg.norm(np.asarray(positions) - np.asarray(self.observer), axis=1)
        return np.interp(distance, self.distances, self.values)

    def on(self, box: Box) -> Float[torch.Tensor, "x y z"]:
        """Return it at the cell centres of a box."""
        x, y, z = ((box.coordinates(axis) - self.observer[axis]) ** 2 for axis in range(3))
        across = y[:, None] + z
        mesh = np.empty(box.shape, dtype=np.float32)
        for plane, square in zip(mesh, x, strict=True):  # bounds the temporaries in double precision
            plane[:] = np.interp(np.sqrt(square + across), self.distances, self.values)
        return torch.from_numpy(mesh)


def of_epoch(
    catalogue: Catalogue, function: Callable[[float], float], *, cosmology: Cosmology
) -> AlongDistance | float:
    """Return a function of redshift along a catalogue's light cone; at its one redshift where it has one epoch."""
    if not catalogue.light_cone:
        return function(catalogue.redshift)
    assert catalogue.observer is not None  # a light cone has one
    corners = np.asarray(catalogue.box.origin) + np.asarray(catalogue.box.sides) * [[0.0], [1.0]]
    farthest = float(np.linalg.norm(np.abs(corners - np.asarray(catalogue.observer)).max(axis=0)))
    distances = np.linspace(0.0, farthest, _NODES)
    values = [function(float(redshift)) for redshift in cosmology.redshift_at(distances)]
    return AlongDistance(catalogue.observer, distances, np.asarray(values))


def at_places(quantity: AlongDistance | float, positions: Float[np.ndarray, "n 3"]) -> np.ndarray | float:
    """Return a quantity at places: an array (n,), or the one number that it is everywhere."""
    return quantity.at(positions) if isinstance(quantity, AlongDistance) else quantity


def on_mesh(quantity: AlongDistance | float, box: Box) -> Float[torch.Tensor, "x y z"] | float:
    """Return a quantity on the mesh of a box, or the one number that it is everywhere."""
    return quantity.on(box) if isinstance(quantity, AlongDistance) else quantity


def velocity_factor(
    catalogue: Catalogue, box: Box, *, cosmology: Cosmology
) -> Float[torch.Tensor, "x y z"] | float:
    """Return a H f [km/s per Mpc/h] on the mesh of a box at the epoch of each cell; one number of one epoch."""
    return on_mesh(of_epoch(catalogue, cosmology.velocity_factor, cosmology=cosmology), box)


def bias_evolution(catalogue: Catalogue, *, cosmology: Cosmology) -> AlongDistance | float:
    """Return the tracers' bias over its mean along the light cone, as it is measured in shells of redshift.

    Shells of equal numbers of objects, at least 0.1 wide and of 2e8 (Mpc/h)^3 (`SHELL_WIDTH`, `SHELL_VOLUME`), have
    their bias by `linear_bias`, at their own redshift; the result is linear in redshift between the middles of the
    first and the last one, of least squares, and constant beyond. 1 where there are not two such shells. A flux-limited
    sample, whose faintest objects are seen nearby alone, has n(r)^-0.15 (`LUMINOSITY_POWER`) in their place.

    Parameters
    ----------
    catalogue : Catalogue
    cosmology : Cosmology
    """
    if not catalogue.light_cone or catalogue.completeness is None:
        return 1.0
    assert catalogue.observer is not None
    observer = np.asarray(catalogue.observer)
    distance = np.linalg.norm(catalogue.positions - observer, axis=1)
    if catalogue.flux_limited:
        return _of_luminosity(catalogue, distance)
    redshift = cosmology.redshift_at(distance)
    near, far = np.quantile(redshift, [0.005, 0.995])
    seen = catalogue.box.volume * float((catalogue.completeness.data > 0).double().mean())
    shells = min(int((far - near) / SHELL_WIDTH), int(seen / SHELL_VOLUME), MOST_SHELLS)
    if shells < 2:
        return 1.0
    edges = np.quantile(distance, np.linspace(0, 1, shells + 1))
    middles, biases, counts = [], [], []
    for low, high in pairwise(edges):
        inside = (distance >= low) & (distance <= high)
        part = _cut(catalogue, inside, (float(low), float(high)))
        middle = float(np.median(redshift[inside]))
        biases.append(linear_bias(part.replace(redshift=middle), cosmology=cosmology))
        middles.append(middle)
        counts.append(int(inside.sum()))
    slope, _ = np.polyfit(middles, biases, 1, w=np.sqrt(counts))
    mean = np.average(biases, weights=counts)
    centre = np.average(middles, weights=counts)

    def ratio(z: float) -> float:
        inside = min(max(z, middles[0]), middles[-1])
        return float(1 + slope * (inside - centre) / mean)

    return of_epoch(catalogue, ratio, cosmology=cosmology)


def bias_uncertainty(
    catalogue: Catalogue, box: Box, *, cosmology: Cosmology
) -> Float[torch.Tensor, "x y z"] | None:
    """Return by how much ln b of a flux-limited sample is off in each cell for one standard error of the power.

    All distances go together: bias near the observer is taken from that of the many objects far away by a power of
    the number density, whose error is `LUMINOSITY_SCATTER`. None of other samples.
    """
    if not (catalogue.flux_limited and catalogue.light_cone and catalogue.completeness is not None):
        return None
    evolution = on_mesh(bias_evolution(catalogue, cosmology=cosmology), box)
    assert isinstance(evolution, torch.Tensor)
    return evolution.log_().mul_(LUMINOSITY_SCATTER / LUMINOSITY_POWER)


def _of_luminosity(catalogue: Catalogue, distance: Float[np.ndarray, " n"]) -> AlongDistance:
    """Return the bias of a flux-limited sample over that of its weighted objects, from how many are seen where."""
    from scipy.optimize import isotonic_regression

    assert catalogue.completeness is not None
    assert catalogue.observer is not None
    box = catalogue.completeness.box
    edges = np.arange(0.0, distance.max() + _WIDTH, _WIDTH)
    seen = box.centres()[catalogue.completeness.numpy().ravel() > 0]
    cells, _ = np.histogram(np.linalg.norm(seen - np.asarray(catalogue.observer), axis=1), edges)
    counts, _ = np.histogram(distance, edges)
    shells = (cells > 0) & (counts > 0)
    density = counts[shells] / cells[shells]
    falling = isotonic_regression(density, weights=cells[shells], increasing=False).x
    bias = falling**-LUMINOSITY_POWER
    middles = (edges[1:] + edges[:-1])[shells] / 2
    mean = np.average(np.interp(distance, middles, bias), weights=catalogue.weights)
    return AlongDistance(catalogue.observer, middles, bias / mean)


def _cut(catalogue: Catalogue, inside: np.ndarray, limits: tuple[float, float]) -> Catalogue:
    """Return the part of a survey between two distances, in the smallest box of whole cells around it."""
    assert catalogue.completeness is not None
    assert catalogue.observer is not None
    whole = catalogue.completeness
    box = whole.box
    shell = AlongDistance(
        catalogue.observer,
        np.asarray([limits[0] * (1 - 1e-9), limits[0], limits[1], limits[1] * (1 + 1e-9)]),
        np.asarray([0.0, 1.0, 1.0, 0.0]),
    )
    fraction = whole.data[0] * shell.on(box)
    places = torch.nonzero(fraction > 0).numpy()
    cell = np.floor((catalogue.positions[inside] - np.asarray(box.origin)) / box.cell_size).astype(int)
    low = np.minimum(places.min(axis=0), cell.min(axis=0).clip(0))
    high = np.maximum(places.max(axis=0), cell.max(axis=0)) + 1
    # Multiples of 8 cells: coarse meshes find whole ones in them.
    count = np.minimum(-(-(high - low) // 8) * 8, box.shape)
    low = np.minimum(low, np.asarray(box.shape) - count)
    x, y, z = (slice(int(first), int(first + n)) for first, n in zip(low, count, strict=True))
    corner = np.asarray(box.origin) + low * box.cell_size
    sides = count * box.cell_size
    part = Box(
        (float(sides[0]), float(sides[1]), float(sides[2])),
        (int(count[0]), int(count[1]), int(count[2])),
        origin=(float(corner[0]), float(corner[1]), float(corner[2])),
        periodic=False,
    )
    inside = inside & part.contains(catalogue.positions)

    def rows(values: np.ndarray | None) -> np.ndarray | None:
        return None if values is None else values[inside]

    return Catalogue(
        catalogue.positions[inside],
        part,
        redshift=catalogue.redshift,
        line_of_sight=catalogue.line_of_sight,
        space=catalogue.space,
        weights=rows(catalogue.weights),
        observer=catalogue.observer,
        completeness=Field(fraction[x, y, z][None].contiguous(), part, whole.names, space=whole.space),
    )
