"""`peculiar simulate`: one directory a run, resumable, of one kind."""

import dataclasses
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from peculiar.cli import app
from peculiar.core.cosmology import PRESETS, Cosmology
from peculiar.core.errors import InputError
from peculiar.simulate.boxes import DRAWN, BoxSettings
from peculiar.simulate.mocks import SimulatedBox
from peculiar.simulate.pairs import PairSettings
from peculiar.simulate.particle_mesh import Steps
from peculiar.simulate.runs import open_run, run_epochs
from peculiar.workflows import simulate as workflow
from peculiar.workflows.simulate import simulate_run
from peculiar.workflows.training_data import run_paths

SETTINGS = BoxSettings(size=20.0, particles=16, cells=8, steps=Steps(count=1), min_particles=4)


@pytest.fixture
def run(tmp_path):
    """A run with seeds 1 and 2, and what made it."""
    out = tmp_path / "run"
    return out, simulate_run(out, seeds=[1, 2], settings=SETTINGS)


@pytest.fixture
def made(monkeypatch) -> list[int]:
    """Seeds that are simulated from here on."""
    seeds: list[int] = []
    real = workflow.simulate_box

    def watch(path, *args, seed, **kwargs):
        seeds.append(seed)
        real(path, *args, seed=seed, **kwargs)

    monkeypatch.setattr(workflow, "simulate_box", watch)
    return seeds


def test_run_holds_one_box_a_seed_and_its_record(run):
    out, paths = run
    assert [path.name for path in paths] == ["box-00001.h5", "box-00002.h5"]
    assert sorted(path.name for path in out.iterdir()) == ["box-00001.h5", "box-00002.h5", "run.json"]
    assert [SimulatedBox.open(path).seed for path in paths] == [1, 2]
    record = json.loads((out / "run.json").read_text())
    assert record["settings"] == dataclasses.asdict(SETTINGS)
    assert record["cosmology"] == dataclasses.asdict(PRESETS["xiao2024"])
    assert record["provenance"]["seed"] == [1, 2]
    assert record["provenance"]["package"] == "peculiar"
    assert record["provenance"]["version"]


def test_existing_seeds_are_refused_before_work(run, made):
    out, paths = run
    before = [path.read_bytes() for path in paths]
    with pytest.raises(
        InputError, match=r"must not hold these seeds yet, got 1 of them \(first box-00002.h5\)"
    ):
        simulate_run(out, seeds=[2, 3], settings=SETTINGS)
    assert made == []
    assert [path.read_bytes() for path in paths] == before


def test_resume_makes_what_is_missing_or_half_written(run, made):
    out, paths = run
    whole = SimulatedBox.open(paths[1]).density.data
    kept = paths[0].read_bytes()
    paths[1].write_bytes(paths[1].read_bytes()[:3000])
    again = simulate_run(out, seeds=[1, 2, 3], settings=SETTINGS, resume=True)
    assert made == [2, 3]
    assert len(again) == 3
    assert paths[0].read_bytes() == kept
    assert np.array_equal(SimulatedBox.open(paths[1]).density.data, whole)
    assert json.loads((out / "run.json").read_text())["provenance"]["seed"] == [1, 2, 3]


def test_resume_makes_a_damaged_box_again(run, made):
    """Zeros in place of an array, as a full disk or a crash leaves them: the file opens."""
    out, paths = run
    kept, content = paths[0].read_bytes(), bytearray(paths[1].read_bytes())
    density = SimulatedBox.open(paths[1]).density.data.numpy().tobytes()
    place = content.find(density)
    paths[1].write_bytes(content[:place] + bytes(len(density)) + content[place + len(density) :])
    simulate_run(out, seeds=[1, 2], settings=SETTINGS, resume=True)
    assert made == [2]
    assert paths[0].read_bytes() == kept
    assert SimulatedBox.open(paths[1]).density.data.numpy().tobytes() == density


def test_killed_run_resumes(tmp_path, monkeypatch, made):
    out = tmp_path / "run"

    class Killed(BaseException):
        pass

    watched = workflow.simulate_box

    def killed_at_two(path, *args, seed, **kwargs):
        if seed == 2:
            raise Killed
        watched(path, *args, seed=seed, **kwargs)

    monkeypatch.setattr(workflow, "simulate_box", killed_at_two)
    with pytest.raises(Killed):
        simulate_run(out, seeds=[1, 2], settings=SETTINGS)
    assert sorted(path.name for path in out.iterdir()) == ["box-00001.h5", "run.json"]
    monkeypatch.setattr(workflow, "simulate_box", watched)
    simulate_run(out, seeds=[1, 2], settings=SETTINGS, resume=True)
    assert made == [1, 2]


def test_more_seeds_join_a_run(run, made):
    out, _ = run
    simulate_run(out, seeds=[5], settings=SETTINGS)
    assert made == [5]
    assert json.loads((out / "run.json").read_text())["provenance"]["seed"] == [1, 2, 5]


def test_a_run_may_be_older_than_a_setting(run, made):
    out, _ = run
    record = json.loads((out / "run.json").read_text())
    del record["settings"]["volume_velocity"]
    (out / "run.json").write_text(json.dumps(record))
    simulate_run(out, seeds=[5], settings=SETTINGS)
    assert made == [5]
    del record["settings"]["particles"]  # which had another value than its default
    (out / "run.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match="has other settings"):
        simulate_run(out, seeds=[7], settings=SETTINGS)


def test_force_makes_boxes_again(run, made):
    out, paths = run
    paths[0].write_bytes(b"old")
    simulate_run(out, seeds=[1], settings=SETTINGS, force=True)
    assert made == [1]
    assert SimulatedBox.open(paths[0]).seed == 1


@pytest.mark.parametrize("how", [{"resume": True}, {"force": True}, {}])
@pytest.mark.parametrize(
    "change",
    [
        {"settings": dataclasses.replace(SETTINGS, redshift=1.0)},
        {"settings": dataclasses.replace(SETTINGS, steps=Steps(count=2))},
        {"settings": SETTINGS, "cosmology": PRESETS["wu2021"]},
    ],
)
def test_other_settings_are_refused(run, made, how, change):
    out, _ = run
    with pytest.raises(InputError, match="must hold boxes of one kind, but .*run.json has other settings"):
        simulate_run(out, seeds=[7], **change, **how)
    assert made == []


@pytest.mark.parametrize("seeds", [[], [1, 1], [-1, 2]])
def test_bad_seeds_are_refused(tmp_path, seeds):
    with pytest.raises(InputError, match="seeds must (be distinct, at least one|lie in 0 to 4294967295)"):
        simulate_run(tmp_path / "run", seeds=seeds, settings=SETTINGS)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("settings", None, "settings must be valid in .*run.json: Input should be a valid dict.*, got None"),
        ("cosmology", {"Omega_m": float("nan")}, "must be JSON"),
        ("cosmology", {"Omega_m": 7.0}, r"Cosmology.Omega_m must lie in \(0, 5\), got 7"),
        ("cosmology", {"Omega_x": 0.3}, "cosmology.Omega_x must be valid"),
        ("provenance", {"seed": None}, "provenance.seed must be valid .*, got None"),
    ],
)
def test_wrong_entries_of_a_record_are_refused(run, made, key, value, words):
    out, _ = run
    record = json.loads((out / "run.json").read_text())
    (out / "run.json").write_text(json.dumps(record | {key: value}))
    with pytest.raises(InputError, match=words):
        simulate_run(out, seeds=[7], settings=SETTINGS, resume=True)
    assert made == []


@pytest.mark.parametrize("text", ["{", "[1, 2]", "[" * 100_000, "\xff"])
def test_damaged_record_is_refused(run, made, text):
    out, _ = run
    (out / "run.json").write_text(text)
    with pytest.raises(
        InputError, match=r"record of a run must (be JSON|hold names and values), got .*run\.json"
    ):
        simulate_run(out, seeds=[7], settings=SETTINGS, resume=True)
    assert made == []


@pytest.mark.parametrize(
    "make",
    [
        os.mkfifo,
        Path.mkdir,
        lambda path: path.symlink_to(path.name),
        lambda path: path.symlink_to("nowhere"),
        lambda path: path.symlink_to(os.devnull),
    ],
)
@pytest.mark.parametrize("name", ["run.json", "box-00007.h5"])
def test_records_and_boxes_that_are_no_files_are_refused(run, made, make, name):
    out, _ = run
    (out / name).unlink(missing_ok=True)
    make(out / name)
    before = {path: path.lstat().st_mtime_ns for path in out.iterdir()}
    with pytest.raises(InputError, match=f"must be (a file|files), got .*{name}"):
        simulate_run(out, seeds=[7], settings=SETTINGS, resume=True)
    assert made == []
    assert before == {path: path.lstat().st_mtime_ns for path in out.iterdir()}


@pytest.mark.parametrize("device", ["tpu", *([] if torch.cuda.is_available() else ["cuda"])])
def test_unknown_or_absent_device_is_refused(tmp_path, device):
    with pytest.raises(InputError, match="device must be auto, cpu"):
        simulate_run(tmp_path / "run", seeds=[1], device=device)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--redshift nan", "redshift must be >= 0 and below 9, where particles start, got nan"),
        ("--redshift -1", "redshift must be >= 0"),
        ("--redshift 9", "redshift must be >= 0 and below 9"),
        ("--redshifts 0,9", "redshift must be >= 0 and below 9"),
        ("--redshifts 0,-1", "redshift must be >= 0 and below 9, where particles start, got -1"),
        ("--redshifts 1,0.5", "redshifts must be two or more that rise by at least 0.001, got 1, 0.5"),
        ("--redshifts 0.5,0.5", "redshifts must be two or more that rise"),
        ("--redshifts 0.5,0.5004", "redshifts must be two or more that rise"),
        ("--redshifts 0.5", "redshifts must be two or more that rise"),
        ("--redshifts 0,x", "--redshifts must be 2 numbers with commas between"),
        ("--redshifts 0,1 --redshift 1", "--redshift must not be given with --redshifts"),
        ("--kind pairs --redshifts 0,1", "--redshifts must not be given for pairs"),
        ("--kind painted --cosmologies latin", "--cosmologies must not be given for painted"),
        ("--cosmologies latin --cosmology Omega_b=0.22,Omega_m=0.3", "Omega_b < Omega_m"),
        ("--kind pairs --redshift inf", "redshift must be >= 0 and below 9"),
        ("--kind painted --redshift nan", "redshift must be >= 0, got nan"),
        ("--box 1e30", "box must be at most 6.28e+05 Mpc/h"),
        ("--kind pairs --box 1e30", "box must be at most 6.28e+05 Mpc/h"),
        ("--box 1e-3", "at least 0.109 Mpc/h apart"),
        ("--box nan", "Box.size must be > 0 Mpc/h, got nan"),
        ("--particles 20000 --box 1e5", "a box of 20000^3 particles and 96^3 cells must fit in memory"),
        ("--cells 10000 --box 1e5", "a box of 256^3 particles and 10000^3 cells must fit in memory"),
        ("--kind pairs --particles 20000 --box 1e5", "a pair of 20000^3 particles must fit in memory"),
        ("--kind painted --cells 10000 --box 1e5", "must fit in memory"),
        ("--steps 99999999999", "--steps must be 1 to 10000"),
        ("--kind painted --host-mass nan", "host_mass must be >= 0"),
        ("--kind pairs --varied nan", "varied must lie in [0, 1], got nan"),
        ("--kind pairs --varied 1 --cosmology Omega_b=0.1", "Omega_b < Omega_m"),
        ("--seeds 1-1000000000", "--seeds must name at most 1000000 numbers"),
        ("--seeds 5000000000", "seeds must lie in 0 to 4294967295"),
    ],
)
def test_what_cannot_be_made_leaves_nothing(tmp_path, options, words):
    result = CliRunner().invoke(app, ["simulate", str(tmp_path / "run"), "--seeds", "1", *options.split()])
    assert result.exit_code == 2, result.output
    (line,) = result.stderr.splitlines()
    assert line.startswith("peculiar: error: ")
    assert words in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("file", "Output must lie in a directory"),
        ("file/run", "Output must lie in a directory"),
        ("y" * 300, "name"),
    ],
)
def test_a_place_that_takes_no_run_is_refused(tmp_path, place, words):
    (tmp_path / "file").write_text("mine")
    result = CliRunner().invoke(app, ["simulate", str(tmp_path / place), "--seeds", "1"])
    assert result.exit_code == 2, result.output
    (line,) = result.stderr.splitlines()
    assert words in line
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_record_without_boxes_binds_nobody(run, made, tmp_path):
    out, paths = run
    for path in paths:
        path.unlink()
    other = dataclasses.replace(SETTINGS, redshift=1.0)
    simulate_run(out, seeds=[3], settings=other)
    record = json.loads((out / "run.json").read_text())
    assert record["settings"]["redshift"] == 1.0
    assert record["provenance"]["seed"] == [3]


def test_the_memory_that_a_box_takes_is_asked_for(tmp_path, monkeypatch, made):
    monkeypatch.setattr("peculiar.core.memory.free_memory", lambda: 500_000)
    with pytest.raises(InputError, match=r"a box of 16\^3 particles and 8\^3 cells must fit in memory"):
        simulate_run(tmp_path / "run", seeds=[1], settings=SETTINGS)
    assert made == []


def test_a_run_from_before_a_parameter_goes_on(run, made):
    out, _ = run
    record = json.loads((out / "run.json").read_text())
    five = ("Omega_m", "Omega_b", "h", "n_s", "sigma8")
    record["cosmology"] = {name: record["cosmology"][name] for name in five}
    (out / "run.json").write_text(json.dumps(record))
    simulate_run(out, seeds=[1, 2, 3], settings=SETTINGS, resume=True)
    assert made == [3]
    with pytest.raises(InputError, match="other settings"):
        simulate_run(out, seeds=[4], settings=SETTINGS, cosmology=Cosmology(w0=-0.9))


def test_massive_neutrinos_are_refused_before_anything_is_written(tmp_path):
    with pytest.raises(InputError, match="m_nu must be 0 eV for simulations"):
        simulate_run(
            tmp_path / "run", seeds=[1], settings=SETTINGS, cosmology=Cosmology(m_nu=0.06, T_cmb=2.7255)
        )
    assert not (tmp_path / "run").exists()


EPOCHS = dataclasses.replace(SETTINGS, redshift=0.0, redshifts=(0.0, 0.6, 1.5), steps=Steps(count=3))


@pytest.fixture
def epochs(tmp_path):
    """A run of three epochs with seeds 1 and 2, and what made it."""
    out = tmp_path / "epochs"
    return out, simulate_run(out, seeds=[1, 2], settings=EPOCHS)


def test_epochs_of_a_run_are_runs_of_one_evolution(epochs, tmp_path):
    out, paths = epochs
    assert [str(path.relative_to(out)) for path in paths] == [
        f"z{redshift}/box-0000{seed}.h5" for seed in (1, 2) for redshift in ("1.500", "0.600", "0.000")
    ]
    assert sorted(path.name for path in out.iterdir()) == ["run.json", "z0.000", "z0.600", "z1.500"]
    record = json.loads((out / "run.json").read_text())
    assert record["steps_to_epochs"] == {"1.5": 3, "0.6": 2, "0": 2}
    assert run_epochs(out) == [out / "z0.000", out / "z0.600", out / "z1.500"]
    for redshift, run in zip((0.0, 0.6, 1.5), run_epochs(out), strict=True):
        box = SimulatedBox.open(open_run(run, [2])[0])
        assert (box.seed, box.redshift) == (2, redshift)
        stated = json.loads((run / "run.json").read_text())
        assert (stated["settings"]["redshift"], stated["settings"]["redshifts"]) == (redshift, [0, 0.6, 1.5])
        alone = dataclasses.replace(SETTINGS, redshift=redshift, steps=EPOCHS.steps)
        (path,) = simulate_run(tmp_path / f"alone{redshift}", seeds=[2], settings=alone)
        both = torch.stack([one.velocity.data.flatten() for one in (box, SimulatedBox.open(path))])
        assert torch.corrcoef(both)[0, 1] > 0.99
        assert (both[0].square().sum() / both[1].square().sum()) == pytest.approx(1, abs=0.02)
    assert torch.equal(*both)  # the first epoch has the steps of a run to it


def test_killed_evolution_resumes_and_ends_with_the_same_boxes(epochs, made):
    out, paths = epochs
    before = {path: path.read_bytes() for path in paths}
    for path in (paths[2], paths[4]):
        path.unlink()
    with pytest.raises(InputError, match="must not hold these seeds yet, got 4 of them"):
        simulate_run(out, seeds=[1, 2], settings=EPOCHS)
    assert simulate_run(out, seeds=[1, 2], settings=EPOCHS, resume=True) == paths
    assert made == [1, 2]
    assert {path: path.read_bytes() for path in paths} == before


@pytest.mark.parametrize(
    "other",
    [dataclasses.replace(EPOCHS, redshifts=(0.0, 0.6)), dataclasses.replace(SETTINGS, redshift=0.0)],
)
def test_a_run_of_epochs_takes_no_others(epochs, made, other):
    out, _ = epochs
    with pytest.raises(InputError, match="must hold boxes of one kind, but .*run.json has other settings"):
        simulate_run(out, seeds=[7], settings=other)
    assert made == []


def test_one_epoch_must_be_named_where_one_is_read(epochs):
    out, _ = epochs
    with pytest.raises(InputError, match=r"run must be of one epoch, got .* with z0.000, z0.600, z1.500"):
        open_run(out)
    assert run_paths(out) == run_epochs(out)  # training takes all of them
    assert run_paths(out / "z0.600") == [out / "z0.600"]


def test_epochs_are_rising_and_hold_the_redshift():
    with pytest.raises(InputError, match=r"redshift must be one of redshifts, got 0.59: give redshift=0"):
        BoxSettings(redshifts=(0.0, 1.0))


def test_each_seed_may_have_its_own_cosmology(tmp_path):
    settings = dataclasses.replace(SETTINGS, cosmologies="latin")
    paths = simulate_run(tmp_path / "run", seeds=[0, 1], settings=settings)
    found = [SimulatedBox.open(path).cosmology for path in paths]
    base = PRESETS["xiao2024"]
    assert found == [settings.cosmology_of(seed, base) for seed in (0, 1)]
    assert found[0] != found[1]
    assert SETTINGS.cosmology_of(0, base) == base


@pytest.mark.parametrize("first", [0, 48])
def test_drawn_cosmologies_are_a_latin_hypercube(first):
    """Of 16 seeds from a multiple of 16, one falls into each sixteenth of each range."""
    settings = dataclasses.replace(SETTINGS, cosmologies="latin")
    drawn = [settings.cosmology_of(seed, PRESETS["xiao2024"]) for seed in range(first, first + 16)]
    for name, (low, high) in DRAWN.items():
        parts = np.sort([(getattr(cosmology, name) - low) / (high - low) for cosmology in drawn])
        assert np.floor(16 * parts).tolist() == list(range(16))
    assert {cosmology.Omega_b for cosmology in drawn} == {PRESETS["xiao2024"].Omega_b}


@pytest.mark.parametrize(
    "settings",
    [
        SETTINGS,
        EPOCHS,
        dataclasses.replace(SETTINGS, cosmologies="latin"),
        PairSettings(size=32.0, particles=8, steps=Steps(count=2)),
    ],
)
def test_workers_make_the_same_files(tmp_path, scheduler, settings):
    alone, many = (
        simulate_run(tmp_path / name, seeds=[1, 2, 3], settings=settings, workers=workers)
        for name, workers in (("alone", None), ("many", scheduler))
    )
    assert [path.name for path in alone] == [path.name for path in many]
    assert [path.read_bytes() for path in alone] == [path.read_bytes() for path in many]
    written = {path for path in (tmp_path / "many").rglob("*") if path.is_file()}
    assert written == {*many, *(path.parent / "run.json" for path in many), tmp_path / "many" / "run.json"}


def test_a_scheduler_that_is_not_there_is_told_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr("peculiar.core.workers.CONNECT", 0.5)
    with pytest.raises(InputError, match="scheduler must be the address"):
        simulate_run(tmp_path / "run", seeds=[1], settings=SETTINGS, workers="tcp://127.0.0.1:9")
    assert not list(tmp_path.iterdir())
