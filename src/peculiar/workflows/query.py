"""`peculiar query`: the velocity and density of a reconstructed field at places on the sky."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float, Int, Shaped
from numpy.typing import ArrayLike

from peculiar.catalogues import read_table, write_table
from peculiar.catalogues.added import OBJECT_COLUMNS, object_columns, with_columns
from peculiar.catalogues.dry_run import require_held
from peculiar.catalogues.frames import RedshiftFrame, convert_redshift
from peculiar.catalogues.sky import sky_directions
from peculiar.catalogues.sky_table import sky_coordinates
from peculiar.catalogues.tables import table_files, table_format
from peculiar.core import Field, InputError
from peculiar.core.cosmology import SPEED_OF_LIGHT
from peculiar.core.output import atomic_output, check_output
from peculiar.fields.objects import DISPERSION, stacked
from peculiar.fields.sight import MAX_SPEED, log_prior, places, read_along, velocity_needed
from peculiar.workflows.provenance import provenance
from peculiar.workflows.sky_field import SkyField, read_sky_field

SIGMA_RANGE = (20.0, 2000.0)
"""Scatter that is taken [km/s]: less is finer than any mesh, more is no redshift."""
_OWN_COLUMNS = ("v_los_scatter", "z_cosmological", "solutions", "missing")
_OBJECTS_AT_ONCE = 5000  # bounds the temporaries to some hundred MB


@dataclass(frozen=True, eq=False)
class QueryResult:
    """What the field says about each object; NaN where there is a `missing` reason.

    Attributes
    ----------
    velocities : (n, 3) [km/s]
        Peculiar velocity of matter about the object, in celestial axes, in the frame of the microwave background.
    v_los : (n,) [km/s]
        Its part along the line of sight, positive for receding.
    v_los_scatter : (n,) [km/s]
        Standard deviation of it over the object's possible places; no error of the field is in it.
    delta : (n,)
        Overdensity.
    positions_real : (n, 3) [comoving Mpc/h]
        In the field's coordinates.
    z_cosmological : (n,)
        Redshift without the peculiar velocity: (1 + z_cmb) / (1 + v_los / c) - 1, z itself for places in real space.
    solutions : (n,) int
        Places on the line of sight whose velocity gives exactly the observed redshift: 1, or 3 and more where the flow
        converges. 1 for places in real space, 0 outside.
    missing : (n,) text
        Why there is no velocity, a key of `peculiar.workflows.sky_field.NO_VELOCITY`; "" where there is one.
    v_los_error : (n,) [km/s], optional
        Standard error of the field's velocity there, where the field has one (`peculiar reconstruct --errors`).
    """

    velocities: Float[np.ndarray, "n 3"]
    v_los: Float[np.ndarray, " n"]
    v_los_scatter: Float[np.ndarray, " n"]
    delta: Float[np.ndarray, " n"]
    positions_real: Float[np.ndarray, "n 3"]
    z_cosmological: Float[np.ndarray, " n"]
    solutions: Int[np.ndarray, " n"]
    missing: Shaped[np.ndarray, " n"]
    v_los_error: Float[np.ndarray, " n"] | None = None

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
    answer is the mean over all places with the weights r^2 (1 + delta(r)) exp(-(v_needed(r) - v(r))^2 / 2 sigma^2),
    v_needed being the velocity that gives an object at r its redshift: the number of objects at r times the Gaussian
    of the redshift's error and of motions that the field does not have.

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
    inside = np.flatnonzero(missing == "")
    together = stacked(sky.velocity, sky.density, sky.velocity_error)
    values = np.full((len(z), 6 + len(together.names)), np.nan)
    solutions = np.zeros(len(z), dtype=np.int64)
    for start in range(0, len(inside), _OBJECTS_AT_ONCE):
        rows = inside[start : start + _OBJECTS_AT_ONCE]
        if space == "real":
            values[rows], solutions[rows] = _there(sky, together, sight[rows], redshift[rows]), 1
        else:
            values[rows], solutions[rows] = _mean_place(sky, together, sight[rows], redshift[rows], sigma)
    return QueryResult(
        values[:, :3],
        values[:, 3],
        values[:, 4],
        values[:, 5],
        values[:, 6:9],
        values[:, 9],
        solutions,
        missing,
        None if sky.velocity_error is None else values[:, 10],
    )


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


def _there(
    sky: SkyField, together: Field, sight: Float[np.ndarray, "n 3"], redshift: Float[np.ndarray, " n"]
) -> Float[np.ndarray, "n value"]:
    distance = sky.cosmology.comoving_distance(redshift)
    values = read_along(together, sky.observer, sight, distance[:, None])[:, 0]
    along = (values[:, :3] * sight).sum(axis=1)
    real = np.asarray(sky.observer) + distance[:, None] * sight
    scatter = np.zeros(len(sight))
    return np.column_stack([values[:, :3], along, scatter, values[:, 3], real, redshift, values[:, 4:]])


def _mean_place(
    sky: SkyField,
    together: Field,
    sight: Float[np.ndarray, "n 3"],
    redshift: Float[np.ndarray, " n"],
    sigma: float,
) -> tuple[Float[np.ndarray, "n value"], Int[np.ndarray, " n"]]:
    """Return the means over the places along each line of sight, and how many places fit exactly."""
    distance = places(
        redshift,
        cosmology=sky.cosmology,
        reach=MAX_SPEED + 4 * sigma,
        step=sigma / 2,
        cell_size=together.box.cell_size,
    )
    values = read_along(together, sky.observer, sight, distance)
    radial = np.einsum("nmc,nc->nm", values[..., :3], sight)
    missing = velocity_needed(redshift, distance, cosmology=sky.cosmology) - radial
    # Log, and from its peak: with a small sigma no place of the mesh may be within several sigma.
    log_weight = log_prior(distance, values[..., 3]) - missing**2 / (2 * sigma**2)
    weight = np.exp(log_weight - log_weight.max(axis=1, keepdims=True))
    weight /= weight.sum(axis=1, keepdims=True)
    means = np.einsum("nm,nmc->nc", weight, values)
    along = (weight * radial).sum(axis=1)
    scatter = np.sqrt((weight * (radial - along[:, None]) ** 2).sum(axis=1))
    real = np.asarray(sky.observer) + (weight * distance).sum(axis=1)[:, None] * sight
    cosmological = (1 + redshift) / (1 + along / SPEED_OF_LIGHT) - 1
    crossings = ((missing[:, 1:] > 0) != (missing[:, :-1] > 0)) & (distance[:, 1:] > 0)
    table = np.column_stack([means[:, :3], along, scatter, means[:, 3], real, cosmological, means[:, 4:]])
    return table, crossings.sum(axis=1)
