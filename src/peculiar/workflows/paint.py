"""From a seed, or a density of the user's, to a catalogue of halos."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peculiar.catalogues.tables import table_format
from peculiar.catalogues.write import write_catalogue
from peculiar.core import Box, Catalogue, Cosmology, InputError, OutOfRangeWarning
from peculiar.core.catalogue import LineOfSight
from peculiar.core.cosmologies import cosmology_settings
from peculiar.core.field import Space
from peculiar.core.limits import Device, choose_device, require_density, require_redshift, require_seeds
from peculiar.core.output import check_output, require_space
from peculiar.core.provenance import provenance
from peculiar.fields.files import read_fields
from peculiar.fields.redshift_space import to_redshift_space
from peculiar.inference.painting import HaloPainter
from peculiar.linear.matter import linear_flow
from peculiar.simulate.matter import MatterFields, box_of_cells, matter_fields
from peculiar.workflows.density_files import pick_density
from peculiar.workflows.progress import progress_bar

DEFAULT_PAINTER = "painter"
_BYTES_PER_HALO = 7 * 8


@dataclass(frozen=True)
class PaintOptions:
    """How halos are painted.

    Parameters
    ----------
    seed : int
        Of counts, masses, positions and velocities, and of the initial conditions where the density is made here.
    model : str or path
        A painter of the package, or a .safetensors file.
    cosmology : Cosmology, optional
        Default: the model's.
    redshift : float, optional
        Default: the model's.
    number_density : float, optional
        [(h/Mpc)^3]; the most massive halos are kept. Default: all that are painted.
    space : "real" or "redshift"
        Of the positions.
    line_of_sight : "x", "y" or "z"
        Of redshift space.
    device : "auto", "cpu" or "cuda"
        "auto" takes a GPU where torch sees one.
    """

    seed: int
    model: str | Path = DEFAULT_PAINTER
    cosmology: Cosmology | None = None
    redshift: float | None = None
    number_density: float | None = None
    space: Space = "real"
    line_of_sight: LineOfSight = "z"
    device: Device = "auto"

    def __post_init__(self) -> None:
        if self.space not in ("real", "redshift"):
            raise InputError(f"space must be real or redshift, got {self.space!r}")
        if self.line_of_sight not in ("x", "y", "z"):
            raise InputError(
                f"line_of_sight must be x, y or z for a periodic box, got {self.line_of_sight!r}"
            )
        require_seeds([self.seed], name="seed")
        require_redshift(self.redshift)
        require_density(self.number_density)


def paint(
    source: float | MatterFields,
    options: PaintOptions,
    *,
    advance: Callable[[int], None] = lambda units: None,
) -> Catalogue:
    """Paint halos in a periodic box.

    Parameters
    ----------
    source : float or MatterFields
        Side of a box [Mpc/h], whose density is made from the seed with the waves of `peculiar simulate`; or a
        density and velocity on a mesh with the model's cells.
    options : PaintOptions
    advance : callable
        Called with 1 when the density is there, and after each of the `HaloPainter.passes` over the mesh.

    Returns
    -------
    Catalogue
        Positions [Mpc/h], velocities [km/s] and masses [Msun/h].

    Raises
    ------
    InputError
        If the box does not fit the model's cells, or holds fewer halos than asked for.

    Examples
    --------
    >>> halos = paint(225.0, PaintOptions(seed=3))  # doctest: +SKIP
    """
    return _painted(source, options, *_prepared(options), advance=advance)


def paint_file(
    out: str | Path,
    options: PaintOptions,
    *,
    size: float | None = None,
    density: str | Path | None = None,
    force: bool = False,
) -> Path:
    """Paint halos and write their catalogue.

    Parameters
    ----------
    out : path
        FITS, HDF5, Parquet, ECSV or CSV with the columns ``x``, ``y``, ``z`` [Mpc/h], ``vx``, ``vy``, ``vz`` [km/s] and
        ``mass`` [Msun/h], and where they come from in its metadata.
    options : PaintOptions
    size : float, optional
        Side of a box whose density is made from the seed [Mpc/h].
    density : path, optional
        Zarr directory with "density" and, in most cases, "velocity", as `peculiar.fields.files` writes them.
        One of `size` and `density` must be given.
    force : bool
        Replace a file that is there.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    InputError
        As in `paint`; if both or none of `size` and `density` are given, or the file name's ending is unknown.
    OutputExistsError
        If the file exists and was not to be replaced.
    """
    if (size is None) == (density is None):
        raise InputError("box or density must be given, and not both: --box 500, or --density field.zarr")
    table_format(out)
    target = check_output(out, overwrite=force, inputs={"--density": density})
    painter, cosmology, redshift = _prepared(options)
    source: float | MatterFields
    if density is not None:
        source = read_density(density, cosmology, redshift=redshift)
        side = source.density.box.side
    else:
        assert size is not None
        source = side = Box(size).side
    number = options.number_density or painter.card.number_density
    require_space(target, size=round(_BYTES_PER_HALO * number * side**3))
    with progress_bar("painting", total=painter.passes + 1) as advance:
        halos = _painted(source, options, painter, cosmology, redshift, advance=advance)
    settings: dict[str, Any] = {
        "box_size": side,
        "density": None if density is None else str(density),
        "model": painter.card.name,
        "cosmology": cosmology_settings(cosmology),
        "redshift": redshift,
        "number_density": halos.number_density,
        "space": options.space,
        "line_of_sight": options.line_of_sight,
    }
    return write_catalogue(target, halos, provenance=provenance(settings, seed=options.seed), overwrite=force)


def read_density(path: str | Path, cosmology: Cosmology, *, redshift: float) -> MatterFields:
    """Read a density and its velocity; without a velocity, linear theory gives one, with a warning.

    Raises
    ------
    InputError
        If the directory holds no scalar "density" in real space, or it is not finite, or "velocity" is no vector.
    """
    fields = read_fields(path)
    density = pick_density(fields, path)
    velocity = fields.get("velocity")
    if velocity is not None and velocity.kind != "vector":
        raise InputError(f"velocity must be a vector, got a scalar in {path}: write three components")
    if velocity is None:
        warnings.warn(
            f"{path} holds no velocity: halos move with linear theory's, not with that of particles as in training",
            OutOfRangeWarning,
            stacklevel=2,
        )
        velocity = linear_flow(density, velocity_factor=cosmology.velocity_factor(redshift))["velocity"]
    return MatterFields(density, velocity)


def _prepared(options: PaintOptions) -> tuple[HaloPainter, Cosmology, float]:
    device = choose_device(options.device)
    painter = HaloPainter.load(options.model)
    card = painter.card
    # Boxes scatter about the mean; what is far beyond it needs no painting to be refused.
    if options.number_density is not None and options.number_density > 1.2 * card.number_density:
        raise InputError(
            f"number_density must be at most about {card.number_density:.3g} (h/Mpc)^3, what model {card.name!r} "
            f"paints, got {options.number_density:g}"
        )
    painter.module.to(device)
    redshift = card.redshift if options.redshift is None else options.redshift
    return painter, options.cosmology or card.training_cosmology, redshift


def _painted(
    source: float | MatterFields,
    options: PaintOptions,
    painter: HaloPainter,
    cosmology: Cosmology,
    redshift: float,
    *,
    advance: Callable[[int], None],
) -> Catalogue:
    if isinstance(source, MatterFields):
        painter.check(source.density.box, cosmology, redshift=redshift)
        fields = source
    else:
        box = box_of_cells(source, cell_size=painter.card.cell_size)
        painter.check(box, cosmology, redshift=redshift)
        fields = matter_fields(
            box,
            cosmology,
            seed=options.seed,
            redshift=redshift,
            per_cell=painter.card.particles_per_cell,
            dynamics=painter.card.dynamics,
            device=next(painter.module.parameters()).device,
        )
    advance(1)
    halos = painter.catalogue(
        fields.to("cpu"),
        seed=options.seed,
        redshift=redshift,
        number_density=options.number_density,
        advance=advance,
    ).replace(line_of_sight=options.line_of_sight)
    return to_redshift_space(halos, cosmology) if options.space == "redshift" else halos
