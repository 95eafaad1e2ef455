"""Figures of an evaluation, drawn again from its folder."""

from __future__ import annotations

import json
import re
from dataclasses import asdict

import h5py
import numpy as np
import pytest
from PIL import Image

from peculiar.core import PRESETS, InputError
from peculiar.workflows.evaluate import evaluate
from peculiar.workflows.figures import draw_figures
from peculiar.workflows.report import report

CELLS = 16


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory):
    """An evaluation of one box that holds random tracers."""
    folder = tmp_path_factory.mktemp("figures")
    rng = np.random.default_rng(2)
    with h5py.File(folder / "box-00001.h5", "w") as file:
        file.attrs.update(
            schema=1,
            seed=1,
            redshift=0.59,
            box_size=80.0,
            cells=CELLS,
            cosmology=json.dumps(asdict(PRESETS["xiao2024"])),
            velocity_definition="linear",
        )
        density = rng.lognormal(sigma=0.5, size=(CELLS,) * 3).astype(np.float32)
        file["density"] = density / density.mean() - 1
        file["velocity"] = rng.normal(0, 200, (3, CELLS, CELLS, CELLS)).astype(np.float32)
        file["linear_density"] = density / density.mean() - 1
        file["halos/position"] = rng.uniform(0, 80, (1500, 3))
        file["halos/velocity"] = rng.normal(0, 200, (1500, 3))
        file["halos/mass"] = np.sort(rng.pareto(1.5, 1500))[::-1] * 1e12
        file["halos/count"] = np.full(1500, 20)
        file["members/displacement"] = np.zeros((0, 3))
        file["members/velocity"] = np.zeros((0, 3))
        file["members/host"] = np.zeros(0, dtype=np.int64)
    options = {"satellite_fraction": (0.0,), "number_density": 1e-3}
    box = folder / "box-00001.h5"
    return evaluate(box, out=folder / "scores", models=["linear"], **options, figures=False)


def test_every_figure_is_there_with_caption_and_provenance(evaluation, tmp_path):
    out = draw_figures(evaluation, out=tmp_path / "figures")
    pages = sorted(out.glob("*.pdf"))
    assert {path.stem for path in pages} == {path.stem for path in out.glob("*.png")}
    assert len(pages) == 15
    captions = (out / "figures.md").read_text(encoding="utf-8")
    for path in pages:
        assert path.read_bytes().startswith(b"%PDF")
        assert f"**{path.stem}**" in captions
    with Image.open(out / "fig10_density_power_satellites00.png") as picture:
        assert picture.info["dpi"][0] == pytest.approx(300, abs=1)
        assert picture.info["Title"] == "Power of the density"
        assert picture.info["Description"] in captions
        assert picture.info["Software"].startswith("peculiar ")
    record = json.loads((out / "provenance.json").read_text())
    assert set(record["inputs"]) == {str(evaluation / name) for name in ("scores.json", "arrays.npz")}
    assert record["settings"]["evaluation"]["settings"]["models"] == ["linear"]


def test_figures_that_are_there_are_kept_without_force(evaluation, tmp_path):
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "thesis.pdf").write_text("precious")
    with pytest.raises(InputError, match="force=True"):
        draw_figures(evaluation, out=tmp_path / "figures")
    with pytest.raises(InputError, match="other contents"):
        draw_figures(evaluation, out=tmp_path / "figures", force=True)
    assert (tmp_path / "figures" / "thesis.pdf").read_text() == "precious"


def test_a_folder_without_an_evaluation_is_refused(tmp_path):
    (tmp_path / "run").mkdir()
    with pytest.raises(InputError, match="peculiar evaluate"):
        draw_figures(tmp_path / "run", out=tmp_path / "figures")
    assert not (tmp_path / "figures").exists()


def test_what_is_no_output_of_ours_is_named_alike_by_figures_and_report(tmp_path):
    (tmp_path / "empty").mkdir()
    for name, there in (("missing", ", where there is nothing"), ("empty", "")):
        told = f"peculiar reconstruct or peculiar evaluate, got {tmp_path / name}{there}: check the path"
        for command in (draw_figures, report):
            with pytest.raises(InputError, match=re.escape(told)):
                command(tmp_path / name, out=tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]
