"""Shipped weights read channels in the order of their training, and the tables of their training."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from peculiar.core.errors import InputError
from peculiar.inference.model_card import load_model, save_model
from peculiar.linear.inputs import InputSpec
from peculiar.linear.wiener import shipped_filter
from peculiar.models import build

# Mean absolute outputs for `waves`, from the weights as they were when channels were known by their numbers.
OUTPUTS = {
    "residual": [0.819, 0.91257, 1.02662, 0.92169, 0.61164, 0.65123, 0.59018],
    "survey": [0.36928, 0.6149, 0.61563, 0.60893, 0.68215, 0.69078, 0.67196],
    "xiao2024": [1.05832, 1.10658, 1.00486, 0.75013, 0.9207, 0.1212, 0.43934],
    "xiao2024-mass": [0.80676, 1.70084, 0.79559, 1.05704, 0.80773, 0.31773, 1.29645],
    "flow": [1.50578, 1.43955, 1.25585, 0.89344, 0.87925, 0.70855],
    "displacement": [0.60739, 0.60372, 0.5909, 0.47936, 0.52053, 0.52978],
    "he2019": [0.52891, 0.31917, 0.30253],
}


def waves(channels):
    """Meshes that differ from channel to channel."""
    place = torch.arange(16**3).view(16, 16, 16)
    return torch.stack([torch.sin(0.37 * (i + 1) * place + i) for i in range(channels)])[None]


@pytest.mark.parametrize("name", OUTPUTS)
def test_channels_stand_where_they_stood_in_training(name):
    network, card = load_model(name)
    with torch.no_grad():
        found = network(waves(len(card.inputs.names)))[0].abs().mean(dim=(1, 2, 3))
    assert found.tolist() == pytest.approx(OUTPUTS[name], abs=2e-5)


def changed():
    """The package's Wiener filter with a fifth more of every weight of the flow."""
    return replace(shipped_filter(), weights_velocity=1.2 * shipped_filter().weights_velocity)


def test_another_table_in_the_package_is_noticed(monkeypatch):
    load_model("residual")
    monkeypatch.setattr("peculiar.linear.inputs.shipped_filter", changed)
    first, second = shipped_filter().checksum[:12], changed().checksum[:12]
    with pytest.raises(
        InputError,
        match=f"table 'wiener' of model 'residual' must be that of its training with sha256 {first}..., "
        rf"got {second}... in the package: install the version .* or train it again \(inputs.wiener = 'fitted'",
    ):
        load_model("residual")
    load_model("xiao2024")  # has no such table


def test_another_table_in_the_card_is_noticed(entries, tmp_path, monkeypatch):
    spec = InputSpec(wiener=changed())
    save_model(
        build(entries["architecture"], entries["configuration"]), tmp_path, **entries | {"inputs": spec}
    )
    monkeypatch.setattr("peculiar.linear.inputs.shipped_filter", None)  # the package's is not asked for
    _, card = load_model(tmp_path / "tiny.safetensors")
    assert card.inputs.filter.checksum == changed().checksum == card.tables["wiener"]
    stored = json.loads((tmp_path / "tiny.json").read_text())
    table = stored["inputs"]["wiener"]
    table["weights_density"] = [[1.2 * weight for weight in shell] for shell in table["weights_density"]]
    (tmp_path / "tiny.json").write_text(json.dumps(stored))
    with pytest.raises(InputError, match=r"got .* in .*tiny.json: fetch the card again"):
        load_model(tmp_path / "tiny.safetensors")


def test_a_card_must_say_which_channels_its_network_sees(entries, tmp_path):
    names = entries["configuration"]["inputs"]
    entries["configuration"]["inputs"] = [*names[1:], names[0]]
    network = build(entries["architecture"], entries["configuration"])
    with pytest.raises(ValueError, match="configuration.inputs must be those of inputs, abundance_0.0001"):
        save_model(network, tmp_path, **entries | {"inputs": InputSpec()})


LOADED = """
import sys
from peculiar.inference.model_card import available_models, load_model
for name in available_models(None):
    load_model(name)
assert "sympy" not in sys.modules, "torch's compiler was imported, which takes a second"
"""


def test_models_are_loaded_without_the_compiler():
    subprocess.run([sys.executable, "-c", LOADED], check=True)
