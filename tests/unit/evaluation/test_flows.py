"""Scores of velocities from the density, against predictions whose errors are known."""

import json
import shutil
from dataclasses import asdict

import h5py
import numpy as np
import pytest
import torch

from peculiar.core import PRESETS, Box, Field, InputError, OutputExistsError
from peculiar.evaluation import page
from peculiar.evaluation.flows.measure import POWERS, choose_edges, derived_flow, measure_flow, true_counts
from peculiar.evaluation.flows.rows import LINEAR, PUBLISHED, SMOOTHED, TABLES
from peculiar.evaluation.flows.task import SMOOTHING, FlowTask, choose_windows
from peculiar.evaluation.record import TRUTH, Evaluation
from peculiar.fields.calculus import curl
from peculiar.linear.matter import linear_flow
from peculiar.simulate.boxes import BoxSettings, simulate_box
from peculiar.simulate.mocks import SimulatedBox
from peculiar.simulate.particle_mesh import Steps
from peculiar.workflows.evaluate import _TASKS, _Request
from peculiar.workflows.judge import judge

BOX = Box(64.0, 32)
SETTINGS = BoxSettings(size=48.0, particles=24, cells=24, redshift=0.0, steps=Steps(count=3), min_particles=8)


def flow(seed: int = 0) -> tuple[Field, dict[str, Field]]:
    """A random density, and a smooth velocity with curl."""
    noise = torch.randn(4, 32, 32, 32, generator=torch.Generator().manual_seed(seed))
    density = Field((0.5 * noise[:1]).clamp(min=-0.9), BOX, ["density"])
    potential = Field(noise[1:], BOX, "xyz", "km/s", kind="vector")
    velocity = linear_flow(density, velocity_factor=50.0)["velocity"]
    velocity = velocity.replace(data=velocity.data + 20 * curl(potential).data)
    return density, {
        "velocity": velocity,
        "momentum": velocity.replace(data=velocity.data * (1 + density.data)),
    }


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    directory = tmp_path_factory.mktemp("run")
    made = []
    for seed in (1, 2, 3):
        made.append(directory / f"box-{seed:05d}.h5")
        simulate_box(made[-1], SETTINGS, PRESETS["wu2021"], seed=seed)
    return made


@pytest.fixture(scope="module")
def half(paths):
    """A predictor that is halfway between linear theory and the truth of any of the boxes."""
    boxes = [SimulatedBox.open(path) for path in paths]
    factor = boxes[0].cosmology.velocity_factor(0.0)

    def predict(density):
        box = next(box for box in boxes if torch.equal(box.density.data, density.data))
        linear = linear_flow(density, velocity_factor=factor)
        truth = {"velocity": box.velocity, "momentum": box.momentum}
        return {
            name: field.replace(data=0.5 * (field.data + linear[name].data)) for name, field in truth.items()
        }

    return predict


@pytest.fixture(scope="module")
def out(paths, half, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "evaluation"
    settings = {"model": "half"}
    task = FlowTask(paths[:2], {"half": half}, settings=settings, tune_on=paths[2:])
    return judge(task, out=out, figures=False)


def test_a_prediction_that_is_a_multiple_of_the_truth():
    density, fields = flow()
    truth = derived_flow(fields)
    edges = choose_edges(truth, density)
    twice = derived_flow({name: field.replace(data=2 * field.data) for name, field in fields.items()})
    measured = measure_flow(twice, truth, density, edges=edges)
    for name in POWERS:
        assert measured.scores[f"ratio_{name}_0.6"] == pytest.approx(4, rel=1e-4)
        np.testing.assert_allclose(
            measured.rows[f"cross/{name}"], 2 * measured.rows[f"true_power/{name}"], rtol=1e-4
        )
    assert measured.scores["cosine_velocity"] == pytest.approx(1, abs=1e-6)
    assert measured.scores["slope_momentum"] == pytest.approx(2, rel=1e-5)
    assert measured.scores["residual_speed_median"] == pytest.approx(
        float(truth["speed"].data.median()), rel=1e-4
    )
    # The residual is as large as the truth everywhere: one bin has it all, half-way up the histogram.
    share = measured.sums["histogram/residual_share"]
    assert share[29:31].sum() == share.sum() == 32**3


def test_turning_a_velocity_round_turns_its_cosine():
    density, fields = flow()
    truth = derived_flow(fields)
    edges = choose_edges(truth, density)
    back = derived_flow({name: field.replace(data=-field.data) for name, field in fields.items()})
    measured = measure_flow(back, truth, density, edges=edges)
    assert measured.sums["histogram/cosine"][0] == 32**3
    assert measured.scores["correlation_vorticity"] == pytest.approx(-1, abs=1e-5)
    assert measured.scores["ratio_momentum_curl_1"] == pytest.approx(1, rel=1e-4)


def test_linear_theory_has_no_vorticity():
    density, fields = flow()
    truth = derived_flow(fields)
    linear = derived_flow(linear_flow(density, velocity_factor=50.0))
    scores = measure_flow(linear, truth, density, edges=choose_edges(truth, density)).scores
    assert scores["ratio_vorticity_0.6"] < 1e-6
    assert scores["ratio_velocity_divergence_0.6"] == pytest.approx(1, abs=1e-3)


def test_joint_counts_hold_nearly_every_cell():
    density, fields = flow()
    empty = density.replace(data=torch.where(density.data < -0.8, -1.0, density.data))
    truth = derived_flow(fields)
    counts = true_counts(truth, empty, edges=choose_edges(truth, empty))
    for name in ("joint/velocity_divergence", "joint/momentum_curl_x", "histogram/speed"):
        assert 0.99 * 32**3 < counts[name].sum() <= 32**3, name
    assert counts["joint/velocity_divergence"][0].sum() >= int((empty.data == -1).sum())


def test_wavenumbers_beyond_the_mesh_have_no_score():
    density, fields = flow()
    coarse = Box(200.0, 32)  # Nyquist at 0.5 h/Mpc
    fields = {name: field.replace(box=coarse) for name, field in fields.items()}
    density = density.replace(box=coarse)
    truth = derived_flow(fields)
    scores = measure_flow(truth, truth, density, edges=choose_edges(truth, density)).scores
    assert "ratio_speed_0.2" in scores
    assert "ratio_speed_0.6" not in scores


def test_powers_in_cubes_of_120_mpc_are_of_all_cubes_together():
    """A prediction of twice the truth in one half of a box of 256 Mpc/h has 4 times the power in half of the cubes."""
    density, fields = flow()
    large = Box(256.0, 32)
    fields = {name: field.replace(box=large) for name, field in fields.items()}
    density = density.replace(box=large)
    factor = torch.where(torch.arange(32) < 15, 2.0, 1.0)
    half = {name: field.replace(data=field.data * factor[:, None, None]) for name, field in fields.items()}
    truth, predicted = derived_flow(fields), derived_flow(half)
    scores = measure_flow(predicted, truth, density, edges=choose_edges(truth, density)).scores
    cubes = [truth["speed"].data[0, x : x + 15, :30, :30].double() for x in (0, 15)]
    spreads = [
        sum(float((cube[:, y : y + 15, z : z + 15]).var()) for y in (0, 15) for z in (0, 15))
        for cube in cubes
    ]
    expected = (4 * spreads[0] + spreads[1]) / sum(spreads)
    assert scores["ratio_speed_cubes_0.2"] == pytest.approx(expected, rel=0.1)
    assert "ratio_speed_cubes_0.6" not in scores  # beyond the mesh
    assert "ratio_vorticity_cubes_0.2" not in scores  # not in the paper's tables


def test_the_first_window_holds_the_densest_clump():
    data = torch.zeros(1, 32, 32, 32)
    data[0, 25, 7, 11] = 50.0
    windows = choose_windows(Field(data, Box(128.0, 32), ["density"]))  # windows of 10 cells
    assert windows[0] == (20, 0, 11)
    assert all(x + 10 <= 32 and y + 10 <= 32 for x, y, _ in windows)


def test_every_printed_figure_has_a_row():
    keys = {row.key for rows in TABLES.values() for row in rows}
    assert len(PUBLISHED) == 2
    assert all(set(values) <= keys for values in PUBLISHED.values())


def test_scores_are_those_put_in(out):
    record = json.loads((out / "scores.json").read_text())
    scores = {entry["model"]: entry["scores"] for entry in record["results"]}
    assert list(scores) == ["half", SMOOTHED, LINEAR]
    assert scores["half"]["median_ratio"]["mean"] == pytest.approx(0.5, rel=1e-3)
    assert scores[LINEAR]["median_ratio"]["boxes"] == [1.0, 1.0]
    assert scores[SMOOTHED]["rms_error_velocity"]["mean"] < scores[LINEAR]["rms_error_velocity"]["mean"]
    assert scores["half"]["ratio_vorticity_1"]["mean"] == pytest.approx(0.25, rel=1e-3)
    assert record["smoothing"] != SMOOTHING
    assert record["provenance"]["settings"]["model"] == "half"
    assert len(record["provenance"]["inputs"]) == 3


def test_table_has_ours_beside_the_published(out):
    text = (out / "scores.md").read_text()
    line = next(line for line in text.splitlines() if line.startswith("| cos θ, v"))
    assert "| 0.93 ± 0.19, 0.90 ± 0.27, 0.89 ± 0.26 |" in line
    assert "in cubes of 120 Mpc/h" not in text  # they do not fit
    assert text.count("\n| ") > 30
    assert "tuned on other boxes" in text


def test_arrays_are_whole(out):
    evaluation = Evaluation.open(out)
    assert evaluation.arrays.of("power/speed", "half").shape == (2, len(evaluation.arrays.of("k")))
    assert evaluation.arrays.of("histogram/speed", TRUTH).sum() == pytest.approx(2 * 24**3, rel=0.02)
    assert evaluation.arrays.of("slice/0/velocity", TRUTH).shape == (3, 20, 20)


def test_figures_have_captions(out, tmp_path, monkeypatch):
    def touch(figure, stem, *, about):
        stem.with_suffix(".png").write_text(about["Software"])

    monkeypatch.setattr(page, "save", touch)  # drawing them takes half a minute
    page.draw(Evaluation.open(out), tmp_path / "figures")
    names = {path.stem for path in (tmp_path / "figures").glob("*.png")}
    assert names == {
        *(f"fig03_{letter}_velocity" for letter in "abc"),
        "fig03_histograms",
        "fig04_momentum",
        "fig05_joint",
        "fig06_power",
    }
    captions = (tmp_path / "figures" / "figures.md").read_text()
    assert all(f"**{name}**: " in captions for name in names)


def test_the_truth_may_be_volume_weighted(paths, tmp_path):
    with pytest.raises(InputError, match="volume_velocity must be stored"):
        FlowTask(paths[:1], {}, settings={}, velocity="volume")
    task = FlowTask(paths[:1], {}, settings={}, velocity="background")
    text = (judge(task, out=tmp_path / "out", figures=False) / "scores.md").read_text()
    assert "empty cells: mean momentum / mean density" in text


def test_refuses_before_it_works(paths, half, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(InputError, match="at least one simulated box"):
        FlowTask([], {}, settings={})
    with pytest.raises(InputError, match=r"not evaluated, got the seeds \[1\]"):
        FlowTask(paths[:2], {}, settings={}, tune_on=paths[:1])
    with pytest.raises(InputError, match="baseline's name"):
        FlowTask(paths, {"linear theory": half}, settings={})
    other = tmp_path / "box-00004.h5"
    shutil.copy(paths[0], other)
    with h5py.File(other, "a") as file:
        file.attrs["cosmology"] = json.dumps(asdict(PRESETS["xiao2024"]))
    with pytest.raises(InputError, match="one kind and cosmology"):
        FlowTask([*paths, other], {}, settings={})
    out.write_text("something else")
    with pytest.raises(OutputExistsError):
        judge(FlowTask(paths, {}, settings={}), out=out)


def test_a_task_with_networks_travels_to_other_processes(paths):
    cloudpickle = pytest.importorskip("cloudpickle")
    make, _ = _TASKS["flow"]
    task = make(_Request(paths[0].parent, ["flow"], [1], "cpu", {}))
    other = cloudpickle.loads(cloudpickle.dumps(task))
    (case,) = task.cases(paths[0])
    expected, found = (
        one.contestants(case)["flow, unbiased power"]()["velocity"].data for one in (task, other)
    )
    torch.testing.assert_close(found, expected)
