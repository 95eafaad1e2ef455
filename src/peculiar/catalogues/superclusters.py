"""Superclusters of the literature, by the clusters that they hold."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
from jaxtyping import Float

from peculiar.catalogues.frames import convert_redshift
from peculiar.catalogues.sky import directions, to_cartesian
from peculiar.catalogues.sky_table import sky_coordinates
from peculiar.catalogues.tables import read_table
from peculiar.core import Cosmology, InputError
from peculiar.core.catalogue import Observer


@dataclass(frozen=True, eq=False)
class Superclusters:
    """Superclusters with the places of their clusters, in redshift space.

    Attributes
    ----------
    names : tuple of str
    references : tuple of str
        Where the members are taken from.
    clusters : tuple of str
        Names of the members, in one text each.
    positions : (n, 3) [comoving Mpc/h]
        Mean of the members, in the coordinates of the field.
    sizes : (n,) [Mpc/h]
        Root mean square distance of the members from it; 0 for one member.
    """

    names: tuple[str, ...]
    references: tuple[str, ...]
    clusters: tuple[str, ...]
    positions: Float[np.ndarray, "n 3"]
    sizes: Float[np.ndarray, " n"]


def read_superclusters(
    path: Path | str | None = None, *, cosmology: Cosmology, observer: Observer = (0.0, 0.0, 0.0)
) -> Superclusters:
    """Read a table of superclusters by their clusters.

    Parameters
    ----------
    path : path, optional
        Table with `supercluster`, `cluster`, `ra`, `dec` [deg], `z` (heliocentric) and `reference`, a row for each
        cluster; by default the one of the package: northern sky, z = 0.02 to 0.1, positions of Abell, Corwin &
        Olowin (1989), redshifts of Struble & Rood (1999) to about 0.003.
    cosmology : Cosmology
        Gives distances.
    observer : (3,) [Mpc/h]
        In the coordinates of the field.

    Raises
    ------
    InputError
        If the file is missing, lacks a column or holds coordinates out of range.

    Examples
    --------
    >>> known = read_superclusters(cosmology=Cosmology(Omega_m=0.3))
    >>> known.names[:3]
    ('Coma', 'Leo', 'Hercules')
    """
    if path is None:
        with as_file(files("peculiar") / "examples" / "superclusters.csv") as own:
            return read_superclusters(own, cosmology=cosmology, observer=observer)
    table = read_table(path)
    missing = [name for name in ("supercluster", "cluster", "reference") if name not in table.colnames]
    if missing:
        raise InputError(
            f"superclusters must have the columns supercluster, cluster, reference, got no {missing}"
        )
    ra, dec, z = sky_coordinates(table)
    redshift = convert_redshift(z, directions(ra, dec), source="heliocentric")
    places = to_cartesian(ra, dec, redshift=redshift, cosmology=cosmology, observer=observer)
    labels = np.asarray(table["supercluster"], dtype=str)
    names = tuple(dict.fromkeys(labels.tolist()))
    members = [labels == name for name in names]
    positions = np.array([places[rows].mean(axis=0) for rows in members])
    spread = [
        np.square(places[rows] - place).sum(axis=1).mean()
        for rows, place in zip(members, positions, strict=True)
    ]
    text = [[str(value) for value in table[column]] for column in ("cluster", "reference")]
    clusters, references = (
        tuple(", ".join(dict.fromkeys(np.asarray(column)[rows].tolist())) for rows in members)
        for column in text
    )
    return Superclusters(names, references, clusters, positions, np.sqrt(spread))
