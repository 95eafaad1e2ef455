"""Draws at objects."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float

from peculiar.core import Catalogue, InputError
from peculiar.fields.objects import ObjectValues, error_read
from peculiar.inference.reconstruction import Reconstruction

MOST_COVARIANCES = 20_000
"""Objects whose covariance is given: 3.2 GB."""


@dataclass(frozen=True, eq=False)
class ObjectDraws:
    """What each draw says of each object; NaN where it lies outside the fields.

    Attributes
    ----------
    velocities : (draw, n, 3) [km/s]
        What the field says, averaged over the object's places; where a reader finds more of the answer than that mean
        (`peculiar.at_objects`), with what it finds.
    v_los : (draw, n) [km/s]
        Along the line of sight, with a draw of the object's place on it.
    v_los_field : (draw, n) [km/s]
        Without.
    v_los_scatter : (n,) [km/s]
        Of `v_los` about it, the root mean square of the draws.
    delta : (draw, n)
    unseen : (n,) bool, optional
        See `peculiar.fields.objects.ObjectValues`.
    """

    velocities: Float[np.ndarray, "draw n 3"]
    v_los: Float[np.ndarray, "draw n"]
    v_los_field: Float[np.ndarray, "draw n"]
    v_los_scatter: Float[np.ndarray, " n"]
    delta: Float[np.ndarray, "draw n"]
    unseen: Bool[np.ndarray, " n"] | None = None

    def covariance(self) -> Float[np.ndarray, "n n"]:
        """Return the covariance of `v_los` [km^2/s^2]: of the field as the draws have it, plus that of the places.

        The former has one dimension less than there are draws; the latter is diagonal.
        """
        draws, count = self.v_los_field.shape
        if draws < 2 or count > MOST_COVARIANCES:
            raise InputError(
                f"covariance must be of at least 2 draws and at most {MOST_COVARIANCES} objects, got {draws} and "
                f"{count}: choose some objects"
            )
        about = self.v_los_field - self.v_los_field.mean(axis=0)
        return about.T @ about / (draws - 1) + np.diag(self.v_los_scatter**2)


class ObjectSums:
    """Gathers what draws, one after the other, say of objects: the answer there, and how draws depart from it.

    A draw is averaged over places on the sight line, as the answer is but for what a reader finds beside that mean; its
    places scatter by no more than all of the reader's error.
    An object's place in a draw depends on the seed, on the draw's number and on where the object is seen alone: not on
    how many draws there are, nor on the other objects.

    Parameters
    ----------
    answer : Reconstruction
        What the draws scatter about.
    positions : Catalogue or (n, 3) [Mpc/h], optional
        Of the objects, as in `Reconstruction.at_objects`.
    seed : int
        Of their places.
    """

    def __init__(
        self,
        answer: Reconstruction,
        positions: Catalogue | Float[np.ndarray, "n 3"] | None = None,
        *,
        seed: int,
    ) -> None:
        averaged = unread(answer).at_objects(positions)
        known = answer.catalogue if positions is None else positions
        assert known is not None
        places = known.positions if isinstance(known, Catalogue) else known
        self._positions = answer.box.wrap(answer.box.settled(places))  # those outside were told of
        read = averaged if answer.reader is None else answer.at_objects(self._positions)
        self._more = {name: getattr(read, name) - getattr(averaged, name) for name in ("velocities", "v_los")}
        self._most = np.inf if answer.reader is None else error_read(read, answer.box)
        self._seed = seed
        self._found: list[ObjectValues] = []
        self._v_los: list[Float[np.ndarray, " n"]] = []

    def add(self, draw: Reconstruction) -> None:
        """Ask a draw of the objects."""
        values = draw.at_objects(self._positions)
        more = {name: getattr(values, name) + more for name, more in self._more.items()}
        values = replace(values, **more, v_los_scatter=np.minimum(values.v_los_scatter, self._most))
        places = standard_normal(self._positions, self._seed, len(self._found))
        self._v_los.append(values.v_los + values.v_los_scatter * places)
        self._found.append(values)

    def result(self) -> ObjectDraws:
        """Return what was gathered."""
        velocities, field, scatter, delta = (
            np.array([getattr(values, name) for values in self._found])
            for name in ("velocities", "v_los", "v_los_scatter", "delta")
        )
        spread = np.sqrt((scatter**2).mean(axis=0))
        return ObjectDraws(velocities, np.array(self._v_los), field, spread, delta, self._found[0].unseen)


def unread(made: Reconstruction) -> Reconstruction:
    """Return it without a reader, for none learned to read draws: objects have the mean along the sight line."""
    return replace(made, model=f"{made.model} (draw)")


def standard_normal(positions: Float[np.ndarray, "n 3"], *key: int) -> Float[np.ndarray, " n"]:
    """Return a standard normal deviate for each object, of a key and of its position to 1e-4 Mpc/h alone.

    The mean place of a group is known to rounding, which goes with the order of its members.
    """
    from scipy.special import ndtri

    start = np.random.SeedSequence(key).generate_state(1, np.uint64)[0]
    bits = (
        np.rint(np.nan_to_num(np.asarray(positions, dtype=np.float64)) * 1e4).astype(np.int64).view(np.uint64)
    )
    state = np.full(len(bits), start)
    with np.errstate(over="ignore"):  # the finaliser of MurmurHash3 wraps
        for column in bits.T:
            state = state ^ column
            for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
                state = (state ^ (state >> np.uint64(33))) * np.uint64(factor)
            state ^= state >> np.uint64(33)
    return np.asarray(ndtri(((state >> np.uint64(11)) + 0.5) / 2.0**53))
