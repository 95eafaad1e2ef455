"""From a density of dark matter to its velocity and momentum."""

from __future__ import annotations

from pathlib import Path

from peculiar.core import Cosmology, Field
from peculiar.core.cosmologies import cosmology_settings
from peculiar.core.limits import Device, choose_device, require_redshift
from peculiar.core.memory import require_memory
from peculiar.core.output import check_output, require_space
from peculiar.core.provenance import provenance
from peculiar.fields.files import write_fields
from peculiar.inference.emulator import FlowEmulator
from peculiar.inference.model_card import find_model
from peculiar.linear.density_inputs import require_overdensity
from peculiar.workflows.density_files import read_stated_density, require_density
from peculiar.workflows.progress import progress_bar

DEFAULT_FLOW = "flow"
_BYTES_PER_CELL = 700  # measured: 0.63 GB for 96^3
_WRITTEN = 13 * 4
"""Bytes of a cell's density, velocity and momentum, and of both with unbiased power."""


def flow(
    density: Field,
    *,
    model: str | Path = DEFAULT_FLOW,
    cosmology: Cosmology | None = None,
    redshift: float | None = None,
    device: Device = "auto",
) -> dict[str, Field]:
    """Return the velocity and momentum of a density.

    Parameters
    ----------
    density : Field
        Overdensity of dark matter in a periodic box, in real space.
    model : str or path
        A model of the package for the task "flow", or a .safetensors file.
    cosmology : Cosmology, optional
        Gives H and f. Default: the model's.
    redshift : float, optional
        Default: the model's.
    device : "auto", "cpu" or "cuda"
        "auto" takes a GPU where torch sees one.

    Returns
    -------
    dict of Field
        "velocity" and "momentum" [km/s] of least error; "velocity_unbiased" and "momentum_unbiased", with the power of
        the truth, of models whose card has the factors for it.

    Raises
    ------
    InputError
        If the density is no finite overdensity, or the model is for another task.

    Notes
    -----
    Warns (`OutOfRangeWarning`) where cell size, redshift or cosmology differ from the model's.

    Examples
    --------
    >>> fields = flow(density, redshift=0.0)  # doctest: +SKIP
    >>> fields["velocity"].at(positions)  # km/s, (n, 3)  # doctest: +SKIP
    """
    emulator = _load(model, device)
    cosmology = cosmology or emulator.card.training_cosmology
    redshift = emulator.card.redshift if redshift is None else redshift
    _check(require_density(density), cosmology, redshift=redshift)
    return _flow(emulator, density, cosmology, redshift=redshift)


def flow_file(
    density: str | Path,
    *,
    out: str | Path,
    model: str | Path = DEFAULT_FLOW,
    cosmology: Cosmology | None = None,
    redshift: float | None = None,
    device: Device = "auto",
    force: bool = False,
) -> Path:
    """Find the velocity and momentum of a density in a file and write them beside it.

    Parameters
    ----------
    density : path
        Zarr directory with "density", as `peculiar.write_fields` writes it, or a box of `peculiar simulate` (.h5).
    out : path
        Zarr directory, or HDF5 where it ends in .h5 or .hdf5, with "density" and the fields of `flow`.
    model, device : as in `flow`
    cosmology : Cosmology, optional
        Default: the file's, else the model's.
    redshift : float, optional
        Default: the file's, else the model's.
    force : bool
        Replace an output that is there.

    Returns
    -------
    Path
        The output.

    Raises
    ------
    InputError
        As in `flow`; if the file is missing or damaged.
    OutputExistsError
        If the output exists and was not to be replaced.
    """
    weights = find_model(model)
    target = check_output(
        out,
        overwrite=force,
        inputs={"density": density, "--model": [weights, weights.with_suffix(".safetensors")]},
    )
    emulator = _load(model, device)
    card = emulator.card
    stated = read_stated_density(density)
    require_space(target, size=_WRITTEN * stated.density.box.cell_count)
    cosmology = cosmology or stated.cosmology or card.training_cosmology
    if redshift is None:
        redshift = card.redshift if stated.redshift is None else stated.redshift
    _check(stated.density, cosmology, redshift=redshift)
    with progress_bar("flow", total=2) as advance:
        found = _flow(emulator, stated.density, cosmology, redshift=redshift)
        advance(1)
        settings = {
            "density": str(density),
            "model": card.name,
            "cosmology": cosmology_settings(cosmology),
            "redshift": redshift,
        }
        attributes = {
            "title": "Velocity and momentum of a density of matter",
            "model": card.name,
            "cosmology": settings["cosmology"],
            "redshift": redshift,
            "provenance": provenance(settings),
        }
        write_fields(target, {"density": stated.density, **found}, attributes=attributes, overwrite=force)
        advance(1)
    return target


def _load(model: str | Path, device: Device) -> FlowEmulator:
    chosen = choose_device(device)
    emulator = FlowEmulator.load(model)
    emulator.module.to(chosen)
    return emulator


def _flow(
    emulator: FlowEmulator, density: Field, cosmology: Cosmology, *, redshift: float
) -> dict[str, Field]:
    fields = emulator.flow(density, cosmology, redshift=redshift)
    return {name: field.to("cpu") for name, field in fields.items()}


def _check(density: Field, cosmology: Cosmology, *, redshift: float) -> None:
    require_overdensity(density)
    require_redshift(redshift)
    cosmology.velocity_factor(redshift)  # refuses redshifts without growth
    require_memory(
        _BYTES_PER_CELL * density.box.cell_count,
        what=f"a density of {density.box.mesh_text} cells",
        remedy="take fewer cells",
    )
