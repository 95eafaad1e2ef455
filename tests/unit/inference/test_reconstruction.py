from dataclasses import replace

import numpy as np
import pytest
import torch

import peculiar
from peculiar.core import PRESETS, Box, Catalogue, Field, InputError, InputWarning, OutputExistsError
from peculiar.fields.objects import at_objects
from peculiar.figures.report import Section
from peculiar.inference.reconstruction import Reconstruction
from peculiar.workflows.query import query
from peculiar.workflows.reconstruct import reconstruct
from peculiar.workflows.survey_report import read_survey_flow, reconstruction_sections

COSMOLOGY = PRESETS["wu2021"]
RNG = np.random.default_rng(5)
BOX = Box(160.0, 32, origin=(-80.0, -80.0, -80.0), periodic=False)


@pytest.fixture(scope="module")
def survey():
    seen = torch.zeros(1, 32, 32, 32)
    seen[:, 4:28, 4:28, 16:28] = 1.0
    completeness = Field(seen, BOX, names=("completeness",), space="redshift")
    points = np.concatenate(
        [
            RNG.uniform([-60, -60, 0], [60, 60, 60], (3000, 3)),
            np.clip(RNG.normal([20, 10, 30], 8, (1000, 3)), [-59, -59, 1], 59),
        ]
    )
    return Catalogue(
        points,
        box=BOX,
        redshift=0.03,
        line_of_sight="radial",
        observer=(0.0, 0.0, 0.0),
        completeness=completeness,
    )


@pytest.fixture(scope="module")
def made(survey):
    return reconstruct(survey, model="iterative", cosmology=COSMOLOGY)


def test_it_reads_like_the_mapping_of_its_fields(made, survey):
    assert list(made) == ["density", "velocity", "momentum", "completeness"]
    assert "velocity" in made
    assert "velocity_error" not in made
    assert made["velocity"].unit == "km/s"
    assert made.box == BOX
    assert (made.model, made.checksum, made.redshift, made.line_of_sight) == (
        "iterative FFT",
        "",
        0.03,
        "radial",
    )
    assert made.cosmology == COSMOLOGY
    assert made.geometry.survey
    assert made.on_the_sky


def test_a_file_of_before_errors_were_told_apart_is_warned_of(made, tmp_path):
    error, local = (
        Field(torch.full((1, 32, 32, 32), 90.0), BOX, (name,), "km/s")
        for name in ("velocity_error", "local_error")
    )
    early = replace(made, model="general", fields={**made.fields, "velocity_error": error})
    early.save(tmp_path / "early.zarr")
    with pytest.warns(InputWarning, match=r"early.zarr must hold 'local_error' .* reconstruct anew"):
        Reconstruction.open(tmp_path / "early.zarr")
    closed = {
        name: field.replace(box=replace(BOX, periodic=True))
        for name, field in early.items()
        if name != "completeness"
    }
    others = {
        "told": replace(early, fields={**early.fields, "local_error": local}),
        "periodic": replace(early, fields=closed),
        "of-another": replace(early, model="wang2024"),
        "unbiased": replace(early, record={"velocity_amplitude": "unbiased"}),
        "without": replace(made, model="general"),
    }
    for name, other in others.items():
        other.save(tmp_path / f"{name}.zarr")
        assert Reconstruction.open(tmp_path / f"{name}.zarr").model == other.model  # and no word


def test_it_is_shown_in_a_few_lines(made):
    assert repr(made).splitlines() == [
        "<Reconstruction by iterative FFT: a survey of 160 Mpc/h, 32^3 cells",
        "  density         (1, 32, 32, 32)",
        "  velocity        (3, 32, 32, 32) km/s",
        "  momentum        (3, 32, 32, 32) km/s",
        "  completeness    (1, 32, 32, 32)>",
    ]
    bare = Reconstruction({"density": made["density"]}, warnings=("cells of 5 Mpc/h",))
    assert "by an unknown model: a box of 160 Mpc/h" in repr(bare)
    assert repr(bare).endswith("outside its range: cells of 5 Mpc/h>")


def test_objects_are_those_of_at_objects(made, survey):
    expected = at_objects(survey, made, cosmology=COSMOLOGY)
    np.testing.assert_array_equal(made.at_objects().v_los, expected.v_los)
    few = made.at_objects(survey.positions[:7])
    np.testing.assert_allclose(few.positions_real, expected.positions_real[:7], rtol=1e-12)


def test_a_file_gives_the_same_answers(made, survey, tmp_path):
    path = tmp_path / "f.zarr"
    made.save(path)
    with pytest.raises(OutputExistsError):
        made.save(path)
    back = Reconstruction.open(path)
    assert set(back) == set(made)
    assert (back.cosmology, back.model, back.observer) == (made.cosmology, made.model, made.observer)
    assert (back.redshift, back.line_of_sight, back.warnings) == (0.03, "radial", ())
    assert back.record["smoothing"] == made.record["smoothing"]
    assert back.on_the_sky
    expected = made.at_objects(survey.positions[:50]).v_los
    np.testing.assert_allclose(back.at_objects(survey.positions[:50]).v_los, expected, rtol=1e-6)
    ra, dec, z = np.array([10.0, 200.0]), np.array([40.0, 50.0]), 0.012
    np.testing.assert_array_equal(back.at_sky(ra, dec, z).v_los, made.at_sky(ra, dec, z).v_los)
    for field in (path, str(path), back, made):
        np.testing.assert_array_equal(query(field, ra=ra, dec=dec, z=z).v_los, back.at_sky(ra, dec, z).v_los)
    back.save(tmp_path / "again.zarr")
    again = Reconstruction.open(tmp_path / "again.zarr")
    assert again.attributes() == back.attributes()
    with pytest.raises(InputError, match="positions must be given for fields that were read from a file"):
        back.at_objects()


def test_what_a_query_says_of_an_object_is_what_at_objects_says(made, survey):
    from peculiar.catalogues import to_sky

    ra, dec, z = to_sky(survey.positions[:200], cosmology=COSMOLOGY)
    found, expected = made.at_sky(ra, dec, z), made.at_objects(survey.positions[:200])
    known = found.missing == ""
    assert known.sum() > 150
    np.testing.assert_allclose(found.v_los[known], expected.v_los[known], atol=1e-4)
    np.testing.assert_allclose(found.positions_real[known], expected.positions_real[known], atol=1e-6)


def test_errors_are_added(made, survey, tmp_path):
    assessed = made.with_errors()
    assert (assessed["velocity_error"].data > 0).all()
    assert assessed.at_objects().v_los_error is not None
    assert "velocity_error" not in made
    whole = made.with_errors(amplitude="unbiased", errors=False)
    assert "velocity_error" not in whole
    assert whole.record["velocity_amplitude"] == "unbiased"
    assert float(whole["velocity"].data.abs().mean()) > float(made["velocity"].data.abs().mean())
    made.save(tmp_path / "f.zarr")
    with pytest.raises(InputError, match="catalogue must be given for fields that were read from a file"):
        Reconstruction.open(tmp_path / "f.zarr").with_errors()


def test_errors_are_of_the_mean_and_of_what_the_model_told(made, survey):
    whole = made.with_errors(amplitude="unbiased")
    for amplitude in ("mean", "unbiased"):
        with pytest.raises(InputError, match="amplitude of the fields must be 'mean' .* got 'unbiased'"):
            whole.with_errors(survey, amplitude=amplitude)
    error = Field(torch.full((1, 32, 32, 32), 90.0), BOX, ("velocity_error",), "km/s")
    early = replace(made, model="general", fields={**made.fields, "velocity_error": error})
    with pytest.raises(InputError, match="must hold 'local_error' for with_errors.* reconstruct anew"):
        early.with_errors(survey)


def test_objects_must_be_seen_as_those_of_the_fields(made, survey):
    for name, other in {"space": "real", "observer": (1.0, 0.0, 0.0)}.items():
        with pytest.raises(InputError, match=f"objects must be seen as .* {name}"):
            made.at_objects(survey.replace(**{name: other}))


def test_a_report_takes_it_and_its_path(made, tmp_path):
    made.save(tmp_path / "f.zarr")
    one, other = reconstruction_sections(made), reconstruction_sections(tmp_path / "f.zarr")
    assert one.subject == other.subject
    assert "4,000 objects" in one.subject
    assert all(isinstance(section, Section) for section in one.sections)


def test_the_flow_of_a_survey_needs_no_table_of_what_is_at_hand(made):
    flow = read_survey_flow(made)
    assert flow.made.box.mesh <= 32
    assert flow.made.observer == (0.0, 0.0, 0.0)


def test_fields_of_any_kind_open(tmp_path):
    """What `write_fields` writes says nothing but the box: there is what can be asked of fields alone."""
    box = Box(40.0, 8)
    velocity = Field(torch.ones(3, 8, 8, 8), box, names=("x", "y", "z"), unit="km/s", kind="vector")
    fields = {"velocity": velocity, "density": Field(torch.zeros(1, 8, 8, 8), box, names=("density",))}
    peculiar.write_fields(tmp_path / "plain.zarr", fields)
    back = Reconstruction.open(tmp_path / "plain.zarr")
    assert back["velocity"].at([[1.0, 2.0, 3.0]]).tolist() == [[1.0, 1.0, 1.0]]
    assert (back.cosmology, back.redshift, back.model, back.on_the_sky) == (None, None, "", False)
    with pytest.raises(InputError, match="must have a redshift and a line of sight"):
        back.at_objects(np.ones((1, 3)))
    with pytest.raises(InputError, match=r"must have an observer.*line of sight not stated"):
        back.at_sky(1.0, 2.0, 0.01)
    seen = replace(back, observer=(0.0, 0.0, 0.0), cosmology=COSMOLOGY)
    assert seen.at_sky(45.0, 45.0, 0.005).v_los[0] == pytest.approx(0.5 + 0.5 + 0.7071, abs=1e-3)
