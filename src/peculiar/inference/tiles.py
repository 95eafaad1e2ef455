"""A network on a mesh in overlapping tiles: the whole mesh's result in bounded memory, for networks of local layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch
import zarr
from jaxtyping import Float

from peculiar.core import InputError
from peculiar.core.workers import Advance, Alone, Crew
from peculiar.fields.symmetry import IDENTITY, Symmetry, apply_symmetry
from peculiar.inference.whole import apply_whole, extended_sides, filled_sides, fits, run, total_stride
from peculiar.models.stages import INPUTS, OUTPUTS, Stage

MAX_SIDE = 256
"""Largest side [cells] of one evaluation: 5 GB for a network of 16 channels on its finest mesh."""
_CHUNK = 32
"""Least side of what a tile writes at once, where the tile is larger [cells of its mesh]."""
_NUMBERS = 190
"""Numbers that an evaluation holds at once for each cell, of networks that do not say it."""

Mesh = Float[torch.Tensor, "channel x y z"]
Array = Any
"""(channel, x, y, z): a tensor, or an array of zarr or NumPy, which slices like one."""


def apply_network(
    module: torch.nn.Module, inputs: Mesh, *, periodic: bool = True, max_side: int = MAX_SIDE
) -> Mesh:
    """Evaluate a network on a mesh of any size: at once where it fits in memory, else in tiles.

    Parameters
    ----------
    module : torch.nn.Module
        In evaluation mode. It says its `stride` and its `reach` [cells]; one without a reach (layers that are not
        local) is evaluated at once, whatever the size.
    inputs : (channel, x, y, z)
        Input channels.
    periodic : bool
        Whether opposite faces are one.
    max_side : int
        Largest side of one evaluation [cells].
    """
    if max(inputs.shape[1:]) <= max_side or not hasattr(module, "reach"):
        return apply_whole(module, inputs, periodic=periodic)
    multiple, halo = total_stride(module), max(stage.halo for stage in stages_of(module))
    # A tile smaller than its halo would cost more in overlap than it saves in memory.
    core = max((max_side - 2 * halo) // multiple * multiple, halo, multiple)
    return apply_tiles(module, inputs, core=-(-core // multiple) * multiple, periodic=periodic)


def tile_halo(module: torch.nn.Module) -> int:
    """Return the cells around a tile that its inside depends on: the network's reach in whole strides.

    Raises
    ------
    InputError
        If the network has no reach: some layer sees the whole mesh.
    """
    if not hasattr(module, "reach"):
        raise InputError(
            f"network must have local layers to go in tiles, got {type(module).__name__}, which sees the whole mesh: "
            "evaluate it whole"
        )
    multiple = total_stride(module)
    return -(-int(module.reach) // multiple) * multiple  # type: ignore[arg-type]


def stages_of(module: torch.nn.Module) -> tuple[Stage, ...]:
    """Return the parts of a network that go in tiles one after the other: its own `stages`, or it as one.

    Raises
    ------
    InputError
        If its layers are not local.
    """
    halo = tile_halo(module)
    if hasattr(module, "stages"):
        return module.stages()  # type: ignore[operator, no-any-return]
    return (Stage((INPUTS,), OUTPUTS, None, 1, total_stride(module), halo, _NUMBERS, module),)


@dataclass(frozen=True)
class Frame:
    """How a mesh stands in the one that a network is applied to.

    Attributes
    ----------
    shape : (3,)
        Cells of the mesh.
    below : int
        Cells before it along each side.
    sides : (3,)
        Of the larger mesh; multiples of the network's stride.
    wrap : bool
        Whether opposite faces of the larger mesh are one.
    """

    shape: tuple[int, ...]
    below: int
    sides: tuple[int, ...]
    wrap: bool

    @classmethod
    def of(cls, shape: Sequence[int], *, multiple: int, periodic: bool, isolated: bool = False) -> Frame:
        """Return that of `apply_whole`, or where `isolated` that of `apply_isolated`."""
        if periodic and fits(shape, multiple):
            return cls(tuple(shape), 0, tuple(shape), True)
        if isolated:
            return cls(tuple(shape), 0, filled_sides(shape, multiple=multiple), False)
        return cls(tuple(shape), *extended_sides(shape, multiple=multiple), False)


@dataclass(frozen=True, eq=False)
class View:
    """A mesh in an array, turned, and what lies beyond its faces.

    Attributes
    ----------
    array : Array
    symmetry : Symmetry
        Turns what is read.
    vectors : sequence of (i, j, k)
        Channels that turn along.
    beyond : Tensor (channel,), optional
        What the array's channels are beyond its faces; its own far side where not given.
    """

    array: Array
    symmetry: Symmetry = IDENTITY
    vectors: Sequence[Sequence[int]] = ()
    beyond: torch.Tensor | None = None

    def read(self, low: Sequence[int], high: Sequence[int]) -> Mesh:
        """Return the cells from `low` to before `high` of the turned mesh, which may lie beyond its faces."""
        shape = [self.array.shape[1 + axis] for axis in self.symmetry.permutation]
        runs = [list(_runs(*ends, wrap=self.beyond is None)) for ends in zip(low, high, shape, strict=True)]
        size = [stop - start for start, stop in zip(low, high, strict=True)]
        mesh: torch.Tensor | None = None
        if self.beyond is not None:
            mesh = self._turned(self.beyond[:, None, None, None]).expand(-1, *size).clone()
        for found in product(*runs):
            there = self._region([source for _, source in found])
            piece = self._turned(torch.as_tensor(self.array[(slice(None), *there)]))
            if mesh is None:
                mesh = piece if list(piece.shape[1:]) == size else piece.new_empty((len(piece), *size))
            mesh[(slice(None), *(target for target, _ in found))] = piece
        assert mesh is not None  # a region has cells
        return mesh

    def require(self) -> None:
        """Refuse an array on a disk that this process does not see, whose cells would be read as empty."""
        if isinstance(self.array, zarr.Array):
            place = Path(str(self.array.store_path).removeprefix("file://"))
            if not place.exists():
                raise InputError(
                    f"workers must see the files of the command, got one without {place.parent}: put the output (with "
                    "--errors TMPDIR) on a disk that they share"
                )

    def _turned(self, mesh: Mesh) -> Mesh:
        return apply_symmetry(mesh, self.symmetry, vectors=self.vectors)

    def _region(self, turned: Sequence[slice]) -> list[slice]:
        """Where cells of the turned mesh are in the array."""
        found = list(turned)
        for own, axis, flip in zip(turned, self.symmetry.permutation, self.symmetry.flips, strict=True):
            end = self.array.shape[1 + axis]
            found[axis] = slice(end - own.stop, end - own.start) if flip else own
        return found


def apply_stages(
    stages: Sequence[Stage],
    source: View,
    *,
    frame: Frame,
    core: Callable[[Stage], int],
    make: Callable[[Stage, tuple[int, ...], tuple[int, ...]], Array],
    device: torch.device | str = "cpu",
    crew: Crew | None = None,
) -> Array:
    """Evaluate a network tile by tile, one of its parts after the other; equal to the whole to float tolerance.

    Tiles start at multiples of a part's unit and carry a halo as wide as its reach, taken from the far side of a
    mesh that wraps, and cut at the faces of any other; one tile of a whole mesh needs none. Each writes whole chunks:
    the result does not depend on who evaluates which, in what order, and how often.

    Parameters
    ----------
    stages : sequence of Stage
    source : View
        The inputs.
    frame : Frame
        Where they stand in the mesh that the network is applied to.
    core : callable
        Cells of a part's tiles that are kept, along a side, at most: a multiple of its unit.
    make : callable
        From a part, a shape, (channel, x, y, z), and the sides of chunks that tiles are made of, to a new array.
    device : torch.device or str
        Where the network is.
    crew : Crew, optional
        Who evaluates the tiles of a part; this process where not given. Others share files with this one.

    Returns
    -------
    Array
        The outputs.
    """
    meshes, coarseness = {INPUTS: source}, {INPUTS: 1}
    hands = Alone() if crew is None else crew
    made: Array = None
    for number, stage in enumerate(stages):
        last, step = stage.writes == OUTPUTS, stage.coarseness
        extent, below = (frame.shape, frame.below) if last else (frame.sides, 0)
        grid = _Grid.of(stage, core(stage), extent)
        whole = frame.wrap and all(own >= cells for own, cells in zip(grid.own, extent, strict=True))
        tiles = list(_tiles(stage, grid, extent, frame, below=below, halo=0 if whole else stage.halo))
        values = partial(
            _values,
            stage=stage,
            sources=[
                (meshes[name], coarseness[name], frame.below if name == INPUTS else 0) for name in stage.reads
            ],
            below=below,
            periodic=whole,
            device=device,
        )
        channels = len(values(tiles[0])) if stage.channels is None else stage.channels
        made = make(stage, (channels, *(cells // step for cells in extent)), grid.chunks)
        evaluate = partial(_evaluate, values=values, step=step, target=View(made))
        tasks = {f"tile {place} of the mesh {stage.writes!r}": tile for place, tile in enumerate(tiles, 1)}
        for _ in hands.each(evaluate, tasks, advance=lambda units: None):
            pass
        later = {name for one in stages[number + 1 :] for name in one.reads}
        meshes = {name: view for name, view in (meshes | {stage.writes: View(made)}).items() if name in later}
        coarseness[stage.writes] = step
    return made


def _evaluate(
    tile: Sequence[_Line],
    advance: Advance,
    *,
    values: Callable[[Sequence[_Line]], Mesh],
    step: int,
    target: View,
) -> None:
    """Put a tile of a part's mesh where it belongs."""
    kept = values(tile)
    there = (slice(None), *(slice(one.start // step, one.stop // step) for one in tile))
    target.array[there] = kept if isinstance(target.array, torch.Tensor) else kept.numpy(force=True)
    advance(1)


def _values(
    tile: Sequence[_Line],
    *,
    stage: Stage,
    sources: Sequence[tuple[View, int, int]],
    below: int,
    periodic: bool,
    device: torch.device | str,
) -> Mesh:
    """Make a tile of a part's mesh of its sources, each with its coarseness and the cells of the frame below it."""
    read = []
    for view, coarseness, before in sources:
        view.require()
        low, high = (
            [(end - before) // coarseness for end in ends]
            for ends in ([one.low for one in tile], [one.high for one in tile])
        )
        read.append(view.read(low, high).to(device))
    values = run(stage.apply, *read, periodic=periodic)
    step = stage.coarseness
    inner = (
        slice((one.start + below - one.low) // step, (one.stop + below - one.low) // step) for one in tile
    )
    return values[(slice(None), *inner)]


def apply_tiles(module: torch.nn.Module, inputs: Mesh, *, core: int, periodic: bool = True) -> Mesh:
    """Evaluate a network tile by tile, in memory; equal to `apply_whole` to float tolerance.

    Parameters
    ----------
    module : torch.nn.Module
        In evaluation mode, with `stride` and `reach`; its layers must be local (no statistics over the mesh).
    inputs : (channel, x, y, z)
        Input channels.
    core : int
        Cells of a tile that are kept, along a side: a multiple of the stride.
    periodic : bool
        Whether opposite faces are one.

    Returns
    -------
    (channel, x, y, z) float32, on the same mesh.

    Raises
    ------
    InputError
        If `core` is no positive multiple of the stride.
    """
    multiple = total_stride(module)
    if core < 1 or core % multiple:
        raise InputError(f"core must be a positive multiple of the network's stride {multiple}, got {core}")
    outputs = apply_stages(
        stages_of(module),
        View(inputs, beyond=None if periodic else inputs.mean(dim=(1, 2, 3))),
        frame=Frame.of(inputs.shape[1:], multiple=multiple, periodic=periodic),
        core=lambda stage: core,
        make=lambda stage, shape, chunks: torch.empty(shape, device=inputs.device),
        device=inputs.device,
    )
    return torch.as_tensor(outputs)


@dataclass(frozen=True)
class _Line:
    """A tile along one axis, in cells of the network: what is kept of the mesh, and what is read for it."""

    start: int
    stop: int
    low: int
    high: int


@dataclass(frozen=True)
class _Grid:
    """How tiles divide a mesh: the cells that each keeps, and the chunks [cells of what is made] that make it up."""

    own: tuple[int, ...]
    chunks: tuple[int, ...]

    @classmethod
    def of(cls, stage: Stage, core: int, extent: Sequence[int]) -> _Grid:
        """Tiles of about one size, as small as their number allows."""
        own, chunks = [], []
        unit, least = stage.unit, max(stage.coarseness * _CHUNK, stage.unit)
        for cells in extent:
            kept = -(-cells // -(-cells // core))
            pieces = max(kept // least, 1)
            grain = pieces * unit
            count = -(-cells // (core // grain * grain))
            chunk = -(-cells // (count * grain)) * unit
            own.append(chunk * pieces)
            chunks.append(min(chunk, cells) // stage.coarseness)
        return cls(tuple(own), tuple(chunks))


def _tiles(
    stage: Stage, grid: _Grid, extent: Sequence[int], frame: Frame, *, below: int, halo: int
) -> Iterator[tuple[_Line, ...]]:
    unit = stage.unit
    lines = []
    for cells, side, own in zip(extent, frame.sides, grid.own, strict=True):
        line = []
        for start in range(0, cells, own):
            stop = min(start + own, cells)
            low, high = start + below - halo, stop + below + halo
            high = low + -(-(high - low) // unit) * unit
            if not frame.wrap:
                low, high = max(low, 0), min(high, side)
            line.append(_Line(start, stop, low, high))
        lines.append(line)
    return product(*lines)


def _runs(low: int, high: int, side: int, *, wrap: bool) -> Iterator[tuple[slice, slice]]:
    """Where cells from `low` to before `high` go, and where they are on a side that wraps, or has nothing beyond."""
    if not wrap:
        start, stop = max(low, 0), min(high, side)
        if start < stop:
            yield slice(start - low, stop - low), slice(start, stop)
        return
    at = low
    while at < high:
        start = at % side
        count = min(side - start, high - at)
        yield slice(at - low, at - low + count), slice(start, start + count)
        at += count
