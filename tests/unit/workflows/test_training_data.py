"""What a training reads is looked at before it starts."""

import h5py
import numpy as np
import pytest

from peculiar.core import InputError
from peculiar.simulate.pairs import PairSettings
from peculiar.simulate.particle_mesh import Steps
from peculiar.training.recipe import load_recipe
from peculiar.workflows.simulate import simulate_run
from peculiar.workflows.training_data import training_pairs


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    run = tmp_path_factory.mktemp("pairs")
    return simulate_run(
        run, seeds=[1, 501], settings=PairSettings(size=64.0, particles=8, steps=Steps(count=2))
    )


@pytest.mark.parametrize("name", ["displacement", "velocity", "acceleration"])
def test_one_nan_in_a_pair_is_refused(pairs, name):
    splits = {"train": pairs[:1], "validation": pairs[1:]}
    recipe = load_recipe("displacement", profile="smoke")
    with h5py.File(pairs[0], "r+") as file:
        whole = file[name][0, 4, 4, 4]
        file[name][0, 4, 4, 4] = np.nan
    with pytest.raises(InputError, match=f"must be finite, got NaN or infinite '{name}' in .*pair-00001.h5"):
        training_pairs(recipe, splits)
    with h5py.File(pairs[0], "r+") as file:
        file[name][0, 4, 4, 4] = whole
    training, validation = training_pairs(recipe, splits)
    assert (len(training), len(validation)) == (1, 1)
