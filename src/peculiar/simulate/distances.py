"""Mock catalogues of measured distances, drawn from fields whose velocities are then known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from peculiar.core.cosmology import SPEED_OF_LIGHT, Cosmology
from peculiar.core.errors import InputError
from peculiar.core.field import Field
from peculiar.fields.sight import distance_modulus

_TRIES = 200


@dataclass(frozen=True)
class DistanceMockSettings:
    """What a mock is made of.

    Parameters
    ----------
    count : int
        Objects.
    observer : (3,) [Mpc/h]
        In the box's coordinates; may lie outside it.
    cz_range : (2,) [km/s]
        Observed redshifts that are kept.
    modulus_error : (2,) [mag]
        Each object's error is drawn evenly from this range.
    beta : float
        Velocities of the field are multiplied with this.
    external : (3,) [km/s]
        Added to the velocity of every object.
    sigma_v : float
        Gaussian scatter of radial velocities about the field [km/s].
    zero_point : float
        Added to every distance modulus [mag].
    margin : float
        Objects whose redshift puts them within this distance of a face are left out [Mpc/h]: objects that would have
        come from outside the box are missing there.

    Raises
    ------
    InputError
        If a range is not increasing and positive, or count or sigma_v is negative.
    """

    count: int
    observer: tuple[float, float, float]
    cz_range: tuple[float, float] = (1000.0, 15000.0)
    modulus_error: tuple[float, float] = (0.1, 0.4)
    beta: float = 1.0
    external: tuple[float, float, float] = (0.0, 0.0, 0.0)
    sigma_v: float = 150.0
    zero_point: float = 0.0
    margin: float = 15.0

    def __post_init__(self) -> None:
        if self.count < 1 or self.sigma_v < 0 or self.margin < 0:
            raise InputError(
                f"count must be >= 1, sigma_v and margin >= 0, got {self.count}, {self.sigma_v}, {self.margin}"
            )
        for name in ("cz_range", "modulus_error"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise InputError(f"{name} must be two positive numbers, the lower first, got {low}, {high}")


@dataclass(frozen=True, eq=False)
class DistanceMock:
    """A mock catalogue of distances.

    Attributes
    ----------
    directions : (n, 3)
        From the observer, of length 1.
    redshift : (n,)
        Observed, in the frame of the field.
    modulus, modulus_error : (n,) [mag]
    distances : (n,) [comoving Mpc/h]
        True ones.
    """

    directions: Float[np.ndarray, "n 3"]
    redshift: Float[np.ndarray, " n"]
    modulus: Float[np.ndarray, " n"]
    modulus_error: Float[np.ndarray, " n"]
    distances: Float[np.ndarray, " n"]


def mock_distances(
    velocity: Field, density: Field, settings: DistanceMockSettings, *, cosmology: Cosmology, seed: int
) -> DistanceMock:
    """Draw objects from 1 + delta, move them with the field into redshift space and measure their distances.

    Parameters
    ----------
    velocity, density : Field
        In real space, on one box.
    settings : DistanceMockSettings
    cosmology : Cosmology
        Gives distances.
    seed : int

    Raises
    ------
    InputError
        If hardly any place of the box has a redshift in the range.
    """
    velocity.require_same_box(density)
    rng = np.random.default_rng(seed)
    box = velocity.box
    origin, observer = np.asarray(box.origin), np.asarray(settings.observer)
    peak = float(1 + density.data.max())
    found: list[np.ndarray] = []
    for _ in range(_TRIES):
        points = origin + rng.uniform(0, box.side, size=(4 * settings.count, 3))
        points = points[rng.uniform(0, peak, len(points)) < 1 + density.at(points)[:, 0]]
        distance = np.linalg.norm(points - observer, axis=1)
        sight = (points - observer) / distance[:, None]
        flow = settings.beta * velocity.at(points) + np.asarray(settings.external)
        radial = (flow * sight).sum(axis=1) + settings.sigma_v * rng.standard_normal(len(points))
        z = (1 + cosmology.redshift_at(distance)) * (1 + radial / SPEED_OF_LIGHT) - 1
        seen = observer + cosmology.comoving_distance(np.maximum(z, 0))[:, None] * sight - origin
        kept = ((seen >= settings.margin) & (seen <= box.side - settings.margin)).all(axis=1)
        kept &= (SPEED_OF_LIGHT * z >= settings.cz_range[0]) & (SPEED_OF_LIGHT * z <= settings.cz_range[1])
        found.append(np.column_stack([sight, z, distance])[kept])
        if sum(map(len, found)) >= settings.count:
            break
    else:
        raise InputError(
            f"cz_range must lie in the box about the observer, got {settings.cz_range} km/s and {sum(map(len, found))} "
            f"of {settings.count} objects for a box of {box.side:g} Mpc/h: widen the range or move the observer"
        )
    rows = np.concatenate(found)[: settings.count]
    sight, z, distance = rows[:, :3], rows[:, 3], rows[:, 4]
    error = rng.uniform(*settings.modulus_error, len(rows))
    modulus = distance_modulus(distance, z) + settings.zero_point + error * rng.standard_normal(len(rows))
    return DistanceMock(sight, z, modulus, error, distance)
