import numpy as np
import pytest

import peculiar
from peculiar.core import PRESETS, Box
from peculiar.simulate.initial import linear_density
from peculiar.simulate.lagrangian import displacement_of
from peculiar.simulate.particle_mesh import Steps, evolve

BOX = Box(64.0, 16)
SEED = 9001


def truth():
    modes = linear_density(BOX, PRESETS["he2019"], seed=SEED)
    return displacement_of(
        evolve(modes[None], BOX, PRESETS["he2019"], redshift=0.0, steps=Steps(20)).positions[0], BOX
    )


def test_the_default_is_the_most_accurate():
    run, default, theory = (
        truth(),
        peculiar.emulate(BOX, seed=SEED),
        peculiar.emulate(BOX, seed=SEED, steps=0),
    )
    assert (default.model, default.steps, default.redshift) == ("few-steps", 5, 0.0)
    assert (theory.model, theory.steps) == ("displacement", 0)
    error, of_theory = (float((made.displacement - run).norm()) for made in (default, theory))
    assert error < 0.4 * of_theory


def test_models_and_steps_are_reachable():
    named = peculiar.emulate(BOX, seed=SEED, model="displacement")
    assert (named.model, named.steps, named.redshift) == ("displacement", 0, 0.0)
    fewer = peculiar.emulate(BOX, seed=SEED, steps=1, redshift=1.0)
    assert (fewer.model, fewer.steps, fewer.redshift) == ("few-steps", 1, 1.0)
    assert np.isfinite(fewer.velocity.numpy()).all()
    with pytest.raises(peculiar.InputError, match="redshift must be 0 for model 'displacement', got 1"):
        peculiar.emulate(BOX, seed=SEED, steps=0, redshift=1.0)
