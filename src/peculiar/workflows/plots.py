"""The figures of an evaluation: figures 4 to 14 of Xiao et al. 2024, remade from its arrays."""

from __future__ import annotations

from pathlib import Path

from peculiar.figures import distributions, slices, spectra
from peculiar.figures.distributions import Histogram2D
from peculiar.figures.style import Plot, save
from peculiar.workflows.evaluation import Evaluation, fraction_name
from peculiar.workflows.measure import FIELDS, JOINTS

TOLERANCE = {
    "density": (0.02, 0.3, 0.13),
    "velocity": (0.05, 0.2, 0.07),
    "momentum": (0.05, 0.2, 0.07),
    "velocity_divergence": (0.05, 0.1, 0.06),
    "momentum_divergence": (0.05, 0.1, 0.06),
}
"""Bounds on |R| that Xiao et al. 2024 print: lowest and highest k [h/Mpc], |R|."""


def draw(evaluation: Evaluation, fraction: float, *, shown: int = 2) -> list[Plot]:
    """Draw every figure at one satellite fraction.

    Parameters
    ----------
    evaluation : Evaluation
    fraction : float
    shown : int
        How many reconstructions have slices and joint distributions of their own; spectra show all.
    """
    models = evaluation.models
    chosen = models[:shown]
    boxes = len(evaluation.record["boxes"])
    sample = f"{boxes} box{'es' if boxes > 1 else ''}, {100 * fraction:.0f} % satellites"
    plots = []
    truth, predictions = (
        _slab(evaluation, fraction, None),
        {m: _slab(evaluation, fraction, m) for m in chosen},
    )
    where = f"A slab of {truth.thickness:.0f} Mpc/h through the first box, the line of sight in its plane."
    for field in ("velocity", "momentum"):
        figure = slices.vector_slices(truth, predictions, field=field)
        text = (
            f"{where} Greys: density; arrows: {field}. Right: its magnitude in all voxels (black: truth) and the angle "
            "between reconstruction and truth."
        )
        plots.append(Plot(f"fig04_{field}_slices", f"{field.capitalize()} in a slab", text, figure))
    for field in ("density", "velocity_divergence", "momentum_divergence"):
        figure = slices.scalar_slices(truth, predictions, field=field)
        title = field.replace("_", " ").capitalize() + " in a slab"
        text = f"{where} Right: values of all voxels (black: truth)."
        plots.append(Plot(f"fig05_{field}_slices", title, text, figure))
    plots += _joint_plots(evaluation, fraction, chosen, sample)
    plots += _spectrum_plots(evaluation, fraction, sample)
    return plots


def draw_all(evaluation: Evaluation, directory: Path) -> list[Path]:
    """Write every figure at every satellite fraction as PDF and PNG into a new directory."""
    directory.mkdir(parents=True)
    paths = []
    for fraction in evaluation.fractions:
        for plot in draw(evaluation, fraction):
            paths += save(plot.figure, directory / f"{plot.name}_satellites{100 * fraction:02.0f}")
    return paths


def _slab(evaluation: Evaluation, fraction: float, model: str | None) -> slices.Slab:
    """Slab of a reconstruction, or of the truth with the tracers."""
    prefix = "truth/slab/" if model is None else f"{fraction_name(fraction)}/{model}/slab/"
    values = {
        name.removeprefix(prefix): array
        for name, array in evaluation.arrays.items()
        if name.startswith(prefix)
    }
    if model is None:
        values["tracers"] = evaluation.of(fraction, "tracers", "slab/tracers")
    box = evaluation.record["box"]
    layers = next(iter(values.values())).shape[-1]
    axes = ("y", "z") if evaluation.record["slab_axis"] == "x" else ("x", "z")
    return slices.Slab(values, box["size"], layers * box["size"] / box["cells"], axes=axes)


def _joint_plots(evaluation: Evaluation, fraction: float, models: list[str], sample: str) -> list[Plot]:
    def histogram(model: str, kind: str, name: str) -> Histogram2D:
        across = "density" if "with_density" in kind else name
        edges = evaluation.arrays[f"edges/{across}"], evaluation.arrays[f"edges/{name}"]
        return Histogram2D(evaluation.of(fraction, model, f"{kind}/{name}"), *edges)

    plots = []
    for number, names in (("fig06", JOINTS[:2]), ("fig07", JOINTS[2:])):
        what = "magnitudes" if number == "fig06" else "divergences"
        panels = {model: {name: histogram(model, "joint", name) for name in names} for model in models}
        text = f"All voxels of {sample}; contours hold 68, 95 and 99.7 % of them; dashed: perfect."
        title = f"Predicted against true {what}"
        plots.append(
            Plot(f"{number}_joint_{what}", title, text, distributions.predicted_against_true(panels))
        )
    truth = {name: histogram(models[0], "true_with_density", name) for name in JOINTS}
    own = {model: {name: histogram(model, "with_density", name) for name in JOINTS} for model in models}
    text = f"True fields shaded and in black, reconstructions in colour, each with its own density; {sample}."
    plots.append(
        Plot("fig09_joint_density", "With the density", text, distributions.with_density(truth, own))
    )
    return plots


def _spectrum_plots(evaluation: Evaluation, fraction: float, sample: str) -> list[Plot]:
    models, k = evaluation.models, evaluation.arrays["k"]
    power = {m: {f: evaluation.of(fraction, m, f"power/{f}") for f in FIELDS} for m in models}
    true = {f: evaluation.of(fraction, models[0], f"true_power/{f}") for f in FIELDS}
    plots = []
    for name, title, fields in (
        ("fig10_density_power", "Power of the density", FIELDS[:1]),
        ("fig11_velocity_power", "Power of velocity and momentum", FIELDS[1:3]),
        ("fig12_divergence_power", "Power of the divergences", FIELDS[3:]),
    ):
        figure = spectra.powers(k, {f: true[f] for f in fields}, power, tolerance=TOLERANCE)
        text = f"{sample}; below, the relative deviation. The grey box is the paper's bound on it."
        plots.append(Plot(name, title, text, figure, vector=True))
    transfer = {m: {f: (power[m][f] / true[f]) ** 0.5 for f in FIELDS} for m in models}
    correlation = {
        m: {f: evaluation.of(fraction, m, f"cross/{f}") / (power[m][f] * true[f]) ** 0.5 for f in FIELDS}
        for m in models
    }
    figure = spectra.coherence(k, transfer, correlation, fields=FIELDS[:3])
    plots.append(Plot("coherence", "Correlation and transfer with scale", f"{sample}.", figure, vector=True))
    of_truth = evaluation.arrays["truth/multipoles"]
    of_tracers = evaluation.of(fraction, "tracers", "multipoles")
    own = {m: evaluation.of(fraction, m, "multipoles") for m in models}
    figure = spectra.multipoles(
        evaluation.arrays["multipole_k"],
        {2: of_truth[:, 1], 4: of_truth[:, 2]},
        {m: {2: rows[:, 1], 4: rows[:, 2]} for m, rows in own.items()},
        redshift_space={2: of_tracers[:, 1], 4: of_tracers[:, 2]},
    )
    text = f"Density in real space, and the tracers as observed; {sample}."
    plots.append(Plot("fig14_multipoles", "Quadrupole and hexadecapole", text, figure, vector=True))
    panels = {
        m: {
            "real": evaluation.of(fraction, "tracers", "xi_real").mean(axis=0),
            "redshift": evaluation.of(fraction, "tracers", "xi_redshift").mean(axis=0),
            "moved back": evaluation.of(fraction, m, "xi_moved").mean(axis=0),
        }
        for m in models[:3]
    }
    figure = spectra.correlation_contours(evaluation.arrays["separation"], panels)
    text = f"Tracers in real space, as observed, and moved back with the reconstructed velocity; {sample}."
    plots.append(Plot("fig13_correlation", "Clustering across and along the line of sight", text, figure))
    return plots
