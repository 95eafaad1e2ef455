import torch
from safetensors.torch import load_file

from peculiar import Box, read_catalogue


def test_the_published_painter_from_nothing(run, tmp_path):
    geometry = ["--box", 60, "--particles", 48, "--cells", 32, "--redshift", 0.59, "--steps", 4]
    result = run("simulate", "boxes", "--seeds", "1,501", *geometry)
    assert result.exit_code == 0, result.output
    command = ["train", "ramanah2019", "--run", "boxes", "--profile", "smoke", "--out"]
    result = run(*command, "model")
    assert result.exit_code == 0, result.output
    assert "mean_ratio" in result.output
    assert {path.suffix for path in (tmp_path / "model").glob("training.*")} == {".pdf", ".png"}
    weights = load_file("model/ramanah2019.safetensors")
    result = run(*command, "model", "--resume")
    assert result.exit_code == 0, result.output
    again = load_file("model/ramanah2019.safetensors")
    assert all(torch.equal(weights[key], again[key]) for key in weights)
    result = run(
        "paint", "--box", 60, "--seed", 2, "--out", "halos.h5", "--model", "model/ramanah2019.safetensors"
    )
    assert result.exit_code == 0, result.output
    assert (tmp_path / "halos.h5").exists()


def test_our_painter_from_nothing_in_several_epochs_and_cosmologies(run, tmp_path):
    geometry = ["--box", 60, "--particles", 48, "--cells", 32, "--redshifts", "0,1", "--cosmologies", "latin"]
    result = run("simulate", "boxes", "--seeds", "1-2,501", *geometry, "--steps", 4)
    assert result.exit_code == 0, result.output
    result = run(
        "train", "painter", "--run", "boxes", "--profile", "smoke", "--set", "data.boxes=2", "--out", "model"
    )
    assert result.exit_code == 0, result.output
    paint = ["paint", "--box", 60, "--seed", 2, "--model", "model/painter.safetensors"]
    for redshift in ("0", "1"):
        result = run(*paint, "--redshift", redshift, "--out", f"halos-{redshift}.h5")
        assert result.exit_code == 0, result.output
        assert len(read_catalogue(f"halos-{redshift}.h5", box=Box(60.0), space="real")) > 50
