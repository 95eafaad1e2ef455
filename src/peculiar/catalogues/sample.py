"""Surveys on the sky: which rows of a table take part, where they are, and how densely they sample space."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float

from peculiar.catalogues.columns import find_columns, numbers, refuse_duplicates
from peculiar.catalogues.frames import RedshiftFrame, convert_redshift
from peculiar.catalogues.groups import Groups, find_groups
from peculiar.catalogues.luminosity import (
    FluxLimit,
    Schechter,
    fit_schechter,
    largest_departure,
    selection_from_luminosity,
)
from peculiar.catalogues.randoms import footprint, selection_of_randoms
from peculiar.catalogues.read import optional_numbers, read_table
from peculiar.catalogues.selection import Radial, RadialSelection, radial_selection
from peculiar.catalogues.sky import SkyMask, directions, read_mask, survey_box, to_cartesian
from peculiar.catalogues.survey import COLUMNS, Survey
from peculiar.core import Box, Cosmology, InputError

if TYPE_CHECKING:
    from astropy.table import Table

CELL_SIZE = 225 / 96
_DEPARTURE = 0.25  # of a Schechter function from the C- estimate: n(r) is then wrong by about as much


@dataclass(frozen=True, eq=False)
class Randoms:
    """Random points of a survey: positions (m, 3) [Mpc/h] and optional weights (m,)."""

    positions: Float[np.ndarray, "m 3"]
    weights: Float[np.ndarray, " m"] | None = None

    def within(self, mask: SkyMask, limits: tuple[float, float]) -> Randoms:
        """Return the points in a mask and between two distances [Mpc/h]."""
        distance = np.linalg.norm(self.positions, axis=1)
        kept = (mask.at(self.positions) > 0) & (distance >= limits[0]) & (distance <= limits[1])
        if not kept.any():
            raise InputError(
                f"randoms must lie in the survey, got none of {len(kept)} in the mask from {limits[0]:.5g} to "
                f"{limits[1]:.5g} Mpc/h: are they another survey's?"
            )
        return Randoms(self.positions[kept], None if self.weights is None else self.weights[kept])


@dataclass(frozen=True, eq=False)
class SurveySample:
    """A survey's objects in comoving space, before any mesh.

    Attributes
    ----------
    survey : Survey
    cosmology : Cosmology
        Gave the distances.
    positions : (n, 3) [comoving Mpc/h]
        Of every row of the table, observer at the origin, in redshift space.
    redshifts : (n,)
        Of every row, in the frame of the CMB.
    kept : (n,) bool
        Rows in the mask and within the limits; the others take no part.
    mask : SkyMask
    n_of_r : RadialSelection
        Of the kept rows.
    masses, weights, luminosities : (n,) or None
        Luminosities in units of absolute magnitude 0.
    randoms : Randoms or None
    luminosity_function : Schechter or None
        Of a flux-limited sample.
    """

    survey: Survey
    cosmology: Cosmology
    positions: Float[np.ndarray, "n 3"]
    redshifts: Float[np.ndarray, " n"]
    kept: Bool[np.ndarray, " n"]
    mask: SkyMask
    n_of_r: RadialSelection
    masses: Float[np.ndarray, " n"] | None = None
    weights: Float[np.ndarray, " n"] | None = None
    luminosities: Float[np.ndarray, " n"] | None = None
    randoms: Randoms | None = None
    luminosity_function: Schechter | None = None

    @property
    def total(self) -> float:
        """Weighted number of the kept rows."""
        return float(self.kept.sum()) if self.weights is None else float(self.weights[self.kept].sum())

    def groups(self) -> Groups:
        """Return the groups of the kept rows, by the survey's linking lengths.

        Luminosities of groups in a flux-limited sample are corrected for the members too faint to be seen: divided by
        the fraction of the luminosity function's light that is seen at the group's redshift (Moore, Frenk & White 1993,
        MNRAS 261, 827).
        """
        bright = self.luminosities if self.luminosities is not None else self.masses
        found = find_groups(
            self.positions[self.kept],
            self.redshifts[self.kept],
            n_of_r=self.n_of_r,
            linking=self.survey.linking,
            luminosities=None if bright is None else bright[self.kept],
        )
        limit, shape = self.survey.flux_limit, self.luminosity_function
        if limit is None or shape is None or found.luminosities is None:
            return found
        bright_end, faint_end = limit.absolute
        seen = limit.faint_end(found.redshifts, cosmology=self.cosmology)
        light = shape.integral(bright_end, seen, luminosity=True)
        everything = shape.integral(bright_end, np.array([faint_end]), luminosity=True)[0]
        correction = everything / np.maximum(light, 1e-3 * everything)
        return replace(found, luminosities=found.luminosities * correction)

    def box(self, *, cell_size: float = CELL_SIZE) -> Box:
        """Return the survey's own box, or the cube around the kept rows, with a mesh.

        Parameters
        ----------
        cell_size : float
            Side of a cell [Mpc/h], where the survey does not state it.
        """
        cell_size = self.survey.cell_size or cell_size
        if self.survey.box is not None:
            box = self.survey.box.box()
            return box.with_cells(max(2, round(box.size / cell_size)))
        return survey_box(self.positions[self.kept], cell_size=cell_size, padding=self.survey.padding)


def read_survey(
    source: str | Path | Table, survey: Survey, *, cosmology: Cosmology, mask: SkyMask | None = None
) -> SurveySample:
    """Read a survey's table and choose the rows that take part.

    Parameters
    ----------
    source : path or astropy Table
        Columns ``ra``, ``dec`` [deg], ``z`` (redshift), and optional ``mass`` (anything that ranks), ``weight`` and
        ``magnitude`` (apparent).
    survey : Survey
        What it is.
    cosmology : Cosmology
        Gives the distances.
    mask : SkyMask, optional
        In place of the survey's own.

    Raises
    ------
    InputError
        If coordinates are out of range, the mask or the randoms exclude most of the objects, nothing is left, or
        columns are missing.
    """
    from astropy.table import Table

    table = source if isinstance(source, Table) else read_table(source)
    if survey.frame is None:
        warnings.warn(
            "the rest frame of the redshifts is not stated, and taken as that of the CMB: give --frame heliocentric, "
            "cmb or local-group, or frame in the survey file",
            stacklevel=2,
        )
    redshifts, positions = sky_places(
        table, cosmology=cosmology, columns=survey.columns, frame=survey.frame or "cmb"
    )
    refuse_duplicates(positions, what="sky positions and redshifts")
    masses, weights, magnitudes = (
        optional_numbers(table, name, survey.columns) for name in ("mass", "weight", "magnitude")
    )
    if survey.flux_limit is not None and magnitudes is None:
        find_columns(table, ("magnitude",), columns=survey.columns)  # its error names the likely columns
    if mask is None and survey.mask is not None:
        mask = read_mask(survey.mask, complete_above=survey.complete_above)
    randoms = None if survey.randoms is None else _read_randoms(survey, cosmology=cosmology)
    mask, kept = _covered(positions, mask, randoms)
    distances = np.linalg.norm(positions, axis=1)
    limits = _limits(survey, distances[kept], cosmology=cosmology)
    kept &= (distances >= limits[0]) & (distances <= limits[1])
    randoms = None if randoms is None else randoms.within(mask, limits)
    luminosities, shape = None, None
    if magnitudes is not None:
        # Without a flux limit magnitudes only rank groups.
        limit = survey.flux_limit or FluxLimit(np.inf, absolute=(-np.inf, np.inf))
        absolute = magnitudes - limit.offset(redshifts, cosmology=cosmology)
        luminosities = 10 ** (-0.4 * absolute)
        if survey.flux_limit is not None:
            faint = limit.faint_end(redshifts, cosmology=cosmology)
            _refuse_fainter(magnitudes[kept], limit)
            kept &= (absolute >= limit.absolute[0]) & (absolute <= faint)
            shape = _luminosity_function(limit, absolute[kept], faint[kept], weights=_at(weights, kept))
    n_of_r = _selection(
        survey,
        distances[kept],
        limits=limits,
        mask=mask,
        weights=_at(weights, kept),
        randoms=randoms,
        shape=shape,
        cosmology=cosmology,
    )
    return SurveySample(
        survey=survey,
        cosmology=cosmology,
        positions=positions,
        redshifts=redshifts,
        kept=kept & (n_of_r.at(distances) > 0),
        mask=mask,
        n_of_r=n_of_r,
        masses=masses,
        weights=weights,
        luminosities=luminosities,
        randoms=randoms,
        luminosity_function=shape,
    )


def sky_places(
    table: Table,
    *,
    cosmology: Cosmology,
    columns: Mapping[str, str] | None = None,
    frame: RedshiftFrame = "cmb",
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, "n 3"]]:
    """Return the redshift in the frame of the CMB and the comoving position [Mpc/h] of every row of a survey's table.

    Raises
    ------
    InputError
        If columns are missing, coordinates out of range, or redshifts look like km/s.
    """
    unknown = set(columns or {}) - set(COLUMNS)
    if unknown:
        raise InputError(f"columns must map {', '.join(COLUMNS)}, got {', '.join(sorted(unknown))}")
    names = find_columns(table, ("ra", "dec", "z"), columns=columns)
    assert names is not None
    ra, dec, z = numbers(table, names, what="sky coordinates").T
    if frame != "cmb":
        z = convert_redshift(z, directions(ra, dec), source=frame)
    return z, to_cartesian(ra, dec, redshift=z, cosmology=cosmology)


def _at(
    values: Float[np.ndarray, " n"] | None, rows: Bool[np.ndarray, " n"]
) -> Float[np.ndarray, " m"] | None:
    return None if values is None else values[rows]


def _covered(
    positions: Float[np.ndarray, "n 3"], mask: SkyMask | None, randoms: Randoms | None
) -> tuple[SkyMask, Bool[np.ndarray, " n"]]:
    """Return the mask, or the randoms' footprint where there is none, and the rows that lie in both."""
    seen = None if randoms is None else footprint(randoms.positions)
    everywhere = mask if mask is not None else seen
    if everywhere is None:
        raise InputError(
            "a survey must have a mask or randoms, got neither: give --mask FILE or --randoms FILE, or name one in the "
            "survey file"
        )
    kept = np.ones(len(positions), dtype=bool)
    for name, one in (("mask", mask), ("randoms", seen)):
        if one is None:
            continue
        inside = one.at(positions) > 0
        if inside.mean() < 0.5:
            frame = "in another frame (COORDSYS), " if name == "mask" else ""
            raise InputError(
                f"{name} must cover the survey, got {int((~inside).sum())} of {len(inside)} objects outside: is it "
                f"another survey's, {frame}or are ra and dec in other units than degrees?"
            )
        kept &= inside
    return everywhere, kept


def _read_randoms(survey: Survey, *, cosmology: Cosmology) -> Randoms:
    """Read random points; they have the columns and the frame of the galaxies, where they have them at all."""
    assert survey.randoms is not None
    table = read_table(survey.randoms)
    columns = {name: own for name, own in survey.columns.items() if own in table.colnames}
    try:
        _, positions = sky_places(table, cosmology=cosmology, columns=columns, frame=survey.frame or "cmb")
        return Randoms(positions, optional_numbers(table, "weight", columns))
    except InputError as error:
        raise InputError(f"randoms {survey.randoms}: {error}") from error


def _limits(
    survey: Survey, distances: Float[np.ndarray, " n"], *, cosmology: Cosmology
) -> tuple[float, float]:
    """Return the limits in distance [Mpc/h]: the survey's, or those of the objects."""
    found = (float(distances.min()), float(distances.max()))
    limits = survey.distances or found
    if survey.redshifts is not None:
        near, far = cosmology.comoving_distance(np.array(survey.redshifts))
        limits = (float(near), float(far))
    if not ((distances >= limits[0]) & (distances <= limits[1])).any():
        raise InputError(
            f"distance_range must hold objects, got {limits[0]:.5g} to {limits[1]:.5g} Mpc/h for objects from "
            f"{found[0]:.5g} to {found[1]:.5g} Mpc/h: give the limits of the sample"
        )
    return limits


def _refuse_fainter(magnitudes: Float[np.ndarray, " n"], limit: FluxLimit) -> None:
    """Refuse a magnitude limit that the sample does not have."""
    fainter = int((magnitudes > limit.faintest).sum())
    if fainter > 0.5 * len(magnitudes):
        raise InputError(
            f"flux_limit.faintest must be the magnitude to which the sample is complete, got {limit.faintest:g} with "
            f"{fainter} of {len(magnitudes)} objects fainter: check the limit, the band and the column"
        )
    brightest = float(magnitudes.min())
    if float(np.quantile(magnitudes, 0.999)) < limit.faintest - 0.5:
        raise InputError(
            f"flux_limit.faintest must be the magnitude to which the sample is complete, got {limit.faintest:g} for "
            f"magnitudes from {brightest:.4g} to {magnitudes.max():.4g}: take the sample's own limit, or radial = "
            "'flat' if it is volume-limited"
        )


def _luminosity_function(
    limit: FluxLimit,
    absolute: Float[np.ndarray, " n"],
    faint: Float[np.ndarray, " n"],
    *,
    weights: Float[np.ndarray, " n"] | None,
) -> Schechter:
    """Fit the luminosity function, and warn where the C- estimate says that it is no Schechter function."""
    shape = fit_schechter(absolute, faint, bright_end=limit.absolute[0], weights=weights)
    departure = largest_departure(shape, absolute, faint, bright_end=limit.absolute[0])
    if departure > _DEPARTURE:
        warnings.warn(
            f"the luminosity function departs from the fitted Schechter function (M* {shape.M_star:.2f}, alpha "
            f"{shape.alpha:.2f}) by {departure:.0%}, and n(r) may as much: check the magnitude limit, or narrow the "
            "absolute magnitudes",
            stacklevel=3,
        )
    return shape


def _selection(
    survey: Survey,
    distances: Float[np.ndarray, " n"],
    *,
    limits: tuple[float, float],
    mask: SkyMask,
    weights: Float[np.ndarray, " n"] | None,
    randoms: Randoms | None,
    shape: Schechter | None,
    cosmology: Cosmology,
) -> RadialSelection:
    """Return n(r) of the objects that take part: of the randoms, the luminosity function, or the objects themselves."""
    total = float(len(distances)) if weights is None else float(weights.sum())
    if randoms is not None:
        return selection_of_randoms(
            np.linalg.norm(randoms.positions, axis=1),
            distances,
            solid_angle=mask.solid_angle,
            distance_range=limits,
            weights=randoms.weights,
            total=total,
        )
    if shape is not None and survey.flux_limit is not None:
        return selection_from_luminosity(
            shape,
            survey.flux_limit,
            cosmology=cosmology,
            distance_range=limits,
            solid_angle=mask.solid_angle,
            total=total,
        )
    kind: Radial = "measured" if survey.radial == "measured" else "flat"
    return radial_selection(
        distances,
        solid_angle=mask.solid_angle,
        weights=weights,
        distance_range=limits,
        radial=kind,
        smoothing=survey.smoothing,
    )
