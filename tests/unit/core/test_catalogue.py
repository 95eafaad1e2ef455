import numpy as np
import pytest
import torch

import peculiar
from peculiar.core import Box, Catalogue, Field, InputError

BOX = Box(100.0)


def catalogue(count=5000, **values):
    positions = np.random.default_rng(1).uniform(0, 100, (count, 3))
    return Catalogue(positions=positions, box=BOX, redshift=0.0, **values)


def test_the_number_density_counts_weights():
    weights = np.where(np.arange(5000) % 2, 0.16, 1.0)
    assert catalogue().number_density == pytest.approx(5.0e-3)
    assert catalogue(weights=weights).number_density == pytest.approx(2.9e-3)
    half = Field(torch.full((1, 4, 4, 4), 0.5), BOX.with_cells(4), names=("completeness",), space="redshift")
    assert catalogue(weights=weights, completeness=half).number_density == pytest.approx(5.8e-3)
    assert catalogue(completeness=half).covered_volume == pytest.approx(5e5)


def test_a_catalogue_states_its_redshift():
    with pytest.raises(TypeError, match="redshift"):
        Catalogue(np.full((1, 3), 50.0), BOX)


def test_a_survey_that_sees_no_cell_is_refused():
    unseen = Field(torch.zeros(1, 4, 4, 4), BOX.with_cells(4), names=("completeness",), space="redshift")
    with pytest.raises(InputError, match="completeness must be > 0 in some cell, got 0 in all 64"):
        catalogue(completeness=unseen)


@pytest.mark.parametrize("weights", [np.zeros(5000), np.r_[-1.0, np.ones(4999)]])
def test_weights_that_count_nothing(weights):
    with pytest.raises(InputError, match="weights must be >= 0 and not all 0"):
        catalogue(weights=weights)


def test_equal_masses_are_none():
    with pytest.warns(UserWarning, match=r"all 5000 masses are 1e\+12: they rank nothing"):
        made = catalogue(masses=np.full(5000, 1e12))
    assert made.masses is None


def test_too_few_objects_are_refused_with_the_reason():
    with pytest.raises(
        InputError, match="at least 100 objects, got 2: the shot noise of fewer exceeds any flow"
    ):
        peculiar.reconstruct(catalogue(2), model="linear", cells=8)
    alone = np.ones(5000)
    alone[7] = 1e30
    with pytest.raises(InputError, match="got 5000, whose weights count as 1 equal ones"):
        catalogue(weights=alone).require_objects()
    catalogue(100).require_objects()


def test_an_observer_stands_somewhere():
    with pytest.raises(InputError, match="observer must be finite"):
        catalogue(line_of_sight="radial", observer=(0.0, np.nan, 0.0))
