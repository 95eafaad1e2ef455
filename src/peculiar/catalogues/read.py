"""Read catalogues of halos or galaxies in a box."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from peculiar.catalogues.columns import (
    find_columns,
    find_vector,
    numbers,
    optional_numbers,
    refuse_duplicates,
    vectors,
)
from peculiar.catalogues.coverage import warn_unfilled_box
from peculiar.catalogues.table_file import TableFile
from peculiar.catalogues.units import Quantity, declared, length, speed
from peculiar.catalogues.weights import PUBLISHED, weigh_objects
from peculiar.core import Box, Catalogue, InputError
from peculiar.core.catalogue import LineOfSight
from peculiar.core.field import Space

if TYPE_CHECKING:
    from astropy.table import Table

NAMES = ("x", "y", "z", "position", "vx", "vy", "vz", "velocity", "mass", "weight")
"""Columns of a catalogue in a box."""


@dataclass(frozen=True)
class Stated:
    """What a catalogue that this package wrote states about itself."""

    box_size: float | tuple[float, ...]
    redshift: float
    space: Space
    line_of_sight: LineOfSight


def stated(table: Table | TableFile) -> Stated | None:
    """Return what `write_catalogue` wrote beside the columns; None for a table of another origin."""
    own = {str(key).lower(): value for key, value in table.meta.items()}
    if own.get("space") not in ("redshift", "real") or own.get("los") not in ("x", "y", "z", "radial"):
        return None
    try:
        sides = tuple(float(side) for side in str(own["box_size"]).split())
        return Stated(
            sides if len(sides) == 3 else sides[0], float(own["redshift"]), own["space"], own["los"]
        )
    except (KeyError, TypeError, ValueError):
        return None


def read_catalogue(
    path: str | Path | Table | TableFile,
    *,
    box: Box,
    line_of_sight: LineOfSight | None = None,
    space: Space | None = None,
    redshift: float | None = None,
    columns: Mapping[str, str] | None = None,
    observer: tuple[float, float, float] | None = None,
    velocities: bool = True,
) -> Catalogue:
    """Read a catalogue of objects in a box.

    Parameters
    ----------
    path : path, astropy Table or TableFile
        What `read_table` reads, of which only the columns that are used come into memory: ``x``, ``y``, ``z``
        [comoving Mpc/h] or one (n, 3) column
        ``position``, and optional ``vx``, ``vy``, ``vz`` (or ``velocity``) [peculiar km/s], ``mass`` [Msun/h, or
        anything that ranks] and ``weight``, in any case; or a table that was read already.
    box : Box
        The region, in the coordinates of the positions.
    line_of_sight : "x", "y", "z" or "radial"
        Axis of the redshift-space distortions; "radial" needs `observer`. By default what a file of `write_catalogue`
        states, else "z".
    space : "redshift" or "real"
        Whether the positions hold peculiar velocities; by default what the file states, else "redshift".
    redshift : float
        Effective redshift; H and f are taken there. By default what a file of `write_catalogue` states; any other
        file needs it.
    columns : mapping, optional
        The names above to the file's own, for those that differ: ``{"x": "X_GAL", "mass": "M200"}``.
    observer : (3,) [Mpc/h], optional
        Position of the observer, for a radial line of sight.
    velocities : bool
        Whether velocities are read; columns that are not read cannot be wrong.

    Returns
    -------
    Catalogue
        One object per row, in the order of the file.

    Raises
    ------
    InputError
        If the file cannot be read, no redshift is stated, columns are missing, values are not finite, units are
        wrong, objects lie outside the box, or more than 1 % of the rows repeat.

    Examples
    --------
    >>> halos = read_catalogue("halos.h5", box=Box(300.0), redshift=0.59)  # doctest: +SKIP
    """
    if isinstance(path, str | Path):
        table: Table | TableFile = TableFile(path, columns_used(columns, velocities=velocities))
    else:
        table = path
    if len(table) == 0:
        raise InputError(
            "catalogue must hold at least one object, got a table with no rows: check the selection"
        )
    unknown = set(columns or {}) - set(NAMES)
    if unknown:
        raise InputError(f"columns must map {', '.join(NAMES)}, got {', '.join(sorted(unknown))}")
    own = stated(table)
    if own is not None:
        _name_unused(own, box_size=box.size, redshift=redshift, space=space, line_of_sight=line_of_sight)
        line_of_sight, space = line_of_sight or own.line_of_sight, space or own.space
        redshift = own.redshift if redshift is None else redshift
    if redshift is None:
        problem = "redshift must be stated, got none"
        raise InputError(
            f"{problem}: give redshift= (the effective redshift of the objects)",
            command=f"{problem}: give --redshift (the effective redshift of the objects)",
        )
    if not -0.1 < redshift < 20:
        raise InputError(
            f"redshift must lie in (-0.1, 20), got {redshift}: give the effective redshift of the objects"
        )
    positions = _vectors(table, position_columns(table, columns), what="positions", quantity=length)
    refuse_wrong_units(positions, box)
    refuse_duplicates(positions)
    moving = _columns_of(table, "velocity", columns, required=False) if velocities else None
    return Catalogue(
        positions=positions,
        box=box,
        redshift=float(redshift),
        line_of_sight=line_of_sight or "z",
        space=space or "redshift",
        velocities=None if moving is None else _vectors(table, moving, what="velocities", quantity=speed),
        masses=optional_numbers(table, "mass", columns),
        weights=weigh_objects(table, columns=columns).values,
        observer=observer,
    )


def columns_used(columns: Mapping[str, str] | None = None, *, velocities: bool = True) -> set[str]:
    """Return the names that `read_catalogue` looks for."""
    moving = {"vx", "vy", "vz", "velocity"}
    named = {(columns or {}).get(name, name) for name in NAMES if velocities or name not in moving}
    return named | set(PUBLISHED)


def position_columns(table: Table | TableFile, columns: Mapping[str, str] | None = None) -> list[str]:
    """Return the names of the columns x, y, z of a table, or of its one (n, 3) column of positions."""
    found = _columns_of(table, "position", columns, required=True)
    assert found is not None  # they are required
    return found


def has_units(table: Table | TableFile, names: list[str]) -> bool:
    """Return whether all of the columns declare their unit."""
    return all(declared(getattr(table[name], "unit", None)) is not None for name in names)


def refuse_wrong_units(positions: Float[np.ndarray, "n 3"], box: Box) -> None:
    """Refuse positions that cannot be in the box's units, or lie outside it.

    Raises
    ------
    InputError
        If the positions reach far beyond the box, fill only a speck of it, or some lie outside.
    """
    # Of the side along each axis.
    spans = (positions.max(axis=0) - positions.min(axis=0)) / np.asarray(box.sides)
    span, narrow = float(spans.max()), int(spans.argmin())
    reach = float((np.abs(positions - np.asarray(box.origin)) / np.asarray(box.sides)).max())
    extent = f"positions from {_show(positions.min(axis=0))} to {_show(positions.max(axis=0))}"
    if reach > 20 and span > 5:
        rule = f"positions must be in comoving Mpc/h in a box of {box.extent}"
        problem = f"{rule}, got {extent}, {reach:.3g} times as far"
        guess = _far(np.ptp(positions, axis=0), box)
        raise InputError(
            f"{problem}: {guess}", command=f"{problem}: {guess.replace('the box size', '--box')}"
        )
    if len(positions) >= 20 and span < 0.02:
        raise InputError(
            f"positions must fill a box of {box.extent}, got {extent}, {span:.2g} of its side: are "
            "they in Gpc/h, or in units of the box (multiply by the side)?"
        )
    outside = ~box.contains(box.settled(positions))
    if outside.any():
        sides = f"{box.side:g}" if box.is_cube else "its sides"
        row = int(outside.argmax())
        remedy = f"check the units and the box size; the positions span {span:.3g} of the box"
        if box.periodic and span < 1.2 and outside.mean() < 0.1:
            remedy = f"a periodic box takes them back with x % {sides}, or check the box's size and origin"
        problem = (
            f"positions must lie in the box of {box.extent} with corner {_show(np.asarray(box.origin))}, got "
            f"{int(outside.sum())} of {len(positions)} objects outside (first: row {row} at {_show(positions[row])})"
        )
        remedy = _swapped(np.ptp(positions, axis=0), box) or remedy
        options = remedy.replace("the box's size and origin", "--box and --origin")
        raise InputError(
            f"{problem}: {remedy}",
            command=f"{problem}: {options.replace('the box size', '--box and --origin')}",
        )
    if len(positions) >= 20 and spans[narrow] < 0.02:
        axis = "xyz"[narrow]
        raise InputError(
            f"positions must fill a box of {box.extent}, got {extent}, {axis} in {spans[narrow]:.2g} "
            f"of its side: is {axis} a redshift, or in other units than x, y and z?"
        )
    warn_unfilled_box(positions, box)


def _swapped(widths: Float[np.ndarray, " 3"], box: Box) -> str:
    """Return the sides of a box in an order that holds what it does not hold in its own, "" where there is none."""
    sides = np.sort(box.sides)[np.argsort(np.argsort(widths))]  # the longest where positions span most
    if box.is_cube or (widths <= box.sides).all() or (widths > sides * 1.001).any():
        return ""
    return f"the sides of the box look swapped: {','.join(f'{side:g}' for side in sides)} holds them"


def _far(widths: Float[np.ndarray, " 3"], box: Box) -> str:
    """Return what looks wrong with positions that reach far beyond a box."""
    shares = widths / np.asarray(box.sides)
    beyond = [axis for axis, share in zip("xyz", shares, strict=True) if share > 5]
    if swapped := _swapped(widths, box):
        return swapped
    if len(beyond) < 3:
        return (
            f"only {' and '.join(beyond)} reach{'es' * (len(beyond) == 1)} so far: in other units than the others, "
            "or a side of the box is wrong"
        )
    if not (0.1 < shares.max() / 1000 < 1.2):
        return "they look like other units, or the box size is wrong"
    if max(box.sides) < 5:
        return f"the box size looks like Gpc/h (multiply by 1000: {1000 * max(box.sides):g})"
    return f"they look like kpc/h (divide by 1000: {widths.max() / 1000:.4g} wide)"


def _columns_of(
    table: Table | TableFile, name: str, columns: Mapping[str, str] | None, *, required: bool
) -> list[str] | None:
    """Return the names of three columns, or of one of shape (n, 3); what the caller names comes first."""
    axes = ("x", "y", "z") if name == "position" else ("vx", "vy", "vz")
    given = set(columns or {})
    single = None if given & set(axes) else find_vector(table, name, columns)
    if single is not None and (name in given or not set(axes) <= {own.lower() for own in table.colnames}):
        return [single]
    return find_columns(table, axes, columns=columns, required=required)


def _vectors(
    table: Table | TableFile, names: list[str], *, what: str, quantity: Quantity
) -> Float[np.ndarray, "n 3"]:
    if len(names) == 1:
        return vectors(table, names[0], what=what, quantity=quantity)
    return numbers(table, names, what=what, quantities=[quantity] * 3)


def _name_unused(own: Stated, **given: Any) -> None:
    """Name what the file states and the caller wants otherwise."""
    other = [
        f"{name} = {getattr(own, name)}"
        for name, value in given.items()
        if value is not None
        and (
            not np.allclose(value, getattr(own, name), rtol=1e-6, atol=0.0)
            if name == "box_size"
            else value != getattr(own, name)
        )
    ]
    if other:
        warnings.warn(f"what the file states is not used: {', '.join(other)}", stacklevel=3)


def _show(values: np.ndarray) -> str:
    return "(" + ", ".join(f"{value:.5g}" for value in values) + ")"
