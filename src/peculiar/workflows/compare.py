"""`peculiar compare`: the velocities of a reconstructed field against measured distances."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Shaped

from peculiar.catalogues import radial_selection, read_table, write_table
from peculiar.catalogues.added import with_columns
from peculiar.catalogues.columns import refuse_duplicates
from peculiar.catalogues.distances import DistanceCatalogue, read_distances
from peculiar.catalogues.dry_run import require_held
from peculiar.catalogues.frames import RedshiftFrame
from peculiar.catalogues.tables import table_files
from peculiar.core import Cosmology, InputError, InputWarning
from peculiar.core.catalogue import Observer
from peculiar.core.cosmology import SPEED_OF_LIGHT
from peculiar.core.limits import require_seeds
from peculiar.core.output import atomic_output, check_output
from peculiar.core.provenance import provenance
from peculiar.fields.sight import SightLines, sight_lines
from peculiar.inference.draws import Draws, draws
from peculiar.inference.given import field_files, field_name, reconstruction
from peculiar.inference.query_result import explain
from peculiar.inference.reconstruction import Reconstruction
from peculiar.statistics.distances import DistanceSample, shell_correlation
from peculiar.statistics.resampling import Resampling, sky_blocks
from peculiar.statistics.velocity_fit import REACH, SIGMA_RANGE, fit_velocities, radial_velocities
from peculiar.workflows.comparison import Agreement, Comparison, Ranking

if TYPE_CHECKING:
    from astropy.table import Table

SHELLS = 4
FEWEST = 20
"""Objects that six parameters ask for."""
FEWEST_DRAWS = 20
"""Of a field that do for a mean of likelihoods, without a warning."""
MOST_BOOTSTRAPS = 100_000
GivenField = Reconstruction | Path | str
_ADDED = ("v_measured", "v_error", "v_predicted")


@dataclass(frozen=True)
class CompareOptions:
    """How distances are compared with a field.

    Parameters
    ----------
    frame : "heliocentric", "cmb" or "local-group", optional
        Rest frame of the catalogue's redshifts; tables of known kinds tell it.
    columns : mapping, optional
        Names of `read_distances` to the file's own.
    cz_range : (2,) [km/s], optional
        Objects that are used, in the frame of the microwave background.
    shells : sequence of float [km/s], optional
        Limits of the shells of c z; four with equal numbers of objects where not given.
    density_bias : float
        Objects are as dense as (1 + delta)^density_bias.
    radial : "flat" or "measured"
        Whether objects are as dense at all distances, or as they are counted in the catalogue.
    sigma_v : float [km/s], optional
        Scatter about the field; fitted where not given.
    bootstraps, seed : int
        Sets of blocks of the sky drawn with replacement, for the errors.
    draws : bool
        Whether the likelihood is the mean over the draws that each field was written with.
    """

    frame: RedshiftFrame | None = None
    columns: Mapping[str, str] | None = None
    cz_range: tuple[float, float] | None = None
    shells: Sequence[float] | None = None
    density_bias: float = 1.0
    radial: Literal["flat", "measured"] = "flat"
    sigma_v: float | None = None
    bootstraps: int = 100
    seed: int = 0
    draws: bool = False

    def __post_init__(self) -> None:
        if self.radial not in ("flat", "measured"):
            raise InputError(f"radial must be 'flat' or 'measured', got {self.radial!r}")
        if not 0 <= self.density_bias <= 5:
            raise InputError(f"density_bias must lie in [0, 5], got {self.density_bias}")
        if self.shells is not None and (
            len(self.shells) < 2 or not self.shells[0] >= 0 or not (np.diff(self.shells) > 0).all()
        ):
            raise InputError(
                f"shells must be two or more increasing limits >= 0 km/s, got {tuple(self.shells)}"
            )
        if not 10 <= self.bootstraps <= MOST_BOOTSTRAPS:
            raise InputError(
                f"bootstraps must lie in [10, {MOST_BOOTSTRAPS}], got {self.bootstraps}: 100 give the errors to 7 %"
            )
        require_seeds([self.seed], name="seed")


def compare(field: GivenField, catalogue: DistanceCatalogue, options: CompareOptions) -> Comparison:
    """Fit a field's velocities to measured distances.

    Parameters
    ----------
    field : Reconstruction or path
    catalogue : DistanceCatalogue
        From `read_distances`.
    options : CompareOptions

    Raises
    ------
    InputError
        If more than 1 % of the rows repeat another, or fewer than 20 objects lie where the field is known.
    """
    (found,) = compare_fields([field], catalogue, options).comparisons
    return found


def compare_fields(
    fields: Sequence[GivenField],
    catalogue: DistanceCatalogue,
    options: CompareOptions,
    *,
    observer: Observer | None = None,
    cosmology: Cosmology | None = None,
) -> Ranking:
    """Fit the velocities of each of several fields to the distances of the objects that lie in all of them.

    Parameters
    ----------
    fields : sequence of Reconstruction or path
    catalogue, options
        As in `compare`.
    observer : (3,) [Mpc/h], optional
    cosmology : Cosmology, optional
        By default those of each field.

    Raises
    ------
    InputError
        As `compare`, of the objects that lie in all fields.
    """
    refuse_duplicates(
        np.column_stack(
            [catalogue.directions, catalogue.redshift, catalogue.modulus, catalogue.modulus_error]
        ),
        what="sky positions, redshifts and moduli",
    )
    names = [field_name(field) for field in fields]
    if len(set(names)) < len(names):
        names = [f"{name} ({place})" for place, name in enumerate(names, start=1)]
    place: dict[str, Any] = {"observer": observer, "cosmology": cosmology}
    seen = [
        _look(
            name,
            reconstruction(field, **place),
            catalogue,
            draws=(reconstruction(one, **place) for one in (_draws_of(field) if options.draws else ())),
        )
        for name, field in zip(names, fields, strict=True)
    ]
    inside = np.all([one.missing == "" for one in seen], axis=0)
    if inside.sum() < FEWEST:
        lost = "; ".join(line for one in seen for line in explain(one.missing).values())
        where = "the field" if len(seen) == 1 else f"all {len(seen)} fields"
        raise InputError(
            f"distances must have at least {FEWEST} objects in {where}, got {int(inside.sum())} of {len(catalogue)} "
            f"({lost}): is it the field of another part of the sky, or of redshifts other than "
            f"{catalogue.redshift.min():.4g} to {catalogue.redshift.max():.4g}?"
        )
    used = catalogue.keep(inside)
    return Ranking(tuple(_compare_seen(one, inside, used, options) for one in seen))


@dataclass(frozen=True, eq=False)
class _Seen:
    """A field along the lines of sight of a catalogue's objects."""

    name: str
    cosmology: Cosmology
    sight: SightLines
    drawn: tuple[SightLines, ...]
    missing: Shaped[np.ndarray, " n"]


def _draws_of(field: GivenField) -> Draws:
    if isinstance(field, Reconstruction):
        raise InputError("fields with draws must be given as the files that hold them, got a reconstruction")
    found = draws(field)
    if len(found) < FEWEST_DRAWS:
        warnings.warn(
            f"draws should be at least {FEWEST_DRAWS} for a mean of likelihoods, got {len(found)} in {field}: it is "
            "noisy, and beta too small",
            InputWarning,
            stacklevel=2,
        )
    return found


def _look(
    name: str, made: Reconstruction, catalogue: DistanceCatalogue, *, draws: Iterable[Reconstruction]
) -> _Seen:
    observer, cosmology = made.sky()

    def along(one: Reconstruction) -> SightLines:
        return sight_lines(
            one["velocity"],
            one["density"],
            observer=observer,
            directions=catalogue.directions,
            redshift=catalogue.redshift,
            cosmology=cosmology,
            reach=REACH,
            step=SIGMA_RANGE[0],
        )

    missing = made.missing(catalogue.directions, catalogue.redshift)
    return _Seen(name, cosmology, along(made), tuple(along(one) for one in draws), missing)


def _compare_seen(
    seen: _Seen, inside: Bool[np.ndarray, " n"], used: DistanceCatalogue, options: CompareOptions
) -> Comparison:
    sample = DistanceSample(used.directions, used.redshift, used.modulus, used.modulus_error)
    sight = seen.sight.among(inside)
    observed = np.asarray(seen.cosmology.comoving_distance(used.redshift))
    log_prior = _log_prior(sight, observed, options)
    drawn = [(one, _log_prior(one, observed, options)) for one in (one.among(inside) for one in seen.drawn)]
    blocks = sky_blocks(used.directions)
    cz = SPEED_OF_LIGHT * used.redshift
    whole = np.array([cz.min(), np.nextafter(cz.max(), np.inf)])
    edges = (
        np.quantile(cz, np.linspace(0, 1, SHELLS + 1)) if options.shells is None else np.array(options.shells)
    )

    def agreement(*, external: bool, bootstraps: int) -> Agreement:
        fit = fit_velocities(
            sample,
            sight,
            log_prior=log_prior,
            drawn=drawn,
            sigma_v=options.sigma_v,
            external=external,
            blocks=blocks,
            bootstraps=bootstraps,
            seed=options.seed,
        )
        velocities = radial_velocities(sample, sight, fit, cosmology=seen.cosmology, log_prior=log_prior)
        shells, all_ = (
            shell_correlation(
                velocities,
                cz,
                edges=limits,
                sigma_v=fit.sigma_v,
                blocks=blocks,
                bootstraps=options.bootstraps,
                seed=options.seed,
            )
            for limits in (edges, whole)
        )
        return Agreement(fit, velocities, shells, all_)

    return Comparison(
        seen.name,
        agreement(external=True, bootstraps=options.bootstraps),
        agreement(external=False, bootstraps=0),
        used,
        tuple(explain(seen.missing).values()),
        Resampling.draw(blocks, sets=options.bootstraps, seed=options.seed),
        len(drawn),
    )


def compare_file(
    distances: Path | str,
    *,
    field: GivenField | Sequence[GivenField],
    options: CompareOptions,
    observer: Observer | None = None,
    cosmology: Cosmology | None = None,
    out: Path | str | None = None,
    force: bool = False,
) -> Comparison | Ranking:
    """Compare a table of distances with a field, or with several on the same objects, and write what was found.

    Parameters
    ----------
    distances : path
        Table, see `peculiar.catalogues.distances.read_distances`.
    field : Reconstruction or path, or several
        Of `peculiar reconstruct`.
    options : CompareOptions
    observer : (3,) [Mpc/h], optional
    cosmology : Cosmology, optional
        By default those of the field.
    out : path, optional
        Directory: comparison.json, provenance.json, velocities.pdf and .png, and objects.ecsv with the table's rows
        that were used; of several fields comparison.json ranks them, and field-1, field-2, ... hold each one's.
    force : bool
        Replace an output that is there.

    Returns
    -------
    Comparison, or Ranking of several fields
    """
    fields = [field] if isinstance(field, Reconstruction | Path | str) else list(field)
    if not fields:
        raise InputError("field must be at least one, got none: give the output of reconstruct")
    if out is not None:
        tables = [*table_files(distances), distances]
        read = [path for one in fields for path in field_files(one)]
        check_output(out, overwrite=force, inputs={"distances": tables, "--field": read})
    table = read_table(distances)
    if out is not None:
        require_held(table, Path(out) / "objects.ecsv", added=_ADDED)
    catalogue = read_distances(table, frame=options.frame, cz_range=options.cz_range, columns=options.columns)
    found = compare_fields(fields, catalogue, options, observer=observer, cosmology=cosmology)
    result: Comparison | Ranking = found if len(fields) > 1 else found.comparisons[0]
    if out is not None:
        settings = asdict(options) | {"field": [field_name(one) for one in fields]}
        record = provenance(settings, inputs=table_files(distances), seed=options.seed)
        with atomic_output(out, overwrite=force) as temporary:
            temporary.mkdir()
            _write_json(temporary / "comparison.json", result.record())
            _write_json(temporary / "provenance.json", record)
            if isinstance(result, Comparison):
                _write(temporary, table, result)
            else:
                for place, one in enumerate(result.comparisons, start=1):
                    directory = temporary / f"field-{place}"
                    directory.mkdir()
                    _write_json(directory / "comparison.json", one.record())
                    _write(directory, table, one)
    return result


def _log_prior(
    sight: SightLines, observed: Float[np.ndarray, " n"], options: CompareOptions
) -> Float[np.ndarray, "n m"]:
    prior = sight.log_prior(options.density_bias)
    if options.radial == "flat":
        return prior
    n_of_r = radial_selection(observed, solid_angle=4 * np.pi, radial="measured")
    # Beyond the nearest and farthest object the density is held: a cut in redshift is none in distance.
    density = np.interp(sight.distances, n_of_r.distances, n_of_r.density)
    return prior + np.log(np.maximum(density, 1e-6 * n_of_r.peak))


def _write_json(path: Path, entries: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(entries, indent=1, default=str) + "\n", encoding="utf-8")


def _write(directory: Path, table: Table, result: Comparison) -> None:
    from peculiar.figures.compare import comparison_data, comparison_figure
    from peculiar.figures.style import save

    columns = (result.velocities.measured, result.velocities.error, result.velocities.predicted)
    used = table[np.flatnonzero(result.catalogue.used)]
    chosen = with_columns(used, dict(zip(_ADDED, columns, strict=True)))
    write_table(directory / "objects.ecsv", chosen, kind="ascii.ecsv")
    data = comparison_data(
        result.velocities,
        result.fit,
        result.shells,
        directions=result.catalogue.directions,
        dipole=result.dipole,
    )
    save(comparison_figure(data), directory / "velocities")
