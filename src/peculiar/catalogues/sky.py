"""Between the sky and comoving space: directions, distances, HEALPix masks, and the box around a survey."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float

from peculiar.catalogues.signatures import looks_like
from peculiar.core import Box, Cosmology, InputError
from peculiar.core.memory import require_memory

Frame = Literal["celestial", "galactic"]
FULL_SKY = 4 * math.pi  # steradian
ORIGIN = (0.0, 0.0, 0.0)
_CELESTIAL = ("", "C", "Q", "CEL", "CELESTIAL", "EQU", "EQUATORIAL", "ICRS", "FK5", "J2000")
"""COORDSYS of masks in right ascension and declination; ICRS and FK5 differ by less than 0.1 arcseconds."""
_GALACTIC = ("G", "GAL", "GALACTIC")
_MASK_COPIES = 6  # of a map in memory while it is read and turned


@dataclass(frozen=True, eq=False)
class SkyMask:
    """Angular completeness of a survey on a HEALPix map.

    Parameters
    ----------
    values : (12 nside^2,)
        Fraction of the objects that were observed, 0 to 1, in RING order.
    frame : "celestial" or "galactic"
        Frame of the pixels; directions given to `at` are always celestial (ICRS).

    Raises
    ------
    InputError
        If the size is no HEALPix size, values lie outside 0 to 1, or nothing is covered.
    """

    values: Float[np.ndarray, " pixel"]
    frame: Frame = "celestial"

    def __post_init__(self) -> None:
        values = np.asarray(self.values, dtype=np.float64)
        nside = math.isqrt(values.size // 12) if values.size else 0
        if values.ndim != 1 or nside < 1 or 12 * nside**2 != values.size or nside & (nside - 1):
            raise InputError(
                f"mask must have 12 nside^2 pixels with nside a power of 2, got shape {values.shape}: is the map cut, "
                "or no HEALPix map?"
            )
        if not np.isfinite(values).all():
            raise InputError(
                f"mask must be finite, got {int((~np.isfinite(values)).sum())} pixels that are not: set them to 0"
            )
        if values.min() < 0 or values.max() > 1 + 1e-6:
            raise InputError(
                f"mask must hold completeness from 0 to 1, got {values.min():.4g} to {values.max():.4g}: divide it by "
                "the value of full completeness"
            )
        if not values.any():
            raise InputError(
                "mask must cover some of the sky, got 0 in every pixel: is it the survey's mask?"
            )
        object.__setattr__(self, "values", np.clip(values, 0, 1))

    @property
    def nside(self) -> int:
        """HEALPix resolution."""
        return math.isqrt(self.values.size // 12)

    @property
    def solid_angle(self) -> float:
        """Covered area, weighted with the completeness [steradian]."""
        return float(self.values.mean()) * FULL_SKY

    def at(self, directions: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, " n"]:
        """Return the completeness in directions, given as vectors of any length in celestial axes."""
        import healpy

        vectors = np.asarray(directions, dtype=np.float64)
        if self.frame == "galactic":
            vectors = vectors @ healpy.Rotator(coord=["C", "G"]).mat.T
        pixels = healpy.vec2pix(self.nside, *vectors.T)
        return self.values[pixels]


def read_mask(path: str | Path, *, complete_above: float | None = None) -> SkyMask:
    """Read a HEALPix map of completeness from a FITS file, in RING or NESTED order, full or partial sky.

    Parameters
    ----------
    path : path
        FITS file with values from 0 to 1 in its first column, others are named in a warning; unseen pixels count as 0.
        Celestial (COORDSYS C, ICRS, FK5, or none) or galactic (COORDSYS G) pixels.
    complete_above : float, optional
        Values above this are taken as 1, for masks whose completeness is noisy.

    Raises
    ------
    InputError
        If the file is missing, no HEALPix map, of a wrong size, or holds values that are no completeness.
    """
    import healpy
    from astropy.io import fits

    path = Path(path)
    if not path.is_file():
        raise InputError(f"mask must be a file that exists, got {str(path)!r}: check the path")
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message=".*truncated.*")
            with fits.open(path) as hdus:
                header = hdus[1].header
                declared, frame_key = header.get("NSIDE"), str(header.get("COORDSYS", "")).strip().upper()
                columns = [name for name in hdus[1].columns.names if name.upper() != "PIXEL"]
                require_memory(
                    _MASK_COPIES * 8 * 12 * float(declared or 0) ** 2,
                    what=f"a mask of NSIDE = {declared}",
                    remedy="degrade it (healpy.ud_grade)",
                )
                values = np.asarray(healpy.read_map(hdus, dtype=np.float64), dtype=np.float64)
    except InputError:
        raise
    except Exception as error:  # fits and healpy raise many kinds for files that are cut or no maps
        looks, _ = looks_like(path)
        if looks not in ("FITS", ""):
            raise InputError(
                f"mask must be a HEALPix map in a FITS file, got {str(path)!r}, which looks like {looks}: "
                "write it with healpy.write_map"
            ) from None
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"mask must be a whole HEALPix map in a FITS file, got {str(path)!r}, which cannot be read "
            f"({type(error).__name__}: {reason}): is it cut, of another size than its NSIDE, or no HEALPix map?"
        ) from error
    if declared is not None and values.size != 12 * int(declared) ** 2:
        raise InputError(
            f"mask must have the 12 nside^2 = {12 * int(declared) ** 2} pixels of its NSIDE = {declared}, got "
            f"{values.size} in {str(path)!r}: write it again in one resolution"
        )
    if frame_key not in (*_CELESTIAL, *_GALACTIC):
        raise InputError(
            f"mask must have COORDSYS C (celestial, ICRS, FK5) or G (galactic), got {frame_key!r}: rotate the map"
        )
    if len(columns) > 1:
        warnings.warn(
            f"mask {path.name} has several columns: {columns[0]} is used, {', '.join(columns[1:])} not",
            stacklevel=2,
        )
    values = np.where(values == healpy.UNSEEN, 0.0, values)
    if complete_above is not None:
        if not 0 < complete_above <= 1:
            raise InputError(f"complete_above must lie in (0, 1], got {complete_above}")
        values = np.where(values > complete_above, 1.0, values)
    return SkyMask(values, frame="galactic" if frame_key in _GALACTIC else "celestial")


def directions(ra: Float[np.ndarray, " n"], dec: Float[np.ndarray, " n"]) -> Float[np.ndarray, "n 3"]:
    """Unit vectors of right ascensions and declinations [deg]; x to ra 0, y to ra 90, z to the north pole.

    Examples
    --------
    >>> directions(np.array([90.0]), np.array([0.0])).round(6).tolist()
    [[0.0, 1.0, 0.0]]
    """
    alpha, delta = np.radians(np.asarray(ra, dtype=np.float64)), np.radians(np.asarray(dec, dtype=np.float64))
    return np.stack([np.cos(delta) * np.cos(alpha), np.cos(delta) * np.sin(alpha), np.sin(delta)], axis=-1)


def sky_directions(ra: Float[np.ndarray, " n"], dec: Float[np.ndarray, " n"]) -> Float[np.ndarray, "n 3"]:
    """`directions` of ra and dec [deg]; InputError where ra lies outside [-180, 360], or dec outside [-90, 90]."""
    ra, dec = np.asarray(ra, dtype=np.float64), np.asarray(dec, dtype=np.float64)
    refuse_outside_sky(ra, dec)
    return directions(ra, dec)


def refuse_outside_sky(
    longitude: Float[np.ndarray, " n"],
    latitude: Float[np.ndarray, " n"],
    *,
    names: tuple[str, str] = ("ra", "dec"),
) -> None:
    """Refuse angles [deg] that are no place on the sky; longitudes may run from 0 to 360, or from -180 to 180."""
    _refuse_outside(names[0], longitude, -180, 360, "give degrees")
    _refuse_outside(names[1], latitude, -90, 90, "give degrees")


def to_cartesian(
    ra: Float[np.ndarray, " n"],
    dec: Float[np.ndarray, " n"],
    *,
    redshift: Float[np.ndarray, " n"],
    cosmology: Cosmology,
    observer: tuple[float, float, float] = ORIGIN,
) -> Float[np.ndarray, "n 3"]:
    """Turn sky coordinates into comoving positions.

    Parameters
    ----------
    ra, dec : (n,) [deg]
    redshift : (n,)
        Taken as cosmological: positions are in redshift space where it holds peculiar velocities.
    cosmology : Cosmology
        Gives the distances.
    observer : (3,) [Mpc/h]
        Where the observer stands in the coordinates of the result.

    Returns
    -------
    (n, 3) [comoving Mpc/h]

    Raises
    ------
    InputError
        If coordinates are out of range: ra outside [-180, 360], dec outside [-90, 90], redshifts below 0 or above 20.
    """
    sight, redshift = sky_directions(ra, dec), np.asarray(redshift, dtype=np.float64)
    remedy = "leave out objects without a redshift, and those of the Local Group that approach"
    if (redshift > 20).any():
        remedy = "these look like velocities in km/s: divide by 299792.458"
    _refuse_outside("z", redshift, 0, 20, remedy)
    return sight * cosmology.comoving_distance(redshift)[:, None] + np.asarray(observer)


def to_sky(
    positions: Float[np.ndarray, "n 3"],
    *,
    cosmology: Cosmology,
    observer: tuple[float, float, float] = ORIGIN,
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Turn comoving positions [Mpc/h] into ra, dec [deg] and redshift, each (n,); the inverse of `to_cartesian`."""
    separation = np.asarray(positions, dtype=np.float64) - np.asarray(observer)
    distance = np.linalg.norm(separation, axis=1)
    x, y, z = separation.T
    ra = np.degrees(np.arctan2(y, x)) % 360 % 360  # a hair below 0 rounds to 360
    dec = np.degrees(np.arctan2(z, np.hypot(x, y)))
    return ra, dec, cosmology.redshift_at(distance)


def survey_box(
    positions: Float[np.ndarray, "n 3"],
    *,
    cell_size: float,
    padding: float = 25.0,
    multiple: int = 8,
) -> Box:
    """Return the box that holds all positions, centred on their extent, its sides as long as they need to be.

    Parameters
    ----------
    positions : (n, 3) [Mpc/h]
    cell_size : float
        Side of a mesh cell [Mpc/h]; kept exactly, the box grows to whole cells.
    padding : float
        Least distance between positions and faces [Mpc/h].
    multiple : int
        The number of cells along each side is a multiple of this, as networks with strides and fast transforms like it.

    Returns
    -------
    Box
        Not periodic, with a mesh; its origin is the lower corner in the coordinates of the positions.
    """
    if not (math.isfinite(cell_size) and cell_size > 0):
        raise InputError(f"cell_size must be > 0 Mpc/h, got {cell_size}")
    if not (math.isfinite(padding) and padding >= 0):
        raise InputError(f"padding must be >= 0 Mpc/h, got {padding}")
    low, high = positions.min(axis=0), positions.max(axis=0)
    whole = np.maximum(np.ceil((high - low + 2 * padding) / cell_size / multiple), 1).astype(int) * multiple
    if whole.max() > 4096:
        raise InputError(
            f"survey box must have at most 4096 cells along a side, got {whole.max()} (extent "
            f"{(high - low).max():.5g} Mpc/h, cells of {cell_size:g} Mpc/h): take "
            "larger cells, or cut the survey in redshift"
        )
    corner = (low + high) / 2 - whole * cell_size / 2
    x, y, z = whole.tolist()
    return Box(
        (x * cell_size, y * cell_size, z * cell_size),
        (x, y, z),
        origin=(float(corner[0]), float(corner[1]), float(corner[2])),
        periodic=False,
    )


def _refuse_outside(name: str, values: np.ndarray, low: float, high: float, remedy: str) -> None:
    bad = ~((values >= low) & (values <= high))
    if bad.any():
        row = int(bad.argmax())
        raise InputError(
            f"{name} must lie in [{low:g}, {high:g}], got {int(bad.sum())} of {len(values)} rows outside "
            f"(first: row {row}, {values[row]:.6g}): {remedy}"
        )
