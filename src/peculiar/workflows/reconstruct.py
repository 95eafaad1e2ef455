"""From a catalogue to density, velocity and momentum, and to the velocity of every object."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from peculiar.core import (
    PRESETS,
    Box,
    Catalogue,
    Cosmology,
    Field,
    InputError,
    InputWarning,
    OutOfRangeWarning,
    Reconstructor,
)
from peculiar.core.errors import require_kind
from peculiar.core.limits import Device, choose_device
from peculiar.core.memory import allowed_memory, require_memory
from peculiar.core.workers import Workers
from peculiar.inference.model_card import (
    DEFAULT_MODEL,
    SPECIALIST,
    ModelCard,
    available_models,
    find_model,
    read_card,
)
from peculiar.inference.reconstruction import Reconstruction

CLASSICAL = ("linear", "iterative", "wiener")
CELL_SIZE = 225 / 96
"""Cell of Xiao et al. 2024, for reconstructors without a card [Mpc/h]."""

_BESIDE = 2e8
"""What libraries load and keep with a network's first tile [bytes]: 0.13 GB were measured, and gaps of the heap."""


def make_reconstructor(
    model: str | Path, *, device: Device = "cpu"
) -> tuple[Reconstructor, ModelCard | None]:
    """Return a reconstructor by name, and its card if it has one.

    Parameters
    ----------
    model : str or path
        "linear", "iterative", "wiener", a model that comes with the package, or a .safetensors file.
    device : "auto", "cpu" or "cuda"
        Of a network; the meshes of its inputs and of classical reconstructors are on the CPU.

    Raises
    ------
    InputError
        If there is no such model or device, or the model's files are damaged or of another version.
    """
    from peculiar.linear import IterativeFFT, LinearTheory, MultiTracerWiener

    chosen = choose_device(device)
    if model == "linear":
        return LinearTheory(), None
    if model == "iterative":
        return IterativeFFT(surroundings=True), None
    if model == "wiener":
        return MultiTracerWiener(), None
    try:
        find_model(model)
    except InputError as error:
        if Path(model).suffix in (".json", ".safetensors"):
            raise
        known = ", ".join([*CLASSICAL, *available_models()])
        raise InputError(
            f"model must be one of {known}, or a .safetensors file, got {str(model)!r}"
        ) from error
    from peculiar.inference.reconstructor import NeuralReconstructor

    reconstructor = NeuralReconstructor.load(model)
    reconstructor.module.to(chosen)
    return reconstructor, reconstructor.card


def asked_for(model: str | Path | None, *, device: Device) -> tuple[Reconstructor | None, ModelCard | None]:
    """Return what `make_reconstructor` does; of the default, which `settle` chooses and loads, the card alone."""
    if model is not None:
        return make_reconstructor(model, device=device)
    choose_device(device)  # its own error
    card = read_card(find_model(DEFAULT_MODEL))
    assert isinstance(card, ModelCard)
    return None, card


def settle(
    reconstructor: Reconstructor | None,
    card: ModelCard | None,
    catalogue: Catalogue,
    *,
    cells: int,
    cosmology: Cosmology,
    device: Device = "auto",
    drawn: bool = False,
) -> tuple[Reconstructor, list[str]]:
    """Return what a catalogue is reconstructed by, and where the catalogue lies outside the model's range.

    The iterative FFT and the Wiener filter get the catalogue's bias. Where no reconstructor was asked for, the card's
    is loaded; where no masses rank the tracers, within the range of `SPECIALIST`, that one is, unless it shall be
    `drawn` from and does not know what it leaves; where neither was measured to win the Wiener filter answers, with an
    `OutOfRangeWarning`.
    """
    from peculiar.inference.card_range import outside_limits, range_texts
    from peculiar.linear import IterativeFFT, MultiTracerWiener
    from peculiar.linear.optimal_weights import ranked

    if isinstance(reconstructor, IterativeFFT | MultiTracerWiener):
        return reconstructor.fitted(catalogue, cosmology=cosmology), []
    if card is None:
        assert reconstructor is not None  # the default has a card
        return reconstructor, []
    if reconstructor is None and catalogue.box.periodic and not ranked(catalogue):
        special = read_card(find_model(SPECIALIST))
        assert isinstance(special, ModelCard)
        known = special.residuals is not None or not drawn
        if known and not outside_limits(special, catalogue, cells=cells, cosmology=cosmology):
            card = special
    texts = range_texts(card, catalogue, cells=cells, cosmology=cosmology)
    if reconstructor is not None:
        return reconstructor, texts
    limits = outside_limits(card, catalogue, cells=cells, cosmology=cosmology)
    if not limits:
        return make_reconstructor(card.name, device=device)[0], texts
    chosen = MultiTracerWiener().fitted(catalogue, cosmology=cosmology)
    warnings.warn(
        f"{'; '.join(limits)}: reconstructed by 'wiener' with a bias of {chosen.bias:.3g}; name the model to have it "
        "all the same",
        OutOfRangeWarning,
        stacklevel=2,
    )
    return chosen, texts


def mesh_cells(box: Box, *, cell_size: float, multiple: int = 4) -> int:
    """Return the number of cells along the longest side whose size comes closest to a wanted one.

    A multiple of the networks' stride is taken where the cells keep their size to 1.5 %.

    Raises
    ------
    InputError
        If the box has fewer than 8 cells along a side, or no cells of about this size fill three unequal sides.

    Examples
    --------
    >>> mesh_cells(Box(225.0), cell_size=2.34375)
    96
    """
    wanted = max(box.sides) / cell_size
    if min(box.sides) / cell_size < 7.5:
        raise InputError(
            f"Box.size must be at least 8 cells of {cell_size:.4g} Mpc/h, got {min(box.sides):g} Mpc/h: is it in Mpc/h?"
        )
    unit = box.least_cells
    whole = unit * max(round(wanted / unit), 1)
    if not 0.8 < whole / wanted < 1.25:
        x, y, z = (cell_size * max(round(side / cell_size), 8) for side in box.sides)
        raise InputError(
            f"Box.size must be whole cells of about {cell_size:.4g} Mpc/h along each side, got {box.sides}: take "
            f"{x:g}, {y:g}, {z:g}, or another size of cells"
        )
    step = math.lcm(multiple, unit)
    rounded = step * round(wanted / step)
    return rounded if abs(rounded / wanted - 1) < 0.015 else whole


def reconstruct(
    catalogue: Catalogue,
    *,
    model: str | Path | Reconstructor | None = None,
    cells: int | None = None,
    cosmology: Cosmology | None = None,
    memory: int | str | None = None,
    device: Device = "auto",
) -> Reconstruction:
    """Reconstruct the real-space fields of matter from a catalogue.

    Parameters
    ----------
    catalogue : Catalogue
        Halos or galaxies in a periodic box or a survey.
    model : str, path or Reconstructor, optional
        A shipped model's name, a .safetensors file, "linear", "iterative", "wiener", or any object that satisfies
        `peculiar.core.Reconstructor`. Where not given, "general", "residual" within the latter's narrow range, and
        "wiener" outside both, with a warning (`settle`).
    cells : int, optional
        Mesh cells along a side; by default those of the model's cell size.
    cosmology : Cosmology, optional
        Gives H and f; by default the model's training cosmology.
    memory : int or str, optional
        What the process may take [bytes], or "8GB"; what is free where not given. A network that does not fit whole
        goes in tiles, with its meshes in temporary files; the fields are in memory all the same (32 bytes a cell):
        `reconstruct_file` keeps them on the disk.
    device : "auto", "cpu" or "cuda"
        Of a network that is named: "auto" takes a GPU where torch sees one.

    Returns
    -------
    Reconstruction
        A mapping of fields, "density" (overdensity), "velocity" [km/s] and "momentum" [(1 + delta) km/s], and of a
        survey its "completeness"; velocities at objects and on the sky are asked of it, and it writes itself to a file.

    Raises
    ------
    InputError
        If there is no such model, the catalogue lacks what it needs, or the memory is too little.

    Examples
    --------
    >>> fields = reconstruct(halos, model="iterative")  # doctest: +SKIP
    >>> fields.at_objects().velocities  # km/s, (n, 3), at their real-space positions  # doctest: +SKIP
    """
    require_kind(
        catalogue, Catalogue, name="catalogue", remedy="read_catalogue reads files and makes them of tables"
    )
    if cosmology is not None:
        remedy = "Cosmology.from_astropy takes those of astropy, PRESETS has others by name"
        require_kind(cosmology, Cosmology, name="cosmology", remedy=remedy)
    catalogue.require_objects()
    reconstructor: Reconstructor | None
    if model is None or isinstance(model, (str, Path)):
        reconstructor, card = asked_for(model, device=device)
    else:
        reconstructor, card = model, getattr(model, "card", None)
    if cells is None:
        cells = max(catalogue.completeness.box.shape) if catalogue.completeness is not None else None
    if cells is None:
        cells = mesh_cells(catalogue.box, cell_size=card.cell_size if card else CELL_SIZE)
    if cosmology is None:
        cosmology = card.training_cosmology if card else PRESETS["xiao2024"]
    settled, texts = settle(reconstructor, card, catalogue, cells=cells, cosmology=cosmology, device=device)
    by = fitting(settled, catalogue.box.with_cells(cells), memory=memory)
    fields = by.reconstruct(catalogue, cells=cells, cosmology=cosmology)
    return reconstructed(catalogue, fields, by=by, cosmology=cosmology, warnings=texts)


def reconstructed(
    catalogue: Catalogue,
    fields: Mapping[str, Field],
    *,
    by: Reconstructor,
    cosmology: Cosmology,
    warnings: Sequence[str] = (),
    record: Mapping[str, Any] | None = None,
) -> Reconstruction:
    """Put fields together with what they were made by and from.

    Parameters
    ----------
    catalogue : Catalogue
    fields : mapping
        Of `by`.
    by : Reconstructor
        What reconstructed.
    cosmology : Cosmology
    warnings : sequence of str
        Where the catalogue lies outside the range of the model that was asked for.
    record : mapping, optional
        Further attributes of the file.
    """
    from peculiar.inference.draws import residuals_of

    card = getattr(by, "card", None)
    return Reconstruction.of(
        catalogue,
        fields,
        cosmology=cosmology,
        model=by.name,
        checksum="" if card is None else card.weights_sha256,
        warnings=tuple(warnings),
        residuals=residuals_of(by),
        record={**tuned(by), "velocity_amplitude": "mean", **(record or {})},
    )


def tuned(reconstructor: Reconstructor) -> dict[str, Any]:
    """Return what a reconstructor chose for the catalogue, by name."""
    from peculiar.linear import IterativeFFT, MultiTracerWiener

    if not isinstance(reconstructor, IterativeFFT | MultiTracerWiener):
        return {}
    return {
        name: getattr(reconstructor, name) for name in ("smoothing", "bias") if hasattr(reconstructor, name)
    }


def fitting(
    reconstructor: Reconstructor,
    box: Box,
    *,
    memory: int | str | None = None,
    workers: Workers = None,
    in_pieces: bool = False,
) -> Reconstructor:
    """Return what reconstructs on a mesh within some memory.

    Where it does not fit whole a network goes in tiles, and a classical reconstructor makes one field at a time. Tiles
    are what workers share: with them a network always goes in tiles. What sees the whole mesh, a classical
    reconstructor or a network of layers that are not local, does without them, and a warning says so.

    Parameters
    ----------
    reconstructor : Reconstructor
    box : Box
        With its mesh.
    memory : int or str, optional
        See `peculiar.core.memory.allowed_memory`.
    workers : int or str, optional
        See `TiledReconstructor`.
    in_pieces : bool
        Whether fields are written one by one, so that they need not all be in memory.

    Raises
    ------
    InputError
        If the least tiles do not fit either, or there are none, with the numbers and the remedy.
    """
    allowed, beside = allowed_memory(memory), 0.0
    if workers is None and reconstructor.memory(box) <= allowed.size:
        return reconstructor
    from peculiar.inference.reconstructor import NeuralReconstructor
    from peculiar.inference.tiled import TiledReconstructor
    from peculiar.linear.classical import Classical, OneByOne

    what = f"a mesh of {box.mesh_text} cells ({box.extent} in cells of {box.cell_size:.3g} Mpc/h)"
    remedy = "give a larger --memory, " * (memory is not None) + (
        "take larger cells (--cell-size, --cells), nearer limits (--distances) or a box in the survey file"
    )
    if isinstance(reconstructor, NeuralReconstructor) and hasattr(reconstructor.module, "reach"):
        beside = 0.0 if workers else _BESIDE
        reconstructor = TiledReconstructor(reconstructor, allowed.size - beside, workers)
        what += ", in the least tiles,"
    else:
        if isinstance(reconstructor, NeuralReconstructor):
            what += (
                f" of model {reconstructor.name!r}, whose layers see the whole mesh and cannot go in tiles,"
            )
        if workers is not None:
            warnings.warn(
                f"{reconstructor.name!r} sees the whole mesh, which workers cannot share: it works in this process",
                InputWarning,
                stacklevel=2,
            )
        if in_pieces and isinstance(reconstructor, Classical) and reconstructor.memory(box) > allowed.size:
            reconstructor = OneByOne(reconstructor)
    require_memory(reconstructor.memory(box) + beside, what=what, remedy=remedy, allowed=allowed)
    return reconstructor
