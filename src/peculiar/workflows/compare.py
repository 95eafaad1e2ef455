"""`peculiar compare`: the velocities of a reconstructed field against measured distances."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Float

from peculiar.catalogues import radial_selection, read_table, write_table
from peculiar.catalogues.added import with_columns
from peculiar.catalogues.columns import refuse_duplicates
from peculiar.catalogues.distances import DistanceCatalogue, read_distances
from peculiar.catalogues.dry_run import require_held
from peculiar.catalogues.frames import RedshiftFrame, to_galactic, to_galactic_axes
from peculiar.catalogues.tables import table_files
from peculiar.core import Cosmology, InputError
from peculiar.core.catalogue import Observer
from peculiar.core.cosmology import SPEED_OF_LIGHT
from peculiar.core.limits import require_seeds
from peculiar.core.output import atomic_output, check_output
from peculiar.core.provenance import provenance
from peculiar.fields.sight import SightLines, sight_lines
from peculiar.inference.query_result import explain
from peculiar.inference.reconstruction import Reconstruction, field_files, field_name, reconstruction
from peculiar.statistics.distances import (
    DistanceSample,
    RadialVelocities,
    ShellCorrelation,
    shell_correlation,
)
from peculiar.statistics.velocity_fit import (
    PARAMETERS,
    REACH,
    SIGMA_RANGE,
    VelocityFit,
    fit_velocities,
    radial_velocities,
)

if TYPE_CHECKING:
    from astropy.table import Table

SHELLS = 4
MOST_BOOTSTRAPS = 100_000
_ADDED = ("v_measured", "v_error", "v_predicted")


@dataclass(frozen=True)
class CompareOptions:
    """How distances are compared with a field.

    Parameters
    ----------
    frame : "heliocentric", "cmb" or "local-group"
        Rest frame of the catalogue's redshifts.
    columns : mapping, optional
        ra, dec, l, b, cz, z, mu, mu_error to the file's own names.
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
        Sets of objects drawn with replacement, for the errors.
    """

    frame: RedshiftFrame
    columns: Mapping[str, str] | None = None
    cz_range: tuple[float, float] | None = None
    shells: Sequence[float] | None = None
    density_bias: float = 1.0
    radial: Literal["flat", "measured"] = "flat"
    sigma_v: float | None = None
    bootstraps: int = 100
    seed: int = 0

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


@dataclass(frozen=True, eq=False)
class Comparison:
    """What distances say about a field's velocities.

    Attributes
    ----------
    fit : VelocityFit
    velocities : RadialVelocities
        Of the objects that are used.
    shells : ShellCorrelation
    catalogue : DistanceCatalogue
        The objects that are used; its `used` tells which rows of the table they are.
    missing : tuple of str
        Which objects of the catalogue have no velocity of the field, and why: a line for each reason.
    chi2 : float
        Mean of (measured - predicted)^2 / (error^2 + sigma_v^2).
    """

    fit: VelocityFit
    velocities: RadialVelocities
    shells: ShellCorrelation
    catalogue: DistanceCatalogue
    missing: tuple[str, ...]
    chi2: float

    @property
    def dipole(self) -> dict[str, Any]:
        """V_ext: components in celestial and galactic axes, speed and galactic direction, each with its error.

        The speed and its direction are those of the components; noise alone makes the speed positive, so whether there
        is a dipole is told by `chi2`, of 3 degrees of freedom for none.
        """
        vector, samples = self.fit.external, self.fit.samples[:, 1:4]
        speed = float(np.linalg.norm(vector))
        longitude, latitude = (float(angle[0]) for angle in to_galactic(vector[None]))
        along = samples @ (vector / speed)
        sample_l, sample_b = to_galactic(samples)
        turn = (sample_l - longitude + 180) % 360 - 180
        galactic = to_galactic_axes(np.vstack([vector, samples]))
        return {
            "speed": speed,
            "speed_error": float(along.std(ddof=1)),
            "l": longitude,
            "l_error": float(turn.std(ddof=1)),
            "b": latitude,
            "b_error": float(sample_b.std(ddof=1)),
            "celestial": vector.tolist(),
            "celestial_error": samples.std(axis=0, ddof=1).tolist(),
            "galactic": galactic[0].tolist(),
            "galactic_error": galactic[1:].std(axis=0, ddof=1).tolist(),
            "chi2": float(vector @ np.linalg.solve(np.cov(samples.T), vector)),
        }

    def record(self) -> dict[str, Any]:
        """Return everything as JSON holds it."""
        fit, shells = self.fit, self.shells
        hubble = 100 * 10 ** (-fit.zero_point / 5)
        return {
            "objects": len(self.catalogue),
            "missing": list(self.missing),
            "beta": fit.beta,
            "beta_error": float(fit.errors[0]),
            "dipole": self.dipole,
            "sigma_v": fit.sigma_v,
            "sigma_v_error": _number(fit.errors[4]),
            "sigma_v_at_limit": fit.sigma_at_limit,
            "zero_point": fit.zero_point,
            "zero_point_error": float(fit.errors[5]),
            "H0": hubble,
            "H0_error": float(hubble * np.log(10) / 5 * fit.errors[5]),
            "chi2_per_object": self.chi2,
            "log_likelihood": fit.log_likelihood,
            "shells": [
                {
                    "cz": [float(shells.edges[i]), float(shells.edges[i + 1])],
                    "objects": int(shells.counts[i]),
                    "r": _number(shells.correlation[i]),
                    "r_error": _number(shells.error[i]),
                    "r_expected": _number(shells.expected[i]),
                }
                for i in range(len(shells.counts))
            ],
            "parameters": list(PARAMETERS),
            "bootstrap_covariance": np.cov(fit.samples.T).tolist(),
        }


def compare(
    field: Reconstruction | Path | str, catalogue: DistanceCatalogue, options: CompareOptions
) -> Comparison:
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
    refuse_duplicates(
        np.column_stack(
            [catalogue.directions, catalogue.redshift, catalogue.modulus, catalogue.modulus_error]
        ),
        what="sky positions, redshifts and moduli",
    )
    made = reconstruction(field)
    observer, cosmology = made.sky()
    observed = np.asarray(cosmology.comoving_distance(catalogue.redshift))
    missing = made.missing(catalogue.directions, catalogue.redshift)
    inside = missing == ""
    if inside.sum() < 20:
        lost = "; ".join(explain(missing).values())
        raise InputError(
            f"distances must have at least 20 objects in the field, got {int(inside.sum())} of {len(catalogue)} "
            f"({lost}): is it the field of another part of the sky, or of redshifts other than "
            f"{catalogue.redshift.min():.4g} to {catalogue.redshift.max():.4g}?"
        )
    used = catalogue.keep(inside)
    sample = DistanceSample(used.directions, used.redshift, used.modulus, used.modulus_error)
    sight = sight_lines(
        made["velocity"],
        made["density"],
        observer=observer,
        directions=used.directions,
        redshift=used.redshift,
        cosmology=cosmology,
        reach=REACH,
        step=SIGMA_RANGE[0],
    )
    log_prior = _log_prior(sight, observed[inside], options)
    fit = fit_velocities(
        sample,
        sight,
        log_prior=log_prior,
        sigma_v=options.sigma_v,
        bootstraps=options.bootstraps,
        seed=options.seed,
    )
    velocities = radial_velocities(sample, sight, fit, cosmology=cosmology, log_prior=log_prior)
    cz = SPEED_OF_LIGHT * used.redshift
    edges = (
        np.quantile(cz, np.linspace(0, 1, SHELLS + 1)) if options.shells is None else np.array(options.shells)
    )
    shells = shell_correlation(
        velocities, cz, edges=edges, sigma_v=fit.sigma_v, bootstraps=options.bootstraps, seed=options.seed
    )
    noise = velocities.error**2 + fit.sigma_v**2
    chi2 = float(np.mean((velocities.measured - velocities.predicted) ** 2 / noise))
    return Comparison(fit, velocities, shells, used, tuple(explain(missing).values()), chi2)


def compare_file(
    distances: Path | str,
    *,
    field: Reconstruction | Path | str,
    options: CompareOptions,
    observer: Observer | None = None,
    cosmology: Cosmology | None = None,
    out: Path | str | None = None,
    force: bool = False,
) -> Comparison:
    """Compare a table of distances with a field, and write what was found.

    Parameters
    ----------
    distances : path
        Table, see `peculiar.catalogues.distances.read_distances`.
    field : Reconstruction or path
        Of `peculiar reconstruct`.
    options : CompareOptions
    observer : (3,) [Mpc/h], optional
    cosmology : Cosmology, optional
        By default those of the field.
    out : path, optional
        Directory: comparison.json, provenance.json, velocities.pdf and .png, and objects.ecsv with the table's rows
        that were used.
    force : bool
        Replace an output that is there.
    """
    if out is not None:
        tables = [*table_files(distances), distances]
        check_output(out, overwrite=force, inputs={"distances": tables, "--field": field_files(field)})
    table = read_table(distances)
    if out is not None:
        require_held(table, Path(out) / "objects.ecsv", added=_ADDED)
    catalogue = read_distances(table, frame=options.frame, cz_range=options.cz_range, columns=options.columns)
    made = reconstruction(field, observer=observer, cosmology=cosmology)
    result = compare(made, catalogue, options)
    if out is not None:
        settings = asdict(options) | {"field": field_name(field)}
        record = provenance(settings, inputs=table_files(distances), seed=options.seed)
        with atomic_output(out, overwrite=force) as temporary:
            _write(temporary, table, result, record)
    return result


def summary(result: Comparison) -> str:
    """Say in a few lines what a comparison found."""
    record, dipole = result.record(), result.dipole
    limit = result.fit.sigma_at_limit
    sigma = _pm(record["sigma_v"], None if limit else record["sigma_v_error"])
    lines = [
        f"objects     {record['objects']}",
        f"beta        {record['beta']:.3f} +- {record['beta_error']:.3f}",
        f"dipole      {_pm(dipole['speed'], dipole['speed_error'])} km/s towards l = {dipole['l']:.0f}, b = "
        f"{dipole['b']:.0f} (chi2 of none: {dipole['chi2']:.1f}, 3 degrees of freedom)",
        f"sigma_v     {sigma} km/s" + (", at the end of its range" if limit else ""),
        f"zero point  {record['zero_point']:.4f} +- {record['zero_point_error']:.4f} mag (H0 = {record['H0']:.2f} +- "
        f"{record['H0_error']:.2f} km/s/Mpc if the distances are absolute)",
        f"chi2        {record['chi2_per_object']:.2f} an object",
    ]
    for shell in record["shells"]:
        low, high = shell["cz"]
        found = "too few" if shell["r"] is None else f"{shell['r']:.3f} +- {shell['r_error']:.3f}"
        wanted = "" if shell["r"] is None else f", expected {shell['r_expected']:.3f}"
        lines.append(
            f"r           {found} at cz = {low:.0f} to {high:.0f} km/s ({shell['objects']} objects{wanted})"
        )
    return "\n".join(lines)


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


def _write(directory: Path, table: Table, result: Comparison, made: Mapping[str, Any]) -> None:
    from peculiar.figures.compare import comparison_data, comparison_figure
    from peculiar.figures.style import save

    directory.mkdir()
    for name, entries in (("comparison", result.record()), ("provenance", made)):
        text = json.dumps(entries, indent=1, default=str) + "\n"
        (directory / f"{name}.json").write_text(text, encoding="utf-8")
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


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _pm(value: float, error: float | None) -> str:
    return f"{value:.0f}" if error is None else f"{value:.0f} +- {error:.0f}"
