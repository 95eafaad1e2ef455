"""How a catalogue file is to be read."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from peculiar.catalogues import Survey, SurveyCatalogue, read_catalogue, read_survey, to_catalogue
from peculiar.catalogues.columns import find_columns
from peculiar.catalogues.randoms import refuse_as_randoms
from peculiar.catalogues.read import columns_used as box_columns
from peculiar.catalogues.read import position_columns
from peculiar.catalogues.sample import columns_used as survey_columns
from peculiar.catalogues.table_file import TableFile
from peculiar.catalogues.table_rows import TableRows
from peculiar.catalogues.tables import table_files
from peculiar.core import Box, Catalogue, Cosmology, InputError, Reconstructor
from peculiar.core.box import Sides
from peculiar.core.catalogue import LineOfSight
from peculiar.core.field import Space
from peculiar.workflows.reconstruct import fitting

if TYPE_CHECKING:
    from astropy.table import Table

_ALIKE = 0.01  # sizes of cells, relative


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
        elif self.line_of_sight not in (None, "radial"):
            raise InputError(
                f"a survey (--sky) has radial lines of sight, got --los {self.line_of_sight}: leave it out"
            )
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

    def opened(
        self, source: Path | str, *, travels: bool, carry: Sequence[str] | None = None
    ) -> tuple[Table | TableFile, TableRows | None]:
        """Open a catalogue file: what is read of it, and the rows that travel to tables of its objects.

        Parameters
        ----------
        source : path
        travels : bool
            Whether such tables are written. Where not, only the columns that are used come into memory.
        carry : sequence of str, optional
            Columns that travel, beside the positions; all where not given.

        Raises
        ------
        InputError
            If the file cannot be read, or columns to carry are not there or go nowhere.
        """
        if carry is not None and not travels:
            raise InputError("--carry needs --at-objects or --bao, whose tables get the columns")
        refuse_as_randoms(source, self.inputs.get("--randoms", []))
        of_box = box_columns(self.columns, velocities=False)
        used = of_box if self.survey is None else survey_columns(self.survey)
        if travels and carry is None:
            rows = TableRows(source)
            return rows.opened(used), rows
        opened = TableFile(source, used)
        if carry is None:
            return opened, None
        if self.survey is None:
            positions = position_columns(opened, self.columns)
        else:
            positions = find_columns(opened, ("ra", "dec", "z"), columns=self.survey.columns) or []
        return opened, TableRows(source, columns=list(dict.fromkeys([*positions, *carry])))


def read_with(
    options: CatalogueOptions,
    table: Table | TableFile,
    *,
    cosmology: Cosmology,
    cell_size: float,
    reconstructor: Reconstructor,
    memory: int | str | None,
) -> tuple[Catalogue, SurveyCatalogue | None, tuple[float, float] | None]:
    """Return the catalogue, of a survey also the position of every row of the table, and its limits [Mpc/h].

    Rows that the catalogue leaves out have a position too. Galaxies of groups that a survey collapses stand at the
    distance of their group: the flow is that of the group.
    """
    if options.survey is not None:
        sample = read_survey(table, options.survey, cosmology=cosmology)
        box = sample.box(cell_size=cell_size)
        wanted = options.survey.cell_size
        if wanted is not None and abs(box.cell_size / wanted - 1) > _ALIKE:
            warnings.warn(
                f"the sides of the survey's [box] are not multiples of cells of {wanted:g} Mpc/h: "
                f"{box.cell_size:.4g} Mpc/h are taken",
                stacklevel=2,
            )
        fitting(reconstructor, box, memory=memory, in_pieces=True)
        made = to_catalogue(sample, box)
        near, far = sample.n_of_r.distances[[0, -1]].tolist()
        catalogue = made.catalogue
        if options.redshift is not None:
            catalogue = catalogue.replace(redshift=options.redshift, light_cone=False)
        return catalogue, made, (near, far)
    assert options.box_size is not None  # CatalogueOptions demands one of the two
    catalogue = read_catalogue(
        table,
        box=Box(options.box_size, origin=options.origin or (0.0, 0.0, 0.0), periodic=options.periodic),
        line_of_sight=options.line_of_sight,
        space=options.space,
        redshift=options.redshift,
        columns=options.columns,
        observer=options.observer,
        velocities=False,
    )
    return catalogue, None, None
