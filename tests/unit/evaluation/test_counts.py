"""Scores of painters, against painters whose errors are known, on boxes whose halos follow the 2LPT density."""

import importlib
import json
import shutil
from dataclasses import asdict
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from peculiar.cli import app
from peculiar.core import PRESETS, Box, Catalogue, Cosmology, Field, InputError, OutputExistsError
from peculiar.evaluation import page
from peculiar.evaluation.counts.rows import BIASED, CATALOGUE, LOCAL
from peculiar.evaluation.counts.task import CountTask
from peculiar.evaluation.record import TRUTH, Evaluation
from peculiar.simulate.matter import matter_fields
from peculiar.simulate.mocks import SimulatedBox
from peculiar.training.counts import count_halos
from peculiar.workflows.judge import judge
from peculiar.workflows.report import report

MESH = Box(96.0, 24)
EDGES = (1e12, 1e13, 1e15)
PARTICLE = 5e10


def make_box(path, seed: int) -> None:
    """Halos that are Poisson counts about 0.25 (1 + delta)^1.5, at random places in their cells."""
    fields = matter_fields(MESH, PRESETS["xiao2024"], seed=seed, redshift=0.5)
    generator = torch.Generator().manual_seed(seed)
    counts = torch.poisson(0.25 * (1 + fields.density.data[0]).clamp(min=0) ** 1.5, generator=generator)
    random = np.random.default_rng(seed)
    cells = np.repeat(np.argwhere(counts.numpy() >= 0), counts.numpy().astype(int).ravel(), axis=0)
    positions = (cells + random.random((len(cells), 3))) * MESH.cell_size % 96.0
    number = np.where(random.random(len(cells)) < 0.7, 20, 400)
    with h5py.File(path, "w") as file:
        file.attrs.update(
            schema=1,
            seed=seed,
            redshift=0.5,
            box_size=96.0,
            cells=8,
            cosmology=json.dumps(asdict(PRESETS["xiao2024"])),
            velocity_definition="2LPT",
        )
        for name in ("density", "linear_density"):
            file[name] = np.zeros((8, 8, 8), np.float32)
        file["velocity"] = np.zeros((3, 8, 8, 8), np.float32)
        file["halos/position"] = positions
        file["halos/velocity"] = fields.velocity.at(positions)
        file["halos/mass"] = number * PARTICLE
        file["halos/count"] = number
        for name, shape in (("displacement", (0, 3)), ("velocity", (0, 3)), ("host", (0,))):
            file[f"members/{name}"] = np.zeros(shape, np.int64 if name == "host" else float)


class Oracle:
    """A painter that knows the halos of some boxes, and returns `factor` times their counts."""

    def __init__(self, paths, *, factor: float = 1.0, edges=EDGES, stochastic: bool = True) -> None:
        self.stochastic, self.module = stochastic, torch.nn.Identity()
        self.boxes = [SimulatedBox.open(path) for path in paths]
        self.factor = factor
        self.card = SimpleNamespace(
            name="oracle", mass_edges=edges, cell_size=4.0, dynamics="second order", particles_per_cell=2
        )
        self.twins = {
            box.seed: matter_fields(MESH, box.cosmology, seed=box.seed, redshift=0.5).density
            for box in self.boxes
        }

    def check(self, box, cosmology, *, redshift) -> None:
        assert (box, redshift) == (MESH, 0.5)

    def _box(self, density: Field) -> SimulatedBox:
        return next(box for box in self.boxes if torch.equal(self.twins[box.seed].data, density.data))

    def mean_counts(self, density: Field, *, cosmology: Cosmology, redshift: float) -> Field:
        halos = self._box(density).halos
        counts = count_halos(halos.positions, halos.masses, MESH, mass_edges=self.card.mass_edges)
        return Field(self.factor * counts, MESH, [f"counts_{i}" for i in range(len(counts))])

    def counts(self, density: Field, *, cosmology: Cosmology, redshift: float, seed: int) -> Field:
        return self.mean_counts(density, cosmology=cosmology, redshift=redshift)

    def catalogue(self, fields, *, cosmology: Cosmology, redshift: float, seed: int) -> Catalogue:
        halos = self._box(fields.density).halos
        return Catalogue(
            halos.positions,
            Box(96.0),
            redshift=redshift,
            space="real",
            velocities=halos.velocities,
            masses=halos.masses,
        )


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    directory = tmp_path_factory.mktemp("run")
    made = [directory / f"box-{seed:05d}.h5" for seed in (1, 2, 3)]
    for seed, path in enumerate(made, start=1):
        make_box(path, seed)
    return made


@pytest.fixture(scope="module")
def out(paths, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "evaluation"
    painters = {
        "oracle": Oracle(paths),
        "double": Oracle(paths, factor=2.0, edges=(1e12, 1e15), stochastic=False),
    }
    settings = {"models": "oracles"}
    task = CountTask(paths[:2], painters, settings=settings, tune_on=paths[2:], draws=1)
    return judge(task, out=out, figures=False)


@pytest.fixture(scope="module")
def scores(out):
    record = json.loads((out / "scores.json").read_text())
    return {(row["model"], row["sample"]): row["scores"] for row in record["results"]}


def test_a_painter_of_the_truth_has_perfect_scores(scores):
    for sample in ("12-15", "12-13", "13-15"):
        own = scores["oracle", sample]
        assert own["number_ratio"]["mean"] == pytest.approx(1)
        assert own["power_deviation_0.3"]["mean"] == pytest.approx(0, abs=1e-6)
        assert own["variance_ratio_4"]["mean"] == pytest.approx(1)
        assert own["stochasticity_ratio"]["mean"] == pytest.approx(0, abs=1e-6)
        assert own["bispectrum_large_max"]["mean"] == pytest.approx(0, abs=1e-6)
    catalogue = scores["oracle", CATALOGUE]
    for key in (
        "mass_function_max",
        "real_power_deviation",
        "monopole_deviation",
        "quadrupole_deviation",
    ):
        assert catalogue[key]["mean"] == pytest.approx(0, abs=1e-6)
    for key in ("speed_ratio", "bispectrum_large_ratio"):
        assert catalogue[key]["mean"] == pytest.approx(1, abs=1e-6)


def test_a_painter_of_other_bins_is_judged_on_those_it_has(scores):
    assert scores["double", "12-15"]["number_ratio"]["mean"] == pytest.approx(2)
    assert scores["double", "12-15"]["variance_ratio_1"]["mean"] == pytest.approx(4)
    assert ("double", "12-13") not in scores
    assert ("double", CATALOGUE) not in scores  # it has no draws


def test_the_baselines_are_tuned_on_another_box(scores, out):
    # Halos are Poisson counts about a local function of the density: the baseline is as good as can be.
    local = scores[LOCAL, "12-15"]
    assert local["number_ratio"]["mean"] == pytest.approx(1, abs=0.1)
    assert local["variance_ratio_1"]["mean"] == pytest.approx(1, abs=0.1)
    assert local["r_mean_0.3"]["mean"] > scores[BIASED, "12-15"]["r_mean_0.3"]["mean"]
    assert scores[BIASED, "12-15"]["stochasticity_ratio"]["mean"] == 1
    record = json.loads((out / "scores.json").read_text())
    assert record["tuned_on"] == ["box-00003.h5"]
    assert 1 < record["baseline_settings"]["12-15"]["bias"] < 2.5
    assert len(record["provenance"]["inputs"]) == 3


def test_goals_are_in_the_table(out):
    record = json.loads((out / "scores.json").read_text())
    goals = record["goals"]
    assert goals["oracle"]["power_deviation_0.3"]["reached"]
    assert goals["oracle"]["r_mean_0.1"]["reached"]
    assert not goals["double"]["variance_ratio_1"]["reached"]
    text = (out / "scores.md").read_text()
    assert "| 1 ± 0.05 | 1.000 in " in text
    assert text.count("\n## ") == 4
    assert "Kodi Ramanah et al. 2019" in text


def test_arrays_are_whole(out):
    arrays = Evaluation.open(out).arrays
    assert arrays.of("power", "oracle", sample="12-15").shape == (2, len(arrays.of("k")))
    assert arrays.of("histogram/2", TRUTH, sample="12-13").sum() == 2 * 12**3
    assert arrays.of("slice/counts", TRUTH).shape == (24, 24)
    np.testing.assert_allclose(arrays.of("slice/draw", "oracle"), arrays.of("slice/counts", TRUTH))


def test_figures_have_captions(out, tmp_path, monkeypatch):
    def touch(figure, stem, *, about):
        stem.with_suffix(".png").write_text(about["Software"])

    monkeypatch.setattr(page, "save", touch)
    page.draw(Evaluation.open(out), tmp_path / "figures")
    names = {path.stem for path in (tmp_path / "figures").glob("*.png")}
    assert names == {
        "fig08_slices",
        "fig09_conditional",
        "fig10_power",
        "fig11_bispectrum",
        "fig13_power_by_mass",
        "fig14_bispectrum_by_mass",
        "counts_in_cells",
        "counts_given_density",
        "mass_function",
        "catalogue_multipoles",
        "catalogue_bispectrum",
    }
    captions = (tmp_path / "figures" / "figures.md").read_text()
    assert all(f"**{name}**: " in captions for name in names)


def test_refuses_before_it_works(paths, tmp_path):
    out = tmp_path / "out"
    oracle = Oracle(paths[:1])

    def run(boxes=paths[:1], painters=None, tune_on=paths[1:], **options):
        chosen = {"oracle": oracle} if painters is None else painters
        return judge(CountTask(boxes, chosen, settings={}, tune_on=tune_on, **options), out=out)

    with pytest.raises(InputError, match="one simulated box and one painter"):
        run(boxes=[])
    with pytest.raises(InputError, match="--tune-on 501-502"):
        run(tune_on=[])
    with pytest.raises(InputError, match=r"not evaluated, got the seeds \[1\]"):
        run(tune_on=paths[:1])
    with pytest.raises(InputError, match="baseline's name"):
        run(painters={BIASED: oracle})
    with pytest.raises(InputError, match="draws must be >= 1"):
        run(draws=0)
    with pytest.raises(InputError, match="halos are resolved, from"):
        run(painters={"light": Oracle(paths[:1], edges=(1e11, 1e13))})
    with pytest.raises(InputError, match="halos in every mass bin, got none of 15-16"):
        run(painters={"heavy": Oracle(paths[:1], edges=(1e12, 1e15, 1e16))})
    other = tmp_path / "box-00004.h5"
    shutil.copy(paths[0], other)
    with h5py.File(other, "a") as file:
        file.attrs["redshift"] = 0.7
    with pytest.raises(InputError, match="one kind and cosmology"):
        run(boxes=[*paths[:1], other])
    with pytest.raises(InputError, match="size and redshift"):
        run(tune_on=[other])
    out.write_text("something else")
    with pytest.raises(OutputExistsError):
        run()


def test_the_command_says_which_options_belong_to_painters(paths, tmp_path):
    run = ["evaluate", str(paths[0].parent), "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, [*run, "--model", "linear", "--tune-run", str(paths[0].parent)])
    assert result.exit_code != 0
    assert "--tune-run must not be given for models of the task 'reconstruct'" in result.stderr


def test_the_command_takes_the_baselines_boxes_from_another_run(paths, tmp_path, monkeypatch):
    module = importlib.import_module("peculiar.workflows.evaluate")
    monkeypatch.setattr(module, "_kind", lambda run, models, *, surveys: "paint")
    monkeypatch.setattr(module, "find_model", lambda name: tmp_path / f"{name}.json")
    monkeypatch.setattr(module.HaloPainter, "load", staticmethod(lambda name: Oracle(paths)))
    run = tmp_path / "run"
    run.mkdir()
    shutil.copy(paths[0], run)
    options = ["--model", "oracle", "--number-density", "1e-3", "--no-figures", "--tune-on", "3"]
    command = ["evaluate", str(run), "--out", str(tmp_path / "out"), *options]
    missing = CliRunner().invoke(app, command)
    assert "seeds must be those of boxes in" in missing.stderr
    result = CliRunner().invoke(app, [*command, "--tune-run", str(paths[0].parent)])
    assert result.exit_code == 0, result.output
    assert "## Catalogues of at most 0.001 (h/Mpc)^3" in result.output
    record = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert record["boxes"] == ["box-00001.h5"]
    assert record["tuned_on"] == ["box-00003.h5"]
    objects = next(row for row in record["results"] if row["sample"] == CATALOGUE)["scores"]["objects"]
    assert objects["mean"] == round(1e-3 * 96**3)


def test_a_report_has_the_tables_of_painters(out, tmp_path):
    text = report(out, out=tmp_path / "report.html").read_text()
    assert "Painted halos: scoreboard" in text
    assert "Halos by oracle, double on 2 boxes" in text
    assert text.count("<table") > 4
