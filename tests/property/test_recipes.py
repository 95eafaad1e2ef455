from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from peculiar.core import InputError
from peculiar.core.cosmologies import parse_cosmology
from peculiar.training.recipe import Recipe, load_recipe, parse_change, recipe_names

keys = st.sampled_from(
    [
        "name",
        "network",
        "network.settings",
        "network.settings.width",
        "inputs.kind",
        "data.train",
        "data.variants",
        "train",
    ]
    + [
        "train.steps",
        "train.lr",
        "train.ema",
        "train.crop",
        "loss",
        "loss.kind",
        "loss.margin",
        "card",
        "profiles",
        "x",
    ]
)
plain = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=12),
    st.dates(),
    st.times(),
    st.datetimes(),
)
values = st.one_of(
    plain.map(str), plain.map(repr), st.lists(plain, max_size=3).map(repr), st.text(max_size=30)
)


def read(*changes):
    """A recipe, or an error of ours; anything else fails the test."""
    try:
        return load_recipe("residual", profile="smoke", changes=changes)
    except InputError:
        return None


@given(text=st.text(max_size=60))
@example("train.lr=" + "[" * 5000)
@example(".".join("a" * 5000) + "=1")
@example("train.lr=\ud800")
@example("train.steps=" + "9" * 5000)
def test_any_text_is_a_setting_or_an_error_of_ours(text):
    read(text)


@given(key=keys, value=values)
@example("train.lr", "1979-05-27")
@example("train.steps", "1e400")
@example("network.settings", "{width = 1979-05-27}")
def test_any_value_is_a_recipe_or_an_error_of_ours(key, value):
    found = read(f"{key}={value}")
    assert found is None or Recipe.model_validate(found.model_dump(mode="json")) == found


@given(lr=st.floats(1e-12, 1.0), steps=st.integers(1, 10**9))
def test_values_arrive(lr, steps):
    found = read(f"train.lr={lr!r}", f" train.steps = {steps} ")
    assert found is not None
    assert (found.train.lr, found.train.steps) == (lr, steps)


@given(name=st.sampled_from(recipe_names()), profile=st.text(max_size=8))
def test_a_profile_is_known_or_refused(name, profile):
    if profile not in ("smoke", "cpu", "gpu", "paper"):
        with pytest.raises(InputError, match="profile must be one of"):
            load_recipe(name, profile=profile)


@given(key=st.text("abc", min_size=1, max_size=3), value=st.integers())
def test_a_change_is_nested_tables(key, value):
    assert parse_change(f"{key}.{key}={value}") == {key: {key: value}}


@given(
    text=st.one_of(
        st.text(max_size=40), st.builds("{}={}".format, st.sampled_from(["h", "Omega_m", "A_s"]), values)
    )
)
@example("Omega_m=1e400")
@example("available")
def test_any_text_is_a_cosmology_or_an_error_of_ours(text):
    with suppress(InputError):
        assert 0 < parse_cosmology(text).Omega_m <= 1
