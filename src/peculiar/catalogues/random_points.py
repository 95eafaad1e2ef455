"""Random points of a survey's files, read some at a time whenever they are gone through: they may be many."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from peculiar.catalogues.columns import find_columns
from peculiar.catalogues.randoms import Points, ShellCounts, shell_counts
from peculiar.catalogues.sky import SkyMask
from peculiar.catalogues.sky_counts import SKY_PIXELS, sky_counts
from peculiar.catalogues.sky_table import SkyReader
from peculiar.catalogues.survey import COLUMNS, Survey
from peculiar.catalogues.tables import read_pieces
from peculiar.catalogues.weights import PUBLISHED, Weights, names_in, refuse_huge, weigh_randoms
from peculiar.core import Cosmology, InputError

if TYPE_CHECKING:
    from astropy.table import Table


@dataclass(frozen=True, eq=False)
class Randoms:
    """All points of a survey's files of randoms.

    They have the columns and the frame of the galaxies, where they have them, and weights of their own; see
    `weigh_randoms`.

    Parameters
    ----------
    survey : Survey
    objects : Weights
        Of the galaxies.
    cosmology : Cosmology
        Gives the distances.
    """

    survey: Survey
    objects: Weights
    cosmology: Cosmology

    def points(self, *, again: bool = True) -> Iterator[Points]:
        """Yield some points after the other; what is doubtful is told unless they are read again.

        Raises
        ------
        InputError
            If a file cannot be read or holds no random points, or some of the files have weights and others none.
        """
        weighted = []
        for path in self.survey.randoms:
            for points in self._points_of(path, again=again):
                yield points
            weighted.append(points.weights is not None)
        if len(set(weighted)) > 1:
            without = ", ".join(
                str(path) for path, has in zip(self.survey.randoms, weighted, strict=True) if not has
            )
            raise InputError(f"all files of randoms must have weights or none, got none in {without}")

    def sky(self) -> Float[np.ndarray, " pixel"]:
        """Return the number of points in each pixel of `sky_counts`, in the first pass over the files."""
        counts = np.zeros(SKY_PIXELS)
        for points in self.points(again=False):
            counts += sky_counts(points.positions)
        return counts

    def within(self, mask: SkyMask | None, limits: tuple[float, float]) -> SeenRandoms:
        """Return the points in a mask, if there is one, and between two distances [Mpc/h]."""
        return SeenRandoms(self, mask, limits, shell_counts(_seen(self.points(), mask, limits), limits))

    def _points_of(self, path: Path, *, again: bool) -> Iterator[Points]:
        with warnings.catch_warnings():
            if again:
                warnings.simplefilter("ignore")
            head = next(read_pieces(path, rows=1))
            lower = {name.lower() for name in head.colnames}
            own = {name: column for name, column in self.survey.columns.items() if column.lower() in lower}
            try:  # its names tell what is missing
                find_columns(head, ("ra", "dec", "z"), columns=own)
                self._weights(head, own)
            except InputError as error:
                raise error.within(f"randoms {path}") from error
        factors = self.survey.random_weights or self.objects.factors
        used = {name.lower() for name in (*COLUMNS, *own.values(), *PUBLISHED, *names_in(factors))}
        reader = SkyReader(self.cosmology, columns=own, frame=self.survey.frame or "cmb")
        total, largest, place = 0.0, -1.0, 0
        pieces = read_pieces(path, [name for name in head.colnames if name.lower() in used])
        while True:
            start = reader.rows
            with warnings.catch_warnings(action="ignore"):  # the head has told
                piece = next(pieces, None)
                if piece is None:
                    break
                try:
                    _, positions = reader.read(piece)
                    weights = self._weights(piece, own)
                except InputError as error:
                    raise error.within(f"randoms {path}" + f" from row {start} on" * bool(start)) from error
            if weights is not None:
                total += float(weights.sum())
                if weights.max() > largest:
                    largest, place = float(weights.max()), start + int(weights.argmax())
            known = np.isfinite(positions[:, 0])
            if known.all():
                yield Points(positions, weights)
            else:
                yield Points(positions[known], None if weights is None else weights[known])
        if again:
            return
        try:
            reader.check()
            if weights is not None:
                refuse_huge(total / reader.rows, largest, row=place, count=reader.rows)
        except InputError as error:
            raise error.within(f"randoms {path}") from error

    def _weights(self, table: Table, columns: Mapping[str, str]) -> Float[np.ndarray, " n"] | None:
        survey = self.survey
        return weigh_randoms(
            table, survey.random_weights, self.objects, given=survey.weights is not None, columns=columns
        )


@dataclass(frozen=True, eq=False)
class SeenRandoms:
    """The random points that a survey saw, counted; they are read again to be painted.

    Attributes
    ----------
    randoms : Randoms
    mask : SkyMask or None
    limits : (2,) [Mpc/h]
    counts : ShellCounts
    """

    randoms: Randoms
    mask: SkyMask | None
    limits: tuple[float, float]
    counts: ShellCounts

    def points(self) -> Iterator[Points]:
        """Yield some points after the other."""
        return _seen(self.randoms.points(), self.mask, self.limits)


def _seen(points: Iterator[Points], mask: SkyMask | None, limits: tuple[float, float]) -> Iterator[Points]:
    for some in points:
        distance = np.linalg.norm(some.positions, axis=1)
        kept = (distance >= limits[0]) & (distance <= limits[1])
        if mask is not None:
            kept &= mask.at(some.positions) > 0
        yield Points(some.positions[kept], None if some.weights is None else some.weights[kept])
