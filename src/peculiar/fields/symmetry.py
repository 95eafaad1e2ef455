"""The 48 symmetries of the cube, acting on meshes whose vector components turn and flip with their axes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations, product
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float

from peculiar.core.errors import InputError


class Symmetry(NamedTuple):
    """One element of the cube's group.

    New axis i is old axis ``permutation[i]``, then reversed where ``flips[i]``.
    """

    permutation: tuple[int, int, int]
    flips: tuple[bool, bool, bool]


IDENTITY = Symmetry((0, 1, 2), (False, False, False))


def symmetries(line_of_sight: int | str | None = None) -> list[Symmetry]:
    """Return the symmetries of a cube with a preferred axis, the identity first.

    Parameters
    ----------
    line_of_sight : int, "x", "y", "z" or None
        Axis that must stay itself: 16 elements (D4h). None, or "radial" where the sight lines are a channel of their
        own and turn along: all 48.

    Raises
    ------
    InputError
        If the axis is none of these.

    Examples
    --------
    >>> len(symmetries()), len(symmetries("z"))
    (48, 16)
    """
    names: dict[int | str | None, int | None] = {
        "x": 0,
        "y": 1,
        "z": 2,
        0: 0,
        1: 1,
        2: 2,
        None: None,
        "radial": None,
    }
    if line_of_sight not in names:
        raise InputError(f"line_of_sight must be x, y, z, radial or None, got {line_of_sight!r}")
    axis = names[line_of_sight]
    return [
        Symmetry((order[0], order[1], order[2]), (flips[0], flips[1], flips[2]))
        for order in permutations(range(3))
        for flips in product((False, True), repeat=3)
        if axis is None or order[axis] == axis
    ]


def apply_symmetry(
    tensor: Float[torch.Tensor, "*batch channel x y z"],
    symmetry: Symmetry,
    *,
    vectors: Sequence[Sequence[int]] = (),
) -> Float[torch.Tensor, "*batch channel x y z"]:
    """Turn and flip a mesh, its vector components along with it.

    Parameters
    ----------
    tensor : (..., channel, x, y, z)
        Mesh values; the mesh must be a cube where axes change places.
    symmetry : Symmetry
        From `symmetries`.
    vectors : sequence of (i, j, k)
        Channels that hold the x, y and z component of one vector; all other channels are scalars.

    Returns
    -------
    A new tensor (never the input's memory, unless the symmetry is the identity).
    """
    if symmetry == IDENTITY:
        return tensor
    first = tensor.ndim - 3
    axes = [*range(first), *(first + axis for axis in symmetry.permutation)]
    reversed_axes = [first + axis for axis in range(3) if symmetry.flips[axis]]
    turned = torch.flip(tensor.permute(axes), reversed_axes)
    for vector in vectors:  # in place: the mesh is new
        if symmetry.permutation != IDENTITY.permutation:
            old = [vector[axis] for axis in symmetry.permutation]
            turned[..., list(vector), :, :, :] = turned[..., old, :, :, :]
        for axis in range(3):
            if symmetry.flips[axis]:
                turned.select(-4, vector[axis]).neg_()
    return turned


def turn_vectors(vectors: Float[np.ndarray, "n 3"], symmetry: Symmetry) -> Float[np.ndarray, "n 3"]:
    """Turn and flip vectors, or places about the centre, as `apply_symmetry` does those of a mesh."""
    signs = np.where(symmetry.flips, -1, 1).astype(vectors.dtype)
    return vectors if symmetry == IDENTITY else vectors[:, symmetry.permutation] * signs


def invert_symmetry(symmetry: Symmetry) -> Symmetry:
    """Return the symmetry that undoes another.

    Examples
    --------
    >>> invert_symmetry(Symmetry((1, 2, 0), (True, False, False)))
    Symmetry(permutation=(2, 0, 1), flips=(False, True, False))
    """
    permutation, flips = [0, 0, 0], [False, False, False]
    for new, old in enumerate(symmetry.permutation):
        permutation[old] = new
        flips[old] = symmetry.flips[new]
    return Symmetry((permutation[0], permutation[1], permutation[2]), (flips[0], flips[1], flips[2]))


def compose(first: Symmetry, then: Symmetry) -> Symmetry:
    """Return the symmetry that does what one and then another do.

    Examples
    --------
    >>> turn = Symmetry((1, 2, 0), (True, False, False))
    >>> compose(turn, invert_symmetry(turn)) == IDENTITY
    True
    """
    permutation = [first.permutation[axis] for axis in then.permutation]
    flips = [flip != first.flips[axis] for axis, flip in zip(then.permutation, then.flips, strict=True)]
    return Symmetry((permutation[0], permutation[1], permutation[2]), (flips[0], flips[1], flips[2]))
