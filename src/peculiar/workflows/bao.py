"""Tables of objects and randoms whose positions are shifted for baryon acoustic oscillations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from peculiar.catalogues import Survey, to_sky
from peculiar.catalogues.columns import find_columns
from peculiar.catalogues.dry_run import require_held
from peculiar.catalogues.frames import convert_redshift
from peculiar.catalogues.read import position_columns
from peculiar.catalogues.sky import directions
from peculiar.catalogues.sky_table import SkyReader
from peculiar.catalogues.survey_catalogue import SurveyCatalogue
from peculiar.catalogues.tables import read_pieces, table_format
from peculiar.core import Catalogue, Cosmology, InputError
from peculiar.linear.bao import CONVENTIONS, SMOOTHING, BaoShifts, Convention, bao_shifts
from peculiar.linear.linear_theory import require_scales

if TYPE_CHECKING:
    from astropy.table import Table

RANDOMS_PER_OBJECT = 20
"""Of a box, whose randoms are drawn."""


@dataclass(frozen=True)
class BaoOptions:
    """Which tables of shifted positions are written, and how they are shifted; see `peculiar.linear.bao`.

    Parameters
    ----------
    bao : path, optional
        The catalogue's rows that take part, with shifted positions in place of their own.
    bao_randoms : path, optional
        The randoms of a survey, likewise; of a box random points, 20 for each object.
    bao_smoothing : float
        Gaussian radius [Mpc/h].
    bao_convention : "recsym" or "reciso"
        Of the randoms.
    bao_bias : float, optional
        Of the objects; measured where not given.

    Raises
    ------
    InputError
        If an ending is no table's, or a setting is out of its range.
    """

    bao: Path | None = None
    bao_randoms: Path | None = None
    bao_smoothing: float = SMOOTHING
    bao_convention: Convention = "recsym"
    bao_bias: float | None = None

    def __post_init__(self) -> None:
        require_scales(self.bao_smoothing, 1.0 if self.bao_bias is None else self.bao_bias)
        if self.bao_convention not in CONVENTIONS:
            raise InputError(f"bao_convention must be recsym or reciso, got {self.bao_convention!r}")
        for path in self.outputs.values():
            table_format(path)

    @property
    def outputs(self) -> dict[str, Path]:
        """The files to write, by option."""
        named = {"--bao": self.bao, "--bao-randoms": self.bao_randoms}
        return {option: Path(path) for option, path in named.items() if path is not None}

    def check(self, table: Table, survey: Survey | None) -> None:
        """Refuse what cannot be shifted, or cannot be written.

        Parameters
        ----------
        table : astropy Table
            The catalogue.
        survey : Survey, optional
        """
        if not self.outputs:
            return
        if survey is not None and survey.groups != "ignore":
            raise InputError(
                f"positions for BAO must be of galaxies, got groups = {survey.groups!r}: leave --groups out"
            )
        if survey is not None and self.bao_randoms is not None and not survey.randoms:
            raise InputError(
                "--bao-randoms must have randoms to shift, got a survey without: give --randoms FILE"
            )
        if self.bao is not None:
            require_held(table, self.bao)


def shifted_tables(
    options: BaoOptions,
    table: Table,
    catalogue: Catalogue,
    *,
    cells: int,
    cosmology: Cosmology,
    columns: Mapping[str, str] | None = None,
    survey: Survey | None = None,
    made: SurveyCatalogue | None = None,
) -> Iterator[tuple[Path, Table]]:
    """Yield each output of the options with its table, which states smoothing, convention, bias and growth rate.

    Parameters
    ----------
    options : BaoOptions
    table : astropy Table
        The catalogue's file.
    catalogue : Catalogue
        What is painted of it.
    cells : int
        Mesh cells along a side.
    cosmology : Cosmology
    columns : mapping, optional
        Of a catalogue in a box: the package's names to the file's own.
    survey, made : optional
        Of a survey, whose positions are written as they are read: right ascension, declination, and redshift in its
        frame.
    """
    if not options.outputs:
        return
    shifts = bao_shifts(
        catalogue,
        cells=cells,
        cosmology=cosmology,
        smoothing=options.bao_smoothing,
        bias=options.bao_bias,
    )
    said: dict[str, Any] = {  # keys of up to eight characters: FITS has no longer ones
        "smooth": options.bao_smoothing,
        "rectype": options.bao_convention,
        "bias": round(shifts.bias, 6),
        "growth": cosmology.growth_rate(catalogue.redshift),
    }
    if survey is not None and made is not None:
        if options.bao is not None:
            yield options.bao, _on_sky(table[made.rows], shifts.data(), survey, cosmology, said)
        if options.bao_randoms is not None:
            yield options.bao_randoms, _survey_randoms(options, shifts, survey, made, cosmology, said)
        return
    names = position_columns(table, columns)
    if options.bao is not None:
        yield options.bao, _in_box(table, names, shifts.data(), said)
    if options.bao_randoms is not None:
        box, random = catalogue.box, np.random.default_rng(0)
        points = np.asarray(box.origin) + random.uniform(
            0, box.sides, size=(RANDOMS_PER_OBJECT * len(catalogue), 3)
        )
        empty = type(table)({name: points[:, axis] for axis, name in enumerate("xyz")})
        moved = shifts.randoms(points, options.bao_convention)
        yield options.bao_randoms, _in_box(empty, ["x", "y", "z"], moved, said | {"seed": 0})


def _survey_randoms(
    options: BaoOptions,
    shifts: BaoShifts,
    survey: Survey,
    made: SurveyCatalogue,
    cosmology: Cosmology,
    said: Mapping[str, Any],
) -> Table:
    """Return the rows of all files of randoms that the survey saw, shifted."""
    from astropy.table import vstack

    tables = []
    for path in survey.randoms:
        for piece in read_pieces(path):  # a file may be as large as what is free
            lower = {name.lower() for name in piece.colnames}
            own = {name: column for name, column in survey.columns.items() if column.lower() in lower}
            _, places = SkyReader(cosmology, columns=own, frame=survey.frame or "cmb").read(piece)
            rows = made.seen_rows(places)
            moved = shifts.randoms(places[rows], options.bao_convention)
            columns = survey.with_changes({"columns": own})
            tables.append(_on_sky(piece[rows], moved, columns, cosmology, said))
    return vstack(tables, metadata_conflicts="silent")


def _on_sky(
    table: Table,
    positions: Float[np.ndarray, "n 3"],
    survey: Survey,
    cosmology: Cosmology,
    said: Mapping[str, Any],
) -> Table:
    names = find_columns(table, ("ra", "dec", "z"), columns=survey.columns)
    assert names is not None  # they were read
    ra, dec, z = to_sky(positions, cosmology=cosmology)
    if survey.frame not in (None, "cmb"):
        z = convert_redshift(z, directions(ra, dec), source="cmb", target=survey.frame)
    return _replaced(table, dict(zip(names, (ra, dec, z), strict=True)), ("deg", "deg", ""), said)


def _in_box(
    table: Table, names: list[str], positions: Float[np.ndarray, "n 3"], said: Mapping[str, Any]
) -> Table:
    values = {names[0]: positions} if len(names) == 1 else dict(zip(names, positions.T, strict=True))
    return _replaced(table, values, ("Mpc / h",) * len(names), said)


def _replaced(
    table: Table, columns: Mapping[str, np.ndarray], units: tuple[str, ...], said: Mapping[str, Any]
) -> Table:
    from astropy.table import Column

    result = table.copy()
    for (name, values), unit in zip(columns.items(), units, strict=True):
        result[name] = Column(values, unit=unit or None, description="shifted for BAO")
    result.meta |= dict(said)
    return result
