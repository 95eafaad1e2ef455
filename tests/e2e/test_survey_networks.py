"""Networks for surveys from nothing: boxes, training on isolated cubes, and a catalogue in a cube."""

import json

import pytest
import zarr

from peculiar.inference.model_card import read_card


@pytest.fixture(scope="module")
def boxes(tmp_path_factory):
    from peculiar.core import PRESETS
    from peculiar.simulate.boxes import BoxSettings
    from peculiar.simulate.particle_mesh import Steps
    from peculiar.workflows.simulate import simulate_run

    out = tmp_path_factory.mktemp("boxes") / "run"
    settings = BoxSettings(size=160.0, particles=64, cells=32, redshift=0.0, steps=Steps(count=4))
    simulate_run(out, seeds=[1, 501], settings=settings, cosmology=PRESETS["wang2024"], device="cpu")
    return out


@pytest.mark.parametrize(("recipe", "masses"), [("survey", False), ("wang2024", True)])
def test_a_recipe_trains_on_cubes_and_its_network_reconstructs_one(run, boxes, tmp_path, recipe, masses):
    result = run("train", recipe, "--run", boxes, "--profile", "smoke", "--out", "model")
    assert result.exit_code == 0, result.output
    card = read_card(tmp_path / "model" / f"{recipe}.json")
    assert not card.periodic_training
    assert card.cell_size == 5.0
    assert card.redshift_range == (0.0, 0.0)
    assert 0 < card.number_density_range[0] <= card.number_density_range[1] < 1e-2  # of these few halos
    assert card.splits == {"train": (1,), "validation": (501,), "test": ()}
    mock = [
        "mock",
        boxes,
        "--pattern",
        "random",
        "--choice",
        "random",
        "--cube",
        100,
        "--seeds",
        501,
        "--out",
        "cube",
    ]
    result = run(*mock, *(["--masses"] if masses else []))
    assert result.exit_code == 0, result.output
    read_with = json.loads((tmp_path / "cube" / "run.json").read_text())["mocks"]["mock-00501.fits"][
        "read_with"
    ]
    options = read_with.split() if isinstance(read_with, str) else [str(part) for part in read_with]
    command = ["reconstruct", "cube/mock-00501.fits", *options, "--model", f"model/{recipe}.safetensors"]
    result = run(*command, "--out", "fields.zarr")
    assert result.exit_code == 0, result.output
    fields = zarr.open_group("fields.zarr", mode="r")
    assert fields["velocity"].shape == (3, 20, 20, 20)
    assert float(abs(fields["velocity"][:]).max()) > 0
