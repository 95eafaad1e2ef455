"""What a network was trained on, by its card, against what it shall be applied to."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from peculiar.core import Catalogue, Cosmology, InputError, OutOfRangeWarning
from peculiar.inference.card_values import Selection
from peculiar.inference.model_card import EmulatorCard, ModelCard, PainterCard
from peculiar.linear.overdensity import mean_density
from peculiar.linear.wiener import DENSITY_TOLERANCE

CELL_TOLERANCE = (
    0.03  # relative; a box that is no multiple of the card's cell moves it by less on meshes above 17^3
)
NEAR_CELLS = 1.25
"""Times the largest, or the inverse times the smallest, cells of a measurement: what was found there holds."""
REDSHIFT_TOLERANCE = 0.01
"""Of emulators and painters, beyond the redshifts that they were trained at."""
SHELL = 25.0
"""Width of the shells in which a survey's expected density is compared with that of training [Mpc/h]."""
SELECTION_TOLERANCE = 2.0
"""Factor by which the expected density of a shell may differ from that of training."""
_FEWEST_CELLS = 0.01  # of those of the fullest shell, for a shell to count


@dataclass(frozen=True)
class Tolerance:
    """How far beyond what they were trained on networks were measured to win over a tuned iterative FFT.

    Factors of the lowest and of the highest value; the redshift is a difference.
    """

    number_density: tuple[float, float]
    redshift: float = 0.3
    Omega_m: tuple[float, float] = (0.93, 1.31)
    sigma8: tuple[float, float] = (0.9, 1.09)


BOXES = Tolerance((1 - DENSITY_TOLERANCE, 1 + DENSITY_TOLERANCE))
SURVEYS = Tolerance((0.1, 1.1))
"""Networks that see the expected number of tracers, and a flow with a measured bias, follow sparser samples."""
ANY = Tolerance((0.9, 1.1), redshift=0.05, Omega_m=(1.0, 1.0), sigma8=(1.0, 1.0))
"""Networks whose training spans the use."""


def are_near(cell_size: float, measured: tuple[float, float]) -> bool:
    """Return whether cells are like those of a measurement, the smallest and the largest; see `NEAR_CELLS`."""
    smallest, largest = measured
    return smallest / NEAR_CELLS <= cell_size <= largest * NEAR_CELLS


def card_limits(card: ModelCard) -> dict[str, tuple[float, float]]:
    """Return the least and the greatest number density, redshift, cell size, Omega_m and sigma8 for a network.

    What it was trained on, and beyond that as far as networks were measured to win (`Tolerance`).
    """
    tolerance = {"survey": SURVEYS, "wiener": ANY}.get(card.inputs.kind, BOXES)
    low, high = card.redshift_range

    def scaled(trained: tuple[float, float], factors: tuple[float, float]) -> tuple[float, float]:
        return trained[0] * factors[0], trained[1] * factors[1]

    limits = {
        "number density": scaled(card.number_density_range, tolerance.number_density),
        "redshift": (max(low - tolerance.redshift, 0.0), high + tolerance.redshift),
        "cell size": scaled(card.cell_size_range, (1 - CELL_TOLERANCE, 1 + CELL_TOLERANCE)),
    }
    for name in ("Omega_m", "sigma8"):
        limits[f"cosmology {name}"] = scaled(card.cosmology_range[name], getattr(tolerance, name))
    return limits


def outside_limits(card: ModelCard, catalogue: Catalogue, *, cells: int, cosmology: Cosmology) -> list[str]:
    """Return in what a catalogue lies outside the range in which a network was measured to win, with the numbers.

    Parameters and errors as in `range_texts`.
    """
    if card.inputs.weighting == "mass" and catalogue.masses is None:
        raise InputError(
            f"Catalogue.masses must be given for model {card.name!r} (mass weighted), got None: name the column of "
            "masses, or use a model without mass weighting"
        )
    found = {
        "number density": (mean_density(catalogue), " (h/Mpc)^3"),
        "redshift": (catalogue.redshift, ""),
        "cell size": (catalogue.box.with_cells(cells).cell_size, " Mpc/h"),
        "cosmology Omega_m": (cosmology.Omega_m, ""),
        "cosmology sigma8": (cosmology.sigma8, ""),
    }
    texts = []
    for what, (low, high) in card_limits(card).items():
        value, unit = found[what]
        if not low <= value <= high:
            texts.append(
                f"{what} {value:.4g}{unit} is outside {low:.4g} to {high:.4g}{unit}, the range of model {card.name!r}"
            )
    if card.selection is not None:
        texts += _outside_selection(card.name, card.selection, catalogue)
    return texts


def range_texts(card: ModelCard, catalogue: Catalogue, *, cells: int, cosmology: Cosmology) -> list[str]:
    """Compare a catalogue with what a network was trained on, and say where it lies outside, with the numbers.

    Parameters
    ----------
    card : ModelCard
        The network's card.
    catalogue : Catalogue
        What it shall be applied to.
    cells : int
        Mesh cells along a side.
    cosmology : Cosmology
        The one that will turn displacements into velocities.

    Returns
    -------
    The texts; empty when all is in range.

    Raises
    ------
    InputError
        If the network needs masses and the catalogue has none.
    """
    texts = outside_limits(card, catalogue, cells=cells, cosmology=cosmology)
    if catalogue.space != card.space:
        texts.append(
            f"positions in {catalogue.space} space, but model {card.name!r} was trained on {card.space} space"
        )
    if catalogue.line_of_sight == "radial" and card.line_of_sight != "any":
        texts.append(
            f"the line of sight is radial, but model {card.name!r} was trained on a plane-parallel one"
        )
    if not catalogue.box.periodic and card.periodic_training:
        texts.append(
            f"the box is not periodic, but model {card.name!r} was trained on periodic boxes: expect larger errors "
            "near the faces"
        )
    return texts


def check_range(card: ModelCard, catalogue: Catalogue, *, cells: int, cosmology: Cosmology) -> list[str]:
    """Return `range_texts`, and warn (`OutOfRangeWarning`) of each."""
    texts = range_texts(card, catalogue, cells=cells, cosmology=cosmology)
    for text in texts:
        warnings.warn(text, OutOfRangeWarning, stacklevel=2)
    return texts


def radial_selection(
    catalogue: Catalogue,
) -> tuple[Float[np.ndarray, " shell"], Float[np.ndarray, " shell"]]:
    """Return the distances of shells about the observer [Mpc/h], and the mean density expected in their seen cells.

    Parameters
    ----------
    catalogue : Catalogue
        A survey, with completeness and observer.

    Returns
    -------
    distances : (shell,) [Mpc/h]
        Middles of shells of 25 Mpc/h.
    number_density : (shell,) [(h/Mpc)^3]
    """
    assert catalogue.completeness is not None
    assert catalogue.observer is not None
    box = catalogue.completeness.box
    fraction = catalogue.completeness.numpy()[0]
    x, y, z = ((box.coordinates(axis) - catalogue.observer[axis]) ** 2 for axis in range(3))
    distance = np.sqrt(x[:, None, None] + y[:, None] + z)
    seen = fraction > 0
    shell = (distance[seen] / SHELL).astype(int)
    cells = np.bincount(shell)
    total = np.bincount(shell, weights=fraction[seen])
    full = np.flatnonzero(cells > _FEWEST_CELLS * cells.max())
    return (full + 0.5) * SHELL, catalogue.number_density * total[full] / cells[full]


def _outside_selection(name: str, trained: Selection, catalogue: Catalogue) -> list[str]:
    if catalogue.completeness is None or catalogue.observer is None:
        return [
            f"the catalogue has no radial selection, but model {name!r} was trained at one place of one survey"
        ]
    texts = []
    side = max(catalogue.box.sides)
    if not 0.9 < side / trained.side < 1.1:
        texts.append(
            f"the survey's box of {side:.0f} Mpc/h differs from the {trained.side:.0f} Mpc/h of model {name!r}"
        )
    distances, density = radial_selection(catalogue)
    near, far = trained.distances[0], trained.distances[-1]
    if distances[0] < near - SHELL or distances[-1] > far + SHELL:
        texts.append(
            f"distances {distances[0] - SHELL / 2:.0f} to {distances[-1] + SHELL / 2:.0f} Mpc/h reach outside "
            f"{near - SHELL / 2:.0f} to {far + SHELL / 2:.0f} Mpc/h, those of model {name!r}"
        )
    expected = np.interp(distances, trained.distances, trained.number_density)
    factor = density / expected
    worst = int(np.abs(np.log(factor)).argmax())
    if not 1 / SELECTION_TOLERANCE <= factor[worst] <= SELECTION_TOLERANCE:
        texts.append(
            f"number density {density[worst]:.2g} (h/Mpc)^3 at {distances[worst]:.0f} Mpc/h differs from "
            f"{expected[worst]:.2g} (h/Mpc)^3, the selection of model {name!r} there"
        )
    return texts


def warn_outside(
    card: EmulatorCard | PainterCard, *, cell_size: float, redshift: float, cosmology: Cosmology
) -> None:
    """Warn (`OutOfRangeWarning`), with the numbers, of what an emulator or painter was not trained on.

    Parameters
    ----------
    card : EmulatorCard or PainterCard
    cell_size : float
        Of the mesh, or the particles' separation [Mpc/h].
    redshift : float
    cosmology : Cosmology
    """
    texts = []
    low, high = card.cell_size_range
    if not (1 - CELL_TOLERANCE) * low <= cell_size <= (1 + CELL_TOLERANCE) * high:
        texts.append(
            f"spacing of particles and cell size {cell_size:.4g} Mpc/h differ from {_span(low, high)} Mpc/h of "
            f"model {card.name!r}"
        )
    low, high = card.redshift_range
    if not low - REDSHIFT_TOLERANCE <= redshift <= high + REDSHIFT_TOLERANCE:
        texts.append(f"redshift {redshift:g} differs from {_span(low, high)} of model {card.name!r}")
    for name, (low, high) in card.cosmology_range.items():
        value = getattr(cosmology, name)
        if not 0.99 * low <= value <= 1.01 * high:
            texts.append(
                f"{name} {value:.4g} is outside {low:.4g} to {high:.4g}, the range of model {card.name!r}"
            )
    for text in texts:
        warnings.warn(text, OutOfRangeWarning, stacklevel=3)


def _span(low: float, high: float) -> str:
    return f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}"
