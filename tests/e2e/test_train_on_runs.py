"""A training on runs that differ in redshift, cosmology, size and mesh."""

import json
import os
import re
import shutil

import numpy as np
import pytest
from typer.testing import CliRunner

from peculiar.cli import app
from peculiar.core import PRESETS, InputError
from peculiar.inference.model_card import load_model
from peculiar.inference.reconstructor import NeuralReconstructor
from peculiar.simulate.boxes import BoxSettings
from peculiar.simulate.mocks import SimulatedBox
from peculiar.simulate.particle_mesh import Steps
from peculiar.workflows.simulate import simulate_run
from peculiar.workflows.train import train

CHANGES = [
    "data.train=[1,1]",
    "data.validation=[2,2]",
    'inputs.wiener="fitted"',
    'inputs.conditions=["redshift", "growth", "density", "bias", "cell"]',
    "data.variants=[{number_density=1e-3}, {number_density=1e-3, ranked=false}]",
    "train.steps=4",
    "train.validate_every=4",
]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two runs with the same seeds: 48 Mpc/h, 16^3 cells, z = 0.59; and 72 Mpc/h, 24^3 cells, z = 1."""
    place = tmp_path_factory.mktemp("runs")
    made = []
    for name, size, particles, redshift, cosmology in (
        ("near", 48.0, 32, 0.59, "xiao2024"),
        ("far", 72.0, 48, 1.0, "wu2021"),
    ):
        settings = BoxSettings(
            size=size,
            particles=particles,
            cells=particles // 2,
            redshift=redshift,
            steps=Steps(count=3),
            min_particles=8,
        )
        simulate_run(place / name, seeds=[1, 2, 1001], settings=settings, cosmology=PRESETS[cosmology])
        made.append(place / name)
    return made


@pytest.fixture(scope="module")
def trained(runs, tmp_path_factory):
    out = tmp_path_factory.mktemp("model") / "out"
    return out, train(
        "residual", profile="smoke", run=runs, out=out, changes=CHANGES, announce=lambda _: None
    )


def test_the_card_spans_all_runs(trained):
    _, card = trained
    assert card.redshift_range == (0.59, 1.0)
    assert card.cell_size_range == pytest.approx((3.0, 3.0))
    for name in ("Omega_m", "sigma8"):
        values = sorted(getattr(PRESETS[one], name) for one in ("xiao2024", "wu2021"))
        assert card.cosmology_range[name] == pytest.approx(tuple(values))
    assert card.splits == {"train": (1,), "validation": (2,), "test": (1001,)}


def test_each_run_keeps_its_own_meshes_by_what_is_in_its_boxes(trained, runs):
    sides = {}
    for run in runs:
        found = [path for seed in (1, 2) for path in (run / "cache" / f"box-{seed:05d}").glob("inputs-*.npy")]
        assert len(found) == 4
        sides[run.name] = {np.load(path, mmap_mode="r").shape for path in found}
        for path in found:
            assert np.isfinite(np.load(path)).all()
    assert sides == {"near": {(18, 16, 16, 16)}, "far": {(18, 24, 24, 24)}}


def test_conditions_are_those_of_each_run(trained, runs):
    _, card = trained
    names = card.inputs.names
    assert names[-5:] == ("redshift", "growth", "density", "bias", "cell")
    for run, redshift, cosmology in zip(runs, (0.59, 1.0), ("xiao2024", "wu2021"), strict=True):
        mesh = np.load(next((run / "cache" / "box-00001").glob("inputs-*.npy")))[-5:, 0, 0, 0]
        growth = PRESETS[cosmology].sigma8 * PRESETS[cosmology].growth(redshift)
        assert mesh[[0, 1, 2, 4]] == pytest.approx(
            [redshift, np.log(growth), np.log1p(1e-3 * 27), np.log(3.0)], rel=5e-3
        )


def test_the_wiener_filter_is_of_the_training_boxes_and_travels_in_the_card(trained, runs):
    out, card = trained
    table = card.inputs.filter
    assert table.training["boxes"] == 2
    assert table.training["redshift"] == pytest.approx((0.59 + 1.0) / 2)
    assert len(list((runs[0] / "cache").glob("wiener-*.json"))) == 1
    network, again = load_model(out / "residual.safetensors")
    assert again.inputs.filter.checksum == table.checksum == again.tables["wiener"]
    box = SimulatedBox.open(runs[1] / "box-01001.h5")
    catalogue = box.catalogue(1e-3)
    fields = NeuralReconstructor(network, again).reconstruct(catalogue, cells=24, cosmology=box.cosmology)
    assert np.isfinite(fields["velocity"].numpy()).all()


def test_touched_boxes_are_the_same_and_changed_ones_are_not(trained, runs, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(trained[0], out)
    os.utime(runs[0] / "box-00001.h5")
    lines = []
    options = {"profile": "smoke", "run": runs, "out": out, "changes": CHANGES, "announce": lines.append}
    train("residual", resume=True, **options)
    record = json.loads((out / "run.json").read_text())
    assert [entry.split()[0] for entry in record["boxes"]["train"]] == ["box-00001.h5"] * 2
    with (runs[0] / "box-00001.h5").open("ab") as file:
        file.write(b" ")
    with pytest.raises(InputError, match="same settings, got another boxes"):
        train("residual", resume=True, **options)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["near", "near"], "run must be one directory or several different ones"),
        ([], "or several different ones, got none"),
        (["near", "empty"], "box-.*got .*empty"),
    ],
)
def test_runs_that_cannot_be_used_are_refused(runs, tmp_path, names, words):
    (runs[0].parent / "empty").mkdir(exist_ok=True)
    chosen = [runs[0].parent / name for name in names]
    if names:
        out = ["--profile", "smoke", "--out", str(tmp_path / "out")]
        given = [("--run", str(run)) for run in chosen] + [("--set", change) for change in CHANGES]
        command = ["train", "residual", *(word for pair in given for word in pair), *out]
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 2
        assert re.search(words, result.output.replace("\n", " "))
    with pytest.raises(InputError, match=words):
        train("residual", profile="smoke", run=chosen, out=tmp_path / "out", changes=CHANGES)
    assert not (tmp_path / "out").exists()
