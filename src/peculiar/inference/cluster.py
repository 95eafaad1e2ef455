"""A network on meshes that are larger than memory, from zarr to zarr with dask, on one machine or many."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import zarr

from peculiar.core import InputError
from peculiar.core.extras import extra
from peculiar.core.output import atomic_output
from peculiar.inference.tiles import tile_halo
from peculiar.inference.whole import extended_sides, fits, run, total_stride
from peculiar.models.channels import outputs_of

with extra("cluster"):
    import dask.array as da

CORE = 96
"""Side of a block without its halo [cells]."""


def apply_cluster(
    module: torch.nn.Module,
    source: Path | str,
    target: Path | str,
    *,
    core: int = CORE,
    periodic: bool = True,
    overwrite: bool = False,
) -> None:
    """Evaluate a network block by block, from one zarr array to another; equal to `apply_whole` to float tolerance.

    Blocks run on dask's current scheduler: the threads of this machine, or the workers of the
    `dask.distributed.Client` that the caller has opened (on a batch system with `dask_jobqueue`).

    Parameters
    ----------
    module : torch.nn.Module
        In evaluation mode, with `stride` and `reach`; its layers must be local.
    source : path
        zarr array of input channels (channel, x, y, z).
    target : path
        zarr array of output channels (channel, x, y, z), float32; there whole or not at all.
    core : int
        Side of a block without its halo [cells]: a multiple of the stride, not below the network's reach.
    periodic : bool
        Whether opposite faces are one.
    overwrite : bool
        Replace an output that is there (a zarr array that peculiar wrote).

    Raises
    ------
    InputError
        If `core` does not fit the network, or the source is no array of four dimensions.

    Examples
    --------
    >>> from dask.distributed import Client  # doctest: +SKIP
    >>> from dask_jobqueue import SLURMCluster  # doctest: +SKIP
    >>> cluster = SLURMCluster(cores=16, memory="64GB")  # doctest: +SKIP
    >>> cluster.scale(jobs=8)  # doctest: +SKIP
    >>> with Client(cluster):  # doctest: +SKIP
    ...     apply_cluster(module, "inputs.zarr", "outputs.zarr")
    """
    multiple, halo = total_stride(module), tile_halo(module)
    if core % multiple or core < max(halo, 1):
        raise InputError(
            f"core must be a multiple of the network's stride {multiple} and at least its reach {halo}, got {core}"
        )
    channels = len(outputs_of(module))
    inputs = da.from_zarr(str(source))
    if inputs.ndim != 4:
        raise InputError(
            f"source must be an array (channel, x, y, z), got {inputs.ndim} dimensions in {source}"
        )
    shape = inputs.shape[1:]
    wrap = periodic and fits(shape, multiple)
    below = 0
    if not wrap:
        below, sides = extended_sides(shape, multiple=multiple)
        widths = [(0, 0), *((below, side - below - old) for side, old in zip(sides, shape, strict=True))]
        if periodic:
            inputs = da.pad(inputs, widths, mode="wrap")
        else:
            mean = inputs.mean(axis=(1, 2, 3), keepdims=True, dtype=np.float64).astype(np.float32)
            inputs = da.pad(inputs - mean, widths, mode="constant") + mean
    blocks = inputs.rechunk(((inputs.shape[0],), *(_chunks(side, core) for side in inputs.shape[1:])))
    depth = {0: 0, 1: halo, 2: halo, 3: halo}
    boundary = {0: "none", **dict.fromkeys((1, 2, 3), "periodic" if wrap else "none")}

    def evaluate(block: np.ndarray) -> np.ndarray:
        return run(module, torch.from_numpy(np.ascontiguousarray(block)), periodic=False).numpy()

    overlapping = da.overlap.overlap(blocks, depth=depth, boundary=boundary, allow_rechunk=False)
    results = overlapping.map_blocks(
        evaluate,
        chunks=((channels,), *overlapping.chunks[1:]),
        dtype=np.float32,
        meta=np.empty((0,) * 4, np.float32),
    )
    outputs = da.overlap.trim_overlap(results, depth=depth, boundary=boundary)
    x, y, z = (slice(below, below + side) for side in shape)
    outputs = outputs[:, x, y, z].rechunk((channels, core, core, core))
    with atomic_output(target, overwrite=overwrite) as temporary:
        array = zarr.create_array(
            str(temporary),
            shape=outputs.shape,
            chunks=outputs.chunksize,
            dtype=outputs.dtype,
            attributes={"package": "peculiar"},
        )
        da.store(outputs, array, lock=False)  # each block is a whole chunk: no two write the same file


def _chunks(side: int, core: int) -> tuple[int, ...]:
    """Blocks of one side, the remainder joined to the last: none is smaller than the halo."""
    count = max(1, side // core)
    return (*((core,) * (count - 1)), side - core * (count - 1))
