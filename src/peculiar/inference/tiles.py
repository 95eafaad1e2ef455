"""A network on a mesh in overlapping tiles: the whole mesh's result in bounded memory, for networks of local layers."""

from __future__ import annotations

from itertools import product

import torch
from jaxtyping import Float

from peculiar.core import InputError
from peculiar.inference.whole import apply_whole, extend, fits, run, total_stride

MAX_SIDE = 256
"""Largest side [cells] of one evaluation: 5 GB for a network of 16 channels on its finest mesh, some 300 bytes a cell.
Tiles carry a halo as wide as the network's reach on every side, so they cost several times a whole evaluation."""

Mesh = Float[torch.Tensor, "channel x y z"]


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
    multiple, halo = total_stride(module), tile_halo(module)
    # A tile smaller than its halo would cost more in overlap than it saves in memory.
    largest = max((max_side - 2 * halo) // multiple * multiple, halo, multiple)
    count = -(-max(inputs.shape[1:]) // largest)
    core = (
        -(-max(inputs.shape[1:]) // (count * multiple)) * multiple
    )  # tiles of one size, as small as the count allows
    return apply_tiles(module, inputs, core=core, periodic=periodic)


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


def apply_tiles(module: torch.nn.Module, inputs: Mesh, *, core: int, periodic: bool = True) -> Mesh:
    """Evaluate a network tile by tile; equal to `apply_whole` to float tolerance.

    Tiles start at multiples of the network's stride and carry a halo as wide as its reach, taken from the far side of
    a periodic mesh, and cut at the margin that `extend` puts around any other.

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
    multiple, halo = total_stride(module), tile_halo(module)
    if core < 1 or core % multiple:
        raise InputError(f"core must be a positive multiple of the network's stride {multiple}, got {core}")
    shape = tuple(inputs.shape[1:])
    wrap = periodic and fits(shape, multiple)
    below = 0
    if not wrap:
        inputs, below = extend(inputs, periodic=periodic, multiple=multiple)
    sides = tuple(inputs.shape[1:])
    outputs: torch.Tensor | None = None
    for corner in product(*(range(0, side, core) for side in shape)):
        cut = inputs
        inner = []
        for axis, (start, side) in enumerate(zip(corner, sides, strict=True)):
            low, high = start + below - halo, min(start + core, shape[axis]) + below + halo
            high = low + -(-(high - low) // multiple) * multiple
            if not wrap:
                low, high = max(low, 0), min(high, side)
            cut = cut.index_select(1 + axis, torch.arange(low, high, device=inputs.device) % side)
            inner.append(slice(start + below - low, min(start + core, shape[axis]) + below - low))
        tile = run(module, cut, periodic=False)[(slice(None), *inner)]
        if outputs is None:
            outputs = torch.empty((tile.shape[0], *shape), dtype=tile.dtype, device=tile.device)
        keep = tuple(slice(start, start + width) for start, width in zip(corner, tile.shape[1:], strict=True))
        outputs[(slice(None), *keep)] = tile
    if outputs is None:
        raise InputError(f"inputs must have cells, got the shape {shape}")
    return outputs
