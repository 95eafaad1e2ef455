"""Where a flow converges: peaks of its smoothed convergence, and the mean infall towards a place."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from peculiar.core.box import Box
from peculiar.core.errors import InputError
from peculiar.core.field import Field
from peculiar.fields.calculus import divergence
from peculiar.fields.smooth import gaussian
from peculiar.statistics.checks import require_finite, require_vector

SMOOTHING = 8.0
"""Gaussian radius [Mpc/h]: superclusters, not their clusters."""
SEEN = 0.7
"""Share of a cell's Gaussian that must lie in observed cells; a straight edge through the cell leaves 0.5."""
SEPARATION = 2.0
"""Least distance between two points, in smoothing radii."""
STRONGEST = 10
"""Points that tables and maps show."""


@dataclass(frozen=True, eq=False)
class Convergence:
    """The smoothed convergence -div v / (a H f) of a velocity field, and its peaks.

    In linear theory it is the smoothed overdensity.

    Attributes
    ----------
    values : (x, y, z)
        NaN where it is not known: in cells that are not observed, or too near to such.
    box : Box
    smoothing : float
        Gaussian radius [Mpc/h].
    rms : float
        Over the known cells.
    points : (n, 3) [Mpc/h]
        Centres of the cells that are peaks, strongest first.
    strengths : (n,)
        Values there, in units of the rms.
    """

    values: Float[np.ndarray, "x y z"]
    box: Box
    smoothing: float
    rms: float
    points: Float[np.ndarray, "n 3"]
    strengths: Float[np.ndarray, " n"]

    def at(self, places: Float[np.ndarray, "m 3"]) -> Float[np.ndarray, " m"]:
        """Return the convergence of the cells that hold the places [Mpc/h], in units of the rms; NaN if not known."""
        n = self.box.shape
        cells = np.floor((np.asarray(places) - np.asarray(self.box.origin)) / self.box.cell_size).astype(int)
        cells = cells % n if self.box.periodic else cells
        inside = ((cells >= 0) & (cells < n)).all(axis=1)
        found = np.full(len(cells), np.nan)
        found[inside] = self.values[tuple(cells[inside].T)] / self.rms
        return found

    def percentile(self, strengths: Float[np.ndarray, " m"]) -> Float[np.ndarray, " m"]:
        """Return the share of known cells that converge less [per cent]; NaN stays NaN."""
        known = np.sort(self.values[np.isfinite(self.values)]) / self.rms
        rank = 100 * np.searchsorted(known, strengths) / len(known)
        return np.where(np.isfinite(strengths), rank, np.nan)

    def strongest_within(
        self, places: Float[np.ndarray, "m 3"], radius: Float[np.ndarray, " m"]
    ) -> Int[np.ndarray, " m"]:
        """Return the row of the strongest point within a radius [Mpc/h] of each place, -1 where there is none."""
        distance = self._separations(np.asarray(places))
        near = distance <= np.asarray(radius)[:, None]
        if not len(self.points):
            return np.full(len(near), -1)
        return np.where(near.any(axis=1), near.argmax(axis=1), -1)  # the strongest stand first

    def chance(self, radius: float, strength: float) -> float:
        """Return the share of known cells with a point of at least this strength within a radius [Mpc/h]."""
        from scipy.spatial import cKDTree

        strong = self.points[self.strengths >= strength]
        if not len(strong):
            return 0.0
        low = np.asarray(self.box.origin)
        known = (np.argwhere(np.isfinite(self.values)) + 0.5) * self.box.cell_size
        tree = cKDTree(strong - low, boxsize=self.box.sides if self.box.periodic else None)
        return float(np.mean(np.isfinite(tree.query(known, distance_upper_bound=radius)[0])))

    def _separations(self, places: Float[np.ndarray, "m 3"]) -> Float[np.ndarray, "m n"]:
        offset = places[:, None] - self.points[None]
        if self.box.periodic:
            sides = np.asarray(self.box.sides)
            offset -= sides * np.round(offset / sides)
        return np.asarray(np.linalg.norm(offset, axis=-1))


def convergence(
    velocity: Field,
    *,
    velocity_factor: float,
    coverage: Bool[np.ndarray, "x y z"] | None = None,
    smoothing: float = SMOOTHING,
) -> Convergence:
    """Return where a velocity field converges.

    -div v / (a H f) is smoothed over observed cells only: a Gaussian times the observed cells, over its own integral.
    Cells with less than 70 % of that integral are not judged. A point is a judged cell above its 26 neighbours, with
    no stronger point within two smoothing radii.

    Parameters
    ----------
    velocity : Field
        A vector [km/s].
    velocity_factor : float
        a H f [km/s per Mpc/h], `Cosmology.velocity_factor`.
    coverage : (x, y, z), optional
        Observed cells; by default all.
    smoothing : float
        Gaussian radius [Mpc/h], at least half a cell.

    Raises
    ------
    InputError
        If the field is no vector or not finite, the coverage has another shape or leaves nothing to judge, the
        smoothing is less than half a cell, or the field does not move at all.

    Examples
    --------
    >>> from peculiar.core import Box
    >>> from peculiar.fields.calculus import displacement
    >>> delta = torch.zeros(16, 16, 16)
    >>> delta[4, 8, 12] = 1.0
    >>> box = Box(160.0, 16)
    >>> flow = Field(50.0 * displacement(delta, box), box, "xyz", "km/s", kind="vector")
    >>> convergence(flow, velocity_factor=50.0, smoothing=15.0).points[0].tolist()
    [45.0, 85.0, 125.0]
    """
    require_vector(velocity, "velocity")
    require_finite(velocity, "velocity")
    box = velocity.box
    if not (math.isfinite(smoothing) and smoothing >= box.cell_size / 2):
        raise InputError(
            f"smoothing must be at least half a cell, {box.cell_size / 2:.4g} Mpc/h, got {smoothing}: take more, or a "
            "finer mesh"
        )
    observed = _observed(coverage, box)
    weight = Field(observed[None].float(), box, ("weight",))
    source = Field(weight.data * (-1 / velocity_factor) * _divergence(velocity), box, ("convergence",))
    share = gaussian(weight, smoothing).data[0]
    judged = observed & (share >= SEEN)
    if not bool(judged.any()):
        raise InputError(
            f"coverage must hold cells {smoothing:g} Mpc/h from its edge, got none among {int(observed.sum())}: "
            "smooth less"
        )
    smooth = gaussian(source, smoothing).data[0] / share.clamp(min=SEEN / 2)
    values = torch.where(judged, smooth, torch.nan).double().cpu().numpy()
    rms = float(np.sqrt(np.nanmean(values**2)))
    if rms == 0:
        raise InputError("velocity must vary from cell to cell, got one without convergence anywhere")
    points, strengths = _peaks(values, box, separation=SEPARATION * smoothing)
    return Convergence(values, box, smoothing, rms, points, strengths / rms)


def infall(
    velocity: Field,
    places: Float[np.ndarray, "m 3"],
    *,
    radius: float,
    coverage: Bool[np.ndarray, "x y z"] | None = None,
) -> Float[np.ndarray, " m"]:
    """Return the mean velocity towards each place over the observed cells within a radius.

    The mean velocity of those cells is taken out first: a place that moves along with its surroundings has no infall.

    Parameters
    ----------
    velocity : Field
        A vector.
    places : (m, 3) [Mpc/h]
    radius : float
        [Mpc/h]; at least one cell.
    coverage : (x, y, z), optional
        Observed cells; by default all.

    Returns
    -------
    (m,), in the field's unit, positive for infall; NaN where less than half of the sphere was observed.

    Raises
    ------
    InputError
        If the field is no vector or the radius is less than a cell or more than half the box.
    """
    require_vector(velocity, "velocity")
    box = velocity.box
    n, cell = box.shape, box.cell_size
    if not cell <= radius <= min(box.sides) / 2:
        raise InputError(f"radius must lie in [{cell:.4g}, {min(box.sides) / 2:.4g}] Mpc/h, got {radius}")
    observed = _observed(coverage, box).cpu().numpy()
    reach = math.ceil(radius / cell) + 1
    around = np.indices((2 * reach + 1,) * 3).reshape(3, -1).T - reach
    scaled = (np.asarray(places, dtype=np.float64) - np.asarray(box.origin)) / cell
    cells = np.floor(scaled).astype(int)[:, None] + around
    offset = (cells + 0.5 - scaled[:, None]) * cell
    distance = np.linalg.norm(offset, axis=-1)
    sphere = (distance <= radius) & (distance > 0)
    inside = np.ones(sphere.shape, bool) if box.periodic else ((cells >= 0) & (cells < n)).all(axis=-1)
    index = tuple(np.moveaxis(cells % n, -1, 0))
    used = sphere & inside & observed[index]
    count = used.sum(axis=1)
    flow = np.moveaxis(velocity.numpy()[(slice(None), *index)], 0, -1).astype(np.float64)
    total = np.maximum(count, 1)
    mean = np.where(used[..., None], flow, 0).sum(axis=1) / total[:, None]
    towards = -((flow - mean[:, None]) * offset).sum(axis=-1) / np.where(distance > 0, distance, 1)
    average = np.where(used, towards, 0).sum(axis=1) / total
    return np.where(count >= 0.5 * sphere.sum(axis=1), average, np.nan)


def _observed(coverage: Bool[np.ndarray, "x y z"] | None, box: Box) -> Bool[torch.Tensor, "x y z"]:
    shape = box.shape
    if coverage is None:
        return torch.ones(shape, dtype=torch.bool)
    if coverage.shape != shape:
        raise InputError(f"coverage must have the shape of the mesh, {shape}, got {coverage.shape}")
    return torch.from_numpy(np.ascontiguousarray(coverage, dtype=bool))


def _divergence(velocity: Field) -> Float[torch.Tensor, "1 x y z"]:
    """Return the divergence [unit per Mpc/h]; differences of neighbours where no box wraps: they do not ring."""
    if velocity.box.periodic:
        return divergence(velocity).data
    cell = velocity.box.cell_size
    parts = [torch.gradient(velocity.data[axis], spacing=cell, dim=axis)[0] for axis in range(3)]
    return torch.stack(parts).sum(dim=0, keepdim=True)


def _peaks(
    values: Float[np.ndarray, "x y z"], box: Box, *, separation: float
) -> tuple[Float[np.ndarray, "n 3"], Float[np.ndarray, " n"]]:
    """Return the peaks [Mpc/h] and the values there, largest first, without those near a larger one."""
    from scipy.ndimage import maximum_filter
    from scipy.spatial import cKDTree

    filled = np.where(np.isfinite(values), values, -np.inf)
    highest = maximum_filter(filled, size=3, mode="wrap" if box.periodic else "constant", cval=-np.inf)
    cells = np.argwhere((filled == highest) & (filled > 0))
    strengths = filled[tuple(cells.T)]
    order = np.argsort(-strengths, kind="stable")
    cells, strengths = cells[order], strengths[order]
    places = (cells + 0.5) * box.cell_size
    tree = cKDTree(places, boxsize=box.sides if box.periodic else None)
    weaker = tree.query_pairs(separation, output_type="ndarray").max(axis=1, initial=-1)
    kept = np.setdiff1d(np.arange(len(cells)), weaker)
    return places[kept] + np.asarray(box.origin), strengths[kept]
