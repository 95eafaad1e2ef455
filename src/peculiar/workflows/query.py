"""`peculiar query`: the velocity and density of a reconstructed field at places on the sky."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from numpy.typing import ArrayLike

from peculiar.catalogues.added import TOLD_COLUMNS
from peculiar.catalogues.dry_run import require_held
from peculiar.catalogues.frames import RedshiftFrame
from peculiar.catalogues.sky_table import columns_used, sky_coordinates
from peculiar.catalogues.table_rows import TableRows
from peculiar.catalogues.tables import table_files, table_format
from peculiar.catalogues.write import write_rows
from peculiar.core import Cosmology, InputError
from peculiar.core.catalogue import Observer
from peculiar.core.output import atomic_output, check_output
from peculiar.core.provenance import provenance
from peculiar.fields.objects import DISPERSION
from peculiar.inference.external import ExternalVelocity
from peculiar.inference.given import field_files, field_name, reconstruction
from peculiar.inference.query_result import (
    FIELD_COLUMNS,
    OWN_COLUMNS,
    VPEC_COLUMNS,
    QueryResult,
    Unseen,
    warn_no_error,
)
from peculiar.inference.reconstruction import Reconstruction


def query(
    field: Reconstruction | Path | str,
    *,
    ra: ArrayLike,
    dec: ArrayLike,
    z: ArrayLike,
    frame: RedshiftFrame = "cmb",
    space: Literal["redshift", "real"] = "redshift",
    sigma: float = DISPERSION,
    unseen: Unseen = "nan",
    external: Sequence[float] | Path | str | None = None,
    observer: Observer | None = None,
    cosmology: Cosmology | None = None,
) -> QueryResult:
    """Return velocity and density of a reconstructed field at places on the sky.

    The field is in real space, and an observed redshift holds the velocity that is asked for, so the place r on the
    line of sight solves 1 + z = (1 + z_cosmological(r)) (1 + v(r) / c). Where the flow converges three places do. The
    answer is the mean over all places, by `peculiar.fields.objects.mean_along_sight`, as at the survey's own objects.

    Parameters
    ----------
    field : Reconstruction or path
        Of `peculiar reconstruct`; for many queries give it itself, or `Reconstruction.open(path)`.
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
    unseen : "nan" or "keep"
        Whether there are values where the survey saw nothing, which the field extrapolates; `missing` says where.
    external : (3,) [km/s] or path, optional
        Added to the field's velocities, in celestial axes, before places are looked for: V_ext itself, or the output of
        `compare` that measured it, whose error joins that of the field.
    observer : (3,) [Mpc/h], optional
    cosmology : Cosmology, optional
        By default those of the field.

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
    made = reconstruction(field, observer=observer, cosmology=cosmology)
    if external is not None:
        made.sky()
        made = ExternalVelocity.given(external).added_to(made)
    return made.at_sky(ra, dec, z, frame=frame, space=space, sigma=sigma, unseen=unseen)


def query_file(
    field: Reconstruction | Path | str,
    catalogue: Path | str,
    *,
    out: Path | str,
    frame: RedshiftFrame = "cmb",
    space: Literal["redshift", "real"] = "redshift",
    sigma: float = DISPERSION,
    unseen: Unseen = "nan",
    external: Sequence[float] | Path | str | None = None,
    observer: Observer | None = None,
    cosmology: Cosmology | None = None,
    columns: Mapping[str, str] | None = None,
    vpec: bool = False,
    force: bool = False,
) -> QueryResult:
    """Query a field at the objects of a table with `ra`, `dec` [deg] and `z`, and write the table with the answers.

    Parameters
    ----------
    field : Reconstruction or path
        Of `peculiar reconstruct`.
    catalogue, out : path
        FITS, HDF5, Parquet, ECSV or CSV. `out` has the rows and columns of the catalogue and those of `QueryResult`; a
        column of the same name is kept as ``NAME_in``.
    frame, space, sigma, unseen, external
        As in `query`.
    observer : (3,) [Mpc/h], optional
    cosmology : Cosmology, optional
        By default those of the field.
    columns : mapping, optional
        ra, dec, z to the file's own names.
    vpec : bool
        Add the columns ``VPEC``, ``VPEC_ERR`` [km/s] and ``zHD``; see `vpec_columns`.
    force : bool
        Replace an output that is there.
    """
    table_format(out)
    tables = [*table_files(catalogue), catalogue]
    measured = [Path(external)] if isinstance(external, Path | str) else []
    inputs: dict[str, Sequence[Path | str]] = {"--catalogue": tables, "field": field_files(field)}
    check_output(out, overwrite=force, inputs={**inputs, "--external": measured})
    rows = TableRows(catalogue)
    made = reconstruction(field, observer=observer, cosmology=cosmology)
    told = [column for name, column in FIELD_COLUMNS.items() if name in made]
    require_held(
        rows.sample,
        out,
        added=(*TOLD_COLUMNS, *OWN_COLUMNS, *told, *(VPEC_COLUMNS if vpec else ())),
    )
    if vpec and "velocity_error" not in made:
        warn_no_error()
    unknown = set(columns or {}) - {"ra", "dec", "z"}
    if unknown:
        raise InputError(f"columns must map ra, dec, z, got {', '.join(sorted(unknown))}")
    ra, dec, z = sky_coordinates(rows.opened(columns_used(columns)), columns)
    settings: dict[str, Any] = {
        "frame": frame,
        "space": space,
        "sigma": sigma,
        "unseen": unseen,
        "external": external,
    }
    result = query(made, ra=ra, dec=dec, z=z, **settings)
    record = provenance({"field": field_name(field), **settings}, inputs=table_files(catalogue))
    with atomic_output(out, overwrite=force) as temporary:
        write_rows(
            temporary,
            rows,
            result.columns(vpec=vpec),
            kind=table_format(out),
            provenance=record,
            meanings=result.meanings(),
        )
    return result
