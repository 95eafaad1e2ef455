"""From a seed, or a density of the user's, to a catalogue of halos."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
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
from peculiar.core.own_files import cleared_after
from peculiar.core.provenance import provenance
from peculiar.core.workers import Advance, Workers, crew
from peculiar.fields.files import read_fields
from peculiar.fields.redshift_space import to_redshift_space
from peculiar.inference.model_card import PainterCard
from peculiar.inference.painting import HaloPainter
from peculiar.linear.matter import linear_flow
from peculiar.simulate.matter import BYTES_PER_PARTICLE, MatterFields, box_of_cells, matter_fields
from peculiar.workflows.density_files import pick_density
from peculiar.workflows.progress import progress_bar

DEFAULT_PAINTER = "painter"
_SEED = "{seed}"
_BYTES_PER_HALO = 7 * 8
_BYTES_PER_CELL = 450  # measured: 7.5 GB for 256^3


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
    painter, cosmology, redshift = _prepared(options)
    painter.check(_mesh(source, painter), cosmology, redshift=redshift)
    return _painted(source, options, painter, cosmology, redshift, advance=advance)


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
    (path,) = paint_files(out, options, seeds=[options.seed], size=size, density=density, force=force)
    return path


def paint_files(
    out: str | Path,
    options: PaintOptions,
    *,
    seeds: Sequence[int],
    size: float | None = None,
    density: str | Path | None = None,
    workers: Workers = None,
    force: bool = False,
) -> list[Path]:
    """Paint halos with several seeds and write a catalogue for each.

    Parameters
    ----------
    out, size, density, force : as in `paint_file`
        With ``{seed}`` in its name for more than one seed, as ``halos-{seed}.h5``: it becomes ``halos-00001.h5``.
    options : PaintOptions
        Its seed is not used.
    seeds : sequence of int
        Each paints its own box of `size`, or the one density.
    workers : int or str, optional
        Processes of this machine, or the address of a dask scheduler whose workers see `out`: each paints and writes
        whole catalogues (`peculiar.core.workers.crew`).

    Returns
    -------
    list of Path, one per seed.

    Raises
    ------
    InputError
        As in `paint_file`; if seeds would share a file.
    OutputExistsError
        If a file exists and was not to be replaced.
    """
    if (size is None) == (density is None):
        raise InputError("box or density must be given, and not both: --box 500, or --density field.zarr")
    table_format(out)
    require_seeds(seeds)
    if len(seeds) > 1 and _SEED not in Path(out).name:
        raise InputError(
            f"out must have {_SEED} in its name for {len(seeds)} seeds, got {out}: "
            f"give {Path(out).with_stem(f'{Path(out).stem}-{_SEED}')}"
        )
    targets = [
        check_output(str(out).replace(_SEED, f"{seed:05d}"), overwrite=force, inputs={"--density": density})
        for seed in seeds
    ]
    if not isinstance(workers, str):  # whose workers have devices of their own
        choose_device(options.device)
    painter, cosmology, redshift = _prepared(options)
    source: float | MatterFields
    if density is not None:
        source = read_density(density, cosmology, redshift=redshift)
        side = source.density.box.side
    else:
        assert size is not None
        source = side = Box(size).side
    mesh = _mesh(source, painter)
    painter.check(mesh, cosmology, redshift=redshift)
    number = options.number_density or painter.number_density(cosmology, redshift)
    require_space(targets[0], size=round(len(seeds) * _BYTES_PER_HALO * number * side**3))
    write = partial(
        _write,
        source=source,
        density=None if density is None else str(density),
        options=options,
        painter=painter,
        cosmology=cosmology,
        redshift=redshift,
        force=force,
    )
    tasks = {f"seed {seed}": (seed, target) for seed, target in zip(seeds, targets, strict=True)}
    units = painter.passes + 1
    with (
        cleared_after(targets[0].parent),
        crew(
            workers,
            tasks=len(tasks),
            memory=_memory(mesh, None if density is not None else painter.card),
            what=f"a painting of {mesh.mesh_text} cells",
            remedy="take a smaller box",
        ) as hands,
        progress_bar("painting", total=units * len(tasks)) as advance,
    ):
        return list(hands.each(write, tasks, units=units, advance=advance))


def _memory(mesh: Box, card: PainterCard | None) -> int:
    """Return what painting takes [bytes], with the particles of a field that is made by a card."""
    particles = 0 if card is None else card.particles_per_cell**3 * BYTES_PER_PARTICLE[card.dynamics]
    return max(_BYTES_PER_CELL, particles) * mesh.cell_count


def _write(
    task: tuple[int, Path],
    advance: Advance,
    *,
    source: float | MatterFields,
    density: str | None,
    options: PaintOptions,
    painter: HaloPainter,
    cosmology: Cosmology,
    redshift: float,
    force: bool,
) -> Path:
    """Paint the halos of one seed and write their catalogue."""
    seed, path = task
    options = replace(options, seed=seed)
    halos = _painted(source, options, painter, cosmology, redshift, advance=advance)
    settings: dict[str, Any] = {
        "box_size": halos.box.side,
        "density": density,
        "model": painter.card.name,
        "cosmology": cosmology_settings(cosmology),
        "redshift": redshift,
        "number_density": halos.number_density,
        "space": options.space,
        "line_of_sight": options.line_of_sight,
    }
    return write_catalogue(path, halos, provenance=provenance(settings, seed=seed), overwrite=force)


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
    painter = HaloPainter.load(options.model)
    card = painter.card
    redshift = card.redshift if options.redshift is None else options.redshift
    cosmology = options.cosmology or card.training_cosmology
    # Boxes scatter about the mean; what is far beyond it needs no painting to be refused.
    most = painter.number_density(cosmology, redshift)
    if options.number_density is not None and options.number_density > 1.2 * most:
        raise InputError(
            f"number_density must be at most about {most:.3g} (h/Mpc)^3, what model {card.name!r} paints, got "
            f"{options.number_density:g}"
        )
    return painter, cosmology, redshift


def _mesh(source: float | MatterFields, painter: HaloPainter) -> Box:
    if isinstance(source, MatterFields):
        return source.density.box
    return box_of_cells(source, cell_size=painter.card.cell_size)


def _painted(
    source: float | MatterFields,
    options: PaintOptions,
    painter: HaloPainter,
    cosmology: Cosmology,
    redshift: float,
    *,
    advance: Callable[[int], None],
) -> Catalogue:
    device = choose_device(options.device)
    painter.module.to(device)
    if isinstance(source, MatterFields):
        fields = source
    else:
        fields = matter_fields(
            _mesh(source, painter),
            cosmology,
            seed=options.seed,
            redshift=redshift,
            per_cell=painter.card.particles_per_cell,
            dynamics=painter.card.dynamics,
            device=device,
        )
    advance(1)
    halos = painter.catalogue(
        fields.to("cpu"),
        cosmology=cosmology,
        redshift=redshift,
        seed=options.seed,
        number_density=options.number_density,
        advance=advance,
    ).replace(line_of_sight=options.line_of_sight)
    return to_redshift_space(halos, cosmology) if options.space == "redshift" else halos
