"""Fourier modes of a field or catalogue, and sums over shells of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor

from peculiar.core.box import Box
from peculiar.core.catalogue import Catalogue
from peculiar.core.errors import InputError
from peculiar.core.field import Field, Kind
from peculiar.core.readout import Scheme
from peculiar.fields.fourier import mode_weights, to_fourier
from peculiar.fields.paint import deconvolve, paint_interlaced_fourier
from peculiar.statistics.checks import require_finite

SLAB_CELLS = 1 << 21  # cells handled at once: bounds the double-precision copies to some 100 MB


@dataclass(frozen=True, eq=False)
class Modes:
    """Fourier modes that estimators work on; made by `modes_of` or `catalogue_modes`.

    Attributes
    ----------
    data : (channel, x, y, half), complex
        Half-complex layout; the mean over cells of ``field * exp(-i k x)``, so that ``volume * |data|^2`` is a power.
    box : Box
        With its mesh.
    unit : str
        Of the field.
    kind : "scalar" or "vector"
        A vector's power is the sum over its components.
    shot_noise : float
        Power of the discreteness [(Mpc/h)^3], 0 for a field; auto powers subtract it.
    shot_bispectrum : float
        Bispectrum of the discreteness [(Mpc/h)^6], 0 for a field.
    """

    data: Complex[Tensor, "channel x y half"]
    box: Box
    unit: str = ""
    kind: Kind = "scalar"
    shot_noise: float = 0.0
    shot_bispectrum: float = 0.0


def modes_of(field: Field | Modes, name: str = "field", *, window: Scheme | None = None) -> Modes:
    """Return the modes of a periodic field; modes are returned as they are.

    Parameters
    ----------
    field : Field or Modes
        One scalar channel or a vector.
    name : str
        What errors call it.
    window : "ngp", "cic" or "tsc", optional
        The scheme that painted the field, to be divided out; default: the values are the field itself.

    Raises
    ------
    InputError
        If the box is not periodic, a value is not finite, or a scalar field has several channels.
    """
    if isinstance(field, Modes):
        return field
    if not field.box.periodic:
        raise InputError(
            f"{name}.box must be periodic for Fourier modes, got periodic=False: cut a periodic box, or state that the "
            "field may be wrapped with field.replace(box=...)"
        )
    if field.kind == "scalar" and field.data.shape[0] != 1:
        raise InputError(
            f"{name} must have one scalar channel or be a vector, got scalar {field.names}: take one channel with "
            "field.replace(data=field.data[i:i+1], names=field.names[i:i+1])"
        )
    require_finite(field, name)
    data = field.data if field.data.dtype == torch.float64 else field.data.float()
    modes = to_fourier(data)
    modes /= field.box.mesh**3
    if window is not None:
        modes = deconvolve(modes, field.box, scheme=window)
    return Modes(modes, field.box, unit=field.unit, kind=field.kind)


def catalogue_modes(
    catalogue: Catalogue, cells: int, *, scheme: Scheme = "tsc", device: torch.device | str = "cpu"
) -> Modes:
    """Return the modes of a catalogue's overdensity: interlaced, the window divided out, shot noise known.

    Parameters
    ----------
    catalogue : Catalogue
        In a periodic box; its weights count.
    cells : int
        Mesh cells along a side. Modes are good to about half the mesh's Nyquist wavenumber.
    scheme : "ngp", "cic" or "tsc"
        How the objects are painted.
    device
        Where the mesh lives.

    Returns
    -------
    Modes
        Shot noise is V sum(w^2) / sum(w)^2 [(Mpc/h)^3], its bispectrum V^2 sum(w^3) / sum(w)^3.

    Raises
    ------
    InputError
        If the box is not periodic, or the catalogue is a survey.
    """
    if not catalogue.box.periodic or catalogue.completeness is not None:
        raise InputError(
            "catalogue must fill a periodic box for its power, got a survey or periodic=False: a survey's power needs "
            "its window, which is not divided out here"
        )
    weights = np.ones(len(catalogue)) if catalogue.weights is None else catalogue.weights.astype(np.float64)
    box = catalogue.box.with_cells(cells)
    positions = torch.as_tensor(catalogue.positions, device=device)
    data = paint_interlaced_fourier(
        positions, box, weights=None if catalogue.weights is None else weights, scheme=scheme
    )
    data /= weights.sum()
    data[:, 0, 0, 0] = 0  # the overdensity has no mean
    return Modes(
        data,
        box,
        shot_noise=float(box.volume * (weights**2).sum() / weights.sum() ** 2),
        shot_bispectrum=float(box.volume**2 * (weights**3).sum() / weights.sum() ** 3),
    )


def require_same_modes(first: Modes, second: Modes) -> None:
    """Raise InputError unless two sets of modes share mesh and channels."""
    if first.box != second.box:
        raise InputError(f"fields must share one box, got {first.box} and {second.box}: regrid one of them")
    if first.data.shape != second.data.shape or first.kind != second.kind:
        raise InputError(
            f"fields must have the same channels, got {first.data.shape[0]} ({first.kind}) and "
            f"{second.data.shape[0]} ({second.kind}): compare like with like"
        )
    if first.data.device != second.data.device:
        raise InputError(
            f"fields must be on one device, got {first.data.device} and {second.data.device}: move one with .to()"
        )


@dataclass(frozen=True, eq=False)
class Slab:
    """Some x planes of a mesh of integer vectors that broadcast against each other.

    Attributes
    ----------
    rows : slice
        The planes.
    vector : three int64 tensors
        Integer components along x, y, z: wavenumbers in units of the fundamental one, or offsets in cells.
    squared : (x, y, z) int64
        |vector|^2.
    weight : (1, 1, z)
        How many modes of the full mesh each one stands for.
    """

    rows: slice
    vector: tuple[Int[Tensor, "x 1 1"], Int[Tensor, "1 y 1"], Int[Tensor, "1 1 z"]]
    squared: Int[Tensor, "x y z"]
    weight: Float[Tensor, "1 1 z"]

    def along(self, axis: Sequence[float]) -> Float[Tensor, "..."]:
        """Component of the vectors along a unit vector; broadcasts against the slab."""
        parts = [c * float(unit) for c, unit in zip(self.vector, axis, strict=True) if unit != 0]
        return torch.as_tensor(sum(parts), dtype=torch.float64, device=self.squared.device)


def slabs(cells: int, device: torch.device | str) -> Iterator[Slab]:
    """Walk over a mesh in the layout of `to_fourier` in slabs."""
    full = torch.fft.fftfreq(cells, d=1 / cells, dtype=torch.float64).round().long().to(device)
    half = full[: cells // 2 + 1].abs()
    weight = mode_weights(cells, device)
    rows = max(1, SLAB_CELLS // (cells * len(half)))
    y, z = full.reshape(1, -1, 1), half.reshape(1, 1, -1)
    for start in range(0, cells, rows):
        x = full[start : start + rows].reshape(-1, 1, 1)
        yield Slab(slice(start, start + rows), (x, y, z), x * x + (y * y + z * z), weight)


def shell_sums(
    cells: int,
    device: torch.device | str,
    quantities: Callable[[Slab], Sequence[Tensor]],
    *,
    keep_zero: bool = False,
) -> Float[np.ndarray, "quantity shell"]:
    """Sum quantities over the shells of equal integer |vector|^2, each mode counted as often as the full mesh holds it.

    Shells, not bins: any bins follow from them exactly, with no rounding at bin edges. The last row has the number of
    modes in each shell.

    Parameters
    ----------
    cells : int
        Of the mesh along a side, in the layout of `to_fourier`.
    device
        Where the quantities are.
    quantities : callable
        Slab -> tensors of its shape, equal at +vector and -vector.
    keep_zero : bool
        Whether the zero vector counts; the mean of a field does not.
    """
    counts = shell_counts(cells)
    total: Tensor | None = None
    for slab in slabs(cells, device):
        index = slab.squared.flatten()
        sums = torch.stack(
            [
                torch.bincount(index, (values * slab.weight).flatten(), minlength=len(counts))
                for values in quantities(slab)
            ]
        )
        total = sums if total is None else total.add_(sums)
    assert total is not None  # a mesh has at least two planes
    result = np.vstack([total.cpu().numpy(), counts])
    if not keep_zero:
        result[:, 0] = 0.0
    return result


def shell_counts(cells: int) -> Float[np.ndarray, " shell"]:
    """Return how many vectors of a mesh have each integer |vector|^2."""
    squares = np.rint(np.fft.fftfreq(cells, d=1 / cells)).astype(np.int64) ** 2
    plane = np.bincount((squares[:, None] + squares).ravel()).astype(np.float64)
    counts = np.zeros(3 * (cells // 2) ** 2 + 1)
    for square, number in zip(*np.unique(squares, return_counts=True), strict=True):
        counts[square : square + len(plane)] += number * plane
    return counts


def bin_shells(
    sums: Float[np.ndarray, "quantity shell"], unit: float, edges: Float[np.ndarray, " edge"]
) -> Float[np.ndarray, "quantity bin"]:
    """Add shells up into bins that include their lower edge; `unit` is the length of the integer vector (1, 0, 0)."""
    length = np.sqrt(np.arange(sums.shape[1]))
    # A mode that lies on an edge belongs above it, whatever the rounding of edge / unit.
    index = np.searchsorted(edges / unit * (1 - 1e-9), length, side="right") - 1
    inside = (index >= 0) & (index < len(edges) - 1)
    return np.stack([np.bincount(index[inside], row[inside], minlength=len(edges) - 1) for row in sums])


def divide(
    sums: Float[np.ndarray, "*shape"], counts: Float[np.ndarray, "*shape"]
) -> Float[np.ndarray, "*shape"]:
    """Divide sums by counts, NaN where the count is zero."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(counts > 0, sums / counts, np.nan)
