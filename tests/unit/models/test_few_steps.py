import pytest
import torch

from peculiar.core import InputError
from peculiar.core.channels import vector
from peculiar.models import build
from peculiar.models.unet import VectorMix

INPUTS = (*vector("moved"), *vector("moving"), *vector("acceleration"), "steps", "growth")
SETTINGS = {
    "inputs": INPUTS,
    "slopes": {"steps": -1.5, "growth": 2.0},
    "width": 4,
    "levels": 2,
}


@pytest.fixture
def inputs():
    values = 5 * torch.randn(2, len(INPUTS), 8, 8, 8, generator=torch.Generator().manual_seed(0))
    values[:, 9] = torch.tensor([0.0, 1.0])[:, None, None, None]
    values[:, 10] = torch.tensor([0.0, -0.5])[:, None, None, None]
    return values


def test_before_training_the_steps_stay_as_they_are_even_in_half_precision(inputs):
    network = build("few-steps", SETTINGS)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        outputs = network(inputs)
    torch.testing.assert_close(outputs, inputs[:, :6], rtol=1e-6, atol=1e-6)


def test_corrections_have_the_size_of_the_error(inputs):
    """The U's output times N^-1.5 and the square of the amplitude."""
    network = build("few-steps", SETTINGS)
    torch.nn.init.zeros_(network.head.conv.weight)
    torch.nn.init.ones_(network.head.conv.bias)
    with torch.no_grad():
        correction = (network(inputs) - inputs[:, :6])[:, 0, 0, 0, 0]
    assert correction[0].item() == pytest.approx(1.0, rel=1e-4)
    assert correction[1].item() == pytest.approx(float(torch.tensor(-1.5 - 1.0).exp()), rel=1e-3)


def test_sums_of_vectors_go_with_the_numbers(inputs):
    network = build("few-steps", SETTINGS)
    with torch.no_grad():
        network.weight[1, 0, 1] = (
            5.0  # the force's weight in the displacement, for each unit of "steps"; times a tenth
        )
        outputs = network(inputs)
    torch.testing.assert_close(outputs[0], inputs[0, :6])
    torch.testing.assert_close(outputs[1, :3], inputs[1, :3] + 0.5 * (inputs[1, 6:9] - inputs[1, :3]))


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"slopes": {"moved_x": 1.0}}, "must be of the numbers steps, growth, got moved_x"),
        ({"slopes": {"redshift": 1.0}}, "must be of the numbers steps, growth, got redshift"),
        ({"inputs": INPUTS[:-1], "slopes": {}}, "'growth' must be of the numbers steps, got no slopes"),
        ({"inputs": INPUTS[3:]}, "moved"),
        ({"scale": 0.0}, "must be > 0 Mpc/h"),
    ],
)
def test_bad_settings_are_refused(changes, match):
    with pytest.raises(InputError, match=match):
        build("few-steps", SETTINGS | changes)


def test_sums_of_vectors_are_not_rounded_in_half_precision(inputs):
    mix = VectorMix(((0.9, 0.6, 0.1),))
    expected = 0.9 * inputs[:, :3] + 0.6 * inputs[:, 3:6] + 0.1 * inputs[:, 6:9]
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(mix(inputs[:, :9]), expected, rtol=1e-5, atol=1e-5)
