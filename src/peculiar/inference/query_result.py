"""What a reconstruction says of objects on the sky."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Shaped
from numpy.typing import ArrayLike

from peculiar.catalogues.added import READ_COLUMNS, object_columns
from peculiar.core import InputError, InputWarning
from peculiar.fields.objects import TOLD, ObjectValues

Unseen = Literal["nan", "keep"]
"""What becomes of values where a survey saw nothing: none, or what the field extrapolates."""
NO_VELOCITY = {
    "z < 0": "have a redshift below 0",
    "outside": "lie outside the field",
    "unseen": "lie where the survey saw nothing",
}
"""Why an object has no velocity, and how that is said of several."""
OWN_COLUMNS = ("v_los_total_error", "z_cosmological", "solutions", "missing")
FIELD_COLUMNS = dict(zip(TOLD, ("v_los_error", "known_fraction"), strict=True))
"""Columns of fields that not every reconstruction has."""
VPEC_COLUMNS = ("VPEC", "VPEC_ERR", "zHD")
"""What catalogues of supernovae call them (Pantheon+: Carr et al. 2022, PASA 39, e046)."""


@dataclass(frozen=True, eq=False, kw_only=True)
class QueryResult(ObjectValues):
    """What the field says about each object: `ObjectValues`, and what follows; NaN where there is a `missing` reason.

    Velocities are those of matter about the object, but for its own, in celestial axes and the frame of the microwave
    background.

    Attributes
    ----------
    z_cosmological : (n,)
        Redshift without the peculiar velocity: (1 + z_cmb) / (1 + v_los_own / c) - 1, z itself for places in real
        space.
    missing : (n,) text
        Why there is no velocity, a key of `peculiar.inference.query_result.NO_VELOCITY`; "" where there is one.
    sigma : float [km/s]
        Redshift error and motions about the field.
    """

    z_cosmological: Float[np.ndarray, " n"]
    missing: Shaped[np.ndarray, " n"]
    sigma: float

    def __len__(self) -> int:
        return len(self.v_los)

    @property
    def v_los_total_error(self) -> Float[np.ndarray, " n"]:
        """Error of `v_los` [km/s] of all that is known of, see `meanings`; NaN where the survey saw nothing."""
        return np.where(self.missing == "", total_error(self, sigma=self.sigma), np.nan)

    def meanings(self) -> dict[str, str]:
        """Return what is in columns that do not hold the same for all fields."""
        parts = f"the place on the sight line (v_los_scatter) and motions ({self.sigma:g} km/s)"
        if self.v_los_error is None:
            meaning = f"error of v_los, of {parts}; none of the field, which tells none"
        else:
            meaning = f"error of v_los, of the field (v_los_error), {parts}"
        return {"v_los_total_error": meaning}

    def columns(self, *, vpec: bool = False) -> dict[str, Shaped[np.ndarray, " n"]]:
        """Return what a table gets, of `peculiar.catalogues.added.COLUMNS`; with `vpec_columns` if they are wanted."""
        own = (
            *(self.v_los_total_error, self.z_cosmological),
            *(self.solutions, self.missing),
        )
        columns = value_columns(self) | dict(zip(OWN_COLUMNS, own, strict=True))
        return columns | vpec_columns(self, self.z_cosmological) if vpec else columns

    def records(self, *, vpec: bool = False) -> list[dict[str, float | int | str | None]]:
        """Return one mapping per object, as JSON holds it: None where there is no value."""
        columns = self.columns(vpec=vpec)
        return [
            {
                name: None
                if isinstance(value := values[row].item(), float) and not np.isfinite(value)
                else value
                for name, values in columns.items()
            }
            for row in range(len(self))
        ]


def value_columns(values: ObjectValues) -> dict[str, Float[np.ndarray, " n"]]:
    """Return `TOLD_COLUMNS` of objects, and of `FIELD_COLUMNS` those that the field tells."""
    columns = object_columns(values.velocities, values.v_los, values.delta, values.positions_real)
    columns |= {name: getattr(values, name) for name in READ_COLUMNS}
    told = zip(FIELD_COLUMNS.values(), (values.v_los_error, values.known_fraction), strict=True)
    return columns | {name: found for name, found in told if found is not None}


def vpec_columns(
    values: ObjectValues, z_cosmological: Float[np.ndarray, " n"]
) -> dict[str, Float[np.ndarray, " n"]]:
    """Return `VPEC_COLUMNS` of objects: their own velocity and its error, and the redshift without it, (n,)."""
    return dict(zip(VPEC_COLUMNS, (values.v_los_own, values.v_los_own_error, z_cosmological), strict=True))


def total_error(values: ObjectValues, *, sigma: float) -> Float[np.ndarray, " n"]:
    """Return the error of `v_los` [km/s], sqrt(v_los_error^2 + v_los_scatter^2 + sigma^2).

    That is the error of the field, where it has one, the spread over the object's possible places, and motions about
    the field with the error of c z.
    """
    field = 0.0 if values.v_los_error is None else values.v_los_error
    return np.asarray(np.sqrt(field**2 + values.v_los_scatter**2 + sigma**2))


def warn_no_error() -> None:
    """Warn that VPEC_ERR does not know where a field errs."""
    problem = (
        "the field has no velocity_error: VPEC_ERR is alike where the survey saw much and little; reconstruct"
    )
    warnings.warn(
        InputWarning(f"{problem} with errors=True", command=f"{problem} with --errors"), stacklevel=3
    )


def require_unseen(unseen: str) -> None:
    """Raise InputError unless it is one of `Unseen`."""
    if unseen not in ("nan", "keep"):
        raise InputError(f"unseen must be 'nan' or 'keep', got {unseen!r}")


def explain(reasons: Shaped[np.ndarray, " n"]) -> dict[str, str]:
    """Return a line for each reason that objects have no velocity, with their number."""
    return {
        reason: f"{count} of {len(reasons)} objects {meaning}"
        for reason, meaning in NO_VELOCITY.items()
        if (count := int((reasons == reason).sum()))
    }


def together(*columns: ArrayLike) -> list[Float[np.ndarray, " n"]]:
    """Return ra, dec and z as arrays of one length."""
    arrays = [np.atleast_1d(np.asarray(values, dtype=np.float64)) for values in columns]
    try:
        arrays = [np.array(values) for values in np.broadcast_arrays(*arrays)]
    except ValueError:
        raise InputError(
            f"ra, dec and z must be of one length, got {', '.join(str(a.size) for a in arrays)}"
        ) from None
    if arrays[0].ndim != 1:
        raise InputError(f"ra, dec and z must be numbers or one-dimensional, got shape {arrays[0].shape}")
    return arrays
