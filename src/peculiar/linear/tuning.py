"""Tuning of classical reconstructors on validation boxes, coarse to fine, for least velocity error."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from peculiar.core import Catalogue, Cosmology, Field, InputError, Reconstructor

Setting = float | int


@dataclass(frozen=True)
class Tuning:
    """What tuning found.

    Attributes
    ----------
    best : dict
        Settings of least error.
    error : float
        Their rms error of a velocity component over the validation boxes [km/s].
    table : tuple of dict
        Every setting tried with its "error" [km/s], best first.
    """

    best: dict[str, Setting]
    error: float
    table: tuple[dict[str, Setting], ...]

    def __str__(self) -> str:
        names = [name for name in self.table[0] if name != "error"]
        rows = [[*(f"{row[name]:.4g}" for name in names), f"{row['error']:.2f}"] for row in self.table]
        return "\n".join("  ".join(f"{cell:>12}" for cell in row) for row in [[*names, "error km/s"], *rows])


def tune(
    reconstructor_factory: Callable[..., Reconstructor],
    grid: Mapping[str, Sequence[Setting]],
    validation: Sequence[tuple[Catalogue, Field]],
    *,
    cosmology: Cosmology,
    refinements: int = 2,
) -> Tuning:
    """Find the settings of least rms velocity error: the whole grid, then finer grids about the best.

    Each refinement halves the distance from the best setting to its neighbours, in every parameter at once. A parameter
    whose values are integers keeps integers. None leaves the range of its first values: a best setting at an end of it
    asks for a wider grid.

    Parameters
    ----------
    reconstructor_factory : callable
        Makes a reconstructor from the grid's parameters as keywords: ``IterativeFFT``.
    grid : mapping of str to sequence of numbers
        First values of each parameter: ``{"smoothing": [2, 3, 5], "bias": [1.2, 1.6], "iterations": [3, 6]}``.
    validation : sequence of (Catalogue, Field)
        Tracers, and the true velocity [km/s] on the mesh to reconstruct on.
    cosmology : Cosmology
    refinements : int
        Finer grids after the first.

    Returns
    -------
    Tuning

    Raises
    ------
    InputError
        If the grid or the validation set is empty.

    Examples
    --------
    >>> from peculiar.linear import IterativeFFT
    >>> grid = {"smoothing": [2.0, 4.0, 8.0], "bias": [1.0, 1.5, 2.0]}
    >>> best = tune(IterativeFFT, grid, boxes, cosmology=cosmology).best  # doctest: +SKIP
    """
    if not grid or any(len(values) == 0 for values in grid.values()):
        raise InputError(f"grid must hold at least one value for each parameter, got {dict(grid)}")
    if len(validation) == 0:
        raise InputError("validation must hold at least one (catalogue, velocity) pair, got none")
    errors: dict[tuple[Setting, ...], float] = {}
    values = {name: sorted(set(entries)) for name, entries in grid.items()}
    for _ in range(refinements + 1):
        for settings in product(*values.values()):
            if settings not in errors:
                reconstructor = reconstructor_factory(**dict(zip(grid, settings, strict=True)))
                errors[settings] = velocity_error(reconstructor, validation, cosmology=cosmology)
        best = min(errors, key=errors.__getitem__)
        tried = {name: sorted({settings[i] for settings in errors}) for i, name in enumerate(grid)}
        values = {name: _between(tried[name], centre) for name, centre in zip(grid, best, strict=True)}
    table = [
        {**dict(zip(grid, s, strict=True)), "error": errors[s]}
        for s in sorted(errors, key=errors.__getitem__)
    ]
    return Tuning(dict(zip(grid, best, strict=True)), errors[best], tuple(table))


def velocity_error(
    reconstructor: Reconstructor, validation: Sequence[tuple[Catalogue, Field]], *, cosmology: Cosmology
) -> float:
    """Return the rms error of a velocity component [km/s], over all cells, components and boxes."""
    squares = []
    for catalogue, velocity in validation:
        fields = reconstructor.reconstruct(catalogue, cells=max(velocity.box.shape), cosmology=cosmology)
        fields["velocity"].require_same_box(velocity)
        squares.append(float((fields["velocity"].data - velocity.data).square().mean()))
    return float(np.sqrt(np.mean(squares)))


def tuned(
    method: Reconstructor,
    grid: Mapping[str, Sequence[Setting]],
    validation: Sequence[tuple[Catalogue, Field]],
    *,
    cosmology: Cosmology,
) -> Reconstructor:
    """Return a reconstructor of the same kind with the settings that `tune` finds, the others at their defaults."""
    return type(method)(**tune(type(method), grid, validation, cosmology=cosmology).best)


def _between(tried: Sequence[Setting], centre: Setting) -> list[Setting]:
    """Return the centre, and the midpoints to its neighbours among the values tried."""
    integer = all(isinstance(value, int) for value in tried)
    i = list(tried).index(centre)
    neighbours = [tried[j] for j in (i - 1, i + 1) if 0 <= j < len(tried)]
    midpoints = [(centre + other) // 2 if integer else 0.5 * (centre + other) for other in neighbours]
    return sorted({centre, *midpoints})
