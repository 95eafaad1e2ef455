"""Surveys on the sky: which rows of a table take part, where they are, and how densely they sample space."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float

from peculiar.catalogues.columns import (
    find_columns,
    numbers,
    optional_numbers,
    refuse_duplicates,
)
from peculiar.catalogues.coverage import warn_unfilled_sky
from peculiar.catalogues.groups import Groups, find_groups
from peculiar.catalogues.luminosity import (
    FluxLimit,
    Schechter,
    luminosity_function_of,
    refuse_fainter,
    selection_from_luminosity,
)
from peculiar.catalogues.planned import selection_from_table
from peculiar.catalogues.random_points import Randoms, SeenRandoms
from peculiar.catalogues.randoms import selection_of_randoms
from peculiar.catalogues.selection import (
    Radial,
    RadialSelection,
    radial_selection,
    selection_of_column,
)
from peculiar.catalogues.sky import SkyMask, survey_box
from peculiar.catalogues.sky_counts import footprint
from peculiar.catalogues.sky_table import sky_places
from peculiar.catalogues.survey import COLUMNS, Survey
from peculiar.catalogues.table_file import TableFile
from peculiar.catalogues.units import rank
from peculiar.catalogues.weights import PUBLISHED, Weights, names_in, weigh_objects
from peculiar.core import Box, Cosmology, InputError, InputWarning

if TYPE_CHECKING:
    from astropy.table import Table

CELL_SIZE = 225 / 96


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
    weighting : str
        What the weights are, in words.
    randoms : SeenRandoms or None
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
    weighting: str = ""
    randoms: SeenRandoms | None = None
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
            return box.with_cell_size(cell_size)
        return survey_box(self.positions[self.kept], cell_size=cell_size, padding=self.survey.padding)


def read_survey(
    source: str | Path | Table | TableFile,
    survey: Survey,
    *,
    cosmology: Cosmology,
    mask: SkyMask | None = None,
) -> SurveySample:
    """Read a survey's table and choose the rows that take part.

    Parameters
    ----------
    source : path, astropy Table or TableFile
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
    table = TableFile(source, columns_used(survey)) if isinstance(source, str | Path) else source
    if survey.frame is None:
        problem = "the rest frame of the redshifts is not stated, and taken as that of the CMB: give"
        warnings.warn(
            InputWarning(
                f"{problem} frame = 'heliocentric', 'cmb' or 'local-group' of the survey",
                command=f"{problem} --frame heliocentric, cmb or local-group, or frame in the survey file",
            ),
            stacklevel=2,
        )
    frame = survey.frame or "cmb"
    redshifts, positions = sky_places(table, cosmology=cosmology, columns=survey.columns, frame=frame)
    known = redshifts >= 0
    if not known.all():
        warnings.warn(
            f"{int((~known).sum())} of {len(known)} objects have z < 0 in the frame of the CMB, hence no distance, and "
            "are not used",
            stacklevel=2,
        )
    refuse_duplicates(positions[known], what="sky positions and redshifts")
    masses = optional_numbers(table, "mass", survey.columns)
    weighted = weigh_objects(table, survey.weights, columns=survey.columns)
    weights = weighted.values
    density = _stated_density(table, survey, weighted)
    magnitudes = _magnitudes(table, survey)
    mask = mask or survey.sky_mask()
    every = Randoms(survey, weighted, cosmology) if survey.randoms else None
    own_mask, seen = mask, None if every is None else footprint(every.sky())
    mask, kept = _covered(positions, known, mask, seen)
    distances = np.linalg.norm(positions, axis=1)
    limits = _limits(survey, distances[kept], cosmology=cosmology)
    kept &= (distances >= limits[0]) & (distances <= limits[1])
    randoms = None if every is None else every.within(own_mask, limits)
    luminosities, shape = None, None
    if magnitudes is not None:
        # Without a flux limit magnitudes only rank groups.
        limit = survey.flux_limit or FluxLimit(np.inf, absolute=(-np.inf, np.inf))
        placed = np.where(known, redshifts, 0.0)
        absolute = magnitudes - limit.offset(placed, cosmology=cosmology)
        luminosities = 10 ** (-0.4 * absolute)
        if survey.flux_limit is not None:
            faint = limit.faint_end(placed, cosmology=cosmology)
            refuse_fainter(magnitudes[kept], limit)
            kept &= (absolute >= limit.absolute[0]) & (absolute <= faint)
            given = survey.luminosity_function
            shape = luminosity_function_of(
                None if given is None else given.schechter,
                limit,
                absolute[kept],
                faint[kept],
                weights=_at(weights, kept),
                cosmology=cosmology,
                limits=limits,
            )
    warn_unfilled_sky(positions[kept], mask, randoms=None if randoms is None else randoms.counts.sky)
    n_of_r = _selection(
        survey,
        distances[kept],
        limits=limits,
        mask=mask,
        weights=_at(weights, kept),
        randoms=randoms,
        shape=shape,
        expected=_at(density, kept),
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
        weighting=str(weighted) if weighted.factors or weighted.unused else "",
        randoms=randoms,
        luminosity_function=shape,
    )


def columns_used(survey: Survey) -> set[str]:
    """Return the names that `read_survey` looks for."""
    named = {survey.columns.get(name, name) for name in COLUMNS if name != "nz" or survey.radial == "nz"}
    return named | (set(PUBLISHED) if survey.weights is None else names_in(survey.weights))


def _magnitudes(table: Table | TableFile, survey: Survey) -> Float[np.ndarray, " n"] | None:
    """Return apparent magnitudes, which a flux limit needs; without one they only rank groups, and may be wrong."""
    if survey.flux_limit is not None:
        find_columns(table, ("magnitude",), columns=survey.columns)  # its error names the likely columns
        return optional_numbers(table, "magnitude", survey.columns)
    try:
        return optional_numbers(table, "magnitude", survey.columns)
    except InputError as error:
        if "magnitude" in survey.columns:
            raise
        warnings.warn(f"magnitudes are not used: {error}", stacklevel=3)
        return None


def _stated_density(
    table: Table | TableFile, survey: Survey, weights: Weights
) -> Float[np.ndarray, " n"] | None:
    """Return the number density of weighted objects that a column states, for radial = "nz".

    It is NZ in BOSS, eBOSS and DESI's early release, and NX in DESI's DR1, with NZ optional (https://desidatamodel.readthedocs.io,
    clustering catalogs).
    """
    if survey.radial != "nz":
        return None
    lower = {name.lower() for name in table.colnames}
    columns = survey.columns if "nz" in lower or "nx" not in lower else {"nz": "nx"} | survey.columns
    names = find_columns(table, ("nz",), columns=columns)  # its error names the likely columns
    assert names is not None  # they are required
    density = numbers(table, names, what="number density", quantities=[rank])[:, 0]
    return density if weights.relative is None else density * weights.relative


def _at(
    values: Float[np.ndarray, " n"] | None, rows: Bool[np.ndarray, " n"]
) -> Float[np.ndarray, " m"] | None:
    return None if values is None else values[rows]


def _covered(
    positions: Float[np.ndarray, "n 3"],
    known: Bool[np.ndarray, " n"],
    mask: SkyMask | None,
    seen: SkyMask | None,
) -> tuple[SkyMask, Bool[np.ndarray, " n"]]:
    """Return the mask, or the randoms' footprint where there is none, and the known rows that lie in both."""
    everywhere = mask if mask is not None else seen
    if everywhere is None:
        problem = "a survey must have a mask or randoms, got neither: give"
        raise InputError(
            f"{problem} mask or randoms of the survey",
            command=f"{problem} --mask FILE or --randoms FILE, or name one in the survey file",
        )
    kept = known.copy()
    for name, one in (("mask", mask), ("randoms", seen)):
        if one is None:
            continue
        inside = one.at(positions[known]) > 0
        if inside.mean() < 0.5:
            frame = "in another frame (COORDSYS), " if name == "mask" else ""
            raise InputError(
                f"{name} must cover the survey, got {int((~inside).sum())} of {len(inside)} objects outside: is it "
                f"another survey's, {frame}or are ra and dec in other units than degrees?"
            )
        kept[known] &= inside
    return everywhere, kept


def _limits(
    survey: Survey, distances: Float[np.ndarray, " n"], *, cosmology: Cosmology
) -> tuple[float, float]:
    """Return the limits in distance [Mpc/h]: the survey's, or those of the objects."""
    found = (float(distances.min()), float(distances.max()))
    limits = survey.limits(cosmology) or found
    if not ((distances >= limits[0]) & (distances <= limits[1])).any():
        problem = (
            f"must hold objects, got {limits[0]:.5g} to {limits[1]:.5g} Mpc/h for objects from {found[0]:.5g} to "
            f"{found[1]:.5g} Mpc/h: give the limits of the sample"
        )
        raise InputError(f"distance_range {problem}", command=f"--distances {problem}")
    return limits


def _selection(
    survey: Survey,
    distances: Float[np.ndarray, " n"],
    *,
    limits: tuple[float, float],
    mask: SkyMask,
    weights: Float[np.ndarray, " n"] | None,
    randoms: SeenRandoms | None,
    shape: Schechter | None,
    expected: Float[np.ndarray, " n"] | None,
    cosmology: Cosmology,
) -> RadialSelection:
    """Return n(r) of the objects that take part: of a column, the randoms, a luminosity function, or the objects."""
    if expected is not None:
        return selection_of_column(
            distances, expected, solid_angle=mask.solid_angle, distance_range=limits, weights=weights
        )
    if randoms is not None:
        return selection_of_randoms(
            randoms.counts, distances, solid_angle=mask.solid_angle, galaxy_weights=weights
        )
    if shape is not None and survey.flux_limit is not None:
        return selection_from_luminosity(
            shape,
            survey.flux_limit,
            cosmology=cosmology,
            distance_range=limits,
            solid_angle=mask.solid_angle,
            total=float(len(distances)) if weights is None else float(weights.sum()),
        )
    if survey.n_of_z is not None:
        return selection_from_table(
            survey.n_of_z,
            distances,
            cosmology=cosmology,
            limits=limits,
            solid_angle=mask.solid_angle,
            weights=weights,
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
