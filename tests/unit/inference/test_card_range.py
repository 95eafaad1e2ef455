import pytest

from peculiar.core import PRESETS, Box, InputError, OutOfRangeWarning
from peculiar.inference.card_range import check_range
from peculiar.inference.model_card import read_card


def test_catalogue_in_range(saved, halos, recwarn):
    card = read_card(saved.with_suffix(".json"))
    assert check_range(card, halos(), cells=32, cosmology=PRESETS["xiao2024"]) == []
    assert not recwarn.list


@pytest.mark.parametrize(
    ("changes", "cells", "preset", "text"),
    [
        (
            {"count": 300},
            32,
            "xiao2024",
            "number density 0.0007111 (h/Mpc)^3 is outside 0.002 to 0.004 (h/Mpc)^3",
        ),
        ({"redshift": 0.1}, 32, "xiao2024", "redshift 0.1 is outside 0.4 to 0.8"),
        ({}, 24, "xiao2024", "cell size 3.125 Mpc/h is outside 2.273 to 2.414 Mpc/h"),
        ({}, 32, "wu2021", "cosmology Omega_m 0.31 is outside 0.2546 to 0.2814"),
        ({"space": "real"}, 32, "xiao2024", "positions in real space"),
        ({"box": Box(75.0, periodic=False)}, 32, "xiao2024", "not periodic"),
    ],
)
def test_catalogue_out_of_range_warns_with_numbers(saved, halos, changes, cells, preset, text):
    card = read_card(saved.with_suffix(".json"))
    with pytest.warns(OutOfRangeWarning) as caught:
        texts = check_range(card, halos(**changes), cells=cells, cosmology=PRESETS[preset])
    assert len(texts) == 1
    assert texts[0].startswith(text) or text in texts[0]
    assert [str(warning.message) for warning in caught] == texts


def test_mass_weighted_model_needs_masses(saved, halos):
    card = read_card(saved.with_suffix(".json"))
    massive = card.model_copy(update={"inputs": card.inputs.model_copy(update={"weighting": "mass"})})
    with pytest.raises(InputError, match=r"Catalogue.masses must be given"):
        check_range(massive, halos(masses=None), cells=32, cosmology=PRESETS["xiao2024"])
