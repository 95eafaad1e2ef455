import json
import shutil
from contextlib import nullcontext

import h5py
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import peculiar
from peculiar.cli import app
from peculiar.core import PRESETS, Box, Field, InputError, OutOfRangeWarning
from peculiar.core.cosmologies import cosmology_settings
from peculiar.core.hdf5 import CHECKSUM
from peculiar.fields.files import FieldAttributes, read_attributes, read_fields, write_fields
from peculiar.inference.emulator import FlowEmulator
from peculiar.inference.model_card import save_model
from peculiar.linear.density_inputs import DensityInputs
from peculiar.models import build
from peculiar.workflows.flow import flow, flow_file

BOX = Box(64.0, 16)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A flow network that was not trained: linear velocities of the density smoothed by 4 Mpc/h."""
    torch.manual_seed(1)
    configuration = {"inputs": DensityInputs(smoothing=(4.0,)).names, "width": 4, "levels": 2, "blocks": [1]}
    directory = tmp_path_factory.mktemp("model")
    save_model(
        build("flow", configuration),
        directory,
        name="tiny",
        package_version=peculiar.__version__,
        architecture="flow",
        configuration=configuration,
        normalisation={"velocity_factor": 50.0},
        cosmology=cosmology_settings(PRESETS["wu2021"]),
        redshift=0.0,
        cell_size=4.0,
        velocity_definition="momentum over density",
        metrics={},
        seeds={},
        task="flow",
        inputs={"kind": "density", "smoothing": (4.0,)},
        cosmology_range={},
        splits={},
    )
    return directory / "tiny.safetensors"


@pytest.fixture
def wave(monkeypatch):
    """A plane wave along x, in single precision."""
    monkeypatch.setattr("peculiar.inference.whole.half_precision", lambda device: nullcontext())
    x = torch.as_tensor(BOX.coordinates(0), dtype=torch.float32)
    data = 0.1 * torch.cos(BOX.k_fundamental * x)[:, None, None].expand(1, 16, 16, 16)
    return Field(data.contiguous(), BOX, ["density"])


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_a_plane_wave_moves_as_linear_theory_has_it(tiny, wave):
    fields = flow(wave, model=tiny)
    k = BOX.k_fundamental
    x = torch.as_tensor(BOX.coordinates(0), dtype=torch.float32)
    amplitude = 0.1 * PRESETS["wu2021"].velocity_factor(0.0) / k * np.exp(-((4.0 * k) ** 2) / 2)
    expected = -amplitude * torch.sin(k * x)
    torch.testing.assert_close(fields["velocity"].data[0, :, 3, 5], expected, rtol=1e-3, atol=0.1)
    assert fields["velocity"].data[1:].abs().max() < 0.1
    momentum = (1 + wave.data) * fields["velocity"].data
    torch.testing.assert_close(fields["momentum"].data, momentum, rtol=1e-3, atol=0.1)


def test_the_command_writes_what_python_returns(tiny, wave, tmp_path):
    cosmology = PRESETS["xiao2024"]
    source, out = tmp_path / "density.zarr", tmp_path / "flow.zarr"
    attributes = {"cosmology": cosmology_settings(cosmology), "redshift": 0.005}
    write_fields(source, {"density": wave}, attributes=attributes)
    result = run("flow", source, "--out", out, "--model", tiny)
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == str(out)
    fields, direct = read_fields(out), flow(wave, model=tiny, cosmology=cosmology, redshift=0.005)
    assert set(fields) == {"density", *direct}
    for name, field in direct.items():
        assert torch.equal(fields[name].data, field.data)
        assert fields[name].unit == "km/s"
    assert torch.equal(fields["density"].data, wave.data)
    made = read_attributes(out, FieldAttributes)
    assert made["redshift"] == 0.005
    assert json.loads(made["cosmology"])["Omega_m"] == cosmology.Omega_m
    assert json.loads(made["provenance"])["settings"]["model"] == "tiny"
    assert "must not exist" in run("flow", source, "--out", out, "--model", tiny).stderr
    chosen = ["--redshift", 0, "--cosmology", "wu2021", "--force"]
    assert run("flow", source, "--out", out, "--model", tiny, *chosen).exit_code == 0
    torch.testing.assert_close(read_fields(out)["velocity"].data, flow(wave, model=tiny)["velocity"].data)


def test_a_simulated_box_states_its_cosmology_and_redshift(tiny, box_run, tmp_path):
    box = tmp_path / "box.h5"
    shutil.copy(box_run / "box-01001.h5", box)
    with h5py.File(box, "a") as file:  # linear theory, with densities below 0
        file["density"][...] = np.maximum(file["density"][()], -1)
        del file["density"].attrs[CHECKSUM]
    with pytest.warns(OutOfRangeWarning, match="differ from 4 Mpc/h"):
        out = flow_file(box, out=tmp_path / "flow.h5", model=tiny)
    with h5py.File(out) as file:
        assert json.loads(file.attrs["cosmology"])["Omega_m"] == PRESETS["wang2024"].Omega_m
        assert file["velocity"].shape == (3, 32, 32, 32)
        assert file["velocity"].attrs["units"] == "km/s"
        velocity = file["velocity"][()]
    with h5py.File(box) as file:
        truth = file["velocity"][()]
    assert np.corrcoef(velocity.ravel(), truth.ravel())[0, 1] > 0.9


def test_unbiased_power_comes_with_models_that_have_its_factors(wave):
    with pytest.warns(OutOfRangeWarning):
        fields = flow(wave)
    assert set(fields) == {"velocity", "momentum", "velocity_unbiased", "momentum_unbiased"}


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"data": torch.full((1, 16, 16, 16), float("nan"))}, "density must be finite"),
        ({"data": torch.full((1, 16, 16, 16), -2.0)}, "overdensity >= -1, got -2: subtract"),
        ({"box": Box(64.0, 16, periodic=False)}, "in a periodic box"),
        ({"space": "redshift"}, "real space, got redshift"),
        ({"data": torch.zeros(2, 16, 16, 16), "names": ["a", "b"]}, "scalar 'density', got 2 channels"),
    ],
)
def test_what_is_no_overdensity_is_refused(tiny, wave, change, match):
    with pytest.raises(InputError, match=match):
        flow(wave.replace(**change), model=tiny)


def test_bad_requests_end_in_one_line_before_any_work(tiny, wave, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    def work(*_, **__):
        raise AssertionError("work began")

    monkeypatch.setattr(FlowEmulator, "flow", work)
    write_fields(tmp_path / "density.zarr", {"density": wave})
    write_fields(tmp_path / "other.zarr", {"matter": wave})
    write_fields(tmp_path / "holes.zarr", {"density": wave.replace(data=wave.data * 20)})
    write_fields(tmp_path / "open.zarr", {"density": wave.replace(box=Box(64.0, 16, periodic=False))})
    write_fields(tmp_path / "early.zarr", {"density": wave}, attributes={"redshift": -0.5})
    (tmp_path / "text.h5").write_text("no HDF5")
    before = sorted(path.name for path in tmp_path.iterdir())
    for source, options, message in [
        ("nowhere.zarr", [], "fields must be a zarr directory"),
        ("nowhere.h5", [], "must be a file"),
        ("text.h5", [], "must be a whole HDF5 file"),
        ("holes.zarr", [], "overdensity >= -1, got -1.962"),
        ("open.zarr", [], "in a periodic box"),
        ("other.zarr", [], "density must hold the scalar 'density', got matter"),
        ("density.zarr", ["--model", "residual"], "must be for the task 'flow'"),
        ("density.zarr", ["--model", "nothing"], "Model must be one of"),
        ("density.zarr", ["--redshift", "nan"], "redshift must be >= 0"),
        ("density.zarr", ["--redshift", -1], "redshift must be >= 0"),
        ("density.zarr", ["--redshift", 1e9], "redshift must lie in"),
        ("early.zarr", [], "redshift must be >= 0"),
        ("density.zarr", ["--device", "cuda"], "device must be auto, cpu, or cuda where torch sees a GPU"),
        ("density.zarr", ["--cosmology", "nothing"], "cosmology must be one of"),
        ("density.zarr", ["--out", tmp_path / "density.zarr"], "Output must not hold an input"),
    ]:
        chosen = ["--model", tiny, "--out", tmp_path / "out.zarr", *options]
        result = run("flow", tmp_path / source, *chosen)
        assert result.exit_code == 2, result.output
        (line,) = result.stderr.splitlines()
        assert message in line
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_a_density_that_does_not_fit_is_refused(tiny, wave, monkeypatch):
    monkeypatch.setattr("peculiar.core.memory.free_memory", lambda: 1000)
    with pytest.raises(InputError, match=r"a density of 16\^3 cells must fit in memory"):
        flow(wave, model=tiny)
