"""Fields of a reconstruction on their way to files: all at once, or one after the other in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from pathlib import Path

from peculiar.core import Catalogue, Cosmology, Field
from peculiar.core.own_files import temporaries
from peculiar.fields.files import StoredFields, save_fields
from peculiar.inference.reconstruction import Reconstruction
from peculiar.inference.tiled import TiledReconstructor
from peculiar.linear.classical import OneByOne

InPieces = TiledReconstructor | OneByOne
"""What makes one field at a time."""
FIELD_BYTES = 9 * 4
"""A cell's density, velocity, its error, momentum and completeness; compression saves what is kept in reserve."""


def save_whole(result: Reconstruction, paths: Sequence[Path]) -> Reconstruction:
    """Write a reconstruction to new files, and return it."""
    for path in paths:
        save_fields(path, result.items(), result.attributes())
    return result


def save_pieces(
    reconstructor: InPieces,
    catalogue: Catalogue,
    *,
    cells: int,
    cosmology: Cosmology,
    result: Callable[[Mapping[str, Field]], Reconstruction],
    paths: Sequence[Path],
) -> Reconstruction:
    """Reconstruct one field at a time and write each as it is made.

    Parameters
    ----------
    reconstructor : TiledReconstructor or OneByOne
    catalogue : Catalogue
    cells : int
    cosmology : Cosmology
    result : callable
        Puts fields together with what they were made from.
    paths : sequence of path
        New files, the first a zarr directory; temporary meshes lie beside it.

    Returns
    -------
    Reconstruction
        Of fields that are read from the first file when they are asked for.
    """
    first, *others = paths
    about = result({})
    with temporaries(first) as beside:
        beside.partial.mkdir()
        made = reconstructor.fields(catalogue, cells=cells, cosmology=cosmology, scratch=beside.partial)
        save_fields(first, chain(made, about.items()), about.attributes())
    stored = result(StoredFields(first))
    for path in others:
        save_fields(path, stored.items(), stored.attributes())
    return stored
