"""`peculiar query`: the velocity and density of a reconstructed field at places on the sky."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float, Shaped
from numpy.typing import ArrayLike

from peculiar.catalogues import read_table, write_table
from peculiar.catalogues.added import OBJECT_COLUMNS, object_columns, with_columns
from peculiar.catalogues.dry_run import require_held
from peculiar.catalogues.frames import RedshiftFrame, convert_redshift
from peculiar.catalogues.sky import sky_directions
from peculiar.catalogues.sky_table import sky_coordinates
from peculiar.catalogues.tables import table_files, table_format
from peculiar.core import InputError
from peculiar.core.cosmology import SPEED_OF_LIGHT
from peculiar.core.output import atomic_output, check_output
from peculiar.fields.objects import DISPERSION, ObjectValues, at_places, mean_along_sight
from peculiar.fields.sight import SkySight
from peculiar.workflows.provenance import provenance
from peculiar.workflows.sky_field import SkyField, read_sky_field

SIGMA_RANGE = (20.0, 2000.0)
"""Scatter that is taken [km/s]: less is finer than any mesh, more is no redshift."""
_OWN_COLUMNS = ("v_los_scatter", "z_cosmological", "solutions", "missing")


@dataclass(frozen=True, eq=False, kw_only=True)
class QueryResult(ObjectValues):
    """What the field says about each object: `ObjectValues`, and what follows; NaN where there is a `missing` reason.

    Velocities are those of matter about the object, in celestial axes and the frame of the microwave background.

    Attributes
    ----------
    z_cosmological : (n,)
        Redshift without the peculiar velocity: (1 + z_cmb) / (1 + v_los / c) - 1, z itself for places in real space.
    missing : (n,) text
        Why there is no velocity, a key of `peculiar.workflows.sky_field.NO_VELOCITY`; "" where there is one.
    """

    z_cosmological: Float[np.ndarray, " n"]
    missing: Shaped[np.ndarray, " n"]

    def __len__(self) -> int:
        return len(self.v_los)

    def columns(self) -> dict[str, Shaped[np.ndarray, " n"]]:
        """Return what a table gets: columns of `peculiar.catalogues.added.COLUMNS`."""
        own = (self.v_los_scatter, self.z_cosmological, self.solutions, self.missing)
        columns = object_columns(self.velocities, self.v_los, self.delta, self.positions_real)
        columns |= zip(_OWN_COLUMNS, own, strict=True)
        return columns if self.v_los_error is None else columns | {"v_los_error": self.v_los_error}

    def records(self) -> list[dict[str, float | int | str | None]]:
        """Return one mapping per object, as JSON holds it: None where there is no value."""
        return [
            {
                name: None
                if isinstance(value := values[row].item(), float) and not np.isfinite(value)
                else value
                for name, values in self.columns().items()
            }
            for row in range(len(self))
        ]


def query(
    field: SkyField | Path | str,
    *,
    ra: ArrayLike,
    dec: ArrayLike,
    z: ArrayLike,
    frame: RedshiftFrame = "cmb",
    space: Literal["redshift", "real"] = "redshift",
    sigma: float = DISPERSION,
) -> QueryResult:
    """Return velocity and density of a reconstructed field at places on the sky.

    The field is in real space, and an observed redshift holds the velocity that is asked for, so the place r on the
    line of sight solves 1 + z = (1 + z_cosmological(r)) (1 + v(r) / c). Where the flow converges three places do. The
    answer is the mean over all places, by `peculiar.fields.objects.mean_along_sight`, as at the survey's own objects.

    Parameters
    ----------
    field : SkyField or path
        `read_sky_field(path)`, or the zarr of `peculiar reconstruct`; read it once for many queries.
    ra, dec : (n,) or numbers [deg]
        ICRS.
    z : (n,) or number
        Redshift, not c z. Where it is below 0 in the frame of the microwave background there is no answer.
    frame : "heliocentric", "cmb" or "local-group"
        Rest frame of z.
    space : "redshift" or "real"
        "real" takes z as a distance (it holds no peculiar velocity) and reads the field there.
    sigma : float [km/s]
        The Gaussian's width, 20 to 2000: redshift error and velocities about the field, added in quadrature.

    Raises
    ------
    InputError
        If coordinates are out of range or of different lengths, the frame is unknown, or redshifts are km/s.

    Examples
    --------
    >>> import peculiar
    >>> result = peculiar.query("fields.zarr", ra=195.0, dec=28.0, z=0.03, frame="heliocentric")  # doctest: +SKIP
    >>> result.v_los  # km/s, positive for receding  # doctest: +SKIP
    """
    sky = field if isinstance(field, SkyField) else read_sky_field(field)
    ra, dec, z = _together(ra, dec, z)
    if space not in ("redshift", "real"):
        raise InputError(f"space must be 'redshift' or 'real', got {space!r}")
    if not SIGMA_RANGE[0] <= sigma <= SIGMA_RANGE[1]:
        raise InputError(f"sigma must lie in [{SIGMA_RANGE[0]:g}, {SIGMA_RANGE[1]:g}] km/s, got {sigma}")
    sight = sky_directions(ra, dec)
    redshift = convert_redshift(z, sight, source=frame)
    missing = sky.missing(sight, redshift)
    inside = missing == ""
    if space == "real":
        distance = sky.cosmology.comoving_distance(redshift[inside])
        places = np.asarray(sky.observer) + distance[:, None] * sight[inside]
        found = at_places(sky.fields, places, sight[inside]).among(inside)
        cosmological = np.where(inside, redshift, np.nan)
    else:
        along = SkySight(sky.observer, sight[inside], redshift[inside], sky.cosmology)
        found = mean_along_sight(sky.fields, along, sigma=sigma).among(inside)
        cosmological = (1 + redshift) / (1 + found.v_los / SPEED_OF_LIGHT) - 1
    return QueryResult(**vars(found), z_cosmological=cosmological, missing=missing)


def query_file(
    field: Path | str,
    catalogue: Path | str,
    *,
    out: Path | str,
    frame: RedshiftFrame = "cmb",
    space: Literal["redshift", "real"] = "redshift",
    sigma: float = DISPERSION,
    sky: SkyField | None = None,
    columns: Mapping[str, str] | None = None,
    force: bool = False,
) -> QueryResult:
    """Query a field at the objects of a table with `ra`, `dec` [deg] and `z`, and write the table with the answers.

    Parameters
    ----------
    field : path
        zarr of `peculiar reconstruct`.
    catalogue, out : path
        FITS, HDF5, Parquet, ECSV or CSV. `out` has the rows and columns of the catalogue and those of `QueryResult`; a
        column of the same name is kept as ``NAME_in``.
    frame, space, sigma
        As in `query`.
    sky : SkyField, optional
        The field, if it was read already, or with another observer or cosmology.
    columns : mapping, optional
        ra, dec, z to the file's own names.
    force : bool
        Replace an output that is there.
    """
    table_format(out)
    check_output(out, overwrite=force, inputs=[*table_files(catalogue), catalogue, field])
    table = read_table(catalogue)
    sky = sky or read_sky_field(field)
    errors = () if sky.velocity_error is None else ("v_los_error",)
    require_held(table, out, added=(*OBJECT_COLUMNS, *_OWN_COLUMNS, *errors))
    unknown = set(columns or {}) - {"ra", "dec", "z"}
    if unknown:
        raise InputError(f"columns must map ra, dec, z, got {', '.join(sorted(unknown))}")
    ra, dec, z = sky_coordinates(table, columns)
    result = query(sky, ra=ra, dec=dec, z=z, frame=frame, space=space, sigma=sigma)
    record = provenance(
        {"field": str(field), "frame": frame, "space": space, "sigma": sigma}, inputs=table_files(catalogue)
    )
    with atomic_output(out, overwrite=force) as temporary:
        made = with_columns(table, result.columns())
        write_table(temporary, made, kind=table_format(out), provenance=record)
    return result


def _together(*columns: ArrayLike) -> list[Float[np.ndarray, " n"]]:
    arrays = [np.atleast_1d(np.asarray(values, dtype=np.float64)) for values in columns]
    try:
        arrays = [np.array(values) for values in np.broadcast_arrays(*arrays)]
    except ValueError:
        raise InputError(
            f"ra, dec and z must be of one length, got {', '.join(str(a.size) for a in arrays)}"
        ) from None
    if arrays[0].ndim != 1:
        raise InputError(f"ra, dec and z must be numbers or one-dimensional, got shape {arrays[0].shape}")
    return arrays
