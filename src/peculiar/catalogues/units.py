"""Declared units of columns, and what turns each into the package's own: Mpc/h, km/s, degrees, magnitudes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from peculiar.core import InputError

if TYPE_CHECKING:
    from astropy.table import Column

AnyColumn = TypeVar("AnyColumn", bound="Column")

Quantity = Callable[[Any, str], float]
"""Factor to the package's unit from the unit that a column declares, 1 where it declares none; given unit and name."""

_SPELLINGS = {
    "degrees": "deg",
    "radians": "rad",
    "hours": "hourangle",
    "arcseconds": "arcsec",
    "arcminutes": "arcmin",
    "magnitudes": "mag",
    "redshift": "",
    "dimensionless": "",
    "none": "",
}
_LENGTHS = {"mpc/h": 1.0, "mpch-1": 1.0, "h-1mpc": 1.0, "kpc/h": 1e-3, "kpch-1": 1e-3, "h-1kpc": 1e-3}


def declared(unit: Any) -> Any:
    """Return a column's unit as astropy's, or None where it declares none; plurals and comoving prefixes are known."""
    import astropy.units as u

    text = "" if unit is None else str(unit).strip()
    text = _SPELLINGS.get(text.lower(), text)
    if not text:
        return None
    return unit if isinstance(unit, u.UnitBase) and text == str(unit) else u.Unit(text, parse_strict="silent")


def described_as(column: AnyColumn, other: Column) -> AnyColumn:
    """Return a column with what another declares: unit, format, description and metadata."""
    for attribute in ("unit", "format", "description", "meta"):
        setattr(column, attribute, getattr(other, attribute))
    return column


def length(unit: Any, name: str) -> float:
    """Comoving Mpc/h; ``h`` in a unit of length is the Hubble parameter, although astropy reads an hour.

    Raises
    ------
    InputError
        If the unit is a length without h, or no length.
    """
    own = declared(unit)
    if own is None:
        return 1.0
    plain = "".join(str(unit).split()).replace("^", "").replace("**", "").replace(".", "").lower()
    for spelling in (plain, plain.removeprefix("c")):  # cMpc/h
        if spelling in _LENGTHS:
            return _LENGTHS[spelling]
    import astropy.cosmology.units as cu  # takes a second
    import astropy.units as u

    for hubble in (u.hour, cu.littleh):
        if hubble is u.hour and u.hour not in own.bases:
            continue  # a speed, which times an hour is a length
        try:
            return float((own * hubble).to(u.Mpc))
        except (u.UnitConversionError, ValueError, TypeError):
            continue
    raise InputError(
        f"positions must be in comoving Mpc/h, got unit {str(unit)!r} in column {name}: convert them "
        "(1 Mpc = h Mpc/h), or remove the unit if it is wrong"
    )


def speed(unit: Any, name: str) -> float:
    """km/s."""
    return _factor(unit, "km/s", f"column {name} must be in km/s", "convert it")


def angle(unit: Any, name: str) -> float:
    """Degrees; an hour of a right ascension is 15 of them."""
    import astropy.units as u

    own = u.hourangle if declared(unit) == u.hour else unit
    return _factor(own, "deg", f"column {name} must be an angle", "convert it to degrees")


def redshift(unit: Any, name: str) -> float:
    """A redshift, which has no unit."""
    return _factor(unit, "", f"column {name} must be a redshift", "divide velocities in km/s by 299792.458")


def magnitude(unit: Any, name: str) -> float:
    """Magnitudes, of any zero point."""
    if "mag(" in str(unit):
        return 1.0
    return _factor(unit, "mag", f"column {name} must be in magnitudes", "convert it")


def rank(unit: Any, name: str) -> float:
    """Any unit: only the order, or the ratio, of such values counts."""
    return 1.0


def _factor(unit: Any, own: str, rule: str, remedy: str) -> float:
    import astropy.units as u

    known = declared(unit)
    if known is None:
        return 1.0
    try:
        return float(known.to(u.Unit(own)))
    except (u.UnitConversionError, ValueError, TypeError):
        raise InputError(
            f"{rule}, got unit {str(unit)!r}: {remedy}, or remove the unit if it is wrong"
        ) from None
