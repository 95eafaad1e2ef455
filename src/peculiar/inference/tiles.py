"""A network on a mesh in overlapping tiles: the whole mesh's result in bounded memory, for networks of local layers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product

import torch

from peculiar.core import InputError
from peculiar.core.memory import kept_memory
from peculiar.core.workers import Advance, Alone, Crew
from peculiar.fields.symmetry import Symmetry, apply_symmetry, invert_symmetry
from peculiar.inference.views import Array, Mesh, View
from peculiar.inference.whole import (
    apply_whole,
    extended_sides,
    filled_sides,
    fits,
    precision,
    run,
    total_stride,
)
from peculiar.models.stages import INPUTS, OUTPUTS, Stage

MAX_SIDE = 256
"""Largest side [cells] of one evaluation: 5 GB for a network of 16 channels on its finest mesh."""
_CHUNK = 32
"""Least side of what a tile writes at once, where the tile is larger [cells of its mesh]."""
_NUMBERS = 190
"""Numbers that an evaluation holds at once for each cell, of networks that do not say it."""


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


def apply_stages(
    stages: Sequence[Stage],
    sources: Sequence[View],
    *,
    vectors: Sequence[Sequence[int]] = (),
    frame: Callable[[Sequence[int]], Frame],
    core: Callable[[Stage], int],
    make: Callable[[Stage, tuple[int, ...], tuple[int, ...]], Array],
    device: torch.device | str = "cpu",
    crew: Crew | None = None,
) -> Array:
    """Evaluate a network tile by tile, one of its parts after the other; equal to the whole to float tolerance.

    Of inputs that are turned in several ways the last part makes the mean of a tile at once.

    Tiles start at multiples of a part's unit and carry a halo as wide as its reach, taken from the far side of a
    mesh that wraps, and cut at the faces of any other; one tile of a whole mesh needs none. Each writes whole chunks:
    the result does not depend on who evaluates which, in what order, and how often.

    Parameters
    ----------
    stages : sequence of Stage
    sources : sequence of View
        The inputs, one array turned by one symmetry or more.
    vectors : sequence of (i, j, k)
        Channels of the outputs that turn along.
    frame : callable
        From the sides of a turned mesh to where it stands in the one that the network is applied to.
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
        The outputs, not turned.
    """
    hands = Alone() if crew is None else crew
    *before, last = stages
    turned = []
    for source in sources:
        around = frame(source.shape)
        meshes = {INPUTS: (source, 1)}
        for number, stage in enumerate(before):
            step = stage.coarseness
            grid = _Grid.of(stage, core(stage), around.sides)
            part = _Part.of(stage, meshes, around, grid, device=device)
            assert stage.channels is not None  # a part says them
            made = View(make(stage, (stage.channels, *(side // step for side in around.sides)), grid.chunks))
            work = partial(_evaluate, part=part, target=made)
            _each(hands, work, grid.tiles(), what=stage.writes)
            later = {name for one in stages[number + 1 :] for name in one.reads}
            meshes = {
                name: mesh for name, mesh in (meshes | {stage.writes: (made, step)}).items() if name in later
            }
        turned.append((source.symmetry, around, meshes))
    shape = sources[0].array.shape[1:]
    grid = _Grid.of(last, core(last), shape)
    parts = [
        (symmetry, _Part.of(last, meshes, around, grid, device=device)) for symmetry, around, meshes in turned
    ]
    tiles = list(grid.tiles())
    channels = last.channels or len(_mean(tiles[0], parts=parts[:1], shape=shape, vectors=vectors))
    outputs = make(last, (channels, *shape), grid.chunks)
    mean = partial(_evaluate_mean, parts=parts, shape=shape, vectors=vectors, target=View(outputs))
    _each(hands, mean, tiles, what=last.writes)
    return outputs


def _each(hands: Crew, work: Callable[[_Tile, Advance], None], tiles: Iterable[_Tile], *, what: str) -> None:
    tasks = {f"tile {place} of the mesh {what!r}": tile for place, tile in enumerate(tiles, 1)}
    for _ in hands.each(work, tasks, advance=lambda units: None):
        pass


def _evaluate(tile: _Tile, advance: Advance, *, part: _Part, target: View) -> None:
    """Put a tile of a part's mesh where it belongs."""
    step = part.stage.coarseness
    low, high = ([end // step for end in ends] for ends in tile)
    with kept_memory():
        target.write(low, high, part.values(tile))
    advance(1)


def _evaluate_mean(
    tile: _Tile,
    advance: Advance,
    *,
    parts: Sequence[tuple[Symmetry, _Part]],
    shape: Sequence[int],
    vectors: Sequence[Sequence[int]],
    target: View,
) -> None:
    """Put a tile of the outputs where it belongs."""
    with kept_memory():
        target.write(*tile, _mean(tile, parts=parts, shape=shape, vectors=vectors))
    advance(1)


def _mean(
    tile: _Tile,
    *,
    parts: Sequence[tuple[Symmetry, _Part]],
    shape: Sequence[int],
    vectors: Sequence[Sequence[int]],
) -> Mesh:
    """Make a tile of the outputs: the mean over the turned meshes, turned back."""
    total = torch.zeros(())
    for symmetry, part in parts:
        values = part.values(_turned_tile(tile, shape, symmetry))
        total = total + apply_symmetry(values, invert_symmetry(symmetry), vectors=vectors)
    return total / len(parts)


_Tile = tuple[tuple[int, ...], tuple[int, ...]]
"""The first cells of a tile that are kept, and those behind the last, along each axis of its mesh."""


def _turned_tile(tile: _Tile, shape: Sequence[int], symmetry: Symmetry) -> _Tile:
    """Where a tile of a mesh lies when the mesh is turned."""
    lines = []
    for axis, flip in zip(symmetry.permutation, symmetry.flips, strict=True):
        start, stop = tile[0][axis], tile[1][axis]
        lines.append((shape[axis] - stop, shape[axis] - start) if flip else (start, stop))
    low, high = zip(*lines, strict=True)
    return low, high


@dataclass(frozen=True, eq=False)
class _Part:
    """A part of a network on one mesh, of which it makes any tile.

    Attributes
    ----------
    stage : Stage
    sources : sequence of (View, int, int)
        What it reads, each with its coarseness and the cells of the frame below it.
    frame : Frame
    below : int
        Cells of the frame below the mesh that it makes.
    whole : bool
        Whether a tile is a whole mesh that wraps.
    device : torch.device or str
    """

    stage: Stage
    sources: Sequence[tuple[View, int, int]]
    frame: Frame
    below: int
    whole: bool
    device: torch.device | str

    @classmethod
    def of(
        cls,
        stage: Stage,
        meshes: Mapping[str, tuple[View, int]],
        frame: Frame,
        grid: _Grid,
        *,
        device: torch.device | str,
    ) -> _Part:
        sources = [(*meshes[name], frame.below if name == INPUTS else 0) for name in stage.reads]
        below = frame.below if stage.writes == OUTPUTS else 0
        whole = frame.wrap and grid.count == 1
        return cls(stage, sources, frame, below, whole, device)

    def values(self, tile: _Tile) -> Mesh:
        """Make a tile."""
        stage, step = self.stage, self.stage.coarseness
        low, high = zip(
            *(self._seen(*ends) for ends in zip(*tile, self.frame.sides, strict=True)), strict=True
        )
        read = []
        for view, coarseness, before in self.sources:
            view.require()
            ends = ([(end - before) // coarseness for end in side] for side in (low, high))
            read.append(view.read(*ends).to(self.device))
        values = run(stage.apply, *read, periodic=self.whole)
        inner = (
            slice((start + self.below - first) // step, (stop + self.below - first) // step)
            for start, stop, first in zip(*tile, low, strict=True)
        )
        return values[(slice(None), *inner)]

    def _seen(self, start: int, stop: int, side: int) -> tuple[int, int]:
        """Cells of the frame that are read for those of a tile along a side: a multiple of the part's unit."""
        halo, unit = 0 if self.whole else self.stage.halo, self.stage.unit
        low = (start + self.below - halo) // unit * unit
        high = -(-(stop + self.below + halo) // unit) * unit
        return (low, high) if self.frame.wrap else (max(low, 0), min(high, side))


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

    def make(stage: Stage, shape: tuple[int, ...], chunks: tuple[int, ...]) -> torch.Tensor:
        dtype = torch.float32 if stage.writes == OUTPUTS else precision(inputs.device)
        return torch.empty(shape, device=inputs.device, dtype=dtype)

    outputs = apply_stages(
        stages_of(module),
        [View(inputs, beyond=None if periodic else inputs.mean(dim=(1, 2, 3)))],
        frame=partial(Frame.of, multiple=multiple, periodic=periodic),
        core=lambda stage: core,
        make=make,
        device=inputs.device,
    )
    return torch.as_tensor(outputs)


@dataclass(frozen=True)
class _Grid:
    """How tiles divide a mesh: the cells that each keeps, and the chunks [cells of what is made] that make it up."""

    extent: tuple[int, ...]
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
        return cls(tuple(extent), tuple(own), tuple(chunks))

    @property
    def count(self) -> int:
        """How many tiles there are."""
        return math.prod(-(-cells // own) for cells, own in zip(self.extent, self.own, strict=True))

    def tiles(self) -> Iterator[_Tile]:
        """Divide the mesh."""
        starts = (range(0, cells, own) for cells, own in zip(self.extent, self.own, strict=True))
        for low in product(*starts):
            ends = zip(low, self.own, self.extent, strict=True)
            yield low, tuple(min(start + own, cells) for start, own, cells in ends)
