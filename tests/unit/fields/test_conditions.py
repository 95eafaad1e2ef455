import math

import pytest
import torch
from pydantic import ValidationError

from peculiar.core import PRESETS, Box
from peculiar.core.spheres import log_sigma
from peculiar.fields.conditions import CONDITIONS, Circumstances, condition_channels
from peculiar.linear.density_inputs import DensityInputs
from peculiar.linear.inputs import InputSpec
from peculiar.linear.survey_inputs import SurveyInputs
from peculiar.simulate.lagrangian import LagrangianInputs

COSMOLOGY = PRESETS["xiao2024"]
BOX = Box(40.0, 8)


def given(**changes):
    return Circumstances(
        COSMOLOGY, 0.5, BOX, number_density=4e-3, bias=lambda: 1.7, ranked=lambda: True, **changes
    )


def test_each_condition_is_one_number_of_order_one():
    found = condition_channels(tuple(CONDITIONS), given())
    assert found.shape == (len(CONDITIONS), 8, 8, 8)
    values = dict(zip(CONDITIONS, found[:, 0, 0, 0].tolist(), strict=True))
    assert torch.equal(found, found[:, :1, :1, :1].expand_as(found))
    expected = {
        "redshift": 0.5,
        "Omega_m": 0.268 * 1.5**3 / (0.268 * 1.5**3 + 0.732) - 0.3,
        "growth": math.log(0.83 * COSMOLOGY.growth(0.5)),
        "peak": log_sigma(1e13, COSMOLOGY, 0.5) / 0.3,
        "steepness": (log_sigma(1e12, COSMOLOGY, 0.5) - log_sigma(1e14, COSMOLOGY, 0.5) - 0.82) / 0.05,
        "cell": math.log(5.0),
        "density": math.log1p(4e-3 * 125),
        "bias": math.log(1.7),
        "ranked": 1.0,
    }
    assert values == pytest.approx(expected, rel=1e-6)


def test_the_density_follows_the_completeness():
    fraction = torch.rand(1, 8, 8, 8)
    (found,) = condition_channels(("density",), given(completeness=fraction))
    torch.testing.assert_close(found, torch.log1p(0.5 * fraction[0]))


def test_no_conditions_are_no_channels():
    assert condition_channels((), given()).shape == (0, 8, 8, 8)


@pytest.mark.parametrize("inputs", [InputSpec, SurveyInputs, DensityInputs, LagrangianInputs])
def test_conditions_come_after_all_other_channels(inputs):
    plain = inputs()
    assert inputs(conditions=("growth", "cell")).names == (*plain.names, "growth", "cell")


@pytest.mark.parametrize(
    ("inputs", "conditions", "message"),
    [
        (
            InputSpec,
            ("growht",),
            "conditions must be among redshift, .*, bias, ranked for these inputs, got 'growht'",
        ),
        (InputSpec, ("growth", "growth"), "got 'growth' again"),
        (SurveyInputs, ("bias",), "channels that are not there yet, got 'bias' again"),
        (
            DensityInputs,
            ("density",),
            "among redshift, Omega_m, growth, peak, steepness, cell for these inputs, got 'density'",
        ),
    ],
)
def test_conditions_that_inputs_cannot_have(inputs, conditions, message):
    with pytest.raises(ValidationError, match=message):
        inputs(conditions=conditions)
