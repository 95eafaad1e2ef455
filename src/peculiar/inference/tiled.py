"""A network as a reconstructor in bounded memory: its inputs, its own meshes and its outputs lie on the disk."""

from __future__ import annotations

import math
import shutil
import uuid
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
import zarr
from zarr.codecs import BloscCodec

from peculiar.core import Box, Catalogue, Cosmology, Field
from peculiar.core.workers import BYTES_OF_A_PROCESS, Workers, crew
from peculiar.fields.symmetry import compose
from peculiar.inference.card_range import check_range
from peculiar.inference.grids import Frame
from peculiar.inference.model_card import ModelCard
from peculiar.inference.reconstructor import NeuralReconstructor, assembled, error_factor
from peculiar.inference.tiles import apply_stages, stages_of
from peculiar.inference.views import View, stored_numbers
from peculiar.inference.whole import precision, total_stride
from peculiar.linear.light_cone import velocity_factor
from peculiar.linear.overdensity import fourier_box
from peculiar.models.channels import outputs_of
from peculiar.models.stages import INPUTS, OUTPUTS, Stage

_BYTES = 20
"""A cell of a periodic box, while the inputs are made, or the fields of the outputs."""
_CELL_BYTES, _TRANSFORM_BYTES = 24, 36
"""Of others, a cell of the meshes, and one of their transforms."""
_NUMBER_BYTES = 4.5  # float32, and what an allocation leaves over
_HALVED = 0.65
"""Of that, in bf16: measured 0.6, as some layers keep float32."""
_CHUNK = 64
_FILLED = 1.15
"""Chunks at the upper faces of a mesh are filled up."""
_ENOUGH = 4e9
"""Memory of a tile [bytes] from which on halos hardly matter: a fifth of its cells, a seventh at 11 GB."""


@dataclass(frozen=True, eq=False)
class TiledReconstructor:
    """A network that goes tile by tile over meshes which are too large for it at once; the fields are the same.

    Parameters
    ----------
    network : NeuralReconstructor
    allowed : float
        Memory that the work may take, but for the catalogue [bytes]: the tiles are as large as it lets them be, and
        take 4 GB at most.
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
        tile = max(self._tile_bytes(stage, _least_core(stage)) for stage in stages_of(self.network.module))
        if isinstance(self.workers, int):
            tile = self.workers * (tile + BYTES_OF_A_PROCESS)
        return int(max(meshes, tile))

    def scratch(self, box: Box) -> int:
        """Return the room [bytes] that the temporary meshes take on the disk at most."""
        *before, last = stages_of(self.network.module)
        size = 2 if self._halved else 4
        each = {stage.writes: size * (stage.channels or 0) / stage.coarseness**3 for stage in before}
        read = sum(each.get(name, 0) for name in last.reads)
        least = self.card.symmetry_average * read
        most = _FILLED * (least + max(sum(each.values()) - read, size * len(outputs_of(self.network.module))))
        return int((size * len(self.card.inputs.names) + most) * self.network.mesh(box).cell_count)

    @property
    def _halved(self) -> bool:
        """Whether the network's layers compute in bf16."""
        return precision(self.network.device) != torch.float32

    @property
    def _stored(self) -> torch.dtype:
        """What inputs and outputs are on the disk: no less exact than the layers."""
        return torch.float16 if self._halved else torch.float32

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
        yield from assembled(
            outputs,
            card=self.network.card_of(catalogue, cosmology=cosmology),
            box=box,
            velocity_factor=factor,
            error_factor=error_factor(self.card, catalogue, cosmology=cosmology),
        )

    def _inputs(self, catalogue: Catalogue, box: Box, cosmology: Cosmology, scratch: Path) -> View:
        """Write the inputs, channel by channel, and note what lies beyond their faces."""
        spec = self.card.inputs
        array = _array(scratch, (len(spec.names), *box.shape), dtype=self._stored, compressed=True)
        beyond = torch.zeros(len(spec.names))
        start = 0
        for piece in spec.pieces(catalogue, cells=max(box.shape), cosmology=cosmology):
            stop = start + len(piece)
            for channel, values in enumerate(piece, start):  # at once even ones would take memory
                array[channel : channel + 1] = stored_numbers(values[None], array.dtype)
            if not spec.ends:
                beyond[start:stop] = piece.mean(dim=(1, 2, 3))
            start = stop
            del piece
        return View(array, vectors=spec.vectors, beyond=None if box.periodic else beyond)

    def _outputs(self, inputs: View, catalogue: Catalogue, scratch: Path) -> zarr.Array:
        """Write the network's outputs, the mean over the card's symmetries."""
        module, periodic, device = self.network.module, catalogue.box.periodic, self.network.device
        shape, stages = inputs.array.shape[1:], stages_of(module)
        turn, elements = self.network.symmetries(catalogue.line_of_sight)

        def make(stage: Stage, sides: tuple[int, ...], chunks: tuple[int, ...]) -> zarr.Array:
            if stage.writes == OUTPUTS:
                return _array(scratch, sides, chunks=chunks, dtype=self._stored)
            return _array(scratch, sides, chunks=chunks, dtype=precision(device), together=True)

        frame = partial(
            Frame.of,
            multiple=total_stride(module),
            periodic=periodic,
            isolated=self.card.inputs.ends and not periodic,
        )
        core = partial(self._core, side=max(frame(shape).sides))
        largest = max(self._tile_bytes(stage, core(stage)) for stage in stages)
        with crew(
            self.workers,
            tasks=math.prod(-(-side // core(stages[-1])) for side in shape),
            memory=int(largest) if isinstance(self.workers, str) else 0,
            what="a tile",
            remedy="give a smaller --memory",
        ) as hands:
            return apply_stages(
                stages,
                [replace(inputs, symmetry=compose(turn, element)) for element in elements],
                vectors=outputs_of(module).vectors,
                frame=frame,
                core=core,
                make=make,
                device=device,
                crew=hands,
            )

    def _core(self, stage: Stage, *, side: int) -> int:
        """Return the cells of a tile that are kept, along a side, of a mesh of some cells along its longest.

        A part that fits whole is one tile, which has no halo; for workers only those on coarser meshes, which are the
        lesser part of the work and of which the halo would be the larger part.
        """
        allowed = self.allowed
        if isinstance(self.workers, int):
            allowed = allowed / self.workers - BYTES_OF_A_PROCESS
        allowed = min(max(allowed, 0), _ENOUGH)
        most = int((allowed / self._tile_bytes(stage, 1, halo=0)) ** (1 / 3))
        if most >= side and (self.workers is None or INPUTS not in stage.reads):
            return side
        most -= 2 * stage.halo
        if self.workers is not None:  # eight tiles at least
            most = min(most, -(-side // 2))
        return max(most // stage.unit * stage.unit, _least_core(stage))

    def _tile_bytes(self, stage: Stage, core: int, *, halo: int | None = None) -> float:
        halo = stage.halo if halo is None else halo
        number = _NUMBER_BYTES * (_HALVED if self._halved else 1)
        return number * stage.numbers * (core + 2 * halo) ** 3


@dataclass(frozen=True, eq=False)
class _Interior:
    """The channels of an array on the disk, in single precision, without so many cells beyond each face."""

    array: zarr.Array
    margin: int

    @property
    def shape(self) -> tuple[int, ...]:
        channels, *sides = self.array.shape
        return channels, *(side - 2 * self.margin for side in sides)

    def __getitem__(self, channels: slice) -> Any:
        inner = slice(self.margin, -self.margin or None)
        return np.asarray(self.array[channels, inner, inner, inner], dtype=np.float32)


def _least_core(stage: Stage) -> int:
    """A tile that is smaller than its halo would cost more in overlap than it saves in memory."""
    return max(stage.halo, stage.unit)


def _array(
    place: Path,
    shape: tuple[int, ...],
    *,
    chunks: tuple[int, ...] = (_CHUNK,) * 3,
    dtype: torch.dtype,
    together: bool = False,
    compressed: bool = False,
) -> zarr.Array:
    """Return a new array (channel, x, y, z) on the disk, which is removed when nothing refers to it any more.

    Its chunks hold one channel, or all of them `together`. It pays to have meshes `compressed` that are even.
    """
    path = place / uuid.uuid4().hex
    array = zarr.create_array(
        str(path),
        shape=shape,
        chunks=(shape[0] if together else 1, *map(min, chunks, shape[1:])),
        dtype="int16" if dtype == torch.bfloat16 else str(dtype).removeprefix("torch."),
        compressors=BloscCodec(cname="lz4", clevel=1, shuffle="shuffle") if compressed else None,
        fill_value=0,
    )
    weakref.finalize(array, shutil.rmtree, path, ignore_errors=True)
    return array
