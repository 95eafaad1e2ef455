"""What a training does with a directory that holds something already."""

import json
from dataclasses import asdict

import pytest

from peculiar.core import PRESETS, InputError, OutputExistsError
from peculiar.training.checkpoint import save_checkpoint
from peculiar.workflows import train as workflow
from peculiar.workflows.train import train

SEEDS = ["data.train=[1,2]", "data.validation=[3,3]", "data.test=[5,9]"]


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Begin a training, up to the fit."""
    (tmp_path / "pairs").mkdir()
    record = {"settings": {}, "cosmology": asdict(PRESETS["he2019"]), "provenance": {"package": "peculiar"}}
    (tmp_path / "pairs" / "run.json").write_text(json.dumps(record))
    for seed in (1, 2, 3):
        (tmp_path / "pairs" / f"pair-{seed:05d}.h5").touch()
    monkeypatch.chdir(tmp_path)

    class Begun(Exception):
        pass

    def stop(*args, **options):
        raise Begun

    monkeypatch.setattr(workflow, "check_plan", lambda *args, **options: None)
    monkeypatch.setattr(workflow, "training_pairs", lambda *args, **options: ([], []))
    monkeypatch.setattr(workflow, "fit", stop)

    def begin(out, *, recipe="displacement", changes=SEEDS, **options):
        with pytest.raises(Begun):
            train(recipe, profile="smoke", run="pairs", out=out, changes=changes, **options)

    return begin


def test_checkpoints_of_other_trainings_stay(run, tmp_path):
    for place in ("runs/other", "runs/other/density", "runs/density"):
        (tmp_path / place).mkdir(parents=True, exist_ok=True)
        (tmp_path / place / "last.ckpt").write_text("days of work")
    run("runs")
    run("runs", force=True)
    assert len(list(tmp_path.rglob("last.ckpt"))) == 3


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize(
    "name", ["last.ckpt", "displacement.safetensors", "displacement.json", "metrics.csv"]
)
def test_files_of_others_stay(tmp_path, run, name, force):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text("theirs")
    with pytest.raises(OutputExistsError, match=f"must not hold files of others, got out/{name}"):
        run("out", force=force)
    assert [path.name for path in (tmp_path / "out").iterdir()] == [name]


@pytest.mark.parametrize(
    "record", ["{", [1], {"observables": "peculiar velocities"}, {"provenance": {"package": "peculiar"}}]
)
def test_records_of_others_stay(tmp_path, run, record):
    (tmp_path / "out").mkdir()
    text = record if isinstance(record, str) else json.dumps(record)
    (tmp_path / "out" / "run.json").write_text(text)
    for how in ({}, {"force": True}, {"resume": True}):
        with pytest.raises(InputError, match=r"must hold a training's run\.json or none"):
            run("out", **how)
    assert (tmp_path / "out" / "run.json").read_text() == text


def test_force_starts_again_and_removes_only_its_own_checkpoint(tmp_path, run):
    run("out")
    for name in ("last.ckpt", "notes.txt", "density/last.ckpt"):
        (tmp_path / "out" / name).parent.mkdir(exist_ok=True)
        save_checkpoint({}, tmp_path / "out" / name)
    with pytest.raises(OutputExistsError, match="--resume or --force"):
        run("out")
    run("out", resume=True)
    assert (tmp_path / "out" / "last.ckpt").exists()
    with pytest.raises(InputError, match="same settings, got another recipe"):
        run("out", resume=True, changes=[*SEEDS, "train.lr=1e-5"])
    run("out", force=True)
    left = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.*")}
    assert left == {"run.json", "notes.txt", "density/last.ckpt"}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("last.ckpt", "cut"),
        ("metrics.csv", ""),
        ("metrics.csv", "step,loss\n1,far\n"),
        ("run.json", "[" * 100000),
    ],
)
def test_what_a_training_goes_on_with_is_read_before_the_work(tmp_path, run, name, text):
    run("out")
    save_checkpoint({}, tmp_path / "out" / "last.ckpt")
    (tmp_path / "out" / name).write_text(text)
    with pytest.raises(InputError, match=f"must .* got .*{name}"):
        run("out", resume=True)


@pytest.mark.parametrize("force", [False, True])
def test_nothing_is_written_or_removed_where_meshes_cannot_be_made(tmp_path, run, monkeypatch, force):
    if force:
        run("out")
        save_checkpoint({}, tmp_path / "out" / "last.ckpt")
    before = sorted(tmp_path.rglob("*"))

    def refuse(*args, **options):
        raise InputError("simulation must be finite")

    monkeypatch.setattr(workflow, "training_pairs", refuse)
    with pytest.raises(InputError, match="must be finite"):
        run("out", force=force)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("out", ["pairs", "pairs/model", "."])
def test_the_simulations_are_no_place_for_a_training(run, tmp_path, out):
    with pytest.raises(InputError, match="must not hold an input"):
        run(out, force=True)
    assert len(list(tmp_path.rglob("*.*"))) == 4  # three pairs and their record


def test_the_record_of_a_run_of_pairs_is_read_before_the_work(run, tmp_path):
    (tmp_path / "pairs" / "run.json").write_text("[]")
    with pytest.raises(InputError, match="record of a run must hold names and values"):
        train("displacement", profile="smoke", run="pairs", out="out", changes=SEEDS)
    assert not (tmp_path / "out").exists()
