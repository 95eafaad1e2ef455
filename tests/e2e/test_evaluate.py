"""From nothing to scores and figures: simulate, evaluate, report."""

from __future__ import annotations

import json

from peculiar.simulate.boxes import BoxSettings
from peculiar.simulate.particle_mesh import Steps
from peculiar.workflows.evaluate import evaluate
from peculiar.workflows.report import report
from peculiar.workflows.simulate import simulate_run


def test_simulate_evaluate_report(tmp_path):
    settings = BoxSettings(size=100.0, particles=32, cells=16, steps=Steps(count=4), min_particles=8)
    simulate_run(tmp_path / "run", seeds=[1], settings=settings)
    out = evaluate(
        tmp_path / "run",
        out=tmp_path / "scores",
        models=["linear"],
        satellite_fraction=(0.2,),
        number_density=8e-5,
    )
    record = json.loads((out / "scores.json").read_text())
    assert len(record["results"]) == 2
    linear = record["results"][1]["scores"]
    assert linear["correlation_velocity"]["mean"] > 0.3
    names = {path.name for path in (out / "figures").iterdir()}
    assert {"fig04_velocity_slices_satellites20.pdf", "fig14_multipoles_satellites20.png"} <= names
    page = report(out, out=tmp_path / "report.html")
    assert page.stat().st_size < 15 * 2**20
