"""A network as a reconstructor in bounded memory: its inputs, its own meshes and its outputs lie on the disk."""

from __future__ import annotations

import math
import shutil
import uuid
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
import zarr
from zarr.codecs import BloscCodec

from peculiar.core import Box, Catalogue, Cosmology, Field
from peculiar.core.workers import BYTES_OF_A_PROCESS, Workers, crew
from peculiar.fields.symmetry import compose, invert_symmetry
from peculiar.inference.card_range import check_range
from peculiar.inference.model_card import ModelCard
from peculiar.inference.reconstructor import NeuralReconstructor, assembled
from peculiar.inference.tiles import Frame, View, apply_stages, stages_of
from peculiar.inference.whole import total_stride
from peculiar.linear.light_cone import velocity_factor
from peculiar.linear.overdensity import fourier_box
from peculiar.models.channels import outputs_of
from peculiar.models.stages import INPUTS, OUTPUTS, Stage

_BYTES = 20
"""A cell of a periodic box, while the inputs are made, or the fields of the outputs."""
_CELL_BYTES, _TRANSFORM_BYTES = 24, 36
"""Of others, a cell of the meshes, and one of their transforms."""
_SCRATCH_BYTES = 140
"""Of 15 inputs, 7 outputs of the mean, 7 of a symmetry, and what is left between a network's parts."""
_NUMBER_BYTES = 4.5  # float32, and what an allocation leaves over
_CHUNK = 64
_SHARED = 2e9
"""Memory of a tile that others evaluate: tiles are the same however many they are."""


@dataclass(frozen=True, eq=False)
class TiledReconstructor:
    """A network that goes tile by tile over meshes which are too large for it at once; the fields are the same.

    Parameters
    ----------
    network : NeuralReconstructor
    allowed : float
        Memory that the work may take, but for the catalogue [bytes]: the tiles are as large as it lets them be.
    workers : int or str, optional
        Processes of this machine, which share that memory, or the address of a dask scheduler, each of whose workers
        has it: they evaluate the tiles. See `peculiar.core.workers.crew`.

    Raises
    ------
    InputError
        If the network's layers are not local: some of them see the whole mesh.
    """

    network: NeuralReconstructor
    allowed: float
    workers: Workers = None

    def __post_init__(self) -> None:
        stages_of(self.network.module)

    @property
    def name(self) -> str:
        """Name in score tables."""
        return self.network.name

    @property
    def card(self) -> ModelCard:
        """The network's card."""
        return self.network.card

    def memory(self, box: Box) -> int:
        """Return the memory [bytes] that the meshes of the inputs take at most, or the least tiles if that is more."""
        box = self.network.mesh(box)
        meshes = _BYTES * box.cell_count
        if not box.periodic:
            meshes = _CELL_BYTES * box.cell_count + _TRANSFORM_BYTES * fourier_box(box).cell_count
        tile = max(_tile_bytes(stage, _least_core(stage)) for stage in stages_of(self.network.module))
        if isinstance(self.workers, int):
            tile = self.workers * (tile + BYTES_OF_A_PROCESS)
        return int(max(meshes, tile))

    def scratch(self, box: Box) -> int:
        """Return the room [bytes] that the temporary meshes take on the disk at most."""
        return _SCRATCH_BYTES * self.network.mesh(box).cell_count

    def reconstruct(self, catalogue: Catalogue, *, cells: int, cosmology: Cosmology) -> dict[str, Field]:
        """Return what the network's `reconstruct` does."""
        with TemporaryDirectory(prefix="peculiar-") as scratch:
            return dict(self.fields(catalogue, cells=cells, cosmology=cosmology, scratch=Path(scratch)))

    def fields(
        self, catalogue: Catalogue, *, cells: int, cosmology: Cosmology, scratch: Path
    ) -> Iterator[tuple[str, Field]]:
        """Make what `reconstruct` returns one field at a time.

        Parameters
        ----------
        catalogue : Catalogue
        cells : int
        cosmology : Cosmology
        scratch : path
            Directory for temporary meshes, which are removed.
        """
        check_range(self.card, catalogue, cells=cells, cosmology=cosmology)
        box = catalogue.box.with_cells(cells)
        seen, margin = self.network.seen(catalogue, cells=cells)
        inputs = self._inputs(seen, seen.box.with_cells(cells + 2 * margin), cosmology, scratch)
        outputs = _Interior(self._outputs(inputs, catalogue, scratch), margin)
        del inputs
        factor = velocity_factor(catalogue, box, cosmology=cosmology)
        yield from assembled(outputs, card=self.card, box=box, velocity_factor=factor)

    def _inputs(self, catalogue: Catalogue, box: Box, cosmology: Cosmology, scratch: Path) -> View:
        """Write the inputs, channel by channel, and note what lies beyond their faces."""
        spec = self.card.inputs
        array = _array(scratch, (len(spec.names), *box.shape))
        beyond = torch.zeros(len(spec.names))
        start = 0
        for piece in spec.pieces(catalogue, cells=max(box.shape), cosmology=cosmology):
            stop = start + len(piece)
            array[start:stop] = piece.numpy()
            if not spec.ends:
                beyond[start:stop] = piece.mean(dim=(1, 2, 3))
            start = stop
            del piece
        return View(array, vectors=spec.vectors, beyond=None if box.periodic else beyond)

    def _outputs(self, inputs: View, catalogue: Catalogue, scratch: Path) -> zarr.Array:
        """Write the network's outputs, the mean over the card's symmetries."""
        module, periodic = self.network.module, catalogue.box.periodic
        vectors, stages = outputs_of(module).vectors, stages_of(module)
        shape = inputs.array.shape[1:]
        turn, elements = self.network.symmetries(catalogue.line_of_sight)
        mean: zarr.Array | None = None

        def make(stage: Stage, sides: tuple[int, ...], chunks: tuple[int, ...]) -> zarr.Array:
            return _array(scratch, sides, chunks=chunks, together=stage.writes != OUTPUTS)

        frame = partial(
            Frame.of,
            multiple=total_stride(module),
            periodic=periodic,
            isolated=self.card.inputs.ends and not periodic,
        )
        core = partial(self._core, side=max(frame(shape).sides))
        largest = max(_tile_bytes(stage, core(stage)) for stage in stages)
        with crew(
            self.workers,
            tasks=math.prod(-(-side // core(stages[-1])) for side in shape),
            memory=int(largest) if isinstance(self.workers, str) else 0,
            what="a tile",
            remedy="give a smaller --memory",
        ) as hands:
            for element in elements:
                symmetry = compose(turn, element)
                made = apply_stages(
                    stages,
                    View(inputs.array, symmetry, inputs.vectors, inputs.beyond),
                    frame=frame([shape[axis] for axis in symmetry.permutation]),
                    core=core,
                    make=make,
                    device=self.network.device,
                    crew=hands,
                )
                turned = View(made, invert_symmetry(symmetry), vectors)
                if mean is None:
                    mean = _array(scratch, (made.shape[0], *shape))
                for low in product(*(range(0, side, _CHUNK) for side in shape)):
                    high = [min(start + _CHUNK, side) for start, side in zip(low, shape, strict=True)]
                    there = (slice(None), *(slice(*ends) for ends in zip(low, high, strict=True)))
                    mean[there] = np.asarray(mean[there]) + turned.read(low, high).numpy() / len(elements)
        assert mean is not None  # there is a symmetry
        return mean

    def _core(self, stage: Stage, *, side: int) -> int:
        """Return the cells of a tile that are kept, along a side, of a mesh of some cells along its longest.

        A part that fits whole is one tile, which has no halo; for workers only those on coarser meshes, which are the
        lesser part of the work and of which the halo would be the larger part.
        """
        allowed = self.allowed
        if self.workers is not None:
            if isinstance(self.workers, int):
                allowed = allowed / self.workers - BYTES_OF_A_PROCESS
            allowed = min(allowed, _SHARED)
        most = int((max(allowed, 0) / (_NUMBER_BYTES * stage.numbers)) ** (1 / 3))
        if most >= side and (self.workers is None or INPUTS not in stage.reads):
            return side
        most -= 2 * stage.halo
        if self.workers is not None:  # eight tiles at least
            most = min(most, -(-side // 2))
        return max(most // stage.unit * stage.unit, _least_core(stage))


@dataclass(frozen=True, eq=False)
class _Interior:
    """The channels of an array on the disk without so many cells beyond each face."""

    array: zarr.Array
    margin: int

    @property
    def shape(self) -> tuple[int, ...]:
        channels, *sides = self.array.shape
        return channels, *(side - 2 * self.margin for side in sides)

    def __getitem__(self, channels: slice) -> Any:
        inner = slice(self.margin, -self.margin or None)
        return self.array[channels, inner, inner, inner]


def _least_core(stage: Stage) -> int:
    """A tile that is smaller than its halo would cost more in overlap than it saves in memory."""
    return max(stage.halo, stage.unit)


def _tile_bytes(stage: Stage, core: int) -> float:
    return _NUMBER_BYTES * stage.numbers * (core + 2 * stage.halo) ** 3


def _array(
    place: Path, shape: tuple[int, ...], *, chunks: tuple[int, ...] = (_CHUNK,) * 3, together: bool = False
) -> zarr.Array:
    """Return a new array (channel, x, y, z) on the disk, which is removed when nothing refers to it any more.

    Its chunks hold one channel, or all of them `together`.
    """
    path = place / uuid.uuid4().hex
    array = zarr.create_array(
        str(path),
        shape=shape,
        chunks=(shape[0] if together else 1, *map(min, chunks, shape[1:])),
        dtype="float32",
        compressors=BloscCodec(cname="lz4", clevel=1, shuffle="shuffle"),
        fill_value=0.0,
    )
    weakref.finalize(array, shutil.rmtree, path, ignore_errors=True)
    return array
