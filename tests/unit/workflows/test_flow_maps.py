"""Maps and files of a reconstructed survey."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from astropy.table import Table

from peculiar.catalogues.superclusters import read_superclusters
from peculiar.core import Box, Cosmology, Field
from peculiar.core.errors import OutputExistsError
from peculiar.fields.calculus import displacement
from peculiar.figures import style, survey_flow
from peculiar.inference.reconstruction import Reconstruction
from peculiar.workflows.flow_maps import SurveyFlow, flow_section, write_flow

COSMOLOGY = Cosmology(Omega_m=0.3)


@pytest.fixture
def coarse(monkeypatch):
    """One slab in pictures of few pixels: what they show is tested elsewhere."""
    monkeypatch.setattr(survey_flow, "SLABS", 1)
    monkeypatch.setitem(style.RC, "savefig.dpi", 30)
    monkeypatch.setattr(style, "PRINT_DPI", 30)


@pytest.fixture(scope="module")
def flow():
    """Flow into Corona Borealis and away from everywhere else, in a box about it."""
    place = dict(
        zip(
            *(lambda known: (known.names, known.positions))(read_superclusters(cosmology=COSMOLOGY)),
            strict=True,
        )
    )["Corona Borealis"]
    corner = tuple((np.round(place / 5) * 5 - 122.5).tolist())
    box = Box(240.0, 48, origin=corner, periodic=False)
    offset = [box.coordinates(axis) - place[axis] for axis in range(3)]
    square = sum(part**2 for part in np.meshgrid(*offset, indexing="ij"))
    delta = torch.from_numpy(np.exp(-square / 450)).float()
    velocity = COSMOLOGY.velocity_factor(0.07) * displacement(delta, box)
    coverage = np.zeros((48, 48, 48), dtype=bool)
    coverage[6:42, 6:42, 4:44] = True
    fields = {
        "density": Field(delta[None], box, ["density"]),
        "velocity": Field(velocity, box, "xyz", "km/s", kind="vector"),
    }
    return SurveyFlow(Reconstruction(fields, COSMOLOGY, 0.07, observer=(0.0, 0.0, 0.0)), coverage)


def test_what_is_not_observed_has_no_mass(flow):
    beyond = flow.made["density"].data.clone()
    beyond[:, :4] = 50.0
    fields = {**flow.made, "density": flow.made["density"].replace(data=beyond)}
    changed = replace(flow, made=replace(flow.made, fields=fields))
    np.testing.assert_allclose(changed.potential().numpy(), flow.potential().numpy(), atol=1e-2)
    well = np.unravel_index(flow.potential().numpy()[0].argmin(), (48, 48, 48))
    np.testing.assert_allclose(well, [24, 24, 24], atol=1)


def test_slabs_mark_the_supercluster_where_the_flow_ends(flow):
    found = flow.superclusters()
    assert found.matched >= 1
    assert found.strongest["match"][0].startswith("Corona Borealis")
    plots = flow.plots(found)
    assert [plot.name for plot in plots] == ["fig15_potential", "fig15_convergence"]
    for plot in plots:
        texts = [text.get_text() for panel in plot.figure.axes for text in panel.texts]
        assert "Corona Borealis" in texts
        assert sum("h^{-1}" in text for text in texts) == 4  # one title a slab
    assert "Coma" not in texts


def test_the_section_holds_maps_and_tables(flow, coarse):
    section = flow_section(flow)
    assert section.body.count("data:image/webp") == 2
    assert "<td>Pearson et al. 2014</td>" in section.body
    assert "in the known volume have such a point" in section.body


def test_files(flow, tmp_path, coarse):
    out = write_flow(flow, tmp_path / "figures")
    names = {path.name for path in out.iterdir()}
    assert names == {
        "fig15_potential.pdf",
        "fig15_potential.png",
        "fig15_convergence.pdf",
        "fig15_convergence.png",
        "superclusters.ecsv",
        "convergence.ecsv",
        "figures.md",
        "provenance.json",
        ".peculiar.json",
    }
    table = Table.read(out / "superclusters.ecsv")
    assert "Corona Borealis" in table["name"]
    assert str(table["infall"].unit) == "km / s"
    assert "peculiar" in " ".join(table.meta["comments"])
    assert "| Corona Borealis |" in (out / "figures.md").read_text(encoding="utf-8")
    assert json.loads((out / "provenance.json").read_text())["package"] == "peculiar"
    with pytest.raises(OutputExistsError):
        write_flow(flow, out)
