"""How a catalogue file is to be read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from peculiar.catalogues import Survey
from peculiar.catalogues.tables import table_files
from peculiar.core import Box, InputError
from peculiar.core.box import Sides
from peculiar.core.catalogue import LineOfSight
from peculiar.core.field import Space


@dataclass(frozen=True)
class CatalogueOptions:
    """How a catalogue file is to be read: a box (with `box_size`) or a survey on the sky (with `survey`).

    Parameters
    ----------
    box_size : float or three, optional
        Side of the box [Mpc/h].
    origin : (3,) [Mpc/h]
        Lower corner of the box.
    periodic : bool
        Whether opposite faces of the box are one.
    line_of_sight : "x", "y", "z" or "radial", optional
        In a box; what the file states, else "z". A survey's is radial.
    observer : (3,) [Mpc/h], optional
        For a radial line of sight in a box.
    space : "redshift" or "real", optional
        In a box; what the file states, else "redshift". A survey is in redshift space.
    redshift : float, optional
        Effective redshift of a box; what the file states, else it is needed. Of a survey one epoch for all of it, as
        where a mock was cut from one snapshot; by default each place has that of its distance.
    columns : mapping, optional
        Canonical names to the file's own, in a box; a survey has its own.
    survey : Survey, optional
        What a survey on the sky is.

    Raises
    ------
    InputError
        If both or neither of `box_size` and `survey` are given, or an option of the other kind.
    """

    box_size: float | Sides | None = None
    origin: tuple[float, float, float] | None = None
    periodic: bool = True
    line_of_sight: LineOfSight | None = None
    observer: tuple[float, float, float] | None = None
    space: Space | None = None
    redshift: float | None = None
    columns: Mapping[str, str] | None = None
    survey: Survey | None = None

    def __post_init__(self) -> None:
        if self.survey is None:
            if self.box_size is None:
                raise InputError(
                    "a catalogue needs --box SIZE in Mpc/h, or --sky and --mask for a survey, got neither"
                )
            Box(self.box_size)  # its own error
            if self.line_of_sight == "radial" and self.observer is None:
                raise InputError("a radial line of sight in a box needs --observer X,Y,Z in Mpc/h, got none")
            if self.periodic and self.line_of_sight == "radial":
                raise InputError("a radial line of sight needs --no-periodic: it does not wrap around")
        elif not (self.box_size is None and self.origin is None and self.observer is None):
            raise InputError("a survey (--sky) takes no --box, --origin or --observer: they follow from it")
        elif self.columns is not None:
            raise InputError("columns of a survey are part of it, got them beside it")
        elif self.space == "real":
            raise InputError(f"a survey (--sky) is in redshift space, got --space {self.space}")

    @property
    def inputs(self) -> dict[str, list[Path]]:
        """Files that are read beside the catalogue, by option."""
        if self.survey is None:
            return {}
        return {
            "--mask": [] if self.survey.mask is None else [self.survey.mask],
            "--randoms": [file for path in self.survey.randoms for file in table_files(path)],
        }
