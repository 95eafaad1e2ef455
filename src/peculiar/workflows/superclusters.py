"""Whether a reconstructed flow converges on the superclusters of the literature."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.table import Table
from jaxtyping import Bool

from peculiar.catalogues import to_sky
from peculiar.catalogues.superclusters import Superclusters, read_superclusters
from peculiar.core import Cosmology, Field, InputError
from peculiar.core.catalogue import SELECTION_FLOOR, Observer
from peculiar.inference.given import reconstruction
from peculiar.inference.reconstruction import Reconstruction
from peculiar.statistics.convergence import SMOOTHING, STRONGEST, Convergence, convergence, infall

REACH = 15.0
"""How far from a supercluster's place a point of convergence may lie, besides the supercluster's size [Mpc/h]."""
INFALL_RADIUS = 20.0
"""Of the sphere over which the infall is averaged [Mpc/h]."""
LEAST = 2.0
"""Convergence, in units of its rms, from which on a peak counts as a match."""


@dataclass(frozen=True, eq=False)
class SuperclusterFlow:
    """Where a flow converges, and what lies there.

    Attributes
    ----------
    convergence : Convergence
    superclusters : Superclusters
    named : Table
        A row for each supercluster: `distance` [Mpc/h], `size` [Mpc/h], `convergence` at its place in units of the
        rms, `percentile` of that among the known cells, `infall` [km/s] within 20 Mpc/h; of the strongest point within
        15 Mpc/h and its size `point_convergence`, `point_distance` [Mpc/h], and `chance`, the share of the known
        volume with such a point as near; NaN where the field does not tell.
    strongest : Table
        A row for each of the ten strongest points: `ra`, `dec` [deg], `z` (frame of the microwave background),
        `distance` [Mpc/h], `convergence`, `infall` [km/s] and `match`, the superclusters that it belongs to.
    expected : float
        Matches of the judged superclusters if their places were random.
    """

    convergence: Convergence
    superclusters: Superclusters
    named: Table
    strongest: Table
    expected: float

    @property
    def judged(self) -> int:
        """Superclusters whose place lies in the known part of the field."""
        return int(np.isfinite(self.named["convergence"]).sum())

    @property
    def matched(self) -> int:
        """Judged superclusters with a point of convergence."""
        rows = self.named[np.isfinite(self.named["convergence"])]
        return int(np.isfinite(rows["point_convergence"]).sum())


def superclusters_in(
    field: Reconstruction | Path | str,
    superclusters: Superclusters | None = None,
    *,
    coverage: Bool[np.ndarray, "x y z"] | None = None,
    smoothing: float = SMOOTHING,
) -> SuperclusterFlow:
    """Look for superclusters where a flow converges, and for the strongest convergence among superclusters.

    A supercluster is matched with the strongest point of convergence (`peculiar.statistics.convergence`) of at least
    twice the rms within 15 Mpc/h and its size of its place. Its place is in redshift space and that of the flow is in
    real space: the two differ by some Mpc/h.

    Parameters
    ----------
    field : Reconstruction or path
        Of a survey.
    superclusters : Superclusters, optional
        By default those of the package.
    coverage : (x, y, z), optional
        Observed cells; by default those with a completeness above 0.3, or all where there is none.
    smoothing : float
        Gaussian radius of the convergence [Mpc/h].

    Raises
    ------
    InputError
        If it has no redshift, and as in `Reconstruction.sky` and `peculiar.statistics.convergence.convergence`.
    """
    made = reconstruction(field)
    observer, cosmology = made.sky()
    if made.redshift is None:
        raise InputError("field must have a redshift for its flow, got none: give an output of reconstruct")
    velocity = made["velocity"]
    if coverage is None and "completeness" in made:
        coverage = made["completeness"].numpy()[0] > SELECTION_FLOOR
    superclusters = superclusters or read_superclusters(cosmology=cosmology, observer=observer)
    found = convergence(
        velocity,
        velocity_factor=cosmology.velocity_factor(made.redshift),
        coverage=coverage,
        smoothing=smoothing,
    )
    places, radius = superclusters.positions, REACH + superclusters.sizes
    strong = found.strengths >= LEAST
    point = found.strongest_within(places, radius)
    matched = (point >= 0) & (found.strengths[point] >= LEAST if len(strong) else False)
    nearest = found.points[point] if len(strong) else np.full_like(places, np.nan)
    strengths = found.strengths[point] if len(strong) else np.full(len(places), np.nan)
    value = found.at(places)
    towards = infall(velocity, places, radius=INFALL_RADIUS, coverage=coverage)
    chances = np.array([found.chance(reach, LEAST) for reach in radius])
    named = Table(
        {
            "name": superclusters.names,
            "clusters": superclusters.clusters,
            "distance": np.linalg.norm(places - np.asarray(observer), axis=1),
            "size": superclusters.sizes,
            "convergence": value,
            "percentile": found.percentile(value),
            "infall": np.where(np.isfinite(value), towards, np.nan),
            "point_convergence": np.where(matched, strengths, np.nan),
            "point_distance": np.where(matched, np.linalg.norm(nearest - places, axis=1), np.nan),
            "chance": [
                found.chance(reach, strength) if there else np.nan
                for reach, strength, there in zip(radius, strengths, matched, strict=True)
            ],
            "reference": superclusters.references,
        }
    )
    return SuperclusterFlow(
        found,
        superclusters,
        _with_units(named),
        _with_units(_strongest(velocity, found, superclusters, cosmology, observer, coverage)),
        expected=float(chances[np.isfinite(value)].sum()),
    )


def _strongest(
    velocity: Field,
    found: Convergence,
    superclusters: Superclusters,
    cosmology: Cosmology,
    observer: Observer,
    coverage: Bool[np.ndarray, "x y z"] | None,
) -> Table:
    points = found.points[:STRONGEST]
    apart = np.linalg.norm(points[:, None] - superclusters.positions[None], axis=-1)
    near = apart <= REACH + superclusters.sizes
    ra, dec, z = to_sky(points, cosmology=cosmology, observer=observer)
    return Table(
        {
            "ra": ra,
            "dec": dec,
            "z": z,
            "distance": np.linalg.norm(points - np.asarray(observer), axis=1),
            "convergence": found.strengths[:STRONGEST],
            "infall": infall(velocity, points, radius=INFALL_RADIUS, coverage=coverage),
            "match": [
                "; ".join(np.asarray(superclusters.names)[row]) or "no match in the table" for row in near
            ],
        }
    )


def _with_units(table: Table) -> Table:
    import astropy.units as u

    for name, unit in (("ra", u.deg), ("dec", u.deg), ("infall", u.km / u.s)):
        if name in table.colnames:
            table[name].unit = unit
    for name in ("distance", "size", "point_distance"):
        if name in table.colnames:
            table[name].description = "comoving Mpc/h"
    for name in ("convergence", "point_convergence"):
        if name in table.colnames:
            table[name].description = "smoothed -div v / (a H f), in units of its rms"
    return table
