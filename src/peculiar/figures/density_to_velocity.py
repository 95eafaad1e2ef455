"""Velocity and momentum from the density, against the truth and linear theory (figures 3 to 6 of Wu et al. 2021)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize, SymLogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from peculiar.figures.distributions import Histogram2D
from peculiar.figures.slices import Slab, draw_arrows
from peculiar.figures.style import (
    COUNTS_MAP,
    DIVERGING,
    LABELS,
    SPEED_MAP,
    TRUTH,
    legend_below,
    line_style,
    name_panel,
    styled,
)

NAMES = {
    "speed": r"$|v|$",
    "momentum_size": r"$|p|$",
    "momentum": r"$p=(1+\delta)\,v$",
    "velocity_divergence": r"$\theta_v=\nabla\cdot v$",
    "momentum_curl": r"$\nabla\times p$",
    "momentum_curl_size": r"$|\nabla\times p|$",
    "momentum_curl_x": r"$(\nabla\times p)_x$",
    "vorticity": r"$\omega=\nabla\times v$",
}
PER_LENGTH = r"[km s$^{-1}$ $h$ Mpc$^{-1}$]"
SPEEDS = ("speed", "momentum_size", "momentum")
"""Fields of `NAMES` in km/s; the others have `PER_LENGTH`."""
Boxes = Float[np.ndarray, "box k"]


@styled
def flow_slices(truth: Slab, predictions: Mapping[str, Slab]) -> Figure:
    """Arrows of true and predicted velocities, their residuals below, and histograms of the cells (figure 3).

    Parameters
    ----------
    truth : Slab
        With "density" and "velocity", one layer.
    predictions : name -> Slab
        With "velocity".
    """
    columns = 1 + len(predictions)
    figure = Figure(figsize=(2.3 * columns + 3.0, 5.2))
    maps, side = figure.subfigures(1, 2, width_ratios=(2.3 * columns + 0.6, 2.4))
    axes = maps.subplots(2, columns, sharex=True, sharey=True, squeeze=False)
    norm = Normalize(0, float(np.percentile(np.hypot(*truth.plane("velocity")), 97)))
    cells = truth.map("density").shape[-1]
    ground = LogNorm(0.2, max(20.0, float(1 + truth.map("density").max())))
    _arrows(axes[0, 0], truth, truth, "velocity", norm, ground, cells)
    name_panel(axes[0, 0], "truth")
    shade = axes[1, 0].imshow(
        np.clip(1 + truth.map("density")[0], 0.2, None).T,
        origin="lower",
        extent=truth.extent,
        cmap="Greys",
        norm=ground,
        rasterized=True,
    )
    name_panel(axes[1, 0], "density")
    for (upper, lower), (name, slab) in zip(axes.T[1:], predictions.items(), strict=True):
        _arrows(upper, slab, truth, "velocity", norm, ground, cells)
        name_panel(upper, name)
        residual = replace(slab, values={"velocity": slab.values["velocity"] - truth.values["velocity"]})
        _arrows(lower, residual, truth, "velocity", norm, ground, cells)
        name_panel(lower, "residual")
    for panel in axes[1]:
        panel.set_xlabel(_length(truth.axes[0]))
    for panel in axes[:, 0]:
        panel.set_ylabel(_length(truth.axes[1]))
    bar = maps.colorbar(ScalarMappable(norm, SPEED_MAP), ax=list(axes[0]), pad=0.01, extend="max")
    bar.set_label(r"in the plane, $|v|$ [km s$^{-1}$]")
    maps.colorbar(shade, ax=list(axes[1]), pad=0.01).set_label(r"$1+\delta$")
    _slice_histograms(side.subplots(3, 1), truth, predictions)
    handles = [
        Line2D([], [], color=TRUTH),
        *(Line2D([], [], **line_style(i)) for i in range(len(predictions))),
    ]
    legend_below(figure, handles, ["truth", *predictions])
    return figure


@styled
def derivative_slices(truth: Slab, predictions: Mapping[str, Slab]) -> Figure:
    """Momentum, x component of its curl, and divergence of the velocity, one row each (figure 4).

    Parameters
    ----------
    truth : Slab
        With "density", "momentum", "momentum_curl" and "velocity_divergence", one layer.
    predictions : name -> Slab
        With the last three.
    """
    panels = {"truth": truth, **predictions}
    figure = Figure(figsize=(2.2 * len(panels) + 1.0, 6.4))
    axes = figure.subplots(3, len(panels), sharex=True, sharey=True, squeeze=False)
    cells = truth.map("density").shape[-1]
    ground = LogNorm(0.2, max(20.0, float(1 + truth.map("density").max())))
    momentum = Normalize(0, float(np.percentile(np.hypot(*truth.plane("momentum")), 92)))
    norms = {name: _signed(truth.map(name)[0]) for name in ("momentum_curl", "velocity_divergence")}
    for column, (name, slab) in enumerate(panels.items()):
        _arrows(axes[0, column], slab, truth, "momentum", momentum, ground, cells)
        name_panel(axes[0, column], name)
        for panel, (field, norm) in zip(axes[1:, column], norms.items(), strict=True):
            panel.imshow(
                slab.map(field)[0].T,
                origin="lower",
                extent=slab.extent,
                cmap=DIVERGING,
                norm=norm,
                rasterized=True,
            )
        axes[2, column].set_xlabel(_length(truth.axes[0]))
    labels = (
        r"in the plane, $|p|$ [km s$^{-1}$]",
        f"{NAMES['momentum_curl_x']} {PER_LENGTH}",
        f"{NAMES['velocity_divergence']} {PER_LENGTH}",
    )
    looks = ((momentum, SPEED_MAP), *((norm, DIVERGING) for norm in norms.values()))
    for row, (norm, colours), label in zip(axes, looks, labels, strict=True):
        row[0].set_ylabel(_length(truth.axes[1]))
        extend = "max" if norm is momentum else "both"
        bar = figure.colorbar(ScalarMappable(norm, colours), ax=list(row), pad=0.01, extend=extend)
        bar.set_label(label)
    return figure


@styled
def joint_with_density(panels: Mapping[str, Mapping[str, Histogram2D]]) -> Figure:
    """Density against div v and against the x component of curl p, truth and predictions side by side (figure 5).

    Parameters
    ----------
    panels : "truth" or name -> field -> Histogram2D
        Fields are "velocity_divergence" and "momentum_curl_x"; x is 1 + delta, its edges in even ratios.
    """
    fields = list(next(iter(panels.values())))
    figure = Figure(figsize=(2.2 * len(panels) + 0.9, 2.35 * len(fields) + 0.2))
    axes = figure.subplots(len(fields), len(panels), sharex=True, sharey="row", squeeze=False)
    top = max(histogram.counts.max() for histograms in panels.values() for histogram in histograms.values())
    norm = LogNorm(1, max(float(top), 10.0))
    for column, (name, histograms) in enumerate(panels.items()):
        for panel, field in zip(axes[:, column], fields, strict=True):
            histogram = histograms[field]
            counts = np.ma.masked_less_equal(histogram.counts.T, 0)
            panel.pcolormesh(
                histogram.x_edges, histogram.y_edges, counts, norm=norm, cmap=COUNTS_MAP, rasterized=True
            )
            panel.axhline(0, color="0.4", lw=0.6)
            panel.set(xscale="log")
            name_panel(panel, name)
        axes[-1, column].set_xlabel(r"$1+\delta$")
    for panel, field in zip(axes[:, 0], fields, strict=True):
        panel.set_ylabel(f"{NAMES[field]} {PER_LENGTH}")
    figure.colorbar(ScalarMappable(norm, COUNTS_MAP), ax=axes, pad=0.01).set_label("cells per bin")
    return figure


@styled
def power_ratios(
    k: Float[np.ndarray, " k"],
    truth: Mapping[str, Boxes],
    predictions: Mapping[str, Mapping[str, Boxes]],
    *,
    marked: Sequence[float] = (),
    goal: float | None = None,
) -> Figure:
    """Powers, and the logarithm of their ratio to the true power below (figure 6).

    Parameters
    ----------
    k : (k,) [h/Mpc]
    truth : field -> (box, k)
        Fields of `NAMES`.
    predictions : name -> field -> (box, k)
    marked : sequence of float
        Wavenumbers to mark [h/Mpc].
    goal : float, optional
        Deviation |T - 1| to shade.
    """
    figure = Figure(figsize=(2.35 * len(truth) + 0.4, 4.4))
    axes = figure.subplots(2, len(truth), sharex=True, squeeze=False, height_ratios=(2, 1.2))
    for column, (field, true_rows) in enumerate(truth.items()):
        upper, lower = axes[:, column]
        true_power = true_rows.mean(axis=0)
        upper.plot(k, true_power, color=TRUTH, label="truth")
        for index, (name, fields) in enumerate(predictions.items()):
            power = fields[field].mean(axis=0)
            upper.plot(k, power, label=name, **line_style(index))
            lower.plot(k, np.log10(power / true_power), **line_style(index))
        upper.set(xscale="log", yscale="log", title=NAMES[field])
        upper.set_ylim(true_power.min() / 5, true_power.max() * 40)
        lower.axhline(0, color="0.3", lw=0.7)
        lower.set(ylim=(-0.95, 1.9), xlabel=LABELS["k"])
        if goal is not None:
            lower.axhspan(np.log10(1 - goal), np.log10(1 + goal), color="0.85", lw=0, zorder=0)
        for at in marked:
            lower.axvline(at, color="0.6", lw=0.6, ls=":")
        unit = r"$h^{-3}$ Mpc$^3$" if field in SPEEDS else r"$h^{-1}$ Mpc"
        upper.set_ylabel(rf"$P$ [km$^2$ s$^{{-2}}$ {unit}]")
    axes[1, 0].set_ylabel(r"$\log_{10}T$, $T=P/P_{\rm true}$")
    legend_below(figure, *axes[0, 0].get_legend_handles_labels())
    return figure


@styled
def flow_histograms(
    edges: Mapping[str, Float[np.ndarray, " edge"]],
    counts: Mapping[str, Mapping[str, Float[np.ndarray, " bin"]]],
) -> Figure:
    """Distributions of |v|, of the residual over |v_true| and of the cosine, over all cells.

    Parameters
    ----------
    edges : "speed", "residual_share", "cosine" -> (bin + 1,)
    counts : "truth" or name -> of the same -> (bin,)
        The truth has "speed" only.
    """
    figure = Figure(figsize=(9.0, 2.9))
    axes = figure.subplots(1, 3)
    labels = {
        "speed": LABELS["speed"],
        "residual_share": r"$|v-v_{\rm true}|\,/\,|v_{\rm true}|$",
        "cosine": r"$\cos\theta$",
    }
    for panel, (name, label) in zip(axes, labels.items(), strict=True):
        for index, (model, values) in enumerate(counts.items()):
            if name in values:
                density = values[name] / max(values[name].sum(), 1) / np.diff(edges[name])
                panel.stairs(density, edges[name], baseline=None, lw=1.2, **_look(index), label=model)
        panel.set_xlabel(label)
        if name == "cosine":
            panel.set_yscale("log")
        else:
            panel.set_ylim(0, None)
    axes[0].set_ylabel("probability density")
    legend_below(figure, *axes[0].get_legend_handles_labels())
    return figure


def _slice_histograms(axes: Sequence[Axes], truth: Slab, predictions: Mapping[str, Slab]) -> None:
    """Draw speed, residual over true speed, and cosine of a slice's cells."""
    speed = truth.magnitude("velocity").ravel()
    true = np.asarray(truth.values["velocity"], dtype=np.float64).reshape(3, -1)
    edges = (
        np.linspace(0, 1.4 * float(np.percentile(speed, 99)), 31),
        np.linspace(0, 2.5, 31),
        np.linspace(-1, 1, 31),
    )
    axes[0].stairs(np.histogram(speed, edges[0])[0], edges[0], baseline=None, color=TRUTH, lw=1.2)
    for index, slab in enumerate(predictions.values()):
        vector = np.asarray(slab.values["velocity"], dtype=np.float64).reshape(3, -1)
        length = np.linalg.norm(vector, axis=0)
        residual = np.linalg.norm(vector - true, axis=0) / np.maximum(speed, 1e-6)
        cosine = (vector * true).sum(axis=0) / np.maximum(length * speed, 1e-12)
        for panel, values, bins in zip(axes, (length, residual, cosine), edges, strict=True):
            panel.stairs(np.histogram(values, bins)[0], bins, baseline=None, lw=1.2, **line_style(index))
    names = (LABELS["speed"], r"$|v-v_{\rm true}|\,/\,|v_{\rm true}|$", r"$\cos\theta$")
    for panel, name in zip(axes, names, strict=True):
        panel.set(xlabel=name, ylabel="cells", ylim=(0, None))
    axes[2].set_yscale("symlog", linthresh=1)  # the few cells that flow the wrong way, and the empty bins
    axes[2].set_yticks([0, 1, 10, 100], labels=["0", "1", "10", "100"])


def _arrows(
    axes: Axes, slab: Slab, truth: Slab, field: str, norm: Normalize, ground: LogNorm, cells: int
) -> None:
    """Draw a vector's components in the plane, up to the scale's top, over the true density in light greys."""
    shown = np.clip(1 + truth.map("density")[0], ground.vmin, None)
    axes.imshow(
        shown.T, origin="lower", extent=truth.extent, cmap="Greys", norm=ground, alpha=0.45, rasterized=True
    )
    # Linear theory is many times too fast in clumps: arrows are as long as the scale at most.
    values = np.asarray(slab.values[field], dtype=np.float32)
    along = values[["xyz".index(axis) for axis in slab.axes]]
    length = np.maximum(np.hypot(*along), 1e-6)
    limited = replace(slab, values={field: values * np.minimum(1.0, norm.vmax / length)})
    draw_arrows(axes, limited, field, count=min(cells, 20), norm=norm)
    left, right, low, high = truth.extent
    axes.set(xlim=(left, right), ylim=(low, high), aspect="equal")


def _signed(values: np.ndarray) -> SymLogNorm:
    """Colours of a signed field with long tails: even to a fifth of its largest values, in ratios beyond."""
    top = max(float(np.percentile(np.abs(values), 99)), 1e-6)
    return SymLogNorm(linthresh=0.2 * top, linscale=1.0, vmin=-top, vmax=top)


def _look(index: int) -> dict[str, object]:
    """Line of the `index`-th model of a figure, the first of which is the truth."""
    return line_style(index - 1) if index else {"color": TRUTH, "linestyle": "-"}


def _length(axis: str) -> str:
    return rf"${axis}$ [$h^{{-1}}$ Mpc]"
