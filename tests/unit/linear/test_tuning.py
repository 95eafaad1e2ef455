from dataclasses import dataclass

import numpy as np
import pytest
import torch

from peculiar.core import PRESETS, Box, Catalogue, Field, InputError
from peculiar.linear import tune, velocity_error

COSMOLOGY = PRESETS["xiao2024"]
BOX = Box(100.0, 4)


@dataclass(frozen=True)
class Bowl:
    """Wrong by a known amount: least at smoothing 2.25, bias 1.3 and 4 iterations."""

    smoothing: float
    bias: float = 1.3
    iterations: int = 4
    name: str = "bowl"

    def reconstruct(self, catalogue, *, cells, cosmology):
        error = 10 + (self.smoothing - 2.25) ** 2 + (self.bias - 1.3) ** 2 + (self.iterations - 4) ** 2
        return {
            "velocity": Field(torch.full((3, cells, cells, cells), error), BOX, names="xyz", kind="vector")
        }


@pytest.fixture
def validation():
    catalogue = Catalogue(np.full((1, 3), 50.0), Box(100.0), redshift=0.0)
    at_rest = Field(torch.zeros(3, 4, 4, 4), BOX, names="xyz", unit="km/s", kind="vector")
    return [(catalogue, at_rest)] * 2


def test_the_error_is_the_rms_of_a_component(validation):
    assert velocity_error(Bowl(2.25), validation, cosmology=COSMOLOGY) == pytest.approx(10.0)


def test_coarse_to_fine_closes_in_on_the_minimum(validation):
    grid = {"smoothing": [1.0, 3.0, 6.0], "bias": [1.0, 1.5, 2.0], "iterations": [2, 6]}
    coarse = tune(Bowl, grid, validation, cosmology=COSMOLOGY, refinements=0)
    assert (coarse.best["smoothing"], coarse.best["bias"]) == (3.0, 1.5)
    assert len(coarse.table) == 18
    fine = tune(Bowl, grid, validation, cosmology=COSMOLOGY, refinements=4)
    assert fine.best["smoothing"] == pytest.approx(2.25, abs=0.1)
    assert fine.best["bias"] == pytest.approx(1.3, abs=0.05)
    assert fine.best["iterations"] == 4
    assert isinstance(fine.best["iterations"], int)
    assert fine.error < coarse.error
    assert fine.error == fine.table[0]["error"] == min(row["error"] for row in fine.table)


def test_the_table_prints_best_first(validation):
    text = str(tune(Bowl, {"smoothing": [4.0, 2.0]}, validation, cosmology=COSMOLOGY, refinements=0))
    assert [line.split()[0] for line in text.splitlines()] == ["smoothing", "2", "4"]


def test_empty_grids_and_validation_sets_are_refused(validation):
    with pytest.raises(InputError, match="grid must hold"):
        tune(Bowl, {"smoothing": []}, validation, cosmology=COSMOLOGY)
    with pytest.raises(InputError, match="validation must hold"):
        tune(Bowl, {"smoothing": [1.0]}, [], cosmology=COSMOLOGY)
