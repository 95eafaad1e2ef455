"""What meshes a network, its loss and its crops can use, checked before anything is made or trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import nn

from peculiar.core.errors import InputError

COARSEST = 4
"""Fewest cells along a side of a network's coarsest mesh: on 2^3 cells oneDNN's bf16 gradients of 3^3 convolutions are
NaN now and then."""


class MeshSides(Protocol):
    """What the checks know of a pair: its cells along a side, and whether its opposite faces are one."""

    @property
    def cells(self) -> int:
        """Cells along a side."""

    @property
    def periodic(self) -> bool:
        """Whether opposite faces are one."""


def check_meshes(
    network: nn.Module,
    training: Sequence[MeshSides],
    validation: Sequence[MeshSides],
    *,
    crop: int,
    margin: int,
) -> None:
    """Refuse meshes that a network or a loss cannot use.

    Parameters
    ----------
    network : torch.nn.Module
        It says its `stride`.
    training, validation : sequence of MeshSides
        Boxes for crops, and boxes for whole-box validation.
    crop : int
        Cells along a side of a crop; 0 for whole boxes.
    margin : int
        Outer cells of a crop, or of a box that is not periodic, that the loss leaves out.

    Raises
    ------
    InputError
        If the crop is larger than the boxes or leaves fewer than 4 cells along a side of the network's coarsest mesh,
        if whole boxes are no multiple of its stride, or if nothing is left within the margin.
    """
    stride = int(getattr(network, "stride", 1))  # type: ignore[arg-type]
    smallest = min(pair.cells for pair in training)
    if crop > smallest:
        raise InputError(f"train.crop must be at most the mesh of the boxes ({smallest} cells), got {crop}")
    if 0 < crop < COARSEST * stride:
        raise InputError(
            f"train.crop must be at least {COARSEST * stride} cells for this network, got {crop}"
        )
    if 0 < crop <= 2 * margin:
        raise InputError(f"loss.margin must be below half of a crop's {crop} cells, got {margin}")
    for pair in (*validation, *(() if crop else training)):
        if pair.cells % stride:
            raise InputError(
                f"whole boxes must have a multiple of the network's stride of {stride} cells along a side, got "
                f"{pair.cells}: cut regions of another size, or take a network of fewer levels"
            )
        if not pair.periodic and pair.cells <= 2 * margin:
            raise InputError(
                f"loss.margin must be below half of the {pair.cells} cells of a box that is not periodic, got "
                f"{margin}"
            )
