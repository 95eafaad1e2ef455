"""A network on a whole mesh at once, and the mean over the symmetries of the cube."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from jaxtyping import Float

from peculiar.core import InputError
from peculiar.core.limits import computes_bf16
from peculiar.fields.symmetry import Symmetry, apply_symmetry, invert_symmetry, symmetries

MARGIN = 16
"""Cells added around a mesh that cannot wrap by itself; the outermost ones see the convolutions' zero padding."""

Mesh = Float[torch.Tensor, "channel x y z"]


def half_precision(device: torch.device | str) -> AbstractContextManager[object]:
    """Return bf16 autocast where the device computes in it, a context without effect elsewhere."""
    if computes_bf16(device):
        return torch.autocast(torch.device(device).type, dtype=torch.bfloat16)
    return nullcontext()


def precision(device: torch.device | str) -> torch.dtype:
    """Return in what a network's layers compute there."""
    kind = torch.device(device).type
    with half_precision(device):
        return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else torch.float32


def total_stride(module: torch.nn.Module) -> int:
    """Return the number of cells that meshes of a network are a multiple of (1 if it does not say)."""
    return int(getattr(module, "stride", 1))  # type: ignore[arg-type]


def channels_last(mesh: Mesh) -> Mesh:
    """Return a mesh in the layout that networks read, as float32 or what their layers make; itself where it is so."""
    dtype = mesh.dtype if mesh.dtype == torch.bfloat16 else torch.float32
    return mesh.to(dtype).permute(1, 2, 3, 0).contiguous().permute(3, 0, 1, 2)


def _batch(mesh: Mesh) -> Float[torch.Tensor, "1 channel x y z"]:
    """Return a batch of one mesh, with the strides by which layers know its layout and keep it."""
    return channels_last(mesh).permute(1, 2, 3, 0)[None].permute(0, 4, 1, 2, 3)


def run(module: Callable[..., torch.Tensor], *meshes: Mesh, periodic: bool) -> Mesh:
    """Evaluate a network, or a part of one, on meshes whose sides fit it, without gradients; returns float32."""
    batches = [_batch(mesh) for mesh in meshes]
    with torch.no_grad(), half_precision(meshes[0].device):
        outputs = module(*batches, periodic=periodic)
    return outputs[0].float()


def fits(shape: Sequence[int], multiple: int) -> bool:
    """Whether a mesh goes into a network of a total stride as it is."""
    return all(side % multiple == 0 and side >= 2 * multiple for side in shape)


def extended_sides(
    shape: Sequence[int], *, multiple: int, margin: int = MARGIN
) -> tuple[int, tuple[int, ...]]:
    """Return the cells added below a mesh, and its sides with a margin, all of them multiples of the stride."""
    below = -(-margin // multiple) * multiple
    return below, tuple(-(-(side + below + margin) // multiple) * multiple for side in shape)


def extend(mesh: Mesh, *, periodic: bool, multiple: int, margin: int = MARGIN) -> tuple[Mesh, int]:
    """Put a margin around a mesh so that its sides become multiples of the network's stride.

    A periodic mesh goes on with its own far side. Beyond the faces of another, nothing is known: every channel goes on
    with its mean over the mesh.

    Returns
    -------
    The larger mesh, and the number of cells added below (a multiple of `multiple`).
    """
    below, sides = extended_sides(mesh.shape[1:], multiple=multiple, margin=margin)
    if periodic:
        for axis, side in enumerate(sides):
            index = torch.arange(-below, side - below, device=mesh.device) % mesh.shape[1 + axis]
            mesh = mesh.index_select(1 + axis, index)
        return mesh, below
    larger = mesh.mean(dim=(1, 2, 3))[:, None, None, None].repeat(1, *sides)
    x, y, z = (slice(below, below + side) for side in mesh.shape[1:])
    larger[:, x, y, z] = mesh
    return larger, below


def apply_whole(module: torch.nn.Module, inputs: Mesh, *, periodic: bool = True) -> Mesh:
    """Evaluate a network on a whole mesh of any size.

    A periodic mesh whose sides are multiples of the network's stride is padded circularly by the network itself. Any
    other gets a margin (see `extend`) that is cut off again.

    Parameters
    ----------
    module : torch.nn.Module
        In evaluation mode; called as ``module(batch, periodic=...)``.
    inputs : (channel, x, y, z)
        Input channels.
    periodic : bool
        Whether opposite faces are one.

    Returns
    -------
    (channel, x, y, z) float32, on the same mesh.
    """
    multiple = total_stride(module)
    if periodic and fits(inputs.shape[1:], multiple):
        return run(module, inputs, periodic=True)
    larger, below = extend(inputs, periodic=periodic, multiple=multiple)
    outputs = run(module, larger, periodic=False)
    x, y, z = (slice(below, below + side) for side in inputs.shape[1:])
    return outputs[:, x, y, z].contiguous()


def filled_sides(shape: Sequence[int], *, multiple: int) -> tuple[int, ...]:
    """Return the sides of a mesh that is filled up beyond its upper faces, multiples of the stride."""
    return tuple(max(-(-side // multiple), 2) * multiple for side in shape)


def apply_isolated(module: torch.nn.Module, inputs: Mesh) -> Mesh:
    """Evaluate a network on a region of a survey, whose channels are zero where nothing is known.

    Such networks are trained on regions that end at their faces: the mesh is filled up with zeros beyond its upper
    faces to the next multiple of the network's stride, and gets no margin.

    Parameters
    ----------
    module : torch.nn.Module
        In evaluation mode; called as ``module(batch, periodic=False)``.
    inputs : (channel, x, y, z)
        Input channels.

    Returns
    -------
    (channel, x, y, z) float32, on the same mesh.
    """
    filled = filled_sides(inputs.shape[1:], multiple=total_stride(module))
    extra = [wanted - side for wanted, side in zip(filled, inputs.shape[1:], strict=True)]
    larger = torch.nn.functional.pad(inputs, (0, extra[2], 0, extra[1], 0, extra[0]))
    x, y, z = (slice(0, side) for side in inputs.shape[1:])
    return run(module, larger, periodic=False)[:, x, y, z].contiguous()


def spread_symmetries(count: int, *, line_of_sight: int | str | None) -> list[Symmetry]:
    """Return some symmetries of the cube, the identity first, the rest spread evenly over the group.

    Parameters
    ----------
    count : int
        How many.
    line_of_sight : int, "x", "y", "z", "radial" or None
        See `peculiar.fields.symmetry.symmetries`.

    Raises
    ------
    InputError
        If the group has fewer elements.
    """
    group = symmetries(line_of_sight)
    if not 1 <= count <= len(group):
        raise InputError(
            f"symmetry_average must lie in 1 to {len(group)} for this line of sight, got {count}"
        )
    return [group[index * len(group) // count] for index in range(count)]


def average_symmetries(
    apply: Callable[[Mesh], Mesh],
    inputs: Mesh,
    *,
    elements: Sequence[Symmetry],
    input_vectors: Sequence[Sequence[int]] = (),
    output_vectors: Sequence[Sequence[int]] = (),
) -> Mesh:
    """Turn the inputs, apply a network, turn back, and take the mean.

    Parameters
    ----------
    apply : callable
        From input channels to output channels, both (channel, x, y, z).
    inputs : (channel, x, y, z)
        Input channels; a cube if axes change places.
    elements : sequence of Symmetry
        At least one.
    input_vectors, output_vectors : sequence of (i, j, k)
        Channels that are the components of one vector.
    """
    if not elements:
        raise InputError("elements must hold at least one symmetry, got none")
    total, inputs = torch.zeros(()), channels_last(inputs)
    for index, element in enumerate(elements, start=1):
        turned = apply_symmetry(inputs, element, vectors=input_vectors)
        if index == len(elements):
            del inputs  # which nothing else may hold
        turned = channels_last(turned)
        outputs = apply(turned)
        del turned
        outputs = apply_symmetry(outputs, invert_symmetry(element), vectors=output_vectors)
        total = outputs if index == 1 else total + outputs
    return total / len(elements)
