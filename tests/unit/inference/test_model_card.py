import json
import os

import pytest
import torch
from pydantic import ValidationError

from peculiar.core import PRESETS, InputError
from peculiar.core.records import checksum
from peculiar.inference.card_values import DensityTransfer
from peculiar.inference.model_card import (
    ModelCard,
    available_models,
    find_model,
    load_model,
    parameter_count,
    read_card,
    save_model,
)
from peculiar.models import build


def test_weights_and_card_come_back(entries, saved):
    module, card = load_model(saved)
    assert load_model(saved.with_suffix(".json"))[1] == card
    assert (
        card.model_dump()
        == ModelCard(**entries, weights_sha256=card.weights_sha256, tables=card.inputs.tables).model_dump()
    )
    assert not module.training
    assert card.training_cosmology == PRESETS["xiao2024"]
    inputs = torch.randn(1, 13, 8, 8, 8, generator=torch.Generator().manual_seed(0))
    again = load_model(saved)[0]
    assert torch.equal(module(inputs), again(inputs))
    assert not torch.equal(module(inputs), build(card.architecture, card.configuration).eval()(inputs))


def test_equal_weights_have_equal_checksums(entries, saved, tmp_path):
    module, card = load_model(saved)
    for number in range(8):
        (tmp_path / str(number)).mkdir()
        assert save_model(module, tmp_path / str(number), **entries).weights_sha256 == card.weights_sha256


def test_card_is_frozen_and_refuses_unknown_entries(entries):
    card = ModelCard(**entries, weights_sha256="0" * 64)
    with pytest.raises(ValidationError):
        card.redshift = 1.0
    with pytest.raises(ValidationError, match="colour"):
        ModelCard(**entries, weights_sha256="0" * 64, colour="red")


def test_transfer_must_rise_in_k_and_be_positive():
    with pytest.raises(ValidationError, match="must rise"):
        DensityTransfer(k=(0.2, 0.1), transfer=(1.0, 1.0))
    with pytest.raises(ValidationError, match="same length"):
        DensityTransfer(k=(0.1,), transfer=(1.0, 1.1))
    with pytest.raises(ValidationError, match="> 0"):
        DensityTransfer(k=(0.1,), transfer=(0.0,))


def test_transfer_goes_with_the_inverse_of_what_tracers_cluster():
    table = DensityTransfer(k=(0.1, 0.2), transfer=(1.0, 1.2), beta=1.5)
    assert table.at(2.0).transfer == pytest.approx((0.75, 0.9))
    assert table.at(2.0).at(1.5).transfer == pytest.approx(table.transfer)
    assert table.at(None) == table
    plain = DensityTransfer(k=(0.1,), transfer=(1.1,))
    assert plain.at(2.0) == plain


@pytest.mark.parametrize("keep", [0.5, 0.999])
def test_damaged_weights(saved, keep):
    content = saved.read_bytes()
    saved.write_bytes(content[: int(keep * len(content))])
    with pytest.raises(InputError, match=r"sha256 .* the file is damaged"):
        load_model(saved)


def test_one_changed_byte(saved):
    content = bytearray(saved.read_bytes())
    content[-3] ^= 1
    saved.write_bytes(content)
    with pytest.raises(InputError, match="damaged"):
        load_model(saved)


def test_weights_of_another_architecture(entries, saved):
    other = build("residual", entries["configuration"] | {"width": 4})
    save_model(other, saved.parent, **entries)
    with pytest.raises(InputError, match="must fit 'residual'"):
        load_model(saved)


def _change(saved, **changes):
    path = saved.with_suffix(".json")
    card = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in card.items() if value != "drop"}))


@pytest.mark.parametrize("version", [2, 0, None, "drop"])
def test_other_schema_version(saved, version):
    _change(saved, schema_version=version)
    with pytest.raises(InputError, match="schema_version 1, got"):
        load_model(saved)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"redshift": "high"}, "redshift"),
        ({"tracer": "drop"}, "tracer"),
        ({"inputs": {"kind": "moved", "x": 1}}, "inputs.moved.x"),
    ],
)
def test_faulty_card(saved, changes, reason):
    _change(saved, **changes)
    with pytest.raises(InputError, match=f"first: {reason}"):
        load_model(saved)


def test_missing_files(saved):
    with pytest.raises(InputError, match="Model must exist"):
        load_model(saved.parent / "none.safetensors")
    with pytest.raises(InputError, match="must be one of"):
        find_model("no-such-model")
    saved.with_suffix(".json").write_text("{")
    with pytest.raises(InputError, match="must be JSON"):
        read_card(saved.with_suffix(".json"))
    saved.with_suffix(".json").unlink()
    with pytest.raises(InputError, match="put the .json beside"):
        load_model(saved)


def test_missing_weights(saved):
    saved.unlink()
    with pytest.raises(InputError, match="must lie beside the card"):
        load_model(saved.with_suffix(".json"))


def test_shipped_models_are_whole():
    for name in available_models():
        assert load_model(name)[1].name == name


@pytest.mark.parametrize(
    ("name", "settings"),
    [("ramanah2019", {}), ("wu2021", {"width": 4, "velocity_scale": 2.0, "momentum_scale": 4.0})],
)
def test_parameters_are_counted_without_statistics_of_batch_norm(tmp_path, name, settings):
    from safetensors.torch import save_file

    from peculiar.models import build

    network = build(name, settings)
    save_file(network.state_dict(), tmp_path / "a.safetensors")
    count = parameter_count(tmp_path / "a.safetensors")
    assert count == sum(p.numel() for p in network.parameters())
    assert name != "ramanah2019" or count == 31_930


def test_a_card_that_claims_a_huge_network_takes_no_memory(saved, monkeypatch):
    card = json.loads(saved.with_suffix(".json").read_text())
    card["configuration"]["width"] = 10**6
    saved.with_suffix(".json").write_text(json.dumps(card))
    with pytest.raises(InputError, match=r"must fit 'residual', got .* has shape .* in the card"):
        load_model(saved)


def test_a_tensor_that_the_network_lacks_is_named(saved):
    from safetensors.torch import load_file, save_file

    save_file(load_file(saved) | {"nonsense": torch.ones(3)}, saved)
    card = json.loads(saved.with_suffix(".json").read_text())
    card["weights_sha256"] = checksum(saved)
    saved.with_suffix(".json").write_text(json.dumps(card))
    with pytest.raises(InputError, match=r"must fit 'residual', got .*nonsense"):
        load_model(saved)


def test_weights_have_the_mode_of_other_files(saved):
    (saved.parent / "other").touch()
    assert saved.stat().st_mode == (saved.parent / "other").stat().st_mode


def test_weights_that_are_not_finite_are_neither_written_nor_loaded(entries, saved):
    from safetensors.torch import load_file, save_file

    module, _ = load_model(saved)
    state = load_file(saved)
    name = next(iter(state))
    state[name].view(-1)[0] = float("nan")
    save_file(state, saved)
    card = json.loads(saved.with_suffix(".json").read_text())
    card["weights_sha256"] = checksum(saved)
    saved.with_suffix(".json").write_text(json.dumps(card))
    with pytest.raises(InputError, match=r"weights must be finite, got 1 that are not in .*tiny.safetensors"):
        load_model(saved)
    module.load_state_dict(state)
    (saved.parent / "new").mkdir()
    with pytest.raises(
        InputError, match="weights must be finite, got 1 that are not in 'tiny' after training"
    ):
        save_model(module, saved.parent / "new", **entries)
    assert list((saved.parent / "new").iterdir()) == []


def test_a_card_holds_finite_numbers(entries, saved):
    module, _ = load_model(saved)
    text = saved.with_suffix(".json").read_text()
    saved.with_suffix(".json").write_text(text.replace('"redshift": 0.59', '"redshift": NaN'))
    with pytest.raises(InputError, match=r"Model card must be JSON, got .*tiny.json"):
        read_card(saved.with_suffix(".json"))
    (saved.parent / "new").mkdir()
    with pytest.raises(InputError, match="metrics must be finite, got others for loss"):
        save_model(module, saved.parent / "new", **entries | {"metrics": {"loss": float("nan")}})
    assert list((saved.parent / "new").iterdir()) == []


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('"redshift": 0.59', '"redshift": -1e9', "redshift: Input should be greater than -1"),
        ('"Omega_m": 0.268,', "", "cosmology: .*a stored cosmology must state Omega_m"),
        ('"h": 0.71,', '"h": 0.71, "nonsense": 1,', "cosmology.nonsense: Unexpected"),
        ('"density_floor": 0.05', '"density_floor": -1e9', "normalisation.density_floor"),
        ('"space": "redshift",', "", "space: Field required"),
    ],
)
def test_what_every_card_states_has_no_default(saved, old, new, reason):
    path = saved.with_suffix(".json")
    text = json.dumps(json.loads(path.read_text()))
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(InputError, match=reason):
        read_card(path)


def test_only_files_are_read(saved):
    path = saved.with_suffix(".json")
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(InputError, match="Model card must be a file"):
        read_card(path)
