import numpy as np
import pytest
import torch

from peculiar.core import PRESETS, Box, Catalogue, Cosmology, Field, InputError, OutOfRangeWarning
from peculiar.inference.card_range import card_limits, check_range, radial_selection
from peculiar.inference.card_values import Selection
from peculiar.inference.model_card import WEIGHTS, read_card

XIAO = PRESETS["xiao2024"]


def test_catalogue_in_range(saved, halos, recwarn):
    card = read_card(saved.with_suffix(".json"))
    assert check_range(card, halos(), cells=32, cosmology=XIAO) == []
    assert not recwarn.list


@pytest.mark.parametrize(
    ("changes", "cells", "cosmology", "text"),
    [
        (
            {"count": 300},
            32,
            XIAO,
            "number density 0.0007111 (h/Mpc)^3 is outside 0.0018 to 0.0044 (h/Mpc)^3",
        ),
        ({"redshift": 0.05}, 32, XIAO, "redshift 0.05 is outside 0.1 to 1.1"),
        ({"redshift": 1.15}, 32, XIAO, "redshift 1.15 is outside 0.1 to 1.1"),
        ({}, 24, XIAO, "cell size 3.125 Mpc/h is outside 2.273 to 2.414 Mpc/h"),
        ({}, 32, Cosmology(Omega_m=0.37, sigma8=0.83), "cosmology Omega_m 0.37 is outside 0.2492 to 0.3511"),
        ({}, 32, Cosmology(Omega_m=0.27, sigma8=0.7), "cosmology sigma8 0.7 is outside 0.747 to 0.9047"),
        ({"space": "real"}, 32, XIAO, "positions in real space"),
        ({"box": Box(75.0, periodic=False)}, 32, XIAO, "not periodic"),
    ],
)
def test_catalogue_out_of_range_warns_with_numbers(saved, halos, changes, cells, cosmology, text):
    card = read_card(saved.with_suffix(".json"))
    with pytest.warns(OutOfRangeWarning) as caught:
        texts = check_range(card, halos(**changes), cells=cells, cosmology=cosmology)
    assert len(texts) == 1
    assert texts[0].startswith(text) or text in texts[0]
    assert [str(warning.message) for warning in caught] == texts


def test_mass_weighted_model_needs_masses(saved, halos):
    card = read_card(saved.with_suffix(".json"))
    massive = card.model_copy(update={"inputs": card.inputs.model_copy(update={"weighting": "mass"})})
    with pytest.raises(InputError, match=r"Catalogue.masses must be given"):
        check_range(massive, halos(masses=None), cells=32, cosmology=XIAO)


def test_networks_are_not_used_where_they_were_measured_to_lose():
    """`residual` has 1.8 times the FFT's variance at 2.05e-3, loses at z = 0, wins at z = 0.3."""
    limits = card_limits(read_card(WEIGHTS / "residual.json"))
    low, high = limits["number density"]
    assert 2.05e-3 < low < 3e-3 < high < 4.5e-3
    assert 0.0 < limits["redshift"][0] <= 0.3
    assert limits["redshift"][1] < 1.0
    assert limits["cosmology Omega_m"][0] <= 0.25
    assert limits["cosmology Omega_m"][1] >= 0.35


def survey(*, near=80.0, far=312.0, side=640.0):
    """A volume-limited sample of 5e-3 (h/Mpc)^3 between two distances, in a sixth of the sky."""
    box = Box(side, 64, origin=(0.0, 0.0, 0.0), periodic=False)
    axis = box.coordinates(0)
    distance = np.sqrt(axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2)
    fraction = ((distance > near) & (distance < far)).astype(np.float32)
    points = np.argwhere(fraction)[::7] * box.cell_size + 1.0
    return Catalogue(
        points,
        box,
        redshift=0.0,
        line_of_sight="radial",
        observer=(0.0, 0.0, 0.0),
        completeness=Field(torch.from_numpy(fraction)[None], box, ["completeness"]),
    )


def test_radial_selection_is_the_density_in_shells():
    catalogue = survey()
    distances, density = radial_selection(catalogue)
    assert distances[0] == 87.5
    assert distances[-1] == 312.5
    np.testing.assert_allclose(density, catalogue.number_density)


def test_a_survey_that_does_not_fit_the_selection_of_training_warns_with_numbers(saved):
    card = read_card(saved.with_suffix(".json"))
    catalogue = survey()
    fits = Selection(side=640.0, distances=(87.5, 312.5), number_density=(catalogue.number_density,) * 2)
    card = card.model_copy(update={"redshift_range": (0.0, 0.0), "number_density_range": (1e-5, 1.0)})
    same = card.model_copy(
        update={"selection": fits, "cell_size_range": (10.0, 10.0), "periodic_training": False}
    )
    assert check_range(same, catalogue, cells=64, cosmology=XIAO) == []
    other = Selection(side=360.0, distances=(37.5, 212.5), number_density=(1e-4, 1e-6))
    with pytest.warns(OutOfRangeWarning) as caught:
        texts = check_range(same.model_copy(update={"selection": other}), catalogue, cells=64, cosmology=XIAO)
    assert len(caught) == 3
    assert "box of 640 Mpc/h differs from the 360 Mpc/h" in texts[0]
    assert "distances 75 to 325 Mpc/h reach outside 25 to 225 Mpc/h" in texts[1]
    assert "differs from 1e-06 (h/Mpc)^3, the selection of model 'tiny' there" in texts[2]


@pytest.mark.parametrize("name", ["wang2024-galaxies", "wang2024-groups"])
def test_networks_of_one_place_in_a_survey_hold_its_selection(name):
    selection = read_card(WEIGHTS / f"{name}.json").selection
    assert selection is not None
    assert selection.number_density[0] > 3 * selection.number_density[-1]  # flux limited
