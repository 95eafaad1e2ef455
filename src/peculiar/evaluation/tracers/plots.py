"""The figures of an evaluation: figures 4 to 14 of Xiao et al. 2024, remade from its arrays."""

from __future__ import annotations

from peculiar.evaluation.record import TRUTH, Evaluation, Part, fraction_name
from peculiar.evaluation.tracers.measure import FIELDS, JOINTS
from peculiar.figures import distributions, slices, spectra
from peculiar.figures import report as html
from peculiar.figures.distributions import Histogram2D
from peculiar.figures.flow import flow_view
from peculiar.figures.report import Section
from peculiar.figures.style import Plot
from peculiar.figures.volume import Volume, interactive

TOLERANCE = {
    "density": (0.02, 0.3, 0.13),
    "velocity": (0.05, 0.2, 0.07),
    "momentum": (0.05, 0.2, 0.07),
    "velocity_divergence": (0.05, 0.1, 0.06),
    "momentum_divergence": (0.05, 0.1, 0.06),
}
"""Bounds on |R| that Xiao et al. 2024 print: lowest and highest k [h/Mpc], |R|."""


_VIEW = (
    "Drag to turn, scroll to zoom. Surfaces of equal density in grey; lines follow the velocity, brighter where "
    "matter moves faster. The buttons change between reconstruction and truth, the slider moves a slice through the "
    "density, and a click in the legend hides a part."
)


def fractions_of(evaluation: Evaluation) -> list[float]:
    """Return the satellite fractions that were evaluated."""
    return [float(value) for value in evaluation.record["settings"]["satellite_fraction"]]


def tracer_plots(evaluation: Evaluation, fraction: float, *, shown: int = 2) -> list[Plot]:
    """Draw every figure at one satellite fraction.

    Parameters
    ----------
    evaluation : Evaluation
    fraction : float
    shown : int
        How many reconstructions have slices and joint distributions of their own; spectra show all.
    """
    chosen = evaluation.models[:shown]
    boxes = len(evaluation.record["boxes"])
    sample = f"{boxes} box{'es' if boxes > 1 else ''}, {100 * fraction:.0f} % satellites"
    plots = []
    truth, predictions = (
        _slab(evaluation, fraction, None),
        {reconstructor_label(evaluation, m): _slab(evaluation, fraction, m) for m in chosen},
    )
    where = f"A slab of {truth.thickness:.0f} Mpc/h through the first box, the line of sight in its plane."
    for field in ("velocity", "momentum"):
        figure = slices.vector_slices(truth, predictions, field=field)
        text = (
            f"{where} Greys: density of the tracers, then of the matter; arrows: {field} in the plane, longer and "
            f"brighter where it is larger. Right: its magnitude in all voxels of the slab (black: truth), 1 - cos φ, "
            "with φ the angle between reconstruction and truth."
        )
        plots.append(Plot(f"fig04_{field}_slices", f"{field.capitalize()} in a slab", text, figure))
    for field in ("density", "velocity_divergence", "momentum_divergence"):
        figure = slices.scalar_slices(truth, predictions, field=field)
        title = field.replace("_", " ").capitalize() + " in a slab"
        text = f"{where} Maps: mean over its thickness. Right: values of all its voxels (black: truth)."
        plots.append(Plot(f"fig05_{field}_slices", title, text, figure))
    size, model = evaluation.record["box"]["size"], evaluation.models[0]
    text = (
        f"The first box, {size:g} Mpc/h, by the {reconstructor_label(evaluation, model)}. Lines follow the velocity; "
        "grey dots: the 2 % of cells that are densest; floor: density of the lowest layer."
    )
    figure = flow_view(volume(evaluation, fraction, model))
    plots.append(Plot("flow", "The flow in three dimensions", text, figure))
    plots += _joint_plots(evaluation, fraction, chosen, sample)
    plots += _spectrum_plots(evaluation, fraction, sample)
    return plots


def reconstructor_label(evaluation: Evaluation, model: str) -> str:
    """Name of a reconstructor in figures and tables: a network is called one ("residual" alone could be residuals)."""
    return model if model in evaluation.record["baselines"] else f"{model} network"


def flow_section(evaluation: Evaluation, still: Plot) -> Section:
    """Return the flow in three dimensions, of the first model and of the truth, with a picture for paper."""
    fraction, model = fractions_of(evaluation)[0], evaluation.models[0]
    volumes = {
        reconstructor_label(evaluation, model): volume(evaluation, fraction, model),
        "truth": volume(evaluation, fraction, None),
    }
    picture = html.picture(still.figure, still.caption, alternative=still.title, vector=still.vector)
    caption = f"The first box, {evaluation.record['box']['size']:g} Mpc/h. {_VIEW}"
    body = html.view(interactive(volumes, name="evaluated"), caption, still=picture)
    return Section("The flow in three dimensions", body)


def volume(evaluation: Evaluation, fraction: float, model: str | None) -> Volume:
    """Coarse density and velocity of a reconstruction, or of the truth (None), in the first box."""
    place = {"model": TRUTH} if model is None else {"model": model, "sample": fraction_name(fraction)}
    density, velocity = (evaluation.arrays.of(f"volume/{name}", **place) for name in ("density", "velocity"))
    return Volume(density[0], velocity, evaluation.record["box"]["size"])


def _slab(evaluation: Evaluation, fraction: float, model: str | None) -> slices.Slab:
    """Slab of a reconstruction, or of the truth with the tracers."""
    if model is None:
        values = evaluation.arrays.below("slab", TRUTH) | _of(evaluation, fraction, "tracers").below("slab")
    else:
        values = _of(evaluation, fraction, model).below("slab")
    box = evaluation.record["box"]
    layers = next(iter(values.values())).shape[-1]
    axes = ("y", "z") if evaluation.record["slab_axis"] == "x" else ("x", "z")
    return slices.Slab(values, box["size"], layers * box["size"] / box["cells"], axes=axes)


def _joint_plots(evaluation: Evaluation, fraction: float, models: list[str], sample: str) -> list[Plot]:
    def histogram(model: str, kind: str, name: str) -> Histogram2D:
        across = "density" if "with_density" in kind else name
        edges = evaluation.arrays.of(f"edges/{across}"), evaluation.arrays.of(f"edges/{name}")
        return Histogram2D(_of(evaluation, fraction, model).of(f"{kind}/{name}"), *edges)

    plots = []
    for number, names in (("fig06", JOINTS[:2]), ("fig07", JOINTS[2:])):
        what = "magnitudes" if number == "fig06" else "divergences"
        panels = {
            reconstructor_label(evaluation, model): {name: histogram(model, "joint", name) for name in names}
            for model in models
        }
        text = (
            f"All voxels of {sample}. Colour: their number, logarithmic, dark where there are many; contours hold 68, "
            "95 and 99.7 % of them; dashed: perfect."
        )
        title = f"Predicted against true {what}"
        plots.append(
            Plot(f"{number}_joint_{what}", title, text, distributions.predicted_against_true(panels))
        )
    truth = {name: histogram(models[0], "true_with_density", name) for name in JOINTS}
    by_mass = evaluation.record["settings"].get("mass_weighted", [])
    for number, title, shown in (
        ("fig08", "With the density, halos weighted by mass", by_mass),
        ("fig09", "With the density", [model for model in models if model not in by_mass]),
    ):
        if not shown:
            continue
        own = {
            reconstructor_label(evaluation, model): {
                name: histogram(model, "with_density", name) for name in JOINTS
            }
            for model in shown
        }
        text = (
            f"All voxels of {sample}. True fields shaded and in black, reconstructions in colour, each with its own "
            "density; contours hold 68, 95 and 99.7 % of the voxels."
        )
        figure = distributions.with_density(truth, own)
        plots.append(Plot(f"{number}_joint_density", title, text, figure))
    return plots


def _spectrum_plots(evaluation: Evaluation, fraction: float, sample: str) -> list[Plot]:
    models = {reconstructor_label(evaluation, model): model for model in evaluation.models}
    k = evaluation.arrays["k"]
    power = {
        label: {f: _of(evaluation, fraction, m).of(f"power/{f}") for f in FIELDS}
        for label, m in models.items()
    }
    true = {f: _of(evaluation, fraction, evaluation.models[0]).of(f"true_power/{f}") for f in FIELDS}
    bands = "; bands: standard deviation between boxes" if len(evaluation.record["boxes"]) > 1 else ""
    plots = []
    for name, title, fields in (
        ("fig10_density_power", "Power of the density", FIELDS[:1]),
        ("fig11_velocity_power", "Power of velocity and momentum", FIELDS[1:3]),
        ("fig12_divergence_power", "Power of the divergences", FIELDS[3:]),
    ):
        figure = spectra.powers(k, {f: true[f] for f in fields}, power, tolerance=TOLERANCE)
        text = (
            f"Mean of {sample}{bands}. Below, the deviation from the true power; grey boxes: the bounds on it of "
            "Xiao et al. (2024)."
        )
        plots.append(Plot(name, title, text, figure, vector=True))
    transfer = {m: {f: (power[m][f] / true[f]) ** 0.5 for f in FIELDS} for m in models}
    correlation = {
        label: {
            f: _of(evaluation, fraction, m).of(f"cross/{f}") / (power[label][f] * true[f]) ** 0.5
            for f in FIELDS
        }
        for label, m in models.items()
    }
    figure = spectra.coherence(k, transfer, correlation, fields=FIELDS[:3])
    text = (
        f"Correlation r(k) with the true modes and transfer function T(k), both 1 where perfect. Mean of {sample}"
        f"{bands}."
    )
    plots.append(Plot("coherence", "Correlation and transfer with scale", text, figure, vector=True))
    of_truth = evaluation.arrays.of("multipoles", TRUTH)
    of_tracers = _of(evaluation, fraction, "tracers").of("multipoles")
    own = {label: _of(evaluation, fraction, m).of("multipoles") for label, m in models.items()}
    figure = spectra.multipoles(
        evaluation.arrays["multipole_k"],
        {2: of_truth[:, 1], 4: of_truth[:, 2]},
        {m: {2: rows[:, 1], 4: rows[:, 2]} for m, rows in own.items()},
        redshift_space={2: of_tracers[:, 1], 4: of_tracers[:, 2]},
    )
    text = f"Matter in real space, and the tracers as observed. Mean of {sample}{bands}."
    plots.append(Plot("fig14_multipoles", "Quadrupole and hexadecapole", text, figure, vector=True))
    panels = {
        label: {
            "real": _of(evaluation, fraction, "tracers").of("xi_real").mean(axis=0),
            "redshift": _of(evaluation, fraction, "tracers").of("xi_redshift").mean(axis=0),
            "moved back": _of(evaluation, fraction, m).of("xi_moved").mean(axis=0),
        }
        for label, m in list(models.items())[:3]
    }
    figure = spectra.correlation_contours(evaluation.arrays["separation"], panels)
    text = f"Tracers in real space, as observed, and moved back with the reconstructed velocity. Mean of {sample}."
    plots.append(Plot("fig13_correlation", "Clustering across and along the line of sight", text, figure))
    return plots


def _of(evaluation: Evaluation, fraction: float, model: str) -> Part:
    """Return the arrays of one model at one satellite fraction."""
    return Part(evaluation.arrays, model, fraction_name(fraction))
