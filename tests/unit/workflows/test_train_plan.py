import h5py
import pytest

from peculiar.core import InputError
from peculiar.training.recipe import load_recipe
from peculiar.workflows.train import train
from peculiar.workflows.training_data import mesh_shapes, split_files
from peculiar.workflows.tune import tune


@pytest.fixture
def run(box_run, tmp_path):
    """Two boxes of 32^3 cells, one to train on and one for validation."""
    place = tmp_path / "boxes"
    place.mkdir()
    for seed, old in ((1, 1001), (501, 1002)):
        (place / f"box-{seed:05d}.h5").write_bytes((box_run / f"box-{old:05d}.h5").read_bytes())
    return place


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


def test_a_good_plan_passes(run):
    from peculiar.workflows.train_plan import check_plan

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
