"""Surveys on the sky as catalogues in a box: groups, completeness and weights on the survey's mesh."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float, Int

from peculiar.catalogues.frames import RedshiftFrame
from peculiar.catalogues.groups import Groups
from peculiar.catalogues.randoms import Points, completeness_from_randoms
from peculiar.catalogues.sample import CELL_SIZE, SurveySample, read_survey
from peculiar.catalogues.selection import Radial, RadialSelection, Seen, completeness, radial_selection
from peculiar.catalogues.sky import ORIGIN, SkyMask, read_mask
from peculiar.catalogues.sky_table import columns_used, sky_places
from peculiar.catalogues.survey import make_survey
from peculiar.catalogues.table_file import TableFile
from peculiar.core import Box, Catalogue, Cosmology, Field, InputError
from peculiar.core.catalogue import SELECTION_FLOOR

if TYPE_CHECKING:
    from astropy.table import Table


@dataclass(frozen=True, eq=False)
class SurveyCatalogue:
    """What is painted, and where every row of the table stands.

    Attributes
    ----------
    catalogue : Catalogue
        Galaxies or groups in the survey's box.
    positions : (n, 3) [Mpc/h]
        Of every row; members of groups stand at the distance of their group where groups were used.
    full_density : float
        Number density that counts as complete [(h/Mpc)^3].
    seen : Seen
        Distances and share of the volume that are dense enough to be used, and in the box.
    objects : int
        Of the survey, in the box or beside it.
    redshifts : (n,)
        Of every row, in the frame of the CMB.
    rows : (m,) int
        Of the table, that stand in the box and were used.
    mask, limits : SkyMask, (2,) [Mpc/h]
        What the survey saw.
    groups : Groups or None
        Of the rows that the sample kept.
    weighting : str
        What the objects' weights are, in words.
    """

    catalogue: Catalogue
    positions: Float[np.ndarray, "n 3"]
    full_density: float
    seen: Seen
    objects: int
    redshifts: Float[np.ndarray, " n"]
    rows: Int[np.ndarray, " m"]
    mask: SkyMask
    limits: tuple[float, float]
    groups: Groups | None = None
    weighting: str = ""

    @property
    def attributes(self) -> dict[str, Any]:
        """What only fields of a survey say of themselves."""
        return {
            "full_density": self.full_density,
            "distances_used": list(self.seen.distances),
            "volume_used": self.seen.share,
        }

    def seen_rows(self, positions: Float[np.ndarray, "n 3"]) -> Bool[np.ndarray, " n"]:
        """Return which positions lie in the mask, the limits and the box."""
        distance = np.linalg.norm(positions, axis=1)
        seen = (distance >= self.limits[0]) & (distance <= self.limits[1])  # NaN is not
        seen[seen] = (self.mask.at(positions[seen]) > 0) & self.catalogue.box.contains(positions[seen])
        return seen

    def __str__(self) -> str:
        near, far = self.seen.distances
        count = len(self.catalogue)
        objects = f"{count} objects"
        if count < self.objects:
            objects = f"{count} of the survey's {self.objects} objects lie in its box"
        return (
            f"{objects}, complete from {self.full_density:.3g} (h/Mpc)^3 on: "
            f"{self.seen.share:.0%} of the survey's volume is used, {near:.4g} to {far:.4g} Mpc/h"
        )


def to_catalogue(sample: SurveySample, box: Box) -> SurveyCatalogue:
    """Put a survey's objects into a box with their completeness.

    Parameters
    ----------
    sample : SurveySample
    box : Box
        With a mesh, not periodic, observer at (0, 0, 0); see `SurveySample.box`.

    Returns
    -------
    SurveyCatalogue
        The objects in the box with the line of sight "radial", the observer at (0, 0, 0), the median redshift and the
        completeness on the mesh. With ``groups = "collapse"`` galaxies stand at the distance of their group; with
        "replace" each group is one object whose mass is its luminosity or its number of members.

    Raises
    ------
    InputError
        If the box is periodic or holds none of the objects.
    """
    if box.periodic:
        raise InputError(
            "box of a survey must not be periodic, got periodic=True: use Box(..., periodic=False)"
        )
    survey, cosmology = sample.survey, sample.cosmology
    kept, n_of_r = sample.kept, sample.n_of_r
    positions = sample.positions
    groups = None if survey.groups == "ignore" else sample.groups()
    if groups is not None:
        positions = positions.copy()
        positions[kept] = groups.collapsed(positions[kept])
    points = positions[kept]
    masses, weights = (None if values is None else values[kept] for values in (sample.masses, sample.weights))
    if groups is not None and survey.groups == "replace":
        points, masses = groups.positions, groups.mass_proxy
        if weights is not None:
            weights = np.bincount(groups.group, weights=weights) / groups.members
        n_of_r = _selection_of_groups(sample, points, weights)
    distances = np.linalg.norm(points, axis=1)
    full = survey.full_density or n_of_r.full_density()
    even = n_of_r.capped(full)
    if full < n_of_r.peak:
        # Where the survey is denser than counts as complete, its objects weigh less: none is thrown away.
        own = np.ones(len(points)) if weights is None else weights
        weights = own * even.at(distances) / np.maximum(n_of_r.at(distances), 1e-300)
    inside = box.contains(points)
    if not inside.any():
        raise InputError(
            f"box must hold some of the survey, got {box.extent} at {box.origin} with none of {len(points)} "
            "objects: its coordinates have the observer at (0, 0, 0)"
        )
    left_out = len(kept) - int((box.contains(positions) & kept).sum())
    if left_out > 0.01 * len(kept):
        limits = "the distance range or the box" if survey.flux_limit is None else "the limits or the box"
        warnings.warn(
            f"{left_out} of {len(kept)} objects lie outside the mask, {limits}, and are not used",
            stacklevel=2,
        )
    catalogue = Catalogue(
        positions=points[inside],
        box=box,
        redshift=float(cosmology.redshift_at(np.median(distances[inside]))),
        line_of_sight="radial",
        space="redshift",
        masses=None if masses is None else masses[inside],
        weights=None if weights is None else weights[inside],
        observer=ORIGIN,
        completeness=_completeness(sample, box, n_of_r=n_of_r, even=even),
        light_cone=True,
        flux_limited=survey.radial == "flux-limited",
    )
    near, far = n_of_r.distances[[0, -1]].tolist()
    dense = even.seen(sample.mask)
    made = SurveyCatalogue(
        catalogue,
        positions,
        even.peak,
        dense if inside.all() else even.seen_in(box, sample.mask),
        len(points),
        redshifts=sample.redshifts,
        rows=np.flatnonzero(kept & box.contains(positions)),
        mask=sample.mask,
        limits=(near, far),
        groups=groups,
        weighting=sample.weighting,
    )
    if dense.share < 0.5:
        remedy = (
            "lower full_density, or narrow the distances" if survey.full_density else "narrow the distances"
        )
        warnings.warn(
            f"{made}, since less than {SELECTION_FLOOR} of that counts as unseen: {remedy}", stacklevel=2
        )
    return made


def sky_positions(
    path: str | Path | Table,
    *,
    cosmology: Cosmology,
    columns: Mapping[str, str] | None = None,
    frame: RedshiftFrame = "cmb",
) -> Float[np.ndarray, "n 3"]:
    """Return the position of every row of a survey, observer at the origin, (n, 3) [comoving Mpc/h, redshift space].

    The rows of `read_sky_catalogue` before any is left out, NaN for those of negative redshift; the columns and errors
    are the same.
    """
    table = TableFile(path, columns_used(columns)) if isinstance(path, str | Path) else path
    return sky_places(table, cosmology=cosmology, columns=columns, frame=frame)[1]


def read_sky_catalogue(
    path: str | Path | Table,
    *,
    mask: str | Path | SkyMask,
    cosmology: Cosmology,
    box: Box | None = None,
    cell_size: float = CELL_SIZE,
    padding: float = 25.0,
    distance_range: tuple[float, float] | None = None,
    radial: Radial = "flat",
    columns: Mapping[str, str] | None = None,
    frame: RedshiftFrame = "cmb",
) -> Catalogue:
    """Read a survey on the sky as a catalogue in a cube, with its completeness.

    For randoms, flux limits and groups see `read_survey` and `to_catalogue`.

    Parameters
    ----------
    path : path or astropy Table
        Columns ``ra``, ``dec`` [deg], ``z`` (redshift), and optional ``mass`` (anything that ranks) and ``weight``.
    mask : path or SkyMask
        HEALPix map of the angular completeness, see `read_mask`.
    cosmology : Cosmology
        Gives the distances.
    box : Box, optional
        The region to keep, in comoving coordinates with the observer at the origin, x to ra 0, z to the north pole.
        Where not given, the cube around the survey, see `survey_box`.
    cell_size : float
        Side of a mesh cell [Mpc/h], where `box` has no mesh.
    padding : float
        Empty margin around the survey [Mpc/h], where no `box` is given.
    distance_range, radial
        Limits [Mpc/h] and kind of the radial selection, see `radial_selection`.
    columns : mapping, optional
        The names above to the file's own, for those that differ.
    frame : "heliocentric", "cmb" or "local-group"
        Rest frame of the redshifts; they are converted to that of the CMB.

    Returns
    -------
    Catalogue
        The objects in the box, in the mask and in the range, in the order of the file, with the line of sight
        "radial", the observer at (0, 0, 0), the median redshift, and the completeness on the mesh of its box.

    Raises
    ------
    InputError
        If coordinates are out of range, the mask excludes most of the objects, or nothing is left.
    """
    survey = make_survey(
        {
            "frame": frame,
            "distances": distance_range,
            "radial": radial,
            "padding": padding,
            "cell_size": cell_size,
            "columns": dict(columns or {}),
        },
        where="read_sky_catalogue",
    )
    sky_mask = mask if isinstance(mask, SkyMask) else read_mask(mask)
    sample = read_survey(path, survey, cosmology=cosmology, mask=sky_mask)
    if box is None:
        box = sample.box()
    elif box.cells is None:
        box = box.with_cell_size(cell_size)
    return to_catalogue(sample, box).catalogue


def _selection_of_groups(
    sample: SurveySample, positions: Float[np.ndarray, "m 3"], weights: Float[np.ndarray, " m"] | None
) -> RadialSelection:
    """Return n(r) of groups: measured as the galaxies' was, or the galaxies' shape where a model gave that."""
    survey, galaxies = sample.survey, sample.n_of_r
    total = float(len(positions)) if weights is None else float(weights.sum())
    if sample.randoms is not None or survey.radial in ("flux-limited", "nz", "tabulated"):
        return galaxies.scaled(total / sample.total)
    return radial_selection(
        np.linalg.norm(positions, axis=1),
        solid_angle=sample.mask.solid_angle,
        weights=weights,
        distance_range=(float(galaxies.distances[0]), float(galaxies.distances[-1])),
        radial="measured" if survey.radial == "measured" else "flat",
        smoothing=survey.smoothing,
    )


def _completeness(sample: SurveySample, box: Box, *, n_of_r: RadialSelection, even: RadialSelection) -> Field:
    """Return the fraction of the densest sampling of `even`: mask times `even`, or randoms thinned to it."""
    randoms = sample.randoms
    if randoms is None:
        return completeness(box, sample.mask, n_of_r=even)
    per_galaxy = randoms.counts.total / sample.total
    return completeness_from_randoms(
        (_thinned(points, n_of_r, even) for points in randoms.points()),
        box,
        peak=sample.n_of_r.peak * per_galaxy * even.peak / n_of_r.peak,
    )


def _thinned(points: Points, n_of_r: RadialSelection, even: RadialSelection) -> Points:
    """Return random points of `n_of_r` weighted as those of `even`."""
    distance = np.linalg.norm(points.positions, axis=1)
    thinned = even.at(distance) / np.maximum(n_of_r.at(distance), 1e-300)
    return Points(points.positions, thinned if points.weights is None else thinned * points.weights)
