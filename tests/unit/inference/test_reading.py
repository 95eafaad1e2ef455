from dataclasses import replace

import numpy as np
import pytest
import torch

from peculiar.core import PRESETS, Box, Catalogue, Field, InputError
from peculiar.fields.objects import at_objects
from peculiar.fields.profiles import OFFSETS
from peculiar.inference.reading import reader_of
from peculiar.inference.reconstruction import Reconstruction
from peculiar.workflows.evaluate import evaluate

COSMOLOGY = PRESETS["xiao2024"]
BOX = Box(96.0, 32)


@pytest.fixture(scope="module")
def made():
    random = torch.Generator().manual_seed(0)
    fields = {
        "density": Field(torch.randn(1, 32, 32, 32, generator=random).exp() - 1, BOX, ("density",)),
        "velocity": Field(
            300 * torch.randn(3, 32, 32, 32, generator=random), BOX, ("x", "y", "z"), "km/s", kind="vector"
        ),
    }
    positions = np.random.default_rng(0).uniform(0, 96, (300, 3))
    catalogue = Catalogue(positions, box=BOX, redshift=0.5, line_of_sight="z")
    return Reconstruction.of(catalogue, fields, cosmology=COSMOLOGY, model="general")


def test_velocities_at_objects_are_those_of_the_reader(made):
    plain = at_objects(made.catalogue, dict(made), cosmology=COSMOLOGY)
    found = made.at_objects()
    assert np.std(found.v_los - plain.v_los) > 10
    expected = made.reader
    assert expected is not None
    for again in (
        at_objects(made.catalogue, made, cosmology=COSMOLOGY),
        at_objects(made.catalogue, dict(made), cosmology=COSMOLOGY, reader=expected),
    ):
        np.testing.assert_array_equal(found.v_los, again.v_los)
    np.testing.assert_array_equal(found.velocities[:, :2], plain.velocities[:, :2])
    np.testing.assert_allclose(found.velocities[:, 2], found.v_los, rtol=1e-6)


def test_an_object_of_its_own_velocity_is_seen_where_it_is(made):
    found = made.at_objects()
    assert np.std(found.v_los_own - found.v_los) > 10
    moved = found.v_los_own * COSMOLOGY.redshift_space_factor(made.catalogue.redshift)
    back = found.positions_real + np.outer(moved, [0, 0, 1]) - made.catalogue.positions
    np.testing.assert_allclose(back - 96.0 * np.round(back / 96.0), 0, atol=1e-3)


@pytest.mark.parametrize("model", ["Wiener filter", "residual", "general"])
def test_noise_that_fields_tell_is_not_told_twice(made, model):
    """Of fields without errors of their own the reader learned all errors, and noise is a part of them."""
    box = replace(BOX, periodic=False)
    fields = {name: field.replace(box=box) for name, field in made.items()}
    errors = {
        name: Field(torch.full((1, 32, 32, 32), value), box, (name,), "km/s")
        for name, value in (("local_error", 60.0), ("velocity_error", 100.0))
    }
    catalogue = made.catalogue.replace(box=box)
    bare, told = (
        Reconstruction.of(catalogue, given, cosmology=COSMOLOGY, model=model).at_objects()
        for given in (fields, fields | errors)
    )
    total = np.hypot(told.v_los_scatter, told.v_los_error)
    if model == "general":
        assert np.abs(told.v_los - bare.v_los).max() > 1  # it learned with the error
        return
    np.testing.assert_array_equal(told.v_los, bare.v_los)
    np.testing.assert_array_equal(told.v_los_own, bare.v_los_own)
    whole = np.maximum(bare.v_los_scatter, 60.0)
    np.testing.assert_allclose(total, np.hypot(whole, 80.0), rtol=1e-4)  # 80 of unseen matter
    np.testing.assert_allclose(told.v_los_own_error, np.hypot(bare.v_los_own_error, 80.0), rtol=1e-4)


def test_fields_that_it_did_not_learn_are_read_by_the_mean(made):
    for other in (
        replace(made, model="of my own"),
        replace(made, record={"velocity_amplitude": "unbiased"}),
    ):
        plain = at_objects(made.catalogue, dict(made), cosmology=COSMOLOGY)
        np.testing.assert_array_equal(other.at_objects().v_los, plain.v_los)
    assert reader_of("general", cell_size=2.5) is not None
    assert reader_of("general", cell_size=0.5) is None
    assert reader_of("general", cell_size=20.0) is None


def test_the_order_of_objects_does_not_matter():
    reader = reader_of("general", cell_size=2.5)
    random = np.random.default_rng(1)
    profile = random.normal(size=(60_000, len(OFFSETS), 2)).astype(np.float32)
    profile *= np.array([300.0, 1.0], dtype=np.float32)
    told = np.full((60_000, 2), [100.0, 2.5])
    found = reader(profile, told)
    order = random.permutation(60_000)
    other = reader(profile[order], told[order])
    for velocity in (0, 2):
        np.testing.assert_allclose(other[velocity], found[velocity][order], atol=0.1)
        np.testing.assert_allclose(other[velocity + 1], found[velocity + 1][order], rtol=1e-3)


def test_a_reader_is_not_evaluated_by_itself(tmp_path):
    with pytest.raises(InputError, match="whose fields are evaluated, got 'reader'"):
        evaluate(tmp_path / "run", models=["reader"], out=tmp_path / "out")
