import json
from dataclasses import asdict

import h5py
import numpy as np
import pytest

from peculiar.core import PRESETS, InputError
from peculiar.simulate.mocks import SimulatedBox
from peculiar.training.dataset import MeshPair
from peculiar.training.fresh_cubes import FreshCubes
from peculiar.training.recipe import RECIPES, load_recipe
from peculiar.training.survey_cubes import observe_cube, variant_key
from peculiar.workflows.train import train
from peculiar.workflows.train_plan import check_plan
from peculiar.workflows.training_data import mesh_shapes, split_files, training_pairs
from peculiar.workflows.tune import tune


@pytest.fixture
def run(box_run, tmp_path):
    """Two boxes of 32^3 cells, one to train on and one for validation."""
    place = tmp_path / "boxes"
    place.mkdir()
    (place / "run.json").write_bytes((box_run / "run.json").read_bytes())
    for seed, old in ((1, 1001), (501, 1002)):
        (place / f"box-{seed:05d}.h5").write_bytes((box_run / f"box-{old:05d}.h5").read_bytes())
    return place


def like(run, other, setting, **attribute):
    """A run with other values of a setting, by its attribute in files."""
    other.mkdir()
    ((name, value),) = attribute.items()
    for path in run.glob("*.h5"):
        (other / path.name).write_bytes(path.read_bytes())
        with h5py.File(other / path.name, "a") as file:
            file.attrs[name] = value
    record = json.loads((run / "run.json").read_text())
    record["settings"][setting] = value
    (other / "run.json").write_text(json.dumps(record))
    return other


@pytest.fixture
def refused(run, tmp_path):
    """Start a training that must be refused with nothing written, and return its words."""

    def check(*changes, seed=0):
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(InputError) as error:
            train(
                "residual",
                profile="smoke",
                run=run,
                out=tmp_path / "out",
                changes=changes,
                seed=seed,
                announce=pytest.fail,
            )
        assert sorted(tmp_path.rglob("*")) == before
        return str(error.value)

    return check


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("loss.margin=8", "loss.margin must be below half of a crop's 16 cells, got 8"),
        ("loss.margin=1000000", "loss.components.margin must be valid"),
        ("train.lr=inf", "train.lr must be valid"),
        ("train.lr=nan", "train.lr must be valid"),
        ("train.lr=1e30", "train.lr must be valid"),
        ("train.clip=inf", "train.clip must be valid"),
        ("loss.components.velocity=nan", "must be valid"),
        ("train.steps=99999999999", "train.steps must be valid"),
        ("train.crop=64", "train.crop must be at most the mesh of the boxes (32 cells), got 64"),
        ("train.crop=4", "train.crop must be at least 8 cells"),
        ("network.settings.width=1000000", "must fit in memory"),
        ("train.batch_size=1000000", "must fit in memory"),
        ("train.accelerator=abacus", "accelerator"),
        ("train.accelerator=tpu", "accelerator"),
        ("train.devices=1000", "train.devices must be at most this machine"),
        ("train.lr=true", "lr must be no true or false"),
    ],
)
def test_settings_are_checked_before_work(refused, change, words):
    assert words in refused(change)


def test_seeds_are_checked_before_work(refused):
    assert "seed must lie in 0 to 4294967295, got -1" in refused(seed=-1)


def test_boxes_are_checked_before_work(refused, run):
    whole = (run / "box-00501.h5").read_bytes()
    (run / "box-00501.h5").write_bytes(whole[: len(whole) // 2])
    assert "must be a whole HDF5 file" in refused()
    (run / "box-00501.h5").write_bytes(whole)
    with h5py.File(run / "box-00501.h5", "a") as file:
        del file["velocity"]
        file["velocity"] = [1.0]
    assert "arrays of matching shapes, got (1,) of 'velocity'" in refused()


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("redshift", 0.5, "redshift = 0.5 in place of 0"),
        ("box_size", 80.0, "size = 80 in place of 160"),
        ("cosmology", json.dumps(asdict(PRESETS["xiao2024"])), "Omega_m = 0.268 in place of 0.2648"),
    ],
)
def test_boxes_that_their_run_does_not_tell_are_refused(refused, run, key, value, words):
    with h5py.File(run / "box-00501.h5", "a") as file:
        file.attrs[key] = value
    told = refused()
    assert f"must be what its run.json tells, got {words}" in told
    assert f"in {run / 'box-00501.h5'}" in told


def test_boxes_may_have_cosmologies_of_their_own_where_the_run_says_so(run):
    with h5py.File(run / "box-00501.h5", "a") as file:
        file.attrs["cosmology"] = json.dumps(asdict(PRESETS["xiao2024"]))
    record = json.loads((run / "run.json").read_text())
    record["settings"]["cosmologies"] = "latin"
    (run / "run.json").write_text(json.dumps(record))
    settings = load_recipe("residual", profile="smoke")
    check_plan(settings, split_files(run, settings), seed=0)


def test_a_directory_without_a_record_is_no_run(refused, run):
    (run / "run.json").unlink()
    assert "run must hold run.json" in refused()


def test_a_good_plan_passes(run):
    settings = load_recipe("residual", profile="smoke")
    check_plan(settings, split_files(run, settings), seed=0)


def test_cubes_are_planned_with_their_margin(run):
    """A cube of 12 cells is a mesh of 24, and a crop of 24 fits into it."""
    cubes = "data.cubes=[{name='simulation', pattern='random', cubes=1, cells=12}]"
    settings = load_recipe("wang2024-galaxies", profile="smoke", changes=[cubes])
    assert settings.train.crop == 24
    assert {shape.cells for shape in mesh_shapes(settings, sorted(run.glob("*.h5")))} == {24}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"trials": 0}, "trials must lie in 1 to 100000, got 0"),
        ({"trials": 2 * 10**9}, "trials must lie in 1 to 100000"),
        ({"repeats": 0}, "repeats must lie in 1 to 100000, got 0"),
        ({"changes": ["train.crop=64"]}, "train.crop must be at most"),
        ({"out": "notes.txt/search"}, "is a file"),
    ],
)
def test_a_search_is_checked_before_work(run, tmp_path, monkeypatch, options, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match=words):
        tune(
            "residual", **{"profile": "smoke", "run": run, "out": "search", "announce": pytest.fail} | options
        )
    assert sorted(tmp_path.rglob("*")) == before


def test_fresh_cubes_are_of_training_alone(run):
    settings = load_recipe("wang2024", profile="smoke", changes=["data.fresh=true"])
    training, validation = training_pairs(settings, split_files(run, settings))
    assert [type(pair) for pair in (*training, *validation)] == [FreshCubes, MeshPair]
    assert {path.parent.name for path in run.rglob("*.npy")} == {"box-00501"}


def test_fresh_cubes_that_a_box_cannot_hold_are_refused_before_the_first_step(run):
    cubes = "data.cubes=[{name='dense', pattern='random', cubes=1, cells=20, number_density=1.0}]"
    settings = load_recipe("wang2024", profile="smoke", changes=["data.fresh=true", cubes])
    with pytest.raises(InputError, match="number_density must be at most that of the box's objects"):
        training_pairs(settings, split_files(run, settings))


@pytest.fixture
def own_survey(cap_survey, tmp_path):
    """A recipe beside a survey file, with cubes in that survey's footprint."""
    text = (RECIPES / "wang2024-galaxies.toml").read_text()
    recipe = cap_survey.with_name("mine-network.toml")
    cubes = 'name = "mine", pattern = "survey cube", survey = "mine.toml", number_density = 2e-3, cubes = 1'
    recipe.write_text(text + f"\n[profiles.own]\ndata.cubes = [{{ {cubes}, cells = 12 }}]\n")
    return recipe


def test_a_survey_to_train_on_is_a_file_beside_the_recipe(run, own_survey, cap_survey):
    settings = load_recipe(own_survey, profile="own", changes=["data.boxes=1"])
    (variant,) = settings.data.cubes
    assert variant.survey == str(cap_survey)
    (path,) = run.glob("box-00001.h5")
    assert {shape.cells for shape in mesh_shapes(settings, [path])} == {24}
    box = SimulatedBox.open(path)
    mock = observe_cube(box, variant, number=0, places="random")
    apex = np.array([0.5, 0.5, 0.5**0.5])
    away = mock.catalogue.positions
    distance = np.linalg.norm(away, axis=1)
    angle = np.degrees(np.arccos(away @ apex / distance))
    assert len(away) > 50
    assert angle.max() < 30 + np.degrees(5 / 30)  # of the cap, and cells on its edge
    assert 25 < distance.min() < distance.max() < 95
    key = variant_key(variant)
    cap_survey.write_text(cap_survey.read_text().replace("[30.0, 90.0]", "[30.0, 80.0]"))
    assert variant_key(variant) != key


def test_a_survey_that_cannot_be_read_is_refused_before_work(run, own_survey, cap_survey):
    cap_survey.with_name("cap.fits").unlink()
    settings = load_recipe(own_survey, profile="own")
    with pytest.raises(InputError, match=r"mask must be a file that exists, got .*cap\.fits"):
        check_plan(settings, split_files(run, settings), seed=0)
    cap_survey.unlink()
    with pytest.raises(InputError, match="survey must be a .toml file that exists"):
        check_plan(settings, split_files(run, settings), seed=0)


def test_a_painter_without_conditions_has_one_redshift(run, tmp_path):
    other = like(run, tmp_path / "late", "redshift", redshift=0.5)
    several = load_recipe("painter", profile="smoke", changes=["inputs.cell_size=5.0"])
    check_plan(several, split_files([run, other], several), seed=0)
    one = load_recipe("painter", profile="smoke", changes=["inputs.cell_size=5.0", "inputs.conditions=[]"])
    with pytest.raises(InputError, match=r"one redshift for a painter without conditions, got 0, 0\.5"):
        check_plan(one, split_files([run, other], one), seed=0)


def test_a_fitted_filter_has_one_cell_size(run, tmp_path):
    other = like(run, tmp_path / "coarse", "size", box_size=320.0)
    changes = ['inputs.wiener="fitted"', "data.variants=[{number_density=1e-3}]"]
    settings = load_recipe("residual", profile="smoke", changes=changes)
    with pytest.raises(
        InputError, match="inputs.wiener 'fitted' must be of boxes of one cell size, got 5, 10 Mpc/h"
    ):
        check_plan(settings, split_files([run, other], settings), seed=0)
    plain = load_recipe("residual", profile="smoke", changes=changes[1:])
    check_plan(plain, split_files([run, other], plain), seed=0)


@pytest.mark.parametrize(
    ("recipe", "change", "words"),
    [
        ("residual", 'network.settings.inputs=["a"]', "network.settings.inputs must be"),
        ("residual", "network.settings.input_scale={flow=2.0}", "got 'flow'"),
        ("residual", 'inputs.conditions=["mass"]', "conditions must be among redshift"),
        ("residual", 'inputs.wiener="own"', "wiener must be 'package', 'fitted' or a table"),
        (
            "wu2021",
            'inputs.conditions=["growth"]',
            "inputs of wu2021 must be one channel, got log_rho, growth",
        ),
        ("xiao2024", 'inputs.wiener="fitted"', "wiener belongs to kind 'moved', got 'published'"),
        (
            "wang2024",
            'data.unseen="expected"',
            "data.unseen 'expected' needs inputs of kind 'survey', got 'observed'",
        ),
        ("residual", "data.fresh=true", "data.fresh belongs to data.cubes, got none"),
        ("wu2021", 'inputs.conditions=["bias"]', "conditions must be among redshift, Omega_m, growth"),
    ],
)
def test_channels_are_checked_before_work(run, tmp_path, recipe, change, words):
    with pytest.raises(InputError, match=words):
        train(recipe, profile="smoke", run=run, out=tmp_path / "out", changes=[change], announce=pytest.fail)
    assert not (tmp_path / "out").exists()


def test_a_fitted_filter_needs_masses(run, tmp_path):
    changes = ['inputs.wiener="fitted"', "data.variants=[{ranked=false}]"]
    with pytest.raises(InputError, match="inputs.wiener 'fitted' needs data.variants with masses"):
        train("residual", profile="smoke", run=run, out=tmp_path / "out", changes=changes)
