"""Cases of catalogues: every format, every column, every command that reads a table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from astropy.table import Table
from changes import FILE_CHANGES, TableChange, column_changes, table_changes
from material import FORMATS, distances, halos, randoms, survey, write
from sandbox import Case, Expected

FIELD_OUT = "--out out.zarr --at-objects out.fits"


@dataclass(frozen=True)
class Place:
    """A command that reads a table: FILE in its words is the table."""

    name: str
    words: str
    make: Callable[[], Table]
    columns: tuple[str, ...]
    optional: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    formats: tuple[str, ...] = FORMATS
    few: bool = False
    nan: bool = False

    def command(self, file: str) -> tuple[str, ...]:
        return tuple(file if word == "FILE" else word for word in self.words.split())


PLACES = (
    Place(
        "box",
        f"reconstruct FILE --box 40 --cells 8 --model iterative --redshift 0.5 {FIELD_OUT}",
        halos,
        ("x", "z"),
        ("mass",),
    ),
    Place(
        "sky",
        f"reconstruct FILE --sky --mask mask.fits --cell-size 8 --model iterative {FIELD_OUT}",
        survey,
        ("ra", "dec", "z"),
        needs=("mask.fits",),
        nan=True,
    ),
    Place(
        "groups",
        "groups FILE --mask mask.fits --distances 10,60 --out out.fits --members members.fits",
        survey,
        ("ra", "z"),
        needs=("mask.fits",),
        formats=("fits", "parquet", "csv"),
        nan=True,
    ),
    Place(
        "query",
        "query field.zarr --catalogue FILE --out out.fits",
        survey,
        ("ra", "dec", "z"),
        needs=("field.zarr",),
        formats=("fits", "h5", "ecsv"),
        few=True,
        nan=True,
    ),
    Place(
        "compare",
        "compare FILE --field field.zarr --frame cmb --out out --bootstraps 10",
        distances,
        ("dec", "z", "mu", "mu_error"),
        needs=("field.zarr",),
        formats=("fits", "parquet", "csv"),
        nan=True,
    ),
    Place(
        "randoms",
        f"reconstruct survey.fits --sky --randoms FILE --cell-size 8 --model iterative {FIELD_OUT}",
        randoms,
        ("ra", "z"),
        needs=("survey.fits",),
        formats=("fits", "h5"),
        nan=True,
    ),
)


FREE = {
    ("csv", "begins with noise"),
    ("csv", "ends with noise"),
    ("csv", "noise"),
    ("csv", "first tenth"),
    ("ecsv", "first tenth"),
}
"""Changes after which a text may be a right table: nothing in it tells how many rows it had."""

DECIDED: dict[tuple[str, str], Expected] = {
    ("groups", "one row"): "right",  # a galaxy without friends is a group of one
    ("groups", "two rows"): "right",  # two galaxies are linked or not as any others are
    ("randoms", "twice"): "right",  # the same density, scaled to the galaxies' number
}
"""What comes of a change at a place where it is not what comes of it elsewhere."""


def _changed(place: Place, name: str, change: TableChange) -> Callable[[Path], None]:
    def apply(directory: Path) -> None:
        table = place.make()
        found = change.apply(table)
        write(table if found is None else found, directory / name)

    return apply


def _replaced(place: Place, name: str, change: Callable[[Path], None]) -> Callable[[Path], None]:
    def apply(directory: Path) -> None:
        write(place.make(), directory / name)
        change(directory / name)

    return apply


def table_cases() -> Iterator[Case]:
    """Tables with one thing changed, and files that are none."""
    for place in PLACES:
        changes = [one for column in place.columns for one in column_changes(column)]
        changes += [one for column in place.optional for one in column_changes(column, needed=False)]
        changes += table_changes(place.columns[0], few=place.few)
        for suffix in place.formats:
            name = f"table.{suffix}"
            for change in changes:
                if suffix in change.formats:
                    yield Case(
                        f"{place.name}/{suffix}/{change.name}",
                        place.command(name),
                        needs=place.needs,
                        change=_changed(place, name, change),
                        expected=DECIDED.get((place.name, change.name), change.expected),
                        nan=place.nan,
                        own=change.own,
                    )
            if place.name in ("box", "compare", "randoms"):
                for file in FILE_CHANGES:
                    yield Case(
                        f"{place.name}/{suffix}/{file.name}",
                        place.command(name),
                        needs=place.needs,
                        change=_replaced(place, name, file.apply),
                        expected="either" if (suffix, file.name) in FREE else file.expected,
                        nan=place.nan,
                    )
    box = PLACES[0]
    for suffix in FORMATS:
        for other in FORMATS:
            if suffix != other:
                yield Case(
                    f"box/{suffix}/holds {other}",
                    box.command(f"table.{suffix}"),
                    change=_renamed(other, suffix),
                    expected="either" if {suffix, other} == {"csv", "ecsv"} else "refused",
                )


def _renamed(held: str, suffix: str) -> Callable[[Path], None]:
    def apply(directory: Path) -> None:
        write(halos(), directory / f"other.{held}")
        (directory / f"other.{held}").rename(directory / f"table.{suffix}")

    return apply
