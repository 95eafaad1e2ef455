"""Rules that every estimator asks of its input before it starts."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float

from peculiar.core.box import Box
from peculiar.core.errors import InputError
from peculiar.core.field import Field


def require_finite(field: Field, name: str, mask: Bool[torch.Tensor, "x y z"] | None = None) -> None:
    """Raise InputError if a value of the field is NaN or infinite, in the cells of the mask if there is one."""
    chosen = require_mask(mask, field)
    data = field.data if chosen is None else field.data[:, chosen]
    # A sum is finite only if every value is (or it overflows, which the count then denies): one pass, no mask.
    if bool(torch.isfinite(data.sum())):
        return
    bad = int((~torch.isfinite(data)).sum())
    if bad:
        raise InputError(f"{name} must be finite, got {bad} values that are not: mask or repair them first")


def require_pair(predicted: Field, truth: Field, *, mask: Bool[torch.Tensor, "x y z"] | None = None) -> None:
    """Raise InputError unless two fields share box, channels and kind, and are finite where the mask says."""
    predicted.require_same_box(truth)
    if len(predicted.names) != len(truth.names) or predicted.kind != truth.kind:
        raise InputError(
            f"fields must have the same channels and kind, got {predicted.names} ({predicted.kind}) and "
            f"{truth.names} ({truth.kind}): compare like with like"
        )
    require_finite(predicted, "predicted", mask)
    require_finite(truth, "truth", mask)


def require_vector(field: Field, name: str) -> None:
    """Raise InputError unless the field is a vector."""
    if field.kind != "vector":
        raise InputError(
            f"{name} must be a vector field, got kind {field.kind!r}: set kind='vector' if it is one"
        )


def require_scalar(field: Field, name: str) -> None:
    """Raise InputError unless the field is a single scalar channel."""
    if field.kind != "scalar" or field.data.shape[0] != 1:
        raise InputError(
            f"{name} must be a scalar field of one channel, got {field.kind} {field.names}: take one channel with "
            "field.replace(data=field.data[i:i+1], names=field.names[i:i+1])"
        )


def require_edges(edges: Sequence[float] | Float[np.ndarray, " edge"], name: str, unit: str) -> np.ndarray:
    """Return bin edges as float64 if there are two or more, finite and rising; else raise InputError."""
    values = np.asarray(edges, dtype=np.float64)
    if values.ndim != 1 or len(values) < 2 or not np.isfinite(values).all() or (np.diff(values) <= 0).any():
        shown = np.array2string(values, threshold=8)
        raise InputError(f"{name} must be two or more finite, rising values [{unit}], got {shown}")
    return values


def require_wavenumber_edges(edges: Sequence[float] | np.ndarray | None, box: Box) -> np.ndarray:
    """Return edges of k bins [h/Mpc]; default: one fundamental mode wide, centred on its multiples, to Nyquist.

    Raises
    ------
    InputError
        If an edge is negative, above sqrt(3) of the Nyquist wavenumber, or the whole range holds no mode.
    """
    if edges is None:
        return (np.arange(box.mesh // 2 + 1) + 0.5) * box.k_fundamental
    values = require_edges(edges, "k edges", "h/Mpc")
    if values[0] < 0:
        raise InputError(f"k edges must be >= 0 h/Mpc, got {values[0]}")
    highest = math.sqrt(3) * box.k_nyquist
    if values[-1] > highest * (1 + 1e-9) or values[-1] < box.k_fundamental:
        raise InputError(
            f"k edges must lie between the box's fundamental wavenumber {box.k_fundamental:.4g} h/Mpc and the mesh's "
            f"corner {highest:.4g} h/Mpc, got {values[0]:.4g} to {values[-1]:.4g}: choose bins inside, or a finer mesh"
        )
    return values


def require_mask(mask: Bool[torch.Tensor, "x y z"] | None, field: Field) -> torch.Tensor | None:
    """Return the mask on the field's device; raise InputError if its shape is not the mesh or it selects < 2 cells."""
    if mask is None:
        return None
    mesh = tuple(field.data.shape[1:])
    if tuple(mask.shape) != mesh or mask.dtype != torch.bool:
        raise InputError(f"mask must be a bool tensor of shape {mesh}, got {mask.dtype} {tuple(mask.shape)}")
    if int(mask.sum()) < 2:
        raise InputError(f"mask must select at least 2 cells, got {int(mask.sum())}")
    return mask.to(field.data.device)
