"""A reconstructed field with its observer and cosmology, as objects on the sky need it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Shaped

from peculiar.core import Cosmology, Field, InputError
from peculiar.core.catalogue import SELECTION_FLOOR
from peculiar.fields.sight import in_box
from peculiar.workflows.field_files import FieldAttributes, read_attributes, read_fields

Observer = tuple[float, float, float]
NO_VELOCITY = {
    "z < 0": "have a redshift below 0",
    "outside": "lie outside the field",
    "unseen": "lie where the survey saw nothing",
}
"""Why an object has no velocity, and how that is said of several."""


@dataclass(frozen=True, eq=False)
class SkyField:
    """Velocity and density about an observer, and the velocity's error where it is known.

    Parameters
    ----------
    velocity : Field
        A vector [km/s], in real space.
    density : Field
        Overdensity, on the same box.
    observer : (3,) [Mpc/h]
        In the box's coordinates, whose axes are celestial: x to ra 0, z to the north pole.
    cosmology : Cosmology
        Gives distances.
    velocity_error : Field, optional
        Of one component of the velocity [km/s], on the same box.
    completeness : Field, optional
        Of a survey, in redshift space, on the same box: without objects the field is an extrapolation.

    Raises
    ------
    InputError
        If the fields are of other kinds, in redshift space, or on different boxes.
    """

    velocity: Field
    density: Field
    observer: Observer
    cosmology: Cosmology
    velocity_error: Field | None = None
    completeness: Field | None = None

    def __post_init__(self) -> None:
        for name, field, kind in (
            ("velocity", self.velocity, "vector"),
            ("density", self.density, "scalar"),
            ("velocity_error", self.velocity_error, "scalar"),
        ):
            if field is None:
                continue
            if field.kind != kind or field.space != "real":
                raise InputError(
                    f"{name} must be a {kind} in real space, got a {field.kind} in {field.space} space: "
                    "give an output of reconstruct"
                )
            self.velocity.require_same_box(field)
        if self.velocity.unit != "km/s":
            raise InputError(f"velocity must be in km/s, got unit {self.velocity.unit!r}: convert it")
        if self.completeness is not None:
            self.velocity.require_same_box(self.completeness)

    @property
    def fields(self) -> dict[str, Field]:
        """The fields that say something of an object, by name."""
        found = {"velocity": self.velocity, "density": self.density}
        return found if self.velocity_error is None else found | {"velocity_error": self.velocity_error}

    def missing(
        self, directions: Float[np.ndarray, "n 3"], redshift: Float[np.ndarray, " n"]
    ) -> Shaped[np.ndarray, " n"]:
        """Return why objects have no velocity, as the keys of `NO_VELOCITY`, (n,) text; "" where they have one.

        Where a survey saw nothing is told by its completeness at the observed redshift: of the eight cells about the
        place none is above 0.3.

        Parameters
        ----------
        directions : (n, 3)
            Of length 1, in celestial axes.
        redshift : (n,)
            In the frame of the microwave background.
        """
        distance = np.asarray(self.cosmology.comoving_distance(np.maximum(redshift, 0.0)))
        inside = in_box(self.velocity, self.observer, directions, distance)
        reasons = np.where(redshift < 0, "z < 0", np.where(inside, "", "outside"))
        there = np.flatnonzero(reasons == "")
        if self.completeness is not None and len(there):
            seen = self.completeness.replace(data=(self.completeness.data > SELECTION_FLOOR).float())
            places = np.asarray(self.observer) + distance[there, None] * directions[there]
            reasons[there[seen.at(places)[:, 0] == 0]] = "unseen"
        return reasons


def explain(reasons: Shaped[np.ndarray, " n"]) -> list[str]:
    """Return a line for each reason that objects have no velocity, with their number."""
    return [
        f"{count} of {len(reasons)} objects {meaning}"
        for reason, meaning in NO_VELOCITY.items()
        if (count := int((reasons == reason).sum()))
    ]


def read_sky_field(
    path: Path | str, *, observer: Observer | None = None, cosmology: Cosmology | None = None
) -> SkyField:
    """Read the velocity and density that `peculiar reconstruct` wrote, and the velocity's error if it did.

    Parameters
    ----------
    path : path
        zarr directory.
    observer : (3,) [Mpc/h], optional
        By default the one that the field was made with.
    cosmology : Cosmology, optional
        By default the one that the field was made with.

    Raises
    ------
    InputError
        If the field is missing, has no velocity or density, or has no observer or cosmology where none is given.
    """
    fields = read_fields(path)
    missing = [name for name in ("velocity", "density") if name not in fields]
    if missing:
        raise InputError(
            f"field must hold velocity and density, got {', '.join(fields) or 'nothing'} in {path}: give an output of "
            "reconstruct"
        )
    attributes = read_attributes(path, FieldAttributes)
    if observer is None:
        if attributes.get("observer") is None:
            raise InputError(
                f"field must have an observer for objects on the sky, got none in {path} (line of sight "
                f"{attributes.get('line_of_sight', 'not stated')}): give --observer X,Y,Z, or reconstruct with --sky"
            )
        x, y, z = attributes["observer"]
        observer = (float(x), float(y), float(z))
    if cosmology is None:
        if attributes.get("cosmology") is None:
            raise InputError(
                f"field must have a cosmology for distances, got none in {path}: give --cosmology"
            )
        cosmology = Cosmology(**json.loads(attributes["cosmology"]))
    return SkyField(
        fields["velocity"],
        fields["density"],
        observer,
        cosmology,
        fields.get("velocity_error"),
        fields.get("completeness"),
    )
