"""The figures of an evaluation of density-to-velocity models: figures 3 to 6 of Wu et al. 2021, from its arrays."""

from __future__ import annotations

from peculiar.evaluation.flows.measure import HISTOGRAMS, JOINTS, K_AT, PRINTED
from peculiar.evaluation.record import TRUTH, Evaluation
from peculiar.figures import density_to_velocity
from peculiar.figures.distributions import Histogram2D
from peculiar.figures.slices import Slab
from peculiar.figures.style import Plot

GOAL = 0.1
"""|P / P_true - 1| that the figures shade."""


def flow_plots(evaluation: Evaluation) -> list[Plot]:
    """Draw every figure of an evaluation of `FlowTask`."""
    arrays, models = evaluation.arrays, evaluation.models
    boxes = len(evaluation.record["boxes"])
    sample = f"{boxes} box{'es' if boxes > 1 else ''}"
    cell = evaluation.record["box"]["size"] / evaluation.record["box"]["cells"]
    plots = []
    windows = sorted({name.split("/")[0] for name in arrays.below("slice", TRUTH)})
    for window in windows:
        truth, predictions = (
            _slab(evaluation, TRUTH, window),
            {m: _slab(evaluation, m, window) for m in models},
        )
        where = f"One layer of cells ({cell:g} Mpc/h) of the first box, {truth.size:g} Mpc/h wide."
        text = (
            f"{where} Arrows: velocity in the plane, and below its residual, over the density in grey, as long as the "
            "colour scale at most. Right: |v|, residual over true speed, and cosine of the angle to the truth, of "
            "these cells."
        )
        figure = density_to_velocity.flow_slices(truth, predictions)
        plots.append(Plot(f"fig03_{'abc'[int(window)]}_velocity", "Velocity in a slice", text, figure))
        if window == windows[0]:
            text = f"{where} Momentum p = (1 + δ) v, x component of its curl, and divergence of the velocity."
            figure = density_to_velocity.derivative_slices(truth, predictions)
            plots.append(Plot("fig04_momentum", "Momentum, its curl, and divergence", text, figure))
    edges = arrays.below("edges")
    counts = {model: arrays.below("histogram", model) for model in (TRUTH, *models)}
    text = f"All cells of {sample}."
    figure = density_to_velocity.flow_histograms({name: edges[name] for name in HISTOGRAMS}, counts)
    plots.append(Plot("fig03_histograms", "Speed, residual and direction", text, figure, vector=True))
    panels = {
        model: {
            name: Histogram2D(arrays.of(f"joint/{name}", model), edges["density"], edges[name])
            for name in JOINTS
        }
        for model in (TRUTH, *models)
    }
    text = f"All cells of {sample}; empty cells count in the lowest bin of the density."
    figure = density_to_velocity.joint_with_density(panels)
    plots.append(Plot("fig05_joint", "Density against divergence and curl", text, figure))
    shown = (*PRINTED, "vorticity")
    of_truth = arrays.below("true_power", models[0])
    truth_power = {name: of_truth[name] for name in shown}
    power = {model: {name: arrays.of(f"power/{name}", model) for name in shown} for model in models}
    text = (
        f"Mean of {sample}. Below, the logarithm of the ratio to the true power; grey: within {GOAL:.0%} of it; "
        "dotted: wavenumbers of the tables. Linear theory has no curl of the velocity but rounding."
    )
    figure = density_to_velocity.power_ratios(arrays["k"], truth_power, power, marked=K_AT, goal=GOAL)
    plots.append(
        Plot("fig06_power", "Power of speed, momentum, divergence and curls", text, figure, vector=True)
    )
    return plots


def _slab(evaluation: Evaluation, model: str, window: str) -> Slab:
    """One layer of cells with everything stored of it."""
    below = evaluation.arrays.below(f"slice/{window}", model)
    values = {name: array[..., None] for name, array in below.items()}
    cell = evaluation.record["box"]["size"] / evaluation.record["box"]["cells"]
    side = next(iter(values.values())).shape[1] * cell
    return Slab(values, side, cell, axes=("x", "y"))
