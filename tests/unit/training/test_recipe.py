import os

import pytest

from peculiar.core.errors import InputError
from peculiar.training.recipe import RECIPES, load_recipe, parse_change, recipe_names
from peculiar.workflows.train import build_network

PROFILES = ("smoke", "cpu", "gpu", "paper")


@pytest.mark.parametrize("name", recipe_names())
@pytest.mark.parametrize("profile", PROFILES)
def test_shipped_recipes_are_whole(name, profile):
    recipe = load_recipe(name, profile=profile)
    if profile == "smoke":
        build_network(recipe, seed=0)
    assert getattr(recipe.loss, "margin", 0) * 2 < (recipe.train.crop or 10**9)


def test_names_are_the_files():
    assert set(recipe_names()) >= {"residual", "xiao2024"}
    assert all((RECIPES / f"{name}.toml").is_file() for name in recipe_names())


def test_changes_win_over_profiles():
    recipe = load_recipe("residual", profile="smoke", changes=["train.lr=1e-4", "network.settings.width=6"])
    assert recipe.train.lr == 1e-4
    assert recipe.network.settings["width"] == 6
    assert recipe.train.crop == 16


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ("train.learning_rate=1e-4", "train.learning_rate"),
        ("train.lr=-1", "train.lr"),
        ("train.precision=fp8", "train.precision"),
        ("data.validation=[400, 600]", "overlap"),
        ("network.architecture=xiao2024", "belong together"),
        ("loss.kind=displacement", "loss.displacement"),
        ("train.lr", "KEY=VALUE"),
    ],
)
def test_bad_changes_name_the_key(change, text):
    with pytest.raises(InputError, match=text):
        load_recipe("residual", profile="smoke", changes=[change])


def test_unknown_names_are_refused(tmp_path):
    with pytest.raises(InputError, match="residual"):
        load_recipe("resnet", profile="cpu")
    with pytest.raises(InputError, match="smoke"):
        load_recipe("residual", profile="tpu")
    broken = tmp_path / "broken.toml"
    broken.write_text("name = ")
    with pytest.raises(InputError, match="TOML"):
        load_recipe(broken, profile="cpu")


def test_change_takes_words_and_toml():
    assert parse_change("a.b=[1, 2]") == {"a": {"b": [1, 2]}}
    assert parse_change("a=word") == {"a": "word"}


def test_a_recipe_is_a_file(tmp_path):
    os.mkfifo(tmp_path / "pipe.toml")
    with pytest.raises(InputError, match="recipe must be a file"):
        load_recipe(tmp_path / "pipe.toml", profile="smoke")


def test_a_base_is_laid_under_profiles_too(tmp_path):
    own = tmp_path / "own.toml"
    own.write_text('base = "xiao2024"\nname = "own"\n[train]\nlr = 3e-4\n[profiles.cpu]\ndata.boxes = 3\n')
    changes = ["name=own", "data.boxes=3"]  # the profile's rate wins over the recipe's
    assert load_recipe(own, profile="cpu") == load_recipe("xiao2024", profile="cpu", changes=changes)
    assert load_recipe(own, profile="gpu").train.lr == 3e-4


@pytest.mark.parametrize("base", ['"resnet"', '"own.toml"', "3", '["xiao2024"]'])
def test_a_base_is_a_recipe_of_the_package(tmp_path, base):
    own = tmp_path / "own.toml"
    own.write_text(f"base = {base}\n")
    with pytest.raises(InputError, match="base must be one of .*xiao2024.* in own.toml"):
        load_recipe(own, profile="cpu")


@pytest.mark.parametrize("profile", PROFILES)
def test_the_twin_of_xiao2024_weighs_by_mass_and_is_the_same_else(profile):
    changes = ["inputs.weighting=mass", "name=xiao2024-mass"]
    assert load_recipe("xiao2024-mass", profile=profile) == load_recipe(
        "xiao2024", profile=profile, changes=changes
    )
