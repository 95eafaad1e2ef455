import torch
from safetensors.torch import load_file


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
