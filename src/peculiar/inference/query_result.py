"""What a reconstruction says of objects on the sky."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Shaped

from peculiar.catalogues.added import object_columns
from peculiar.fields.objects import ObjectValues

NO_VELOCITY = {
    "z < 0": "have a redshift below 0",
    "outside": "lie outside the field",
    "unseen": "lie where the survey saw nothing",
}
"""Why an object has no velocity, and how that is said of several."""
OWN_COLUMNS = ("v_los_scatter", "z_cosmological", "solutions", "missing")


@dataclass(frozen=True, eq=False, kw_only=True)
class QueryResult(ObjectValues):
    """What the field says about each object: `ObjectValues`, and what follows; NaN where there is a `missing` reason.

    Velocities are those of matter about the object, in celestial axes and the frame of the microwave background.

    Attributes
    ----------
    z_cosmological : (n,)
        Redshift without the peculiar velocity: (1 + z_cmb) / (1 + v_los / c) - 1, z itself for places in real space.
    missing : (n,) text
        Why there is no velocity, a key of `peculiar.inference.query_result.NO_VELOCITY`; "" where there is one.
    """

    z_cosmological: Float[np.ndarray, " n"]
    missing: Shaped[np.ndarray, " n"]

    def __len__(self) -> int:
        return len(self.v_los)

    def columns(self) -> dict[str, Shaped[np.ndarray, " n"]]:
        """Return what a table gets: columns of `peculiar.catalogues.added.COLUMNS`."""
        own = (self.v_los_scatter, self.z_cosmological, self.solutions, self.missing)
        columns = object_columns(self.velocities, self.v_los, self.delta, self.positions_real)
        columns |= zip(OWN_COLUMNS, own, strict=True)
        return columns if self.v_los_error is None else columns | {"v_los_error": self.v_los_error}

    def records(self) -> list[dict[str, float | int | str | None]]:
        """Return one mapping per object, as JSON holds it: None where there is no value."""
        return [
            {
                name: None
                if isinstance(value := values[row].item(), float) and not np.isfinite(value)
                else value
                for name, values in self.columns().items()
            }
            for row in range(len(self))
        ]


def explain(reasons: Shaped[np.ndarray, " n"]) -> list[str]:
    """Return a line for each reason that objects have no velocity, with their number."""
    return [
        f"{count} of {len(reasons)} objects {meaning}"
        for reason, meaning in NO_VELOCITY.items()
        if (count := int((reasons == reason).sum()))
    ]
