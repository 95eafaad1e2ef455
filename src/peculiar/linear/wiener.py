"""Multi-tracer Wiener filter; `peculiar.linear.wiener_training` learns it from simulated boxes."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from pydantic import PlainSerializer, PlainValidator

from peculiar.core import Box, Catalogue, Cosmology, Field, InputError, OutOfRangeWarning
from peculiar.core.records import read_json
from peculiar.fields.calculus import displacement_component, displacement_from_fourier
from peculiar.fields.fourier import to_fourier, to_real, wavevectors
from peculiar.fields.paint import ABUNDANCES
from peculiar.linear.classical import linear_fields
from peculiar.linear.iterative import move_back, require_iterations
from peculiar.linear.light_cone import velocity_factor
from peculiar.linear.linear_theory import require_scales
from peculiar.linear.overdensity import (
    binned_weights,
    crop,
    fourier_box,
    mean_density,
    overdensity,
    pad,
    sampling,
)

SCHEMA = 1
SHIPPED = Path(__file__).resolve().parent.parent / "weights" / "wiener.json"
_TRANSFORM_BYTES = 100  # a cell, of four bins
DENSITY_TOLERANCE = 0.1
"""Relative, between the tracers' number density and that at which weights for them were learned."""


@dataclass(frozen=True, eq=False)
class WienerFilter:
    """Least-squares linear map from tracer bins to matter, isotropic in k.

    delta_m(k) = sum_b W_b(|k|) delta_b(k), with delta_b the overdensities of the tracers of abundance bin b, moved back
    by the iterative FFT, and W = C_bb^-1 C_bm from simulated boxes: one set of weights for the matter overdensity, one
    for the velocity, -div v / (a H f). W is linear in k between shells, constant below the first, and falls to 0 at
    the end of the last.

    Parameters
    ----------
    k : (shell,) [h/Mpc]
    weights_density, weights_velocity : (shell, bin)
        For the abundance bins, most massive first.
    total_density, total_velocity : (shell, 1)
        For all tracers in one bin: catalogues without masses or ranks.
    k_max : float
        Where the weights end [h/Mpc].
    abundances : tuple of float
        Cumulative abundances that cut the bins [(h/Mpc)^3].
    smoothing, bias, iterations
        How tracers are moved back (`move_back`).
    training : dict
        What the weights were learned from: boxes, cell_size [Mpc/h], redshift, number_density [(h/Mpc)^3].
    name : str
        In score tables.

    Raises
    ------
    InputError
        If shapes disagree, k does not rise, or a setting is out of range.
    """

    k: Float[np.ndarray, " shell"]
    weights_density: Float[np.ndarray, "shell bin"]
    weights_velocity: Float[np.ndarray, "shell bin"]
    total_density: Float[np.ndarray, "shell 1"]
    total_velocity: Float[np.ndarray, "shell 1"]
    k_max: float
    abundances: tuple[float, ...] = ABUNDANCES
    smoothing: float = 3.0
    bias: float = 1.4
    iterations: int = 6
    training: dict[str, float] = field(default_factory=dict)
    name: str = "Wiener filter"

    def __post_init__(self) -> None:
        require_scales(self.smoothing, self.bias)
        require_iterations(self.iterations)
        object.__setattr__(self, "abundances", tuple(self.abundances))
        k = np.asarray(self.k, dtype=np.float64)
        if k.ndim != 1 or len(k) == 0 or (np.diff(k) <= 0).any() or not 0 < k[-1] < self.k_max:
            raise InputError(
                f"WienerFilter.k must rise from above 0 to below k_max = {self.k_max} h/Mpc, got {k}"
            )
        object.__setattr__(self, "k", k)
        bins = len(self.abundances)
        for name, count in (
            ("weights_density", bins),
            ("weights_velocity", bins),
            ("total_density", 1),
            ("total_velocity", 1),
        ):
            weights = np.asarray(getattr(self, name), dtype=np.float64)
            if weights.shape != (len(k), count) or not np.isfinite(weights).all():
                raise InputError(
                    f"WienerFilter.{name} must be finite of shape {(len(k), count)}, got {weights.shape}"
                )
            object.__setattr__(self, name, weights)

    def reconstruct(self, catalogue: Catalogue, *, cells: int, cosmology: Cosmology) -> dict[str, Field]:
        """Return "density" (overdensity of matter), "velocity" and "momentum" [km/s] on the catalogue's box.

        Warns (`OutOfRangeWarning`) where the catalogue's density is not the one that the weights were learned at.
        """
        learned, density = self.training.get("number_density"), mean_density(catalogue)
        if learned is not None and abs(density / learned - 1) > DENSITY_TOLERANCE:
            warnings.warn(
                f"number density {density:.4g} (h/Mpc)^3 differs from {learned:.4g} (h/Mpc)^3, at which the "
                f"{self.name} was learned: 'iterative' smooths to the density",
                OutOfRangeWarning,
                stacklevel=2,
            )
        grid = sampling(catalogue, cells)
        binned = binned_overdensity(
            catalogue,
            cells=cells,
            cosmology=cosmology,
            abundances=self.abundances,
            smoothing=self.smoothing,
            bias=self.bias,
            iterations=self.iterations,
        )
        return linear_fields(
            wiener_density(binned, grid.box, wiener=self),
            velocity_factor(catalogue, grid.box, cosmology=cosmology)
            * wiener_displacement(binned, grid.box, wiener=self),
            grid.box,
        )

    def memory(self, box: Box) -> int:
        """Return the memory [bytes] that a reconstruction on a mesh takes at most, but for the tracers."""
        return _TRANSFORM_BYTES * fourier_box(box).cell_count

    @cached_property
    def checksum(self) -> str:
        """The sha256 of the filter's numbers and settings, whatever file they are in."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """Return the filter in a form that JSON holds."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        values |= {name: value.tolist() for name, value in values.items() if isinstance(value, np.ndarray)}
        return {"schema": SCHEMA, **values}

    @classmethod
    def from_dict(cls, entries: Mapping[str, Any], *, where: object = "a model card") -> WienerFilter:
        """Return the filter of `to_dict`; InputError if it is of another schema."""
        values = dict(entries)
        schema = values.pop("schema", None)
        if schema != SCHEMA or values.keys() != cls.__dataclass_fields__.keys():
            raise InputError(
                f"{where} must hold a Wiener filter of schema {SCHEMA}, got schema {schema} with {sorted(values)}: "
                "fit it again with this version"
            )
        return cls(**values)

    def save(self, path: str | Path) -> None:
        """Write the filter as JSON."""
        Path(path).write_text(json.dumps(self.to_dict(), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> WienerFilter:
        """Read a filter from JSON; InputError if the file is missing, damaged or of another schema."""
        return cls.from_dict(read_json(path, what="Wiener filter", remedy="fit it again"), where=path)


@lru_cache(maxsize=1)
def shipped_filter() -> WienerFilter:
    """Return the filter that comes with the package (learned at z = 0.59, 3e-3 (h/Mpc)^3)."""
    return WienerFilter.load(SHIPPED)


def _table(given: Any) -> WienerFilter | str:
    if isinstance(given, Mapping):
        return WienerFilter.from_dict(given)
    if isinstance(given, WienerFilter) or given in ("package", "fitted"):
        return given
    raise ValueError(f"wiener must be 'package', 'fitted' or a table, got {given!r}")


WienerTable = Annotated[
    WienerFilter | Literal["package", "fitted"],
    PlainValidator(_table),
    PlainSerializer(lambda one: one.to_dict() if isinstance(one, WienerFilter) else one),
]
"""A filter in a file, or the name of one: "package" comes with it, "fitted" is still to be made."""


def binned_overdensity(
    catalogue: Catalogue,
    *,
    cells: int,
    cosmology: Cosmology,
    abundances: tuple[float, ...] = ABUNDANCES,
    smoothing: float = 3.0,
    bias: float = 1.4,
    iterations: int = 6,
) -> Float[torch.Tensor, "bin x y z"]:
    """Return the overdensity of each abundance bin, tracers moved back, on the catalogue's box.

    One channel where the catalogue has no masses. Settings as in `move_back`.
    """
    positions = move_back(
        catalogue, cells=cells, cosmology=cosmology, smoothing=smoothing, bias=bias, iterations=iterations
    )
    grid = sampling(catalogue, cells)
    return crop(overdensity(positions, grid, weights=binned_weights(catalogue, abundances)), grid.box)


def wiener_density(
    binned: Float[torch.Tensor, "bin x y z"], box: Box, *, wiener: WienerFilter | None = None
) -> Float[torch.Tensor, "1 x y z"]:
    """Return the matter overdensity that the filter makes of the tracer bins.

    Parameters
    ----------
    binned : Tensor (bin, x, y, z)
        Overdensities as `binned_overdensity` gives them: all bins, or one channel for all tracers.
    box : Box
        With the mesh of `binned`; zero-padded if not periodic.
    wiener : WienerFilter, optional
        The one that comes with the package where not given.

    Raises
    ------
    InputError
        If the channels are neither 1 nor the filter's bins.
    """
    return _sums(binned, box, wiener).density()


def wiener_displacement(
    binned: Float[torch.Tensor, "bin x y z"], box: Box, *, wiener: WienerFilter | None = None
) -> Float[torch.Tensor, "3 x y z"]:
    """Return v / (a H f) [Mpc/h], curl-free, that the filter makes of the tracer bins.

    Parameters and errors as in `wiener_density`.
    """
    return _sums(binned, box, wiener).displacement()


class WienerSums:
    """What a filter makes of tracer bins that are given one at a time: the sums over bins of W_b(|k|) delta_b(k).

    Parameters
    ----------
    wiener : WienerFilter
    box : Box
        With the mesh of the bins; zero-padded if not periodic.
    bins : int
        All bins, or one for all tracers.

    Raises
    ------
    InputError
        If the number of bins is neither 1 nor the filter's.
    """

    def __init__(self, wiener: WienerFilter, box: Box, bins: int) -> None:
        if bins not in (1, len(wiener.abundances)):
            raise InputError(
                f"binned must have 1 or {len(wiener.abundances)} channels like the filter's bins, got {bins}"
            )
        single = bins == 1
        self._box, self._fourier = box, fourier_box(box)
        self._nodes = np.append(wiener.k, wiener.k_max)  # a zero at k_max closes the last shell
        self._weights = (
            wiener.total_density if single else wiener.weights_density,
            wiener.total_velocity if single else wiener.weights_velocity,
        )
        x, y, z = self._fourier.shape
        self._density, self._velocity = (
            torch.zeros((x, y, z // 2 + 1), dtype=torch.complex64) for _ in range(2)
        )
        self._added = 0

    def add(self, delta: Float[torch.Tensor, "x y z"]) -> None:
        """Add the overdensity of the next bin, most massive first."""
        delta_k = to_fourier(pad(delta[None], self._box)[0])
        # Flat below the first shell.
        of_density, of_velocity = (np.append(weights[:, self._added], 0.0) for weights in self._weights)
        planes, ky, kz = wavevectors(self._fourier, dtype=torch.float64)
        for kx, modes, *totals in zip(planes, delta_k, self._density, self._velocity, strict=True):
            k = (kx**2 + ky[0] ** 2 + kz[0] ** 2).sqrt_().numpy()  # of one plane: bounds the temporaries
            for total, values in zip(totals, (of_density, of_velocity), strict=True):
                total += modes * torch.from_numpy(np.interp(k, self._nodes, values).astype(np.float32))
        self._added += 1

    def density(self) -> Float[torch.Tensor, "1 x y z"]:
        """Return the matter overdensity."""
        return crop(to_real(self._density, self._fourier.shape)[None], self._box)

    def displacement(self) -> Float[torch.Tensor, "3 x y z"]:
        """Return v / (a H f) [Mpc/h], curl-free."""
        return displacement_from_fourier(self._velocity, self._fourier, kept=self._box)

    def displacement_along(self, axis: int) -> Float[torch.Tensor, "1 x y z"]:
        """Return one component of it."""
        out = torch.empty(1, *self._box.shape)
        displacement_component(self._velocity, self._fourier, axis, out=out[0])
        return out


def _sums(binned: torch.Tensor, box: Box, wiener: WienerFilter | None) -> WienerSums:
    sums = WienerSums(shipped_filter() if wiener is None else wiener, box, len(binned))
    for delta in binned:
        sums.add(delta)
    return sums
