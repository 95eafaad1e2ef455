import json
import tomllib
from pathlib import Path

import h5py
import pytest
import yaml
from typer.testing import CliRunner

import peculiar
from peculiar.cli import app
from peculiar.core.errors import InputError
from peculiar.evaluation.record import Arrays, Evaluation
from peculiar.evaluation.tasks import TASKS
from peculiar.inference.model_card import available_models
from peculiar.workflows.cite import cite
from peculiar.workflows.reconstruct import CLASSICAL, make_reconstructor

ROOT = Path(__file__).parents[3]
TABLE = tomllib.loads((ROOT / "src" / "peculiar" / "references.toml").read_text())
SYSTEMS = ["xiao2024", "wang2024", "wu2021", "he2019", "ramanah2019"]


def keys(result):
    return [reference.key for reference in cite(result)]


def test_every_model_and_kind_is_in_the_table():
    classical = [make_reconstructor(name)[0].name for name in CLASSICAL]
    assert {*available_models(None), *classical} <= set(TABLE["rests"])
    assert set(TABLE["judged"]) == set(TASKS)
    used = {key for several in TABLE["rests"].values() for key in several}
    assert used == set(TABLE["references"])


def test_a_model_rests_on_its_paper_and_the_codes():
    assert keys("wu2021") == ["wu2021", "fastpm2016", "peculiar", "torch2019", "camb2000", "astropy2022"]
    assert keys("survey")[0] == "wang2024"


def test_fields_rest_on_their_model_and_their_survey(tmp_path):
    settings = {"survey": {"name": "SDSS DR7"}}
    made = peculiar.Reconstruction({}, model="iterative FFT", record={"provenance": {"settings": settings}})
    assert keys(made)[:3] == ["burden2015", "healpix2005", "sdss2009"]


def test_hdf5_files_rest_on_their_model_or_on_the_particle_mesh(tmp_path):
    provenance = json.dumps({"settings": {"model": "displacement"}})
    files = {
        "fields.h5": {"model": "wu2021", "provenance": "{}"},
        "particles.h5": {"provenance": provenance},
        "box-00001.h5": {"settings": "{}", "cosmology": "{}"},
        "painted.h5": {"settings": '{"model": "painter"}', "cosmology": "{}"},
        "other.h5": {},
        "odd.h5": {"provenance": "[1]"},
    }
    for name, attributes in files.items():
        with h5py.File(tmp_path / name, "w") as file:
            file.attrs.update(attributes)
    assert keys(tmp_path / "fields.h5")[:2] == ["wu2021", "fastpm2016"]
    assert keys(tmp_path / "particles.h5")[:2] == ["he2019", "fastpm2016"]
    assert keys(tmp_path / "box-00001.h5")[:2] == ["fastpm2016", "peculiar"]
    assert keys(tmp_path / "painted.h5")[:2] == ["ramanah2019", "fastpm2016"]
    (tmp_path / "cut.h5").write_bytes(b"not HDF5")
    for name in ("other.h5", "odd.h5", "cut.h5", "missing.h5"):
        with pytest.raises(InputError, match=f"result must be .*{name}"):
            keys(tmp_path / name)


def test_an_evaluation_rests_on_how_it_judges(tmp_path):
    record = {
        "schema": 1,
        "kind": "displace",
        "settings": {},
        "models": ["mine"],
        "baselines": ["2LPT"],
        "results": [{"model": "mine", "scores": {}}],
        "provenance": {"package": "peculiar", "version": "0", "revision": ""},
    }
    Evaluation(record, Arrays()).save(tmp_path / "out")
    assert keys(tmp_path / "out")[:2] == ["he2019", "peculiar"]


def test_the_command_prints_lines_and_bibtex(tmp_path):
    done = CliRunner().invoke(app, ["cite", "he2019"])
    first = done.stdout.splitlines()[0]
    assert first.startswith(
        "He et al. (2019), Learning to predict the cosmological structure formation, doi:10.1073/"
    )
    done = CliRunner().invoke(app, ["cite", "he2019", "--bibtex"])
    assert "@article{he2019,\n  author = {He, Siyu and Li, Yin and" in done.stdout
    assert done.stdout.count("{") == done.stdout.count("}")
    done = CliRunner().invoke(app, ["cite", "nothing"])
    assert done.exit_code == 2
    assert "Model must be one of" in done.stderr


def test_the_citation_file_names_the_five_systems():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())["references"]
    assert [entry["title"] for entry in cited] == [TABLE["references"][key]["title"] for key in SYSTEMS]
    for entry, key in zip(cited, SYSTEMS, strict=True):
        assert entry.get("doi", "") == TABLE["references"][key].get("doi", "")
        assert [f"{a['family-names']}, {a['given-names']}" for a in entry["authors"]] == TABLE["references"][
            key
        ]["authors"]
