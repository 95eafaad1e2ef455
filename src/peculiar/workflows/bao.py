"""Tables of objects and randoms whose positions are shifted for baryon acoustic oscillations."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int

from peculiar.catalogues import Survey, to_sky
from peculiar.catalogues.columns import find_columns
from peculiar.catalogues.dry_run import require_held
from peculiar.catalogues.frames import convert_redshift
from peculiar.catalogues.read import position_columns
from peculiar.catalogues.sky import directions
from peculiar.catalogues.sky_table import SkyReader
from peculiar.catalogues.survey_catalogue import SurveyCatalogue
from peculiar.catalogues.table_rows import TableRows
from peculiar.catalogues.tables import table_format
from peculiar.core import Catalogue, Cosmology, InputError
from peculiar.linear.bao import CONVENTIONS, SMOOTHING, Convention, bao_shifts
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

    def check(self, rows: TableRows, survey: Survey | None) -> TableRows | None:
        """Refuse what cannot be shifted, or cannot be written; return a survey's randoms where they are shifted.

        Parameters
        ----------
        rows : TableRows
            Of the catalogue.
        survey : Survey, optional
        """
        if not self.outputs:
            return None
        if survey is not None and survey.groups != "ignore":
            raise InputError(
                f"positions for BAO must be of galaxies, got groups = {survey.groups!r}: give --groups ignore"
            )
        if survey is not None and self.bao_randoms is not None and not survey.randoms:
            raise InputError(
                "--bao-randoms must have randoms to shift, got a survey without: give --randoms FILE"
            )
        if self.bao is not None:
            require_held(rows.sample, self.bao)
        if survey is None or self.bao_randoms is None:
            return None
        randoms = TableRows(*survey.randoms)
        require_held(randoms.sample, self.bao_randoms)
        return randoms


def shifted_tables(
    options: BaoOptions,
    rows: TableRows,
    catalogue: Catalogue,
    *,
    cells: int,
    cosmology: Cosmology,
    columns: Mapping[str, str] | None = None,
    survey: Survey | None = None,
    made: SurveyCatalogue | None = None,
    randoms: TableRows | None = None,
) -> Iterator[tuple[Path, Table, Iterable[Table]]]:
    """Yield each output of the options, a sample of its table and its pieces, for `write_pieces`.

    The metadata state smoothing, convention, bias and growth rate.

    Parameters
    ----------
    options : BaoOptions
    rows : TableRows
        Of the catalogue's file.
    catalogue : Catalogue
        What is painted of it.
    cells : int
        Mesh cells along a side.
    cosmology : Cosmology
    columns : mapping, optional
        Of a catalogue in a box: the package's names to the file's own.
    survey, made, randoms : optional
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
    _tell_unsaid(options, said)
    if survey is not None and made is not None:
        if options.bao is not None:
            moved_to = partial(_on_sky, survey=survey, cosmology=cosmology, said=said)
            yield options.bao, _sample(rows, moved_to), _moved(rows, made.rows, shifts.data(), moved_to)
        if options.bao_randoms is not None and randoms is not None:
            shifted = partial(shifts.randoms, convention=options.bao_convention)
            yield options.bao_randoms, *_survey_randoms(randoms, shifted, survey, made, cosmology, said)
        return
    if options.bao is not None:
        moved_to = partial(_in_box, names=position_columns(rows.sample, columns), said=said)
        everything = np.arange(len(catalogue))
        yield options.bao, _sample(rows, moved_to), _moved(rows, everything, shifts.data(), moved_to)
    if options.bao_randoms is not None:
        box, random = catalogue.box, np.random.default_rng(0)
        points = np.asarray(box.origin) + random.uniform(
            0, box.sides, size=(RANDOMS_PER_OBJECT * len(catalogue), 3)
        )
        empty = type(rows.sample)({name: points[:, axis] for axis, name in enumerate("xyz")})
        moved = shifts.randoms(points, options.bao_convention)
        table = _in_box(empty, moved, names=["x", "y", "z"], said=said | {"seed": 0})
        yield options.bao_randoms, table, [table]


def _tell_unsaid(options: BaoOptions, said: Mapping[str, Any]) -> None:
    """Tell what a CSV file has no place for: whoever fits its clustering needs it."""
    unsaid = [path.name for path in options.outputs.values() if table_format(path) == "ascii.csv"]
    if unsaid:
        values = ", ".join(f"{name.upper()} = {value}" for name, value in said.items())
        warnings.warn(
            f"{' and '.join(unsaid)} {'has' if len(unsaid) == 1 else 'have'} no place for {values}: keep them, or "
            "write FITS, HDF5, Parquet or ECSV",
            stacklevel=2,
        )


def _survey_randoms(
    rows: TableRows,
    shifted: Callable[[Float[np.ndarray, "m 3"]], Float[np.ndarray, "m 3"]],
    survey: Survey,
    made: SurveyCatalogue,
    cosmology: Cosmology,
    said: Mapping[str, Any],
) -> tuple[Table, Iterator[Table]]:
    """Return a sample and the rows of all files of randoms that the survey saw, shifted."""
    lower = {name.lower() for name in rows.sample.colnames}
    own = {name: column for name, column in survey.columns.items() if column.lower() in lower}
    moved_to = partial(_on_sky, survey=survey.with_changes({"columns": own}), cosmology=cosmology, said=said)

    def pieces() -> Iterator[Table]:
        reader = SkyReader(cosmology, columns=own, frame=survey.frame or "cmb")
        for piece in rows:
            _, places = reader.read(piece)
            seen = made.seen_rows(places)
            if seen.any():
                yield moved_to(piece[seen], shifted(places[seen]))

    return _sample(rows, moved_to), pieces()


def _sample(rows: TableRows, moved_to: Callable[..., Table]) -> Table:
    return moved_to(rows.sample, np.ones((len(rows.sample), 3)))


def _moved(
    rows: TableRows,
    chosen: Int[np.ndarray, " n"],
    positions: Float[np.ndarray, "n 3"],
    moved_to: Callable[..., Table],
) -> Iterator[Table]:
    """Yield the chosen rows, by their numbers, at their new positions."""
    start = 0
    for piece in rows:
        first, last = np.searchsorted(chosen, [start, start + len(piece)])
        if first < last:
            yield moved_to(piece[chosen[first:last] - start], positions[first:last])
        start += len(piece)


def _on_sky(
    table: Table,
    positions: Float[np.ndarray, "n 3"],
    *,
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
    table: Table, positions: Float[np.ndarray, "n 3"], *, names: list[str], said: Mapping[str, Any]
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
