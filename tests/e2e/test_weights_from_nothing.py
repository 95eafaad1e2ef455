"""`make weights`: what the shipped networks are made of."""

import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from peculiar.cli.app import ranges
from peculiar.training.recipe import load_recipe

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "weights.py"
TABLE = tomllib.loads(SCRIPT.with_suffix(".toml").read_text())
WEIGHTS = Path(__file__).parents[2] / "src" / "peculiar" / "weights"


def commands(*options: str) -> list[list[str]]:
    done = subprocess.run(
        [sys.executable, SCRIPT, *options, "--dry-run"], capture_output=True, text=True, check=True
    )
    return [shlex.split(line) for line in done.stdout.splitlines()]


def test_every_shipped_network_is_made():
    assert {path.stem for path in WEIGHTS.glob("*.safetensors")} <= set(TABLE["models"])


@pytest.mark.parametrize("profile", ["cpu", "gpu"])
@pytest.mark.parametrize("name", sorted(name for name, one in TABLE["models"].items() if "script" not in one))
def test_its_runs_hold_the_boxes_that_its_recipe_wants(name, profile):
    entry = TABLE["models"][name]
    changes = entry.get("set", ()) if profile == "cpu" else ()
    data = load_recipe(name, profile=profile, changes=changes).data
    for run in entry["needs"]:
        options = TABLE["runs"][run]
        words = shlex.split(
            options["simulate"] if profile == "cpu" else options.get("gpu", options["simulate"])
        )
        seeds = ranges("--seeds", words[words.index("--seeds") + 1])
        for (first, last), wanted in ((data.train, data.boxes), (data.validation, data.validation_boxes)):
            assert sum(first <= seed <= last for seed in seeds) >= (wanted or 1)


def test_what_a_network_needs_comes_first(tmp_path):
    made = commands("wang2024", "--out", str(tmp_path), "--profile", "gpu")
    names = ["boxes-120", "survey-painter", "matter-600", "boxes-600", "wang2024"]
    places = [line[2] if line[1] == "simulate" else line[line.index("--out") + 1] for line in made]
    assert sorted(places) == sorted(str(tmp_path / name) for name in names)
    assert places.index(str(tmp_path / "survey-painter")) < places.index(str(tmp_path / "boxes-600"))
    assert places[-1] == str(tmp_path / "wang2024")
    assert "gpu" in made[-1]
    assert "--set" not in made[-1]  # limits of time are those of a CPU


def test_what_is_there_is_not_made_again(tmp_path):
    there = tmp_path / "residual" / "residual.safetensors"
    there.parent.mkdir()
    there.touch()
    assert [line[1:3] for line in commands("residual", "--out", str(tmp_path))] == [
        ["simulate", str(tmp_path / "boxes-225")]
    ]
