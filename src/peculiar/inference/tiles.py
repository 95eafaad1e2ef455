"""A network on a mesh in overlapping tiles: the whole mesh's result in bounded memory, for networks of local layers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from peculiar.core import InputError
from peculiar.core.memory import kept_memory
from peculiar.core.workers import Advance, Alone, Crew
from peculiar.fields.symmetry import Symmetry, apply_symmetry, invert_symmetry
from peculiar.inference.grids import Frame, Grid, Place, Tile, turned_place, turned_tile
from peculiar.inference.views import Array, Held, Mesh, View
from peculiar.inference.whole import (
    apply_whole,
    precision,
    run,
    total_stride,
)
from peculiar.models.stages import INPUTS, OUTPUTS, Stage

MAX_SIDE = 256
"""Largest side [cells] of one evaluation: 5 GB for a network of 16 channels on its finest mesh."""
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

    Of inputs that are turned in several ways the first part reads a tile once, and the last makes its mean at once.

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
    shape = sources[0].array.shape[1:]
    branches = [
        _Branch(source.symmetry, frame(source.shape), {INPUTS: (source, 1)}, device) for source in sources
    ]

    def evaluate(number: int, some: Sequence[_Branch]) -> None:
        """Make the mesh of a part before the last on some branches, tile by tile."""
        stage, parts = stages[number], []
        assert stage.channels is not None  # it says them
        for branch in some:
            grid = Grid.of(stage, core(stage), branch.frame.sides)
            sides = tuple(side // stage.coarseness for side in branch.frame.sides)
            target = View(make(stage, (stage.channels, *sides), grid.chunks))
            parts.append(branch.part(stage, grid, target=target))
            branch.meshes[stage.writes] = (target, stage.coarseness)
        places = Grid.of(stage, core(stage), frame(shape).sides).places()
        _each(hands, partial(_evaluate, parts=parts), places, what=stage.writes)
        later = {name for one in stages[number + 1 :] for name in one.reads}
        for branch in some:
            branch.meshes = {name: mesh for name, mesh in branch.meshes.items() if name in later}

    if before:
        evaluate(0, branches)  # at once: a tile of the inputs is read once for all
    for branch in branches:
        for number in range(1, len(before)):
            evaluate(number, [branch])
    grid = Grid.of(last, core(last), shape)
    parts = [branch.part(last, grid) for branch in branches]
    channels = last.channels or len(_mean((0, 0, 0), parts=parts[:1], grid=grid, vectors=vectors))
    outputs = make(last, (channels, *shape), grid.chunks)
    mean = partial(_evaluate_mean, parts=parts, grid=grid, vectors=vectors, target=View(outputs))
    _each(hands, mean, grid.places(), what=last.writes)
    return outputs


def _each(hands: Crew, work: Callable[[Place, Advance], None], places: Iterable[Place], *, what: str) -> None:
    tasks = {f"tile {number} of the mesh {what!r}": place for number, place in enumerate(places, 1)}
    for _ in hands.each(work, tasks, advance=lambda units: None):
        pass


def _evaluate(place: Place, advance: Advance, *, parts: Sequence[_Part]) -> None:
    """Put a tile of each part's mesh, which is there before it is turned, where it belongs."""
    tiles = [part.grid.tile(turned_place(place, part.grid.counts, part.symmetry)) for part in parts]
    with kept_memory():
        held = _held(parts, tiles)
        for part, tile in zip(parts, tiles, strict=True):
            part.write(tile, held)
    advance(1)


def _evaluate_mean(
    place: Place,
    advance: Advance,
    *,
    parts: Sequence[_Part],
    grid: Grid,
    vectors: Sequence[Sequence[int]],
    target: View,
) -> None:
    """Put a tile of the outputs where it belongs."""
    with kept_memory():
        target.write(*grid.tile(place), _mean(place, parts=parts, grid=grid, vectors=vectors))
    advance(1)


def _mean(place: Place, *, parts: Sequence[_Part], grid: Grid, vectors: Sequence[Sequence[int]]) -> Mesh:
    """Make a tile of the outputs: the mean over the turned meshes, turned back."""
    tiles = [turned_tile(grid.tile(place), grid.extent, part.symmetry) for part in parts]
    held = _held(parts, tiles)
    total = torch.zeros(())
    for part, tile in zip(parts, tiles, strict=True):
        values = part.values(tile, held)
        total = total + apply_symmetry(values, invert_symmetry(part.symmetry), vectors=vectors)
    return total / len(parts)


def _held(parts: Sequence[_Part], tiles: Sequence[Tile]) -> Held | None:
    """Read the inputs of tiles that lie in one place, once for all of them."""
    first = parts[0]
    if INPUTS not in first.stage.reads:
        return None
    regions = [part.inputs.region(*part.seen(tile, INPUTS)) for part, tile in zip(parts, tiles, strict=True)]
    there = [
        (min(start for start, _ in ends), max(stop for _, stop in ends))
        for ends in zip(*regions, strict=True)
    ]
    return Held(there, first.inputs.cells(there))


@dataclass(eq=False)
class _Branch:
    """A mesh turned in one way, and what the parts made of it so far.

    Attributes
    ----------
    symmetry : Symmetry
    frame : Frame
    meshes : dict of (View, int)
        Each with its coarseness.
    device : torch.device or str
        Where the network is.
    """

    symmetry: Symmetry
    frame: Frame
    meshes: dict[str, tuple[View, int]]
    device: torch.device | str

    def part(self, stage: Stage, grid: Grid, *, target: View | None = None) -> _Part:
        """Return what makes tiles of a part's mesh, put where they belong in a target."""
        sources = {
            name: (*self.meshes[name], self.frame.below if name == INPUTS else 0) for name in stage.reads
        }
        below = self.frame.below if stage.writes == OUTPUTS else 0
        whole = self.frame.wrap and math.prod(grid.counts) == 1
        return _Part(stage, sources, self.symmetry, self.frame, below, whole, self.device, grid, target)


@dataclass(frozen=True, eq=False)
class _Part:
    """A part of a network on one mesh, of which it makes any tile.

    Attributes
    ----------
    stage : Stage
    sources : dict of (View, int, int)
        What it reads, by name, each with its coarseness and the cells of the frame below it.
    symmetry : Symmetry
        How the mesh is turned.
    frame : Frame
    below : int
        Cells of the frame below the mesh that it makes.
    whole : bool
        Whether a tile is a whole mesh that wraps.
    device : torch.device or str
    grid : Grid
    target : View, optional
        The mesh.
    """

    stage: Stage
    sources: Mapping[str, tuple[View, int, int]]
    symmetry: Symmetry
    frame: Frame
    below: int
    whole: bool
    device: torch.device | str
    grid: Grid
    target: View | None

    @property
    def inputs(self) -> View:
        """The network's inputs, where it reads them."""
        return self.sources[INPUTS][0]

    def write(self, tile: Tile, held: Held | None) -> None:
        """Put a tile where it belongs."""
        assert self.target is not None
        low, high = ([end // self.stage.coarseness for end in ends] for ends in tile)
        self.target.write(low, high, self.values(tile, held))

    def values(self, tile: Tile, held: Held | None) -> Mesh:
        """Make a tile, of inputs that were read before."""
        stage, step = self.stage, self.stage.coarseness
        read = []
        for name, (view, *_) in self.sources.items():
            view.require()
            mesh = view.read(*self.seen(tile, name), held=held if name == INPUTS else None)
            read.append(mesh.to(self.device))
        values = run(stage.apply, *read, periodic=self.whole)
        inner = (
            slice((start + self.below - first) // step, (stop + self.below - first) // step)
            for start, stop, first in zip(*tile, self._around(tile)[0], strict=True)
        )
        return values[(slice(None), *inner)]

    def seen(self, tile: Tile, name: str) -> tuple[list[int], list[int]]:
        """Return the first cells of a mesh, and those behind the last, that a tile is made of."""
        _, coarseness, before = self.sources[name]
        low, high = ([(end - before) // coarseness for end in side] for side in self._around(tile))
        return low, high

    def _around(self, tile: Tile) -> Tile:
        """Cells of the frame that a tile is made of."""
        low, high = zip(
            *(self._seen(*ends) for ends in zip(*tile, self.frame.sides, strict=True)), strict=True
        )
        return low, high

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
