"""Fields on the mesh of a box."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float

from peculiar.core.box import Box
from peculiar.core.errors import InputError

Space = Literal["real", "redshift"]
Kind = Literal["scalar", "vector"]


@dataclass(frozen=True, eq=False)
class Field:
    """Values on the mesh of a box.

    Parameters
    ----------
    data : Tensor (channel, x, y, z)
        The values, at cell centres.
    box : Box
        The box with its mesh.
    names : sequence of str
        One name per channel.
    unit : str
        Unit of the values ("" for none, "km/s", "Mpc/h").
    space : "real" or "redshift"
        Which positions the field is a function of.
    kind : "scalar" or "vector"
        Three channels are a vector only if the field says so.
    definition : str
        How a velocity was defined on the mesh ("" where it does not apply).

    Raises
    ------
    InputError
        If the shape does not match the box, the names or the kind.
    """

    data: Float[torch.Tensor, "channel x y z"]
    box: Box
    names: Sequence[str]
    unit: str = ""
    space: Space = "real"
    kind: Kind = "scalar"
    definition: str = ""

    def __post_init__(self) -> None:
        cells, shape = self.box.shape, tuple(self.data.shape)
        if len(shape) != 4 or shape[1:] != cells:
            raise InputError(
                f"Field.data must have shape (channel, {', '.join(map(str, cells))}) like its box, got {shape}"
            )
        if len(self.names) != shape[0]:
            raise InputError(
                f"Field.names must have one name per channel ({shape[0]}), got {tuple(self.names)}"
            )
        if self.kind == "vector" and shape[0] != 3:
            raise InputError(f"Field.kind 'vector' must have 3 channels, got {shape[0]}: use kind='scalar'")
        if self.kind not in ("scalar", "vector") or self.space not in ("real", "redshift"):
            raise InputError(
                f"Field.kind/space must be scalar|vector and real|redshift, got {self.kind}, {self.space}"
            )
        object.__setattr__(self, "names", tuple(self.names))

    def replace(self, **changes: object) -> Field:
        """Return a copy with some attributes changed."""
        return replace(self, **changes)  # type: ignore[arg-type]

    def to(self, target: torch.device | torch.dtype | str) -> Field:
        """Return the field on another device or with another dtype."""
        return self.replace(data=self.data.to(target))

    def numpy(self) -> Float[np.ndarray, "channel x y z"]:
        """Return the values as a NumPy array."""
        return self.data.detach().cpu().numpy()

    def require_same_box(self, other: Field) -> None:
        """Raise InputError unless the other field lives on the same mesh."""
        if self.box != other.box:
            raise InputError(f"fields must share one box, got {self.box} and {other.box}: regrid one of them")

    def at(self, positions: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n channel"]:
        """Interpolate trilinearly between cell centres.

        Parameters
        ----------
        positions : (n, 3) [Mpc/h]
            In box coordinates. A periodic box wraps; otherwise positions outside the box give NaN, and the half cell
            next to a face takes the nearest centre's value.

        Returns
        -------
        (n, channel), in the field's unit.
        """
        from peculiar.core.readout import position_tensor, readout  # numba takes a moment to import

        points = position_tensor(np.asarray(positions, dtype=np.float64)).numpy()
        # From the lower corner: far from the coordinates' zero, single precision is coarser than a cell deserves.
        corner = replace(self.box, origin=(0.0, 0.0, 0.0))
        values = (
            readout(self.data, points - np.asarray(self.box.origin), corner).cpu().numpy().astype(np.float64)
        )
        if not self.box.periodic:
            values[~self.box.contains(points)] = np.nan
        return values
