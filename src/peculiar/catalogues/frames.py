"""Rest frames of redshifts: the Sun's, the microwave background's, the Local Group's; and galactic directions."""

from __future__ import annotations

from typing import Literal

import numpy as np
from jaxtyping import Float

from peculiar.catalogues.sky import directions
from peculiar.core import InputError
from peculiar.core.cosmology import SPEED_OF_LIGHT

RedshiftFrame = Literal["heliocentric", "cmb", "local-group"]
FRAMES: tuple[RedshiftFrame, ...] = ("heliocentric", "cmb", "local-group")

SUN_IN_CMB = (369.82, 264.021, 48.253)
"""The Sun's motion in the frame of the cosmic microwave background: speed [km/s], galactic l and b [deg] (Planck 2018
results I, Planck Collaboration 2020, Table 3)."""
SUN_IN_LOCAL_GROUP = (316.0, 93.0, -4.0)
"""The Sun's motion about the centroid of the Local Group: speed [km/s], l and b [deg] (Karachentsev & Makarov 1996)."""

_TO_GALACTIC = np.array(
    [
        [-0.0548755604, -0.8734370902, -0.4838350155],
        [0.4941094279, -0.4448296300, 0.7469822445],
        [-0.8676661490, -0.1980763734, 0.4559837762],
    ]
)
"""Rotates vectors from celestial (ICRS) to galactic axes (eq. 1.5.11 of the Hipparcos catalogue, ESA 1997)."""


def galactic_directions(
    longitude: Float[np.ndarray, " n"], latitude: Float[np.ndarray, " n"]
) -> Float[np.ndarray, "n 3"]:
    """Unit vectors, in celestial axes, of galactic longitudes and latitudes l, b [deg].

    Examples
    --------
    >>> galactic_directions(np.array([0.0]), np.array([90.0])).round(3).tolist()  # the galactic north pole
    [[-0.868, -0.198, 0.456]]
    """
    return directions(longitude, latitude) @ _TO_GALACTIC


def to_galactic_axes(vectors: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
    """Rotate vectors from celestial to galactic axes."""
    return np.asarray(vectors, dtype=np.float64) @ _TO_GALACTIC.T


def from_galactic_axes(vectors: Float[np.ndarray, "... 3"]) -> Float[np.ndarray, "... 3"]:
    """Rotate vectors from galactic to celestial axes."""
    return np.asarray(vectors, dtype=np.float64) @ _TO_GALACTIC


def to_galactic(
    vectors: Float[np.ndarray, "n 3"],
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Return galactic l in [0, 360) and b [deg] of vectors of any length in celestial axes."""
    x, y, z = to_galactic_axes(vectors).T
    return np.degrees(np.arctan2(y, x)) % 360, np.degrees(np.arctan2(z, np.hypot(x, y)))


def convert_redshift(
    redshift: Float[np.ndarray, " n"],
    vectors: Float[np.ndarray, "n 3"],
    *,
    source: RedshiftFrame,
    target: RedshiftFrame = "cmb",
) -> Float[np.ndarray, " n"]:
    """Turn observed redshifts from one rest frame into another.

    An observer who moves with beta = v / c sees, in the direction n,
    1 + z_observed = (1 + z_rest) gamma (1 - beta . n): objects ahead lose redshift. Redshifts multiply as 1 + z; to add
    c z of a dipole to c z errs by z times the dipole, 37 km/s at z = 0.1 (Davis & Scrimgeour 2014).

    Parameters
    ----------
    redshift : (n,)
        z in the frame `source`, not c z.
    vectors : (n, 3)
        Directions of the objects, of length 1, in celestial axes; see `peculiar.catalogues.directions`.
    source, target : "heliocentric", "cmb" or "local-group"

    Returns
    -------
    (n,)
        z in the frame `target`.

    Raises
    ------
    InputError
        If a frame is unknown, or a redshift is not finite, at most -1 or above 20.
    """
    for name, frame in (("source", source), ("target", target)):
        if frame not in FRAMES:
            raise InputError(
                f"{name} frame must be one of {', '.join(FRAMES)}, got {frame!r}: say in which rest frame the "
                "redshifts are"
            )
    z = np.asarray(redshift, dtype=np.float64)
    refuse_no_redshift(z)
    return (1 + z) * _doppler(source, vectors) / _doppler(target, vectors) - 1


def refuse_no_redshift(z: Float[np.ndarray, " n"]) -> None:
    """Refuse values that are no redshift: not finite, at most -1 or above 20."""
    bad = ~((z > -1) & (z <= 20))
    if bad.any():
        row = int(bad.argmax())
        remedy = "divide velocities in km/s by 299792.458" if z[row] > 20 else "repair or remove these rows"
        raise InputError(
            f"z must lie in (-1, 20], got {int(bad.sum())} of {z.size} rows outside (first: row {row}, {z[row]:.6g}): "
            f"{remedy}"
        )


def _doppler(frame: RedshiftFrame, vectors: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, " n"]:
    """Return (1 + z_heliocentric) / (1 + z_frame) in each direction."""
    if frame == "heliocentric":
        return np.ones(len(vectors))
    speed, longitude, latitude = SUN_IN_CMB if frame == "cmb" else SUN_IN_LOCAL_GROUP
    beta = speed / SPEED_OF_LIGHT
    apex = galactic_directions(np.array([longitude]), np.array([latitude]))[0]
    return (1 - beta * (np.asarray(vectors, dtype=np.float64) @ apex)) / np.sqrt(1 - beta**2)
