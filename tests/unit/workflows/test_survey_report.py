"""The report of a reconstruction without a truth."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
import xarray
from astropy.table import Table

from peculiar.catalogues import write_objects
from peculiar.core import PRESETS, Box, Field, InputError
from peculiar.core.provenance import provenance
from peculiar.fields.files import read_fields, write_fields
from peculiar.figures import style, survey_flow
from peculiar.workflows.demo import demo
from peculiar.workflows.figures import draw_figures
from peculiar.workflows.report import report
from peculiar.workflows.survey_report import read_survey_flow, reconstruction_sections

COSMOLOGY = replace(PRESETS["xiao2024"], Omega_m=0.3)
BOX = Box(160.0, 32, origin=(-40.0, -80.0, -80.0), periodic=False)


def objects_inside(count: int = 4000) -> np.ndarray:
    """Positions in the half of the box with x < 40, in real space."""
    rng = np.random.default_rng(3)
    return rng.uniform((-40, -80, -80), (40, 80, 80), (count, 3))


@pytest.fixture(scope="module")
def reconstructed(tmp_path_factory):
    directory = tmp_path_factory.mktemp("survey")
    generator = torch.Generator().manual_seed(1)
    density = Field(torch.randn(1, 32, 32, 32, generator=generator).exp() - 1, BOX, ["density"])
    velocity = Field(
        300 * torch.randn(3, 32, 32, 32, generator=generator),
        BOX,
        "xyz",
        "km/s",
        kind="vector",
        definition="test",
    )
    attributes = {
        "model": "iterative FFT",
        "redshift": 0.1,
        "line_of_sight": "radial",
        "observer": [0.0, 0.0, 0.0],
        "objects": 4000,
        "number_density": 2e-3,
        "cosmology": asdict(COSMOLOGY),
        "provenance": provenance({"model": "iterative"}),
    }
    write_fields(directory / "out.zarr", {"density": density, "velocity": velocity}, attributes=attributes)
    positions = objects_inside()
    velocities = velocity.at(positions)
    write_objects(
        directory / "objects.fits",
        Table({"ra": np.zeros(len(positions))}),
        velocities=velocities,
        v_los=velocities[:, 0],
        delta=np.zeros(len(positions)),
        positions_real=positions,
    )
    return directory


def test_sections_say_what_was_reconstructed(reconstructed):
    found = reconstruction_sections(reconstructed / "out.zarr", objects=reconstructed / "objects.fits")
    assert "4,000 objects" in found.subject
    assert [section.title for section in found.sections] == [
        "The flow around us",
        "Maps",
        "Velocities",
        "How the fields were made",
    ]
    assert any("km/s" in headline.value for headline in found.headlines)


def test_report_of_a_survey(reconstructed, tmp_path):
    path = report(
        reconstructed / "out.zarr", out=tmp_path / "report.html", warnings=["outside the range: 5e-3"]
    )
    text = path.read_text(encoding="utf-8")
    assert text.count("outside the range: 5e-3") == 1
    assert text.count("iterative FFT") >= 2
    assert text.count("data:image/webp") == 2  # the map, and what stands for the view on paper


def test_a_survey_on_the_sky_has_potential_and_superclusters(reconstructed, tmp_path, monkeypatch):
    """The same fields with the record of a survey: their axes are celestial."""
    monkeypatch.setitem(style.RC, "savefig.dpi", 30)
    monkeypatch.setattr(survey_flow, "SLABS", 1)
    with xarray.open_zarr(reconstructed / "out.zarr") as dataset:
        attributes = dict(dataset.attrs)
    attributes["provenance"] = provenance({"survey": {"name": "mine"}})
    attributes["cosmology"] = asdict(COSMOLOGY)
    fields = read_fields(reconstructed / "out.zarr")
    write_fields(tmp_path / "sky.zarr", fields, attributes=attributes)
    objects = reconstructed / "objects.fits"
    found = reconstruction_sections(tmp_path / "sky.zarr", objects=objects)
    section = found.sections[2]
    assert section.title == "Potential, flow and superclusters"
    assert "Hercules" in section.body
    drawn = draw_figures(tmp_path / "sky.zarr", objects=objects, out=tmp_path / "figures")
    assert {path.suffix for path in drawn.iterdir()} >= {".pdf", ".png", ".ecsv", ".md"}
    flow = read_survey_flow(tmp_path / "sky.zarr", objects=objects)
    assert flow.made.observer == (0.0, 0.0, 0.0)
    assert flow.made.cosmology.Omega_m == 0.3
    assert flow.coverage.shape == tuple(flow.made["velocity"].data.shape[1:])
    with pytest.raises(
        InputError, match="objects must be given for a reconstructed survey, got none for .*sky.zarr"
    ):
        draw_figures(tmp_path / "sky.zarr", out=tmp_path / "other")


def test_figures_are_of_surveys_on_the_sky_and_of_evaluations(reconstructed, tmp_path):
    fields, objects = reconstructed / "out.zarr", reconstructed / "objects.fits"
    for given in (None, objects):
        with pytest.raises(
            InputError, match="survey on the sky, got a box in .*out.zarr: .*`peculiar report` shows"
        ):
            draw_figures(fields, objects=given, out=tmp_path / "figures")
    evaluation = tmp_path / "evaluation"
    evaluation.mkdir()
    (evaluation / "scores.json").write_text("{}")
    with pytest.raises(InputError, match="for the evaluation .*: leave them out"):
        draw_figures(evaluation, objects=objects, out=tmp_path / "figures")
    assert list(tmp_path.iterdir()) == [evaluation]


def test_table_without_reconstructed_columns_is_refused(reconstructed, tmp_path):
    Table({"ra": [1.0]}).write(tmp_path / "plain.fits")
    with pytest.raises(InputError, match="objects must be"):
        reconstruction_sections(reconstructed / "out.zarr", objects=tmp_path / "plain.fits")


def test_demo_keeps_its_hands_off_other_directories(tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(InputError, match="Output"):
        demo(tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "precious"
