"""From nothing to an emulated box and its evaluation, at the smallest size."""

import json

import h5py
import numpy as np
import pytest

SEEDS = ["--set", "data.train=[1,3]", "--set", "data.validation=[4,4]", "--set", "data.test=[5,9]"]


@pytest.fixture
def pairs(run):
    result = run(
        "simulate", "pairs", "--kind", "pairs", "--seeds", "1-6", "--box", 64, "--particles", 16, "--steps", 3
    )
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    ("recipe", "quiet"), [("displacement", []), ("he2019", ["--no-figures"]), ("few-steps", ["--no-figures"])]
)
def test_displacements_from_nothing(run, pairs, tmp_path, recipe, quiet):
    result = run("train", recipe, "--run", "pairs", "--out", "model", "--profile", "smoke", *SEEDS)
    assert result.exit_code == 0, result.output
    assert "ratio_to_start" in result.output
    weights = f"model/{recipe}.safetensors"
    command = ("emulate", "--box", 64, "--particles", 16, "--seed", 5, "--model", weights, "--out")
    result = run(*command, "particles.h5")
    assert result.exit_code == 0, result.output
    with h5py.File(tmp_path / "particles.h5") as file:
        assert {name: file[name].shape for name in file} == dict.fromkeys(
            ("position", "displacement", "velocity"), (16**3, 3)
        )
        position, displacement = file["position"][:], file["displacement"][:]
        assert "peculiar" in file.attrs["provenance"]
    q = (np.stack(np.meshgrid(*[np.arange(16) + 0.5] * 3, indexing="ij"), -1) * 4.0).reshape(-1, 3)
    np.testing.assert_allclose((q + displacement) % 64, position, atol=1e-4)
    assert "must not exist" in run(*command, "particles.h5").output
    if recipe == "few-steps":
        few = (*command, "few.h5")
        assert "steps must be 1 or 3 or 5 for model 'few-steps', got 2" in run(*few, "--steps", 2).output
        assert run(*few, "--steps", 1).exit_code == 0
        with h5py.File(tmp_path / "few.h5") as file:
            assert json.loads(file.attrs["provenance"])["settings"]["steps"] == 1
            assert not np.array_equal(file["displacement"], displacement)
    result = run("evaluate", "pairs", "--out", "scores", "--model", weights, "--boxes", "5-6", *quiet)
    assert result.exit_code == 0, result.output
    table = (tmp_path / "scores" / "scores.md").read_text()
    assert "test phase" in table
    assert "particle mesh, 3 steps" in table
    for entry in json.loads((tmp_path / "scores" / "scores.json").read_text())["results"]:
        worst = entry["scores"]["largest_relative_error"]["boxes"]
        assert entry["scores"]["largest_error"]["mean"] == max(worst)
        assert len(worst) == 2
    assert (tmp_path / "scores" / "figures" / "fig03_spectra.png").exists() == (not quiet)
    if quiet:
        result = run("report", "scores", "--out", "report.html")
        assert result.exit_code == 0, result.output
        page = (tmp_path / "report.html").read_text()
        assert "How well the emulators do" in page
        assert page.count("<figure") >= 3


def test_bad_requests_are_refused(run, pairs):
    run("train", "displacement", "--run", "pairs", "--out", "model", "--profile", "smoke", *SEEDS)
    weights = "model/displacement.safetensors"
    result = run("emulate", "--box", 60, "--particles", 15, "--seed", 5, "--model", weights, "--out", "p.h5")
    assert "particles must be a multiple of 2" in result.output
    result = run(
        "emulate", "--particles", 16, "--redshift", 1, "--seed", 5, "--model", weights, "--out", "p.h5"
    )
    assert "redshift must be 0" in result.output
    result = run("emulate", "--seed", 5, "--model", "residual", "--out", "p.h5")
    assert "must be for the task 'displace'" in result.output
    result = run("reconstruct", "nothing.fits", "--box", 64, "--model", weights, "--out", "f.zarr")
    assert result.exit_code == 2
    result = run("train", "displacement", "--run", "nowhere", "--out", "model2", "--profile", "smoke")
    assert "--kind pairs" in result.output
    result = run("simulate", "pairs2", "--kind", "pairs", "--seeds", "1", "--cells", 32)
    assert "--cells must not be given for pairs" in result.output


@pytest.mark.parametrize("recipe", ["flow", "wu2021"])
def test_flows_from_nothing(run, tmp_path, recipe):
    geometry = ["--box", 64, "--particles", 32, "--cells", 32, "--redshift", 0, "--cosmology", "wu2021"]
    result = run("simulate", "boxes", "--seeds", "1,501,1001", *geometry, "--steps", 3)
    assert result.exit_code == 0, result.output
    result = run("train", recipe, "--run", "boxes", "--out", "model", "--profile", "smoke")
    assert result.exit_code == 0, result.output
    assert "momentum_correlation" in result.output
    command = [
        "evaluate",
        "boxes",
        "--model",
        f"model/{recipe}.safetensors",
        "--boxes",
        1001,
        "--tune-on",
        501,
    ]
    result = run(*command, "--out", "scores", "--no-figures")
    assert result.exit_code == 0, result.output
    table = (tmp_path / "scores" / "scores.md").read_text()
    assert f"{recipe}, unbiased power" in table
    result = run(*command, "--out", "scores2", "--satellites", "0.1")
    assert "--satellites must not be given" in result.output
    result = run(
        "evaluate", "boxes", "--out", "scores3", "--model", f"model/{recipe}.safetensors", "--model", "linear"
    )
    assert "one task" in result.output
