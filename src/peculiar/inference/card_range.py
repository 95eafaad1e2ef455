"""What a network was trained on, by its card, against what it shall be applied to."""

from __future__ import annotations

import warnings

from peculiar.core import Catalogue, Cosmology, InputError, OutOfRangeWarning
from peculiar.inference.model_card import EmulatorCard, ModelCard, PainterCard

CELL_TOLERANCE = (
    0.03  # relative; a box that is no multiple of the card's cell moves it by less on meshes above 17^3
)
COSMOLOGY_TOLERANCE = 0.05  # relative


def check_range(card: ModelCard, catalogue: Catalogue, *, cells: int, cosmology: Cosmology) -> list[str]:
    """Compare a catalogue with what a network was trained on; warn where it lies outside, with the numbers.

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
    The texts, one `OutOfRangeWarning` each; empty when all is in range.

    Raises
    ------
    InputError
        If the network needs masses and the catalogue has none.
    """
    if card.inputs.weighting == "mass" and catalogue.masses is None:
        raise InputError(
            f"Catalogue.masses must be given for model {card.name!r} (mass weighted), got None: name the column of "
            "masses, or use a model without mass weighting"
        )
    texts = []

    def outside(what: str, value: float, limits: tuple[float, float], unit: str) -> None:
        if not limits[0] <= value <= limits[1]:
            texts.append(
                f"{what} {value:.4g}{unit} is outside {limits[0]:.4g} to {limits[1]:.4g}{unit}, the range of model "
                f"{card.name!r}"
            )

    outside("number density", catalogue.number_density, card.number_density_range, " (h/Mpc)^3")
    outside("redshift", catalogue.redshift, card.redshift_range, "")
    near = (card.cell_size * (1 - CELL_TOLERANCE), card.cell_size * (1 + CELL_TOLERANCE))
    outside("cell size", catalogue.box.size / cells, near, " Mpc/h")
    trained = card.training_cosmology
    for name in ("Omega_m", "sigma8"):
        middle = getattr(trained, name)
        limits = (middle * (1 - COSMOLOGY_TOLERANCE), middle * (1 + COSMOLOGY_TOLERANCE))
        outside(f"cosmology {name}", getattr(cosmology, name), limits, "")
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
    for text in texts:
        warnings.warn(text, OutOfRangeWarning, stacklevel=2)
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
    if abs(cell_size / card.cell_size - 1) > CELL_TOLERANCE:
        texts.append(
            f"spacing of particles and cell size {cell_size:.4g} Mpc/h differ from {card.cell_size:.4g} Mpc/h of "
            f"model {card.name!r}"
        )
    if abs(redshift - card.redshift) > 0.01:
        texts.append(f"redshift {redshift:g} differs from {card.redshift:g} of model {card.name!r}")
    for name, (low, high) in card.cosmology_range.items():
        value = getattr(cosmology, name)
        if not 0.99 * low <= value <= 1.01 * high:
            texts.append(
                f"{name} {value:.4g} is outside {low:.4g} to {high:.4g}, the range of model {card.name!r}"
            )
    for text in texts:
        warnings.warn(text, OutOfRangeWarning, stacklevel=3)
