"""`peculiar mock`: outputs, warnings, what is refused, and the commands of the documentation."""

import json

import h5py
import numpy as np
import pytest
from astropy.table import Table
from typer.testing import CliRunner

from peculiar.catalogues import load_survey
from peculiar.cli import app
from peculiar.core import PRESETS, InputError, OutputExistsError
from peculiar.fields.files import read_fields
from peculiar.workflows.catalogue_options import CatalogueOptions
from peculiar.workflows.mock import make_mocks
from peculiar.workflows.mock_settings import MockSettings
from peculiar.workflows.reconstruct_file import reconstruct_file

COSMOLOGY = PRESETS["wang2024"]


def described(path, **changes):
    return load_survey(path).with_changes(changes)


def make(run, out, survey, *, density=4e-3, seeds=(1001,), galaxies=None, force=False, **settings):
    settings = MockSettings(number_density=density, **settings)
    return make_mocks(
        run, out=out, settings=settings, survey=survey, galaxies=galaxies, seeds=seeds, force=force
    )


def test_reconstruct_reads_it_and_finds_the_velocities(box_run, cap_survey, tmp_path):
    make(box_run, tmp_path / "mock", described(cap_survey), density=7e-3, satellites=0.0, seeds=[1002])
    reconstruct_file(
        tmp_path / "mock" / "mock-01002.fits",
        out=tmp_path / "fields.zarr",
        options=CatalogueOptions(survey=load_survey(tmp_path / "mock" / "survey.toml")),
        model="iterative",
        cosmology=COSMOLOGY,
        objects=tmp_path / "objects.fits",
    )
    objects = Table.read(tmp_path / "objects.fits")
    assert np.corrcoef(objects["v_los"], objects["v_los_in"])[0, 1] > 0.6
    found, true = read_fields(tmp_path / "fields.zarr"), read_fields(tmp_path / "mock" / "mock-01002.zarr")
    assert found["velocity"].box == true["velocity"].box
    seen = true["completeness"].numpy()[0] > 0.3
    assert (
        np.corrcoef(found["velocity"].numpy()[:, seen].ravel(), true["velocity"].numpy()[:, seen].ravel())[
            0, 1
        ]
        > 0.5
    )


def test_what_is_refused(box_run, cap_survey, tmp_path):
    out = tmp_path / "mock"
    base = described(cap_survey)
    refused = [
        ({"survey": None}, "belongs to the pattern survey"),
        ({"survey": base.with_changes({"mask": tmp_path / "none.fits"})}, "mask must be a file that exists"),
        ({"survey": base.model_copy(update={"mask": None})}, "must have a mask, got none"),
        ({"survey": base.with_changes({"randoms": cap_survey})}, "got randoms"),
        ({"survey": base, "density": 5e-2}, r"got 0.05 \(h/Mpc\)\^3 and 0.02667"),
        ({"survey": base, "density": 5e-2, "choice": "random"}, r"got 0.05 \(h/Mpc\)\^3 and 0.02"),
        ({"survey": base.with_changes({"distances": (30, 300)})}, "covered region .* and boxes of 160 Mpc/h"),
        ({"survey": base, "density": None}, "needs the survey's own galaxies"),
        ({"survey": base, "seeds": [5]}, r"got \[5\]: choose from \[1001, 1002\]"),
        ({"survey": base, "seeds": [1001, 1001]}, "seeds must be those of boxes in .*, each once"),
        ({"survey": base.with_changes({"columns": {"z": "v_los"}})}, "must not have the names of true values"),
        ({"survey": None, "pattern": "axis", "cube": 201.0}, "cube must be whole cells"),
        ({"survey": None, "pattern": "axis", "cube": 0.0}, "cube must be whole cells"),
        ({"survey": None, "pattern": "axis", "cube": 40.0, "density": 1e-30}, "at least one object in 6.4e.04"),
        ({"survey": base, "pattern": "axis"}, "belongs to the pattern survey"),
        (
            {"survey": None, "pattern": "axis", "galaxies": cap_survey, "density": 1e-3},
            "galaxies must not be given for a cube",
        ),
        (
            {"survey": None, "pattern": "axis", "cube": 40.0, "density": 1e30, "choice": "random"},
            "density must be at most that of the box's halos",
        ),
    ]  # fmt: skip
    for arguments, message in refused:
        with pytest.raises(InputError, match=message):
            make(box_run, out, arguments.pop("survey"), **arguments)
        assert not out.exists()
    with pytest.raises(InputError, match="run must be a directory with box"):
        make(tmp_path, out, base)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pattern": "diagonal"}, "pattern must be one of"),
        ({"choice": "all"}, "choice must be massive or random"),
        ({"number_density": -1.0}, "number_density must be > 0"),
        ({"satellites": 1.0}, "satellites must lie in"),
        ({"least_mass": 1e12}, "least mass must not be given"),
        ({"choice": "random", "satellites": 0.2}, "satellites must not be given"),
        ({"cube": 100.0}, "cube must not be given for a survey"),
        ({"pattern": "axis"}, "need --number-density"),
    ],
)
def test_settings_that_do_not_belong_together(settings, message):
    with pytest.raises(InputError, match=message):
        MockSettings(**settings)


def test_wide_surveys_and_boxes_at_another_redshift_are_warned_of(box_run, cap_survey, tmp_path):
    wide = described(cap_survey, distances=(30.0, 140.0))
    with pytest.warns(UserWarning, match="fills more than 0.75 of the boxes' side of 160"):
        make(box_run, tmp_path / "wide", wide, choice="random", density=1e-3)
    (tmp_path / "late").mkdir()
    (tmp_path / "late" / "box-01001.h5").write_bytes((box_run / "box-01001.h5").read_bytes())
    with h5py.File(tmp_path / "late" / "box-01001.h5", "a") as file:
        file.attrs["redshift"] = 0.59
    with pytest.warns(UserWarning, match="boxes are at z = 0.59 and the survey at z = 0.01"):
        make(tmp_path / "late", tmp_path / "mock", described(cap_survey), choice="random", density=1e-3)


def test_outputs_are_replaced_only_when_told(box_run, cap_survey, tmp_path):
    quick = {"choice": "random", "density": 1e-3}
    make(box_run, tmp_path / "mock", described(cap_survey), **quick)
    first = Table.read(tmp_path / "mock" / "mock-01001.fits")
    with pytest.raises(OutputExistsError):
        make(box_run, tmp_path / "mock", described(cap_survey), **quick)
    make(box_run, tmp_path / "mock", described(cap_survey), force=True, **quick)
    assert np.array_equal(Table.read(tmp_path / "mock" / "mock-01001.fits")["ra"], first["ra"])
    make(box_run, tmp_path / "mock", described(cap_survey), force=True, seed=1, **quick)
    assert not np.array_equal(Table.read(tmp_path / "mock" / "mock-01001.fits")["ra"], first["ra"])
    with pytest.raises(InputError, match="must not hold an input"):
        make(box_run, box_run, described(cap_survey), force=True, **quick)
    assert (box_run / "box-01001.h5").is_file()


def test_the_commands_of_the_documentation(box_run, cap_survey, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def command(*arguments):
        return CliRunner().invoke(app, list(map(str, arguments)))

    options = ("--survey", cap_survey, "--seeds", "1001-1002", "--number-density", "5e-3")
    result = command("mock", box_run, *options, "--out", "mock")
    assert result.exit_code == 0, result.output
    assert result.stdout.split() == ["mock/mock-01001.fits", "mock/mock-01002.fits"]
    assert "objects in mock-01001.fits" in result.stderr
    result = command(
        "reconstruct", "--sky", "mock/mock-01001.fits", "--survey", "mock/survey.toml", "--cosmology", "wang2024",
        "--model", "iterative", "--out", "fields.zarr", "--at-objects", "objects.fits",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "warning" not in result.stderr
    assert {"v_los", "v_los_in", "x_real_in"} <= set(Table.read("objects.fits").colnames)
    record = json.loads((tmp_path / "mock" / "run.json").read_text())
    assert [one["halos"] for one in record["mocks"].values()] == ["of the simulation", "painted by tiny"]
    assert len(record["provenance"]["inputs"]) == 3
    cubes = ("--pattern", "random", "--cube", 80, "--choice", "random", "--number-density", "5e-3")
    result = command("mock", box_run, *cubes, "--seeds", 1001, "--out", "cubes")
    assert result.exit_code == 0, result.output
    facts = json.loads((tmp_path / "cubes" / "run.json").read_text())["mocks"]["mock-01001.fits"]
    result = command(
        "reconstruct",
        "cubes/mock-01001.fits",
        *facts["read_with"].split(),
        "--model",
        "iterative",
        "--out",
        "c.zarr",
    )
    assert result.exit_code == 0, result.output
    true, found = (read_fields(name)["velocity"] for name in ("cubes/mock-01001.zarr", "c.zarr"))
    assert true.box == found.box
    result = command("mock", box_run, *options, "--out", "mock")
    assert result.exit_code == 2
    assert "--force" in result.stderr
    result = command("mock", box_run, *options, "--frame", "galactic", "--out", "other")
    assert result.exit_code == 2
    assert "galactic" in result.stderr
    assert not (tmp_path / "other").exists()


def test_workers_observe_the_same_mocks(box_run, cap_survey, tmp_path, scheduler):
    common = {"settings": MockSettings(number_density=4e-3), "survey": described(cap_survey)}
    make_mocks(box_run, out=tmp_path / "alone", **common)
    made = make_mocks(box_run, out=tmp_path / "many", workers=scheduler, **common)
    assert list(made.objects) == ["mock-01001.fits", "mock-01002.fits"]
    names = sorted(path.relative_to(tmp_path / "alone") for path in (tmp_path / "alone").rglob("*"))
    assert names == sorted(path.relative_to(tmp_path / "many") for path in (tmp_path / "many").rglob("*"))
    records = [json.loads((tmp_path / place / "run.json").read_text()) for place in ("alone", "many")]
    assert records[0]["mocks"] == records[1]["mocks"]
    for name in made.objects:
        alone, many = (Table.read(tmp_path / place / name) for place in ("alone", "many"))
        assert all(np.array_equal(alone[column], many[column]) for column in alone.colnames)
        true, found = (
            read_fields((tmp_path / place / name).with_suffix(".zarr")) for place in ("alone", "many")
        )
        assert all(np.array_equal(true[one].numpy(), found[one].numpy()) for one in true)


def test_mocks_of_which_one_fails_leave_nothing(box_run, cap_survey, tmp_path, scheduler, monkeypatch):
    def broken(path, advance, **plan):
        raise InputError("table must be short, got 7 rows")

    monkeypatch.setattr("peculiar.workflows.mock._write_mock", broken)
    settings = MockSettings(number_density=4e-3)
    before = set(tmp_path.iterdir())
    for workers in (None, scheduler):
        with pytest.raises(InputError, match=r"seed 100.: table must be short"):
            make_mocks(
                box_run,
                out=tmp_path / "out",
                settings=settings,
                survey=described(cap_survey),
                workers=workers,
            )
        assert set(tmp_path.iterdir()) == before
