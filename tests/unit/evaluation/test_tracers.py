"""Scores against reconstructions whose errors are known."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, replace

import h5py
import numpy as np
import pytest
import torch

from peculiar.core import PRESETS, Box, Catalogue, Field, InputError
from peculiar.evaluation.record import Evaluation, Part
from peculiar.evaluation.scores import average
from peculiar.evaluation.table import best_model, cell_text
from peculiar.evaluation.tracers.measure import (
    derived,
    joint_edges,
    measure,
    object_scores,
    with_residual_ratios,
)
from peculiar.evaluation.tracers.plots import tracer_plots
from peculiar.evaluation.tracers.rows import ROWS, multipole_scores, range_scores
from peculiar.evaluation.tracers.task import TracerTask
from peculiar.fields.calculus import displacement
from peculiar.figures.volume import coarsen
from peculiar.simulate.mocks import SimulatedBox
from peculiar.workflows.evaluate import evaluate
from peculiar.workflows.report import report

COSMOLOGY, REDSHIFT = PRESETS["xiao2024"], 0.59
BOX = Box(120.0, 24)


def truth_fields(seed: int) -> dict[str, Field]:
    """Linear density and velocity of a Gaussian realisation."""
    generator = torch.Generator().manual_seed(seed)
    k = 2 * np.pi * np.fft.fftfreq(24, BOX.cell_size)
    half = 2 * np.pi * np.fft.rfftfreq(24, BOX.cell_size)
    length = torch.as_tensor(np.sqrt(k[:, None, None] ** 2 + k[:, None] ** 2 + half**2))
    noise = torch.fft.rfftn(torch.randn(24, 24, 24, generator=generator, dtype=torch.float64))
    data = torch.fft.irfftn(noise * torch.exp(-0.5 * (4 * length) ** 2), s=(24, 24, 24), dim=(0, 1, 2))
    delta = (0.4 * data / data.std()).float()
    delta = (delta - delta.mean()).clamp(min=-0.99)
    velocity = COSMOLOGY.velocity_factor(REDSHIFT) * displacement(delta, BOX)
    density = Field(delta[None], BOX, ["density"])
    vector = Field(velocity, BOX, "xyz", "km/s", kind="vector")
    return {"density": density, "velocity": vector, "momentum": vector.replace(data=velocity * (1 + delta))}


def scaled(fields: dict[str, Field], factor: float, noise: float = 0.0) -> dict[str, Field]:
    """A reconstruction with a known slope and error."""
    generator = torch.Generator().manual_seed(5)
    velocity = fields["velocity"].data * factor
    velocity = velocity + noise * torch.randn(velocity.shape, generator=generator)
    return {
        **fields,
        "velocity": fields["velocity"].replace(data=velocity),
        "momentum": fields["momentum"].replace(data=velocity * (1 + fields["density"].data)),
    }


def write_box(path, seed: int) -> None:
    """A simulated-box file whose halos are a Poisson sample of the density, without any simulation."""
    fields = truth_fields(seed)
    rng = np.random.default_rng(seed)
    density = fields["density"].numpy()[0]
    chance = 1 + density.ravel().astype(np.float64)
    cells = rng.choice(density.size, 1500, p=chance / chance.sum())
    corner = np.stack(np.unravel_index(cells, density.shape), axis=1)
    positions = (corner + rng.uniform(0, 1, corner.shape)) * BOX.cell_size
    with h5py.File(path, "w") as file:
        file.attrs.update(
            schema=1,
            seed=seed,
            redshift=REDSHIFT,
            box_size=BOX.size,
            cells=24,
            cosmology=json.dumps(asdict(COSMOLOGY)),
            velocity_definition="linear",
        )
        file["density"] = density
        file["velocity"] = fields["velocity"].numpy()
        file["linear_density"] = density
        file["halos/position"] = positions
        file["halos/velocity"] = fields["velocity"].at(positions)
        file["halos/mass"] = np.sort(rng.pareto(1.5, 1500))[::-1] * 1e12
        file["halos/count"] = np.full(1500, 20)
        file["members/displacement"] = np.zeros((0, 3))
        file["members/velocity"] = np.zeros((0, 3))
        file["members/host"] = np.zeros(0, dtype=np.int64)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    directory = tmp_path_factory.mktemp("run")
    for seed in (1, 2):
        write_box(directory / f"box-{seed:05d}.h5", seed)
    return directory


@pytest.fixture(scope="module")
def evaluated(run, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "evaluation"
    options = {"satellite_fraction": (0.0,), "number_density": 8e-4}
    return evaluate(run, out=out, models=["linear"], **options, figures=False)


def test_perfect_reconstruction_has_perfect_scores():
    truth = derived(truth_fields(1))
    scores = measure(truth, truth, edges=joint_edges(truth)).scores
    for name in ("correlation_velocity", "correlation_density", "slope_velocity", "density_r_0.1"):
        assert scores[name] == pytest.approx(1, abs=1e-5)
    assert scores["rms_error_velocity"] == pytest.approx(0, abs=1e-3)
    assert scores["misalignment_velocity"] == pytest.approx(0, abs=1e-6)


def test_slope_error_and_residual_ratio_are_those_put_in():
    fields = truth_fields(1)
    truth, edges = derived(fields), joint_edges(derived(fields))
    worse, better = derived(scaled(fields, 0.5)), derived(scaled(fields, 0.75))
    measured = {"worse": measure(worse, truth, edges=edges), "better": measure(better, truth, edges=edges)}
    scores = with_residual_ratios(measured)["better"].scores
    assert scores["slope_velocity"] == pytest.approx(0.75, rel=1e-5)
    assert scores["correlation_velocity"] == pytest.approx(1, abs=1e-5)
    assert scores["residual_ratio"] == pytest.approx(0.25, rel=1e-4)
    assert scores["rms_error_velocity"] == pytest.approx(0.25 * scores["rms_velocity"], rel=1e-4)


def test_noise_gives_its_own_rms_error_and_its_own_power():
    fields = truth_fields(2)
    truth = derived(fields)
    measured = measure(derived(scaled(fields, 1.0, noise=30.0)), truth, edges=joint_edges(truth))
    assert measured.scores["rms_error_velocity"] == pytest.approx(30, rel=0.02)
    excess = measured.rows["power/velocity"] - measured.rows["true_power/velocity"]
    white = 3 * 30.0**2 * BOX.cell_size**3  # three components of white noise
    assert excess[6:] == pytest.approx(np.full(len(excess) - 6, white), rel=0.2)


def test_smoothed_scores_are_those_of_fields_smoothed_by_5_mpc():
    """White noise keeps a^3 / (8 pi^1.5 R^3) of its variance."""
    fields = truth_fields(2)
    truth = derived(fields)
    scores = measure(derived(scaled(fields, 1.0, noise=30.0)), truth, edges=joint_edges(truth)).scores
    kept = (BOX.cell_size**3 / (8 * np.pi**1.5 * 5.0**3)) ** 0.5
    assert scores["rms_error_velocity_smoothed"] == pytest.approx(30 * kept, rel=0.03)
    assert scores["correlation_velocity_smoothed"] > scores["correlation_velocity"]


def test_multipoles_are_held_against_the_errors_of_our_boxes_and_of_the_papers():
    """At k = 0.1 and 0.2 one standard deviation off: within two of ours, and beyond 2 x 0.4 (225 / 600)^1.5 of it."""
    k = np.array([0.1, 0.2])
    truth = {order: np.array([[0.0, 0.0], [2.0, 2.0]]) for order in (2, 4)}
    predicted = {2: truth[2] + np.sqrt(2), 4: truth[4] + 0.01}
    found = {name: one["mean"] for name, one in multipole_scores(k, predicted, truth, side=225.0).items()}
    assert found == {"within_2": 1, "within_2_published": 0, "within_4": 1, "within_4_published": 1}


def test_joint_counts_hold_nearly_every_voxel():
    truth = derived(truth_fields(3))
    counts = measure(truth, truth, edges=joint_edges(truth)).sums
    for name, values in counts.items():
        assert 0.97 * 24**3 <= values.sum() <= 24**3, name
    speed = counts["joint/speed"]
    assert speed.sum() == np.trace(speed)


def test_average_is_the_mean_with_its_standard_error():
    score = average([1.0, 2.0, 3.0])
    assert score["mean"] == 2
    assert score["error"] == pytest.approx(1 / np.sqrt(3))
    assert np.isnan(average([1.0])["error"])


def test_ranges_average_boxes_before_the_absolute_value():
    k = np.array([0.06, 0.1, 0.15, 0.25])
    true = {name: np.ones((2, 4)) for name in module_fields()}
    deviation = np.array([[0.1, 0.2, 0.1, 0.0], [-0.1, 0.2, 0.1, 0.0]])
    scores = range_scores(k, dict.fromkeys(true, 1 + deviation), true)
    assert scores["R_velocity_mid_mean"]["mean"] == pytest.approx((0 + 0.2 + 0.1) / 3)
    assert scores["R_velocity_mid_max"]["mean"] == pytest.approx(0.2)
    assert "R_velocity_low_mean" not in scores  # no bin there


def module_fields() -> tuple[str, ...]:
    return ("density", "velocity", "momentum", "velocity_divergence", "momentum_divergence")


def test_best_model_is_the_closest_to_the_target():
    row = next(row for row in ROWS if row.key == "slope_velocity")
    columns = {"a": {"slope_velocity": average([1.2])}, "b": {"slope_velocity": average([0.9])}}
    assert best_model(columns, row) == "b"
    assert cell_text(columns["b"], row) == "0.900"
    assert cell_text({}, row) == "–"


def test_coarsen_keeps_the_mean():
    data = np.random.default_rng(1).normal(size=(2, 24, 24, 24))
    coarse = coarsen(data, 8)
    assert coarse.shape == (2, 8, 8, 8)
    assert coarse.mean() == pytest.approx(data.mean())
    assert coarse[1, 0, 0, 0] == pytest.approx(data[1, :3, :3, :3].mean())
    assert coarsen(data, 10).shape == (2, 10, 10, 10)
    assert coarsen(data, 48).shape == data.shape


def test_evaluation_holds_every_model_and_is_read_again(evaluated):
    evaluation = Evaluation.open(evaluated)
    assert len(evaluation.models) == 2
    assert set(evaluation.models) == set(evaluation.record["baselines"])
    iterative = evaluation.record["baselines"][0]
    columns = evaluation.columns(sample="0")
    scores = columns[iterative]
    assert scores["residual_ratio"]["mean"] == pytest.approx(1)
    assert len(scores["correlation_velocity"]["boxes"]) == 2
    # Mostly shot noise. (The iterative FFT measures the halos' bias, and these waves are not a universe's.)
    assert columns["linear theory"]["correlation_velocity"]["mean"] > 0.3
    power = Part(evaluation.arrays, iterative, "0").of("power/velocity")
    assert power.shape == (2, len(evaluation.arrays.of("k")))
    assert "| truth | published |" in (evaluated / "scores.md").read_text()
    assert evaluation.record["provenance"]["inputs"]


def test_scores_hold_no_nan(evaluated):
    json.loads((evaluated / "scores.json").read_text(), parse_constant=lambda text: pytest.fail(text))


def test_score_table_has_the_published_column(evaluated):
    (table,) = TracerTask.tables(Evaluation.open(evaluated))
    assert len(table.columns) == 5
    by_name = {cells[0]: cells for _, cells in table.rows}
    assert by_name["1 - cos φ of the velocity"][-1].startswith("0.01 ± 0.06")


def test_report_is_one_file_without_links(evaluated, tmp_path):
    path = report(evaluated, out=tmp_path / "report.html")
    text = path.read_text(encoding="utf-8")
    assert path.stat().st_size < 15 * 2**20
    # Not `"..." in text`: a failing assertion would print, and compare, all of it.
    assert text.count('src="http') == 0
    assert text.count("Reconstructions: scoreboard") == 2  # contents and heading
    assert len(re.findall(r'<figure(?: class="narrow")?><img', text)) == 15  # one of them the printed view
    words = re.sub(r"<script.*?</script>|data:[^\"]*", "", text, flags=re.DOTALL)
    assert not re.findall(r"\bnan\b", words, flags=re.IGNORECASE)


def test_figure_8_is_of_networks_that_weigh_by_mass(evaluated):
    evaluation = Evaluation.open(evaluated)
    by_number, by_mass = evaluation.models
    settings = evaluation.record["settings"] | {"mass_weighted": [by_mass]}
    evaluation = replace(evaluation, record=evaluation.record | {"settings": settings})
    plots = {plot.name: plot for plot in tracer_plots(evaluation, 0.0)}
    for name, model in (("fig08_joint_density", by_mass), ("fig09_joint_density", by_number)):
        (legend,) = plots[name].figure.legends
        assert [text.get_text() for text in legend.get_texts()] == ["truth", model]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seeds": [7]}, "seeds must be those of boxes"),
        ({"seeds": []}, "at least one, got"),
        ({"satellite_fraction": (1.0,)}, "satellite_fraction"),
        ({"satellite_fraction": ()}, "satellite_fraction"),
        ({"line_of_sight": "radial"}, "line_of_sight"),
        ({"number_density": 0.0}, "number_density"),
        ({"models": ["no such model"]}, "model"),
    ],
)
def test_bad_settings_are_refused_before_work(run, tmp_path, change, message):
    with pytest.raises(InputError, match=message):
        evaluate(run, out=tmp_path / "out", **change)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("what", ["cut", "NaN", "shape", "another kind"])
def test_a_broken_box_is_found_before_work(run, tmp_path, monkeypatch, what):
    boxes = tmp_path / "boxes"
    boxes.mkdir()
    for path in run.glob("*.h5"):
        (boxes / path.name).write_bytes(path.read_bytes())
    last = boxes / "box-00002.h5"
    if what == "cut":
        last.write_bytes(last.read_bytes()[:5000])
    else:
        with h5py.File(last, "a") as file:
            if what == "NaN":
                file["velocity"][1, 2, 3, 4] = np.nan
            elif what == "shape":
                del file["halos/mass"]
                file["halos/mass"] = np.ones(3)
            else:
                file.attrs["redshift"] = 1.0
    monkeypatch.setattr("peculiar.workflows.judge.progress_bar", lambda *_, **__: pytest.fail("work"))
    words = {"cut": "whole HDF5", "NaN": "finite", "shape": "matching shapes", "another kind": "of one kind"}
    with pytest.raises(InputError, match=words[what]):
        evaluate(boxes, out=tmp_path / "out", models=["linear"], figures=False)
    assert not (tmp_path / "out").exists()


def test_catalogues_are_drawn_once(run, tmp_path, monkeypatch):
    drawn, draw = [], SimulatedBox.catalogue
    monkeypatch.setattr(SimulatedBox, "catalogue", lambda box, **how: drawn.append(how) or draw(box, **how))
    evaluate(
        run,
        out=tmp_path / "scores",
        models=["linear"],
        satellite_fraction=(0.0,),
        number_density=8e-4,
        figures=False,
    )
    assert [how["space"] for how in drawn] == ["redshift", "real"] * 2
    with pytest.raises(InputError, match="number must leave 1 to 1500 centrals"):
        evaluate(
            run, out=tmp_path / "more", models=["linear"], satellite_fraction=(0.0,), number_density=1e-3
        )
    assert len(drawn) == 4
    assert not (tmp_path / "more").exists()


def test_existing_output_is_refused(run, evaluated):
    with pytest.raises(InputError, match="Output"):
        evaluate(run, out=evaluated)


def test_report_refuses_other_directories(tmp_path):
    (tmp_path / "run").mkdir()
    with pytest.raises(InputError, match="run must be"):
        report(tmp_path / "run", out=tmp_path / "report.html")


def test_damaged_evaluation_is_refused(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "scores.json").write_text("{")
    with pytest.raises(InputError, match="evaluation must be"):
        report(tmp_path / "run", out=tmp_path / "report.html")


def test_object_scores_without_velocities_are_left_out():
    catalogue = Catalogue(np.full((3, 3), 5.0), Box(10.0), redshift=0.0)
    assert object_scores(catalogue, np.zeros(3)) == {}


def test_workers_find_the_same(run, tmp_path, scheduler):
    options = {"models": ["linear"], "satellite_fraction": (0.0,), "number_density": 8e-4, "figures": False}
    alone, many = (
        Evaluation.open(evaluate(run, out=tmp_path / name, workers=workers, **options))
        for name, workers in (("alone", None), ("many", scheduler))
    )
    assert list(alone.arrays) == list(many.arrays)
    for name, values in alone.arrays.items():
        np.testing.assert_allclose(many.arrays[name], values, rtol=1e-5, atol=1e-5 * np.abs(values).max())
    assert alone.record["boxes"] == many.record["boxes"]
    for mine, theirs in zip(alone.record["results"], many.record["results"], strict=True):
        assert mine["model"] == theirs["model"]
        assert list(mine["scores"]) == list(theirs["scores"])
