"""Columns that are added to a user's tables: what they are called and mean, and how they find room."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from string import digits
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Shaped

from peculiar.core import InputError

if TYPE_CHECKING:
    from astropy.table import Table

COLUMNS = {
    "vx": ("km / s", "peculiar velocity along x"),
    "vy": ("km / s", "peculiar velocity along y"),
    "vz": ("km / s", "peculiar velocity along z"),
    "v_los": ("km / s", "peculiar velocity along the line of sight, positive away from the observer"),
    "delta": ("", "matter overdensity"),
    "x_real": ("Mpc / h", "comoving position in real space"),
    "y_real": ("Mpc / h", "comoving position in real space"),
    "z_real": ("Mpc / h", "comoving position in real space"),
    "v_los_error": ("km / s", "standard error of v_los, small-scale motions apart"),
    "v_los_draw_": ("km / s", "draw of v_los, of the field and of the place on the sight line"),
    "known_fraction": ("", "share of the velocity's variance that the survey knows, in linear theory"),
    "unseen": ("", "whether the survey saw nothing there: values are extrapolated"),
    "v_los_scatter": ("km / s", "error of v_los beside v_los_error: of the place on the sight line"),
    "v_los_own": ("km / s", "the object's own velocity along the line of sight, with its motion in its halo"),
    "v_los_own_error": ("km / s", "standard error of v_los_own, of all that is known of"),
    "v_los_total_error": ("km / s", "error of v_los, of the field, the place on the sight line and motions"),
    "z_cosmological": ("", "redshift without the peculiar velocity"),
    "VPEC": ("km / s", "peculiar velocity along the line of sight in the frame of the CMB, positive away"),
    "VPEC_ERR": ("km / s", "error of VPEC, of all that is known of"),
    "zHD": ("", "Hubble diagram redshift, (1 + zCMB) / (1 + VPEC / c) - 1"),
    "solutions": ("", "places that give exactly the observed redshift"),
    "missing": ("", "why there is no velocity, or none but extrapolated: outside, unseen, z < 0; else empty"),
    "group": ("", "group of the row, -1 for rows that take no part"),
    "v_measured": ("km / s", "radial velocity by the log-distance estimator"),
    "v_error": ("km / s", "Gaussian error of v_measured"),
    "v_predicted": ("km / s", "of beta v_field + V_ext, given the redshift"),
}
"""Columns that are added to tables: unit and meaning; a number may follow. The h of Mpc / h is the Hubble parameter."""


OBJECT_COLUMNS = ("vx", "vy", "vz", "v_los", "delta", "x_real", "y_real", "z_real")
"""What every table of objects gets."""
READ_COLUMNS = ("v_los_scatter", "v_los_own", "v_los_own_error")
"""What reading them along the lines of sight adds."""
TOLD_COLUMNS = (*OBJECT_COLUMNS, *READ_COLUMNS)
"""Both."""


def object_columns(
    velocities: Float[np.ndarray, "n 3"],
    v_los: Float[np.ndarray, " n"],
    delta: Float[np.ndarray, " n"],
    positions_real: Float[np.ndarray, "n 3"],
) -> dict[str, Float[np.ndarray, " n"]]:
    """Return `OBJECT_COLUMNS` of what was reconstructed; see `peculiar.catalogues.write_objects`."""
    return dict(zip(OBJECT_COLUMNS, (*velocities.T, v_los, delta, *positions_real.T), strict=True))


def renamed(table: Table, added: Collection[str]) -> dict[str, str]:
    """Return new names for the table's columns that have the name of an added one, in whatever capitals.

    Readers of FITS ignore case, and would take one for the other: what is added keeps its name, ``VX`` becomes
    ``VX_in``.
    """
    ours = {name.lower() for name in added}
    taken = {name.lower() for name in table.colnames} | ours
    names = {}
    for name in table.colnames:
        if name.lower() in ours:
            kept = f"{name}_in"
            while kept.lower() in taken:
                kept += "_in"
            names[name] = kept
            taken.add(kept.lower())
    return names


def with_columns(
    table: Table,
    columns: Mapping[str, Shaped[np.ndarray, " n"]],
    *,
    meanings: Mapping[str, str] | None = None,
) -> Table:
    """Return a copy of the table with columns of `COLUMNS` added, described as there or by `meanings`.

    Columns of the table with their names get those of `renamed`, which the table's comments tell.

    Raises
    ------
    InputError
        If lengths differ.
    """
    import astropy.units as u
    from astropy.table import Column

    result = table.copy()
    for name, kept in renamed(table, columns).items():
        result.rename_column(name, kept)
        result.meta["comments"] = [*result.meta.get("comments", []), f"{kept} was {name} in the catalogue"]
    for name, values in columns.items():
        if len(values) != len(table):
            raise InputError(f"{name} must have one row per object ({len(table)}), got {len(values)}")
        unit, usual = COLUMNS[name.rstrip(digits)]
        meaning = (meanings or {}).get(name, usual)
        result[name] = Column(values, unit=u.Unit(unit) if unit else None, description=meaning)
    return result
