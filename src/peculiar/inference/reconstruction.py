"""A reconstruction as one value: its fields with all that is needed to ask them something, and its file."""

from __future__ import annotations

import json
from collections import ChainMap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Shaped
from numpy.typing import ArrayLike

from peculiar.catalogues.frames import RedshiftFrame, convert_redshift
from peculiar.catalogues.sky import sky_directions
from peculiar.core import Box, Catalogue, Cosmology, Field, InputError
from peculiar.core.catalogue import Geometry, LineOfSight, Observer
from peculiar.core.cosmologies import cosmology_settings
from peculiar.core.cosmology import SPEED_OF_LIGHT
from peculiar.core.field import Space
from peculiar.core.provenance import provenance
from peculiar.fields.files import FieldAttributes, read_attributes, read_fields, write_fields
from peculiar.fields.objects import (
    DISPERSION,
    LOCAL_ERROR,
    TOLD,
    ObjectValues,
    Reader,
    at_places,
    mean_along_sight,
    seen_in,
    unseen_places,
)
from peculiar.fields.sight import SkySight, in_box
from peculiar.inference.card_values import Residuals
from peculiar.inference.query_result import QueryResult, Unseen, require_unseen, together
from peculiar.inference.reading import reader_of, require_assessable, warn_untold_error
from peculiar.inference.released import released
from peculiar.linear.reliability import Amplitude, with_reliability

SIGMA_RANGE = (20.0, 2000.0)
"""Scatter that is taken [km/s]: less is finer than any mesh, more is no redshift."""

_NAMED = (
    *("title", "package", "box_size", "box_origin", "box_units", "periodic", "model", "weights_sha256"),
    *("outside_range", "redshift", "line_of_sight", "observer", "catalogue_space", "cosmology"),
)
"""Attributes that a reconstruction tells from itself."""


@dataclass(frozen=True, eq=False)
class Reconstruction(Mapping[str, Field]):
    """Fields with the geometry, cosmology and model that they belong to; it reads like the mapping of the fields.

    What a file does not say is None; only fields that `peculiar.write_fields` wrote lack it.

    Parameters
    ----------
    fields : mapping of str to Field
        On one box: "density", "velocity", "momentum", and "velocity_error", "known_fraction", "completeness" if any.
    cosmology : Cosmology, optional
    redshift : float, optional
        Of a box; of a survey an effective one, its objects have their own.
    line_of_sight : "x", "y", "z" or "radial", optional
    observer : (3,) [Mpc/h], optional
        In the box's coordinates.
    catalogue_space : "redshift" or "real", optional
        Of the objects; the fields are in real space.
    model : str
        What they were reconstructed by.
    checksum : str
        sha256 of its weights; "" of classical reconstructors.
    warnings : tuple of str
        Where the catalogue lay outside the model's range, with the numbers.
    catalogue : Catalogue, optional
        What they were reconstructed from; a file does not hold it.
    residuals : Residuals, optional
        What its model leaves, for `peculiar.draws`; a file does not hold it.
    record : mapping
        Further attributes of the file, such as provenance.

    Examples
    --------
    >>> made = peculiar.reconstruct(halos)  # doctest: +SKIP
    >>> made["velocity"].at(places), made.at_objects().v_los  # km/s  # doctest: +SKIP
    >>> made.save("fields.zarr")  # doctest: +SKIP
    >>> Reconstruction.open("fields.zarr").at_sky(ra=195.0, dec=28.0, z=0.03).v_los  # doctest: +SKIP
    """

    fields: Mapping[str, Field]
    cosmology: Cosmology | None = None
    redshift: float | None = None
    line_of_sight: LineOfSight | None = None
    observer: Observer | None = None
    catalogue_space: Space | None = None
    model: str = ""
    checksum: str = ""
    warnings: tuple[str, ...] = ()
    catalogue: Catalogue | None = field(default=None, repr=False)
    residuals: Residuals | None = field(default=None, repr=False)
    record: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def of(
        cls, catalogue: Catalogue, fields: Mapping[str, Field], *, cosmology: Cosmology, **entries: Any
    ) -> Reconstruction:
        """Return what was reconstructed from a catalogue, whose geometry and completeness it gets."""
        if catalogue.completeness is not None:
            fields = ChainMap({"completeness": catalogue.completeness}, fields)  # type: ignore[arg-type]
        return cls(
            fields,
            cosmology,
            catalogue.redshift,
            catalogue.line_of_sight,
            catalogue.observer,
            catalogue.space,
            catalogue=catalogue,
            **entries,
        )

    @classmethod
    def open(cls, path: Path | str) -> Reconstruction:
        """Read a zarr directory of `peculiar reconstruct`, `save` or `peculiar.write_fields`, of any version.

        A directory of a field of `peculiar.inference.released.RELEASES`, or one of its files, is read too.

        Raises
        ------
        InputError
            If it is missing, damaged, or an attribute is wrong.
        """
        if (published := released(path)) is not None:
            return cls(**published)
        fields = read_fields(path)
        found = read_attributes(path, FieldAttributes)
        observer, texts = found.get("observer"), found.get("outside_range")
        warn_untold_error(fields, found, path=path)
        return cls(
            fields,
            Cosmology(**json.loads(found["cosmology"])) if found.get("cosmology") else None,
            found.get("redshift"),
            found.get("line_of_sight"),
            None if observer is None else (float(observer[0]), float(observer[1]), float(observer[2])),
            found.get("catalogue_space"),
            str(found.get("model", "")),
            str(found.get("weights_sha256", "")),
            tuple(texts.split("; ")) if texts else (),
            record={name: value for name, value in found.items() if name not in _NAMED},
        )

    def __repr__(self) -> str:
        """Return a line about the whole, and one of each field with its shape and unit."""
        kind = f"a {'survey' if self.on_the_sky else 'box'} of {self.box.extent}, {self.box.mesh_text} cells"
        told = [f"<Reconstruction by {self.model or 'an unknown model'}: {kind}"]
        told += [f"{name:14}  {tuple(one.data.shape)} {one.unit}".rstrip() for name, one in self.items()]
        return "\n  ".join([*told, *(f"outside its range: {text}" for text in self.warnings)]) + ">"

    def __getitem__(self, name: str) -> Field:
        return self.fields[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.fields)

    def __len__(self) -> int:
        return len(self.fields)

    @property
    def box(self) -> Box:
        """The box of the fields, with its mesh."""
        return next(iter(self.fields.values())).box

    @property
    def geometry(self) -> Geometry:
        """How the objects are seen; an error where a file does not say it."""
        if self.redshift is None or self.line_of_sight is None:
            raise InputError(
                "reconstruction must have a redshift and a line of sight for objects, got "
                f"redshift={self.redshift}, line_of_sight={self.line_of_sight}: give an output of reconstruct"
            )
        space = self.catalogue_space or "redshift"
        return Geometry(
            self.box, self.redshift, self.line_of_sight, space, self.observer, self.get("completeness")
        )

    @property
    def provenance(self) -> dict[str, Any]:
        """How it was made, as its record tells."""
        made = self.record.get("provenance", {})
        return dict(json.loads(made) if isinstance(made, str) else made)  # a file holds JSON

    @property
    def on_the_sky(self) -> bool:
        """Whether it is a survey's, whose axes are celestial."""
        named = bool(self.provenance.get("settings", {}).get("survey"))
        return self.observer is not None and (named or (self.catalogue is not None and self.geometry.survey))

    def at_objects(self, positions: Catalogue | Float[np.ndarray, "n 3"] | None = None) -> ObjectValues:
        """Return velocity, density and real-space position of objects; see `peculiar.at_objects`.

        Parameters
        ----------
        positions : Catalogue or (n, 3) [Mpc/h], optional
            In the space of the catalogue's; by default the catalogue's own. Objects outside have NaN, but a periodic
            box takes them back with a warning.

        Raises
        ------
        InputError
            If positions have another shape, a catalogue is seen otherwise, or none are given and a file knows none.
        """
        if positions is None:
            positions = self._known_catalogue("positions")
        if isinstance(positions, Catalogue):
            positions = self.geometry.positions_of(positions)
        elif np.ndim(positions) != 2 or np.shape(positions)[1] != 3:
            raise InputError(f"positions must have shape (n, 3), got {np.shape(positions)}")
        return seen_in(
            self.geometry, self.fields, positions, cosmology=self._known_cosmology(), reader=self.reader
        )

    @property
    def reader(self) -> Reader | None:
        """What reads velocities at objects off its fields; None where that is the mean along the sight line."""
        if self.record.get("velocity_amplitude", "mean") != "mean":
            return None
        return reader_of(self.model, cell_size=self.box.cell_size)

    def at_sky(
        self,
        ra: ArrayLike,
        dec: ArrayLike,
        z: ArrayLike,
        *,
        frame: RedshiftFrame = "cmb",
        space: Literal["redshift", "real"] = "redshift",
        sigma: float = DISPERSION,
        unseen: Unseen = "nan",
    ) -> QueryResult:
        """Return velocity and density at places on the sky; see `peculiar.query`."""
        ra, dec, z = together(ra, dec, z)
        if space not in ("redshift", "real"):
            raise InputError(f"space must be 'redshift' or 'real', got {space!r}")
        if not SIGMA_RANGE[0] <= sigma <= SIGMA_RANGE[1]:
            raise InputError(f"sigma must lie in [{SIGMA_RANGE[0]:g}, {SIGMA_RANGE[1]:g}] km/s, got {sigma}")
        require_unseen(unseen)
        observer, cosmology = self.sky()
        sight = sky_directions(ra, dec)
        redshift = convert_redshift(z, sight, source=frame)
        missing = self.missing(sight, redshift)
        inside = (missing == "") | ((missing == "unseen") & (unseen == "keep"))
        if space == "real":
            distance = cosmology.comoving_distance(redshift[inside])
            places = np.asarray(observer) + distance[:, None] * sight[inside]
            found = at_places(self, places, sight[inside], sigma=sigma).among(inside)
            cosmological = np.where(inside, redshift, np.nan)
        else:
            along = SkySight(observer, sight[inside], redshift[inside], cosmology)
            reader = self.reader if sigma == DISPERSION else None  # it knows no other redshift errors
            found = mean_along_sight(self, along, sigma=sigma, reader=reader).among(inside)
            cosmological = (1 + redshift) / (1 + found.v_los_own / SPEED_OF_LIGHT) - 1
        return QueryResult(**vars(found), z_cosmological=cosmological, missing=missing, sigma=sigma)

    def missing(
        self, directions: Float[np.ndarray, "n 3"], redshift: Float[np.ndarray, " n"]
    ) -> Shaped[np.ndarray, " n"]:
        """Return why objects on the sky have no velocity, (n,) text; "" where they have one.

        A survey saw nothing where none of the eight cells about the observed place has a completeness above 0.3.

        Parameters
        ----------
        directions : (n, 3)
            Of length 1, in celestial axes.
        redshift : (n,)
            In the frame of the microwave background.

        Returns
        -------
        array of str
            Keys of `peculiar.inference.query_result.NO_VELOCITY`.
        """
        observer, cosmology = self.sky()
        distance = np.asarray(cosmology.comoving_distance(np.maximum(redshift, 0.0)))
        inside = in_box(self["velocity"], observer, directions, distance)
        reasons = np.where(redshift < 0, "z < 0", np.where(inside, "", "outside"))
        there = np.flatnonzero(reasons == "")
        if "completeness" in self and len(there):
            places = np.asarray(observer) + distance[there, None] * directions[there]
            reasons[there[unseen_places(self["completeness"], places)]] = "unseen"
        return reasons

    def sky(self) -> tuple[Observer, Cosmology]:
        """Return the observer and the cosmology that objects on the sky need.

        Raises
        ------
        InputError
            If it has none, or no velocity and density in real space.
        """
        missing = [name for name in ("velocity", "density") if name not in self]
        if missing:
            raise InputError(
                f"field must hold velocity and density, got {', '.join(self) or 'nothing'}: give an output of "
                "reconstruct"
            )
        kinds = {"velocity": "vector", **dict.fromkeys(("density", *TOLD, LOCAL_ERROR), "scalar")}
        for name, kind in kinds.items():
            field = self.get(name)
            if field is not None and (field.kind != kind or field.space != "real"):
                raise InputError(
                    f"{name} must be a {kind} in real space, got a {field.kind} in {field.space} space: "
                    "give an output of reconstruct"
                )
            if field is not None:
                self["velocity"].require_same_box(field)
        if self["velocity"].unit != "km/s":
            raise InputError(f"velocity must be in km/s, got unit {self['velocity'].unit!r}: convert it")
        if self.observer is None:
            rule = (
                "field must have an observer for objects on the sky, got none (line of sight "
                f"{self.line_of_sight or 'not stated'})"
            )
            raise InputError(
                f"{rule}: reconstruct a survey, or give an observer [Mpc/h]",
                command=f"{rule}: give --observer X,Y,Z, or reconstruct with --sky",
            )
        return self.observer, self._known_cosmology()

    def with_errors(
        self, catalogue: Catalogue | None = None, *, amplitude: Amplitude = "mean", errors: bool = True
    ) -> Reconstruction:
        """Return it with "known_fraction" and "velocity_error"; see `peculiar.linear.reliability.with_reliability`.

        Parameters
        ----------
        catalogue : Catalogue, optional
            What it was reconstructed from; needed where it was read from a file.
        amplitude : "mean" or "unbiased"
            Of the velocity: as it is, or divided by the known fraction.
        errors : bool
            False changes the amplitude alone.
        """
        require_assessable(self.fields, self.record, model=self.model)
        assessed = with_reliability(
            self.fields,
            catalogue or self._known_catalogue("catalogue"),
            cosmology=self._known_cosmology(),
            amplitude=amplitude,
            errors=errors,
        )
        return replace(self, fields=assessed, record={**self.record, "velocity_amplitude": amplitude})

    def save(self, path: Path | str, *, overwrite: bool = False) -> None:
        """Write it as the zarr directory that `peculiar reconstruct` writes, or as HDF5 (.h5, .hdf5).

        Raises
        ------
        OutputExistsError
            If it is there and was not to be overwritten.
        InputError
            If the disk is full or the place cannot be written to.
        """
        write_fields(path, self.fields, attributes=self.attributes(), overwrite=overwrite)

    def attributes(self) -> dict[str, Any]:
        """Return what its file says of it besides the fields and their box."""
        found: dict[str, Any] = {
            "package": "peculiar",
            "model": self.model,
            "weights_sha256": self.checksum,
            "outside_range": "; ".join(self.warnings),
            "redshift": self.redshift,
            "line_of_sight": self.line_of_sight,
            "catalogue_space": self.catalogue_space,
            "observer": None if self.observer is None else list(self.observer),
        }
        if self.cosmology is not None:
            found["cosmology"] = json.dumps(cosmology_settings(self.cosmology))
        if self.catalogue is not None:
            found |= {"number_density": self.catalogue.number_density, "objects": len(self.catalogue)}
        if "provenance" not in self.record:
            settings = {"model": self.model, "cells": self.box.cells, "survey": self.on_the_sky}
            found["provenance"] = json.dumps(provenance(settings))
        found |= {
            name: json.dumps(one) if isinstance(one, Mapping) else one for name, one in self.record.items()
        }
        return {name: value for name, value in found.items() if value is not None}

    def _known_cosmology(self) -> Cosmology:
        if self.cosmology is None:
            rule = "field must have a cosmology for distances, got none"
            raise InputError(f"{rule}: give one", command=f"{rule}: give --cosmology")
        return self.cosmology

    def _known_catalogue(self, name: str) -> Catalogue:
        if self.catalogue is None:
            raise InputError(f"{name} must be given for fields that were read from a file, got None")
        return self.catalogue
