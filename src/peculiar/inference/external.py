"""A velocity from outside a field's volume, as `peculiar compare` measures it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from peculiar.core import InputError
from peculiar.core.records import DAMAGED
from peculiar.inference.reconstruction import Reconstruction

FASTEST = 3000.0
"""Largest external velocity that is taken [km/s]: more is in other units."""


@dataclass(frozen=True, eq=False)
class ExternalVelocity:
    """One velocity for all objects.

    Attributes
    ----------
    velocity : (3,) [km/s]
        In the axes of the field, celestial ones of a survey.
    covariance : (3, 3) [km^2/s^2]
        Zero where it is not known.
    """

    velocity: Float[np.ndarray, "3"]
    covariance: Float[np.ndarray, "3 3"]

    def __post_init__(self) -> None:
        if np.shape(self.velocity) != (3,) or not (np.abs(self.velocity) <= FASTEST).all():
            raise InputError(
                f"external must be three velocities of at most {FASTEST:g} km/s, got "
                f"{np.ravel(self.velocity).tolist()}: give X,Y,Z in celestial axes"
            )

    @classmethod
    def given(cls, value: Sequence[float] | Path | str) -> ExternalVelocity:
        """Return that of three numbers, or the one that the output of `peculiar compare` of one field holds.

        Raises
        ------
        InputError
            If it is no such output, or the numbers are not three velocities.
        """
        if not isinstance(value, Path | str):
            return cls(np.asarray(value, dtype=np.float64), np.zeros((3, 3)))
        path = Path(value) / "comparison.json" if Path(value).is_dir() else Path(value)
        remedy = "give the output of peculiar compare, or X,Y,Z in km/s"
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            if "fields" in found:
                raise InputError(
                    f"external must be of one field, got those of {len(found['fields'])} in {path}: give "
                    f"{path.parent / 'field-1'} or another of them"
                )
            dipole = found["dipole"]
            velocity, covariance = (
                np.array(dipole[name], dtype=np.float64) for name in ("celestial", "celestial_covariance")
            )
        except DAMAGED as error:
            raise InputError(f"external must be readable, got {path} ({error!r}): {remedy}") from None
        if covariance.shape != (3, 3) or not np.isfinite(covariance).all():
            raise InputError(f"external must have a covariance of 3 x 3, got {covariance.tolist()}: {remedy}")
        return cls(velocity, covariance)

    def added_to(self, made: Reconstruction) -> Reconstruction:
        """Return the reconstruction that moves with it; its mean variance joins that of the field's velocity."""
        flow = made["velocity"]
        shift = torch.as_tensor(self.velocity, dtype=flow.data.dtype, device=flow.data.device)
        fields = {**made, "velocity": flow.replace(data=flow.data + shift[:, None, None, None])}
        if "velocity_error" in made:
            error = made["velocity_error"]
            variance = float(np.trace(self.covariance)) / 3
            fields["velocity_error"] = error.replace(data=torch.sqrt(error.data**2 + variance))
        return replace(made, fields=fields)
