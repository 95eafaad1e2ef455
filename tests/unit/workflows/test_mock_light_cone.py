"""Mocks of a light cone: each distance has the epoch that is nearest, the box repeats, and randoms follow n(r)."""

import json

import numpy as np
import pytest
import torch
from astropy.table import Table
from typer.testing import CliRunner

from peculiar.catalogues import load_survey, read_survey
from peculiar.catalogues.survey import Survey
from peculiar.cli import app
from peculiar.core import PRESETS, InputError
from peculiar.fields.files import read_fields
from peculiar.simulate.light_cone import open_light_cones
from peculiar.simulate.mocks import SimulatedBox
from peculiar.workflows.mock import make_mocks
from peculiar.workflows.mock_settings import MockSettings

COSMOLOGY = PRESETS["wang2024"]
N_OF_Z = {"redshift": (0.0, 0.05, 0.1, 0.12), "density": (4e-3, 4e-3, 1e-3, 0.0)}
SURVEY = Survey.model_validate(
    {
        "frame": "cmb",
        "sky": [{"ra": (350, 20), "dec": (-20, 15)}],
        "redshifts": (0.02, 0.115),
        "radial": "tabulated",
        "n_of_z": N_OF_Z,
    }
)


@pytest.fixture(scope="module")
def mock(epoch_run, tmp_path_factory):
    out = tmp_path_factory.mktemp("cone") / "mocks"
    settings = MockSettings(light_cone=True, satellites=0.0)
    return out, make_mocks(epoch_run, out=out, survey=SURVEY, settings=settings)


def test_what_is_written(mock):
    out, summary = mock
    assert sorted(path.name for path in out.iterdir() if path.name[0] != ".") == [
        "mock-01001.fits", "mock-01001.zarr", "randoms.fits", "run.json", "survey.toml",
    ]  # fmt: skip
    (told,) = summary.told
    facts = json.loads((out / "run.json").read_text())["mocks"]["mock-01001.fits"]
    assert [epoch["redshift"] for epoch in facts["epochs"]] == [0.0, 0.05, 0.1]
    assert told.startswith(f"a light cone of 3 epochs, z = 0 to 0.1, in {facts['copies']} copies of the box")
    assert 4 <= facts["copies"] <= 18  # the survey is 290 Mpc/h deep, the box 160
    growth, velocity = (facts["steps_between_epochs"][name] for name in ("growth", "velocity"))
    assert growth == pytest.approx(np.log(1 / COSMOLOGY.growth(0.05)), rel=0.1)
    assert f"growth steps by up to {growth:.1%}, linear velocities by {velocity:.1%}" in told


def test_workers_observe_the_same_light_cone(mock, epoch_run, tmp_path, scheduler):
    out, summary = mock
    settings = MockSettings(light_cone=True, satellites=0.0)
    made = make_mocks(epoch_run, out=tmp_path / "many", survey=SURVEY, settings=settings, workers=scheduler)
    assert (made.objects, made.told) == (summary.objects, summary.told)
    for name in ("mock-01001.fits", "randoms.fits"):
        alone, many = (Table.read(place / name) for place in (out, tmp_path / "many"))
        assert all(np.array_equal(alone[column], many[column]) for column in alone.colnames)


def test_workers_must_have_the_memory_of_a_light_cone(epoch_run, tmp_path, monkeypatch):
    monkeypatch.setattr("peculiar.core.memory._available", lambda: 1_200_000_000)
    for room in ("mock", "mock_light_cone"):
        monkeypatch.setattr(f"peculiar.workflows.{room}.cone_memory", lambda plan: 1_000_000_000)
    settings = MockSettings(light_cone=True, satellites=0.0)
    with pytest.raises(
        InputError, match=r"a light cone, by 1 workers at once, must fit in memory, got 1.35 GB"
    ):
        make_mocks(epoch_run, out=tmp_path / "out", survey=SURVEY, settings=settings, workers=1)
    assert list(tmp_path.iterdir()) == []


def test_shells_have_the_objects_of_their_epoch(mock, epoch_run):
    """Each object is one of the box of its distance, at its place in a copy of the box, with its velocity."""
    out, _ = mock
    table = Table.read(out / "mock-01001.fits")
    facts = json.loads((out / "run.json").read_text())["mocks"]["mock-01001.fits"]
    (cone,) = open_light_cones(epoch_run)
    real = np.stack([table[f"{axis}_real"] for axis in "xyz"], axis=1)
    velocities = np.stack([table[f"v{axis}"] for axis in "xyz"], axis=1)
    distance = np.linalg.norm(real, axis=1)
    between = COSMOLOGY.comoving_distance(np.array([2 / (1 + 1 / 1.05) - 1, 2 / (1 / 1.05 + 1 / 1.1) - 1]))
    np.testing.assert_allclose(cone.edges[1:3], between)
    box = read_fields(out / "mock-01001.zarr")["velocity"].box
    corner = np.asarray(box.origin) - np.asarray(facts["box_origin_cell"]) * box.cell_size
    for epoch, (low, high) in zip(cone.boxes, zip(cone.edges[:-1], cone.edges[1:], strict=True), strict=True):
        shell = (distance >= low) & (distance < high)
        assert shell.sum() > 20
        halos = epoch.halos
        inside = (real[shell] - corner) % 160.0
        for place, velocity in zip(inside[:20], velocities[shell][:20], strict=True):
            apart = np.abs(halos.positions - place)
            nearest = np.minimum(apart, 160 - apart).max(axis=1).argmin()
            assert np.minimum(apart, 160 - apart).max(axis=1)[nearest] < 1e-3
            np.testing.assert_allclose(halos.velocities[nearest], velocity, rtol=1e-6)


def test_fields_have_the_epoch_of_each_cell(mock, epoch_run):
    out, _ = mock
    fields = read_fields(out / "mock-01001.zarr")
    facts = json.loads((out / "run.json").read_text())["mocks"]["mock-01001.fits"]
    (cone,) = open_light_cones(epoch_run)
    box = fields["velocity"].box
    assert len(set(box.shape)) > 1  # it hugs the survey
    distance = np.linalg.norm(box.centres(), axis=1).reshape(box.shape)
    index = np.stack(np.meshgrid(*(np.arange(n) for n in box.shape), indexing="ij"), axis=-1)
    i, j, k = np.moveaxis((index + facts["box_origin_cell"]) % 32, -1, 0)
    for epoch, low, high in zip(cone.boxes, cone.edges[:-1], cone.edges[1:], strict=True):
        shell = torch.from_numpy((distance >= low) & (distance < high))
        assert shell.sum() > 100
        torch.testing.assert_close(
            fields["velocity"].data[:, shell], epoch.velocity.data[:, i, j, k][:, shell]
        )
        torch.testing.assert_close(fields["density"].data[:, shell], epoch.density.data[:, i, j, k][:, shell])


def test_n_of_z_is_that_of_the_table_for_objects_and_randoms(mock):
    out, summary = mock
    survey = load_survey(out / "survey.toml")
    table, randoms = (Table.read(out / name) for name in ("mock-01001.fits", "randoms.fits"))
    assert len(randoms) == 10 * len(table) == 10 * summary.objects["mock-01001.fits"]
    sample = read_survey(table, survey, cosmology=COSMOLOGY)
    assert sample.kept.all()
    true = SURVEY.n_of_z.selection(COSMOLOGY, limits=SURVEY.limits(COSMOLOGY))
    r = np.linspace(*true.distances[[0, -1]], 2000)
    volume = sample.mask.solid_angle * r**2
    expected = np.trapezoid(true.at(r) * volume, r)
    assert len(table) == pytest.approx(expected, rel=0.15)
    np.testing.assert_allclose(sample.n_of_r.at(r) * expected / len(table), true.at(r), rtol=1e-3)
    points = read_survey(randoms, survey, cosmology=COSMOLOGY)
    assert points.kept.mean() > 0.999
    counts, edges = np.histogram(np.linalg.norm(points.positions, axis=1), bins=8)
    middle = (edges[1:] + edges[:-1]) / 2
    shares = true.at(middle) * middle**2
    np.testing.assert_allclose(counts / counts.sum(), shares / shares.sum(), rtol=0.08, atol=0.005)
    assert (points.mask.at(points.positions) > 0).all()
    assert np.ptp((np.asarray(randoms["ra"]) + 20) % 360) == pytest.approx(30, abs=2.5)


@pytest.mark.parametrize(
    ("changes", "settings", "words"),
    [
        ({"redshifts": (0.02, 0.3), "n_of_z": {"redshift": (0, 0.4), "density": (4e-3, 4e-3)}}, {},
         "epochs must cover the survey to 0.1 in redshift, got z = 0 to 0.1 for a survey of 0.02 to 0.3"),
        ({"redshifts": (0.02, 0.2)}, {}, "n_of_z must reach over the survey's limits"),
        ({}, {"number_density": 1.0}, "number density must be at most what the box holds"),
        ({}, {"randoms": -1.0}, "randoms must be >= 0"),
        ({}, {"pattern": "axis", "number_density": 1e-3}, "light cone and randoms must not be given for a cube"),
    ],
)  # fmt: skip
def test_what_cannot_be_held_is_refused(epoch_run, tmp_path, changes, settings, words):
    survey = SURVEY.with_changes(changes)
    with pytest.raises(InputError, match=words):
        make_mocks(
            epoch_run,
            out=tmp_path / "out",
            survey=survey,
            settings=MockSettings(**{"light_cone": True, "satellites": 0.0} | settings),
        )
    assert list(tmp_path.iterdir()) == []


def test_too_many_copies_are_refused(epoch_run, tmp_path, monkeypatch):
    monkeypatch.setattr("peculiar.workflows.mock_light_cone.MOST_COPIES", 8)
    with pytest.raises(InputError, match="a survey must need at most 8 copies of the box, got up to"):
        make_mocks(epoch_run, out=tmp_path / "out", survey=SURVEY, settings=MockSettings(light_cone=True))


def test_one_epoch_is_no_light_cone(epoch_run, tmp_path):
    (tmp_path / "survey.toml").write_text(
        'radial = "tabulated"\nframe = "cmb"\n[[sky]]\nra = [350, 20]\ndec = [-20, 15]\n'
        "[n_of_z]\nredshift = [0.01, 0.1]\ndensity = [1e-3, 1e-3]\n"
    )
    options = ["--survey", str(tmp_path / "survey.toml"), "--out", str(tmp_path / "out"), "--light-cone"]
    result = CliRunner().invoke(app, ["mock", str(epoch_run / "z0.000"), *options])
    assert result.exit_code == 2
    assert "a light cone needs a run of several epochs" in result.stderr
    result = CliRunner().invoke(app, ["mock", str(epoch_run), *options, "--randoms", "2"])
    assert result.exit_code == 0, result.output
    assert "a light cone of 3 epochs" in result.stderr
    assert len(Table.read(tmp_path / "out/randoms.fits")) == 2 * len(
        Table.read(tmp_path / "out/mock-01001.fits")
    )


def test_epochs_have_the_same_seeds(epoch_run, tmp_path):
    for redshift, seeds in (("z0.000", (1, 2)), ("z0.050", (1,))):
        (tmp_path / redshift).mkdir()
        for seed in seeds:
            (tmp_path / redshift / f"box-0000{seed}.h5").write_bytes(
                (epoch_run / redshift / "box-01001.h5").read_bytes()
            )
    with pytest.raises(InputError, match="epochs must have boxes of the same seeds"):
        open_light_cones(tmp_path)
    box = SimulatedBox.open(epoch_run / "z0.000/box-01001.h5")
    with pytest.raises(InputError, match="epochs must have rising redshifts"):
        type(open_light_cones(epoch_run)[0])([box, box])
