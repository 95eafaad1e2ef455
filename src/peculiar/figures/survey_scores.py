"""Velocities in isolated cubes against the truth (figures 5 to 11, 13, 14 of Wang et al. 2024), and errors by place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from peculiar.figures.distributions import Histogram2D
from peculiar.figures.slices import Slab, draw_arrows
from peculiar.figures.style import (
    COUNTS_MAP,
    DIVERGING,
    SPEED_MAP,
    TRUTH,
    legend_below,
    line_style,
    name_panel,
    styled,
)

KM_S = r"[km s$^{-1}$]"
MPC = r"[$h^{-1}$ Mpc]"
CONTOURS = "contours hold 68, 95 and 99.7 % of the voxels"


@styled
def velocity_contours(
    panels: Mapping[str, Mapping[str, Histogram2D]],
    *,
    order: Sequence[str] = (),
    reach: float = 1000.0,
) -> Figure:
    """Contours of the true (across) and predicted (up) velocity component, with linear fits (figures 5, 9 to 11, 13).

    Parameters
    ----------
    panels : title -> name -> Histogram2D
        x is the true component, y the predicted one [km/s]; a name has one line style in every panel.
    order : sequence of str
        Names whose line styles come first, as in other figures.
    reach : float
        Half width of the panels [km/s].
    """
    names = [name for name in order if any(name in held for held in panels.values())]
    looks = {name: line_style(index) for index, name in enumerate(order)}
    for name in (name for held in panels.values() for name in held):
        if name not in looks:
            looks[name] = line_style(len(looks))
            names.append(name)
    figure = Figure(figsize=(3.1 * len(panels) + 0.5, 3.5 + 0.18 * len(names)))
    axes = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    ends = np.array([-reach, reach])
    for panel, (title, held) in zip(axes, panels.items(), strict=True):
        panel.plot(ends, ends, color=TRUTH, lw=0.8)
        slopes = []
        for name, histogram in held.items():
            look = looks[name]
            _contour(panel, histogram, look)
            slope, offset = linear_fit(histogram)
            panel.plot(ends, slope * ends + offset, lw=1.0, **look)
            slopes.append((f"{slope:.2f}", look["color"]))
        name_panel(panel, title)
        for row, (text, colour) in enumerate(slopes):
            panel.text(
                0.97,
                0.04 + 0.075 * (len(slopes) - 1 - row),
                f"slope {text}",
                transform=panel.transAxes,
                ha="right",
                color=colour,
                fontsize=9,
            )
        panel.set(xlim=ends, ylim=ends, aspect="equal", xlabel=rf"true $v_t$ {KM_S}")
    axes[0].set_ylabel(rf"predicted $v_p$ {KM_S}")
    handles = [Line2D([], [], **looks[name]) for name in names]
    figure.legend(
        handles, names, loc="outside lower center", ncols=max(1, int(1.4 * len(panels))), title=CONTOURS
    )
    return figure


def linear_fit(histogram: Histogram2D) -> tuple[float, float]:
    """Return slope and offset of the least-squares line of y on x."""
    x, y = (0.5 * (edges[1:] + edges[:-1]) for edges in (histogram.x_edges, histogram.y_edges))
    weight = histogram.counts / max(float(histogram.counts.sum()), 1.0)
    mean_x, mean_y = float(weight.sum(1) @ x), float(weight.sum(0) @ y)
    variance = float(weight.sum(1) @ (x - mean_x) ** 2)
    slope = float((x - mean_x) @ weight @ (y - mean_y)) / max(variance, 1e-30)
    return slope, mean_y - slope * mean_x


@styled
def velocity_row(
    positions: Float[np.ndarray, " z"],
    truth: Float[np.ndarray, " z"],
    predictions: Mapping[str, Float[np.ndarray, " z"]],
) -> Figure:
    """Draw v_x along one row of cells (figure 6).

    Parameters
    ----------
    positions : (z,) [Mpc/h]
        From the cube's face.
    truth, predictions : (z,) [km/s]
    """
    figure = Figure(figsize=(6.6, 3.5))
    axes = figure.subplots()
    axes.axhline(0, color="0.7", lw=0.6)
    axes.plot(positions, truth, color=TRUTH, lw=1.8, label="truth")
    for index, (name, values) in enumerate(predictions.items()):
        axes.plot(positions, values, label=name, lw=1.2, **line_style(index))
    axes.set(xlabel=rf"$z$ {MPC}", ylabel=rf"$v_x$ {KM_S}", xlim=(positions[0], positions[-1]))
    legend_below(figure, *axes.get_legend_handles_labels())
    return figure


@styled
def velocity_pdf(
    edges: Float[np.ndarray, " edge"],
    truth: Float[np.ndarray, " bin"],
    predictions: Mapping[str, Float[np.ndarray, " bin"]],
) -> Figure:
    """Draw the probability density of v_x (figure 7).

    Parameters
    ----------
    edges : (bin + 1,) [km/s]
    truth, predictions : (bin,)
        Cells.
    """
    figure = Figure(figsize=(4.8, 3.8))
    axes = figure.subplots()
    looks = [{"color": TRUTH, "lw": 1.8}, *({"lw": 1.2, **line_style(i)} for i in range(len(predictions)))]
    shown = edges[-1]
    for (name, counts), look in zip([("truth", truth), *predictions.items()], looks, strict=True):
        density = counts / max(float(counts.sum()), 1.0) / np.diff(edges)
        axes.stairs(density, edges, baseline=None, label=name, **look)
        if name == "truth":
            held = np.nonzero(density > 1e-6)[0]
            shown = np.abs(edges[[held[0], held[-1] + 1]]).max() if held.size else edges[-1]
    axes.set(
        xlabel=rf"$v_x$ {KM_S}",
        ylabel=r"probability density [km$^{-1}$ s]",
        yscale="log",
        xlim=(-1.2 * shown, 1.2 * shown),
        ylim=(1e-6, None),
    )
    handles = [Line2D([], [], **look) for look in looks]
    legend_below(figure, handles, ["truth", *predictions])
    return figure


@styled
def direction_contours(panels: Mapping[str, Histogram2D]) -> Figure:
    """Contours of the error |v_p - v_t| and the cosine of the angle between them, one panel a model (figure 8).

    Parameters
    ----------
    panels : name -> Histogram2D
        x is the error [km/s], y the cosine.
    """
    columns = min(len(panels), 3)
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(2.9 * columns + 0.4, 2.6 * rows + 0.5))
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
    for panel in axes[len(panels) :]:
        panel.set_axis_off()
    for index, (panel, (name, histogram)) in enumerate(zip(axes, panels.items(), strict=False)):
        shown = np.ma.masked_less_equal(histogram.density.T, 0)
        norm = LogNorm(shown.max() * 1e-4, shown.max())
        panel.pcolormesh(
            histogram.x_edges, histogram.y_edges, shown, cmap=COUNTS_MAP, norm=norm, rasterized=True
        )
        _contour(panel, histogram, {"color": TRUTH, "linestyle": "-"})
        name_panel(panel, name, low=True)
        panel.set(xlim=(0, 700), ylim=(-1, 1))
        if index + columns >= len(panels):
            panel.tick_params(labelbottom=True)
            panel.set_xlabel(rf"$|v_p-v_t|$ {KM_S}")
    for panel in axes[::columns]:
        panel.set_ylabel(r"$\cos\theta$")
    figure.suptitle(CONTOURS, fontsize=9.5)
    return figure


@styled
def flow_over_potential(truth: Slab, predictions: Mapping[str, Slab], *, arrows: int = 20) -> Figure:
    """Draw arrows of velocities over contours of the true gravitational potential (figure 14).

    Parameters
    ----------
    truth : Slab
        With "velocity" [km/s] and "potential", of any unit.
    predictions : name -> Slab
        With "velocity".
    arrows : int
        About how many along a side.
    """
    panels = {"truth": truth, **predictions}
    columns = min(len(panels), 3)
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(3.1 * columns + 0.9, 3.0 * rows + 0.2))
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    norm = Normalize(0, float(np.percentile(np.hypot(*truth.plane("velocity")), 98)))
    phi = truth.map("potential")[0]
    n = len(phi)
    centres = [(np.arange(n) + 0.5) * truth.size / n + corner for corner in truth.origin]
    for panel in axes.ravel()[len(panels) :]:
        panel.set_axis_off()
    for panel, (name, slab) in zip(axes.ravel(), panels.items(), strict=False):
        panel.contourf(*centres, phi.T, levels=14, cmap="Greys_r", alpha=0.55)
        panel.contour(*centres, phi.T, levels=14, colors="0.45", linewidths=0.5)
        draw_arrows(panel, slab, "velocity", count=arrows, norm=norm)
        ends = [(along[0], along[-1]) for along in centres]
        panel.set(xlim=ends[0], ylim=ends[1], aspect="equal")
        name_panel(panel, name)
    for index, panel in enumerate(axes.ravel()[: len(panels)]):
        if index + columns >= len(panels):
            panel.tick_params(labelbottom=True)
            panel.set_xlabel(rf"${truth.axes[0]}$ {MPC}")
    for panel in axes[:, 0]:
        panel.set_ylabel(rf"${truth.axes[1]}$ {MPC}")
    bar = figure.colorbar(ScalarMappable(norm, SPEED_MAP), ax=axes, pad=0.01, shrink=0.85)
    bar.set_label(rf"velocity in the plane {KM_S}")
    return figure


@dataclass(frozen=True, eq=False)
class Profile:
    """Errors of the radial velocity in bins of a distance, of one model; NaN where there are few cells.

    Attributes
    ----------
    bias, scatter : (bin,) [km/s]
        Mean and standard deviation of predicted - true.
    slope : (bin,)
        Of predicted on true.
    bias_error : (bin,) [km/s]
        Of the mean, from the scatter between boxes; NaN for one box.
    """

    bias: Float[np.ndarray, " bin"]
    scatter: Float[np.ndarray, " bin"]
    slope: Float[np.ndarray, " bin"]
    bias_error: Float[np.ndarray, " bin"]


@styled
def error_profiles(
    edges: Mapping[str, Float[np.ndarray, " edge"]], profiles: Mapping[str, Mapping[str, Profile]]
) -> Figure:
    """Draw bias, scatter and slope of the radial velocity against distances, one column a kind of distance.

    Parameters
    ----------
    edges : what the distance is from -> (bin + 1,) [Mpc/h]
    profiles : what the distance is from -> name -> Profile
    """
    figure = Figure(figsize=(3.9 * len(edges) + 0.6, 6.6))
    axes = figure.subplots(3, len(edges), squeeze=False, sharex="col", sharey="row")
    handles: dict[str, Line2D] = {}
    for column, (kind, bins) in enumerate(edges.items()):
        middle = 0.5 * (bins[1:] + bins[:-1])
        held = np.zeros(len(middle), dtype=bool)
        for index, (name, profile) in enumerate(profiles[kind].items()):
            look = line_style(index)
            handles[name] = Line2D([], [], **look)
            held |= np.isfinite(profile.bias)
            axes[0, column].plot(middle, profile.bias, **look)
            low, high = profile.bias - profile.bias_error, profile.bias + profile.bias_error
            axes[0, column].fill_between(middle, low, high, color=look["color"], alpha=0.15, lw=0)
            axes[1, column].plot(middle, profile.scatter, **look)
            axes[2, column].plot(middle, profile.slope, **look)
        if held.any():
            axes[0, column].set_xlim(bins[:-1][held].min(), bins[1:][held].max())
        axes[0, column].axhline(0, color="0.6", lw=0.6)
        axes[2, column].axhline(1, color="0.6", lw=0.6)
        if bins[0] < 0:
            for panel in axes[:, column]:
                panel.axvline(0, color="0.6", lw=0.6, ls=":")
        axes[2, column].set_xlabel(f"distance from {kind} {MPC}")
    for panel, label in zip(
        axes[:, 0], (f"bias of $v_r$ {KM_S}", f"scatter of $v_r$ {KM_S}", "slope of $v_r$"), strict=True
    ):
        panel.set_ylabel(label)
    axes[1, 0].set_ylim(0, None)
    legend_below(figure, list(handles.values()), list(handles))
    return figure


@styled
def error_maps(
    edges: tuple[Float[np.ndarray, " x1"], Float[np.ndarray, " y1"]],
    bias: Mapping[str, Float[np.ndarray, "x y"]],
    scatter: Mapping[str, Float[np.ndarray, "x y"]],
) -> Figure:
    """Map bias (above) and scatter (below) of the radial velocity by both distances, one column a model.

    Parameters
    ----------
    edges : (x + 1,) and (y + 1,) [Mpc/h]
        Of the distance from the survey's edge and from the observer.
    bias, scatter : name -> (x, y) [km/s]
        NaN where there are few cells.
    """
    figure = Figure(figsize=(2.5 * len(bias) + 1.1, 5.2))
    axes = figure.subplots(2, len(bias), squeeze=False, sharex=True, sharey=True)
    first, second = edges
    held = np.any([np.isfinite(values) for values in bias.values()], axis=0)
    rows, columns = held.any(axis=1), held.any(axis=0)
    reach = max(_largest(bias), 1.0)
    norms = (Normalize(-reach, reach), Normalize(0, max(_largest(scatter), 1.0)))
    for row, (values, norm, colours, label) in enumerate(
        zip((bias, scatter), norms, (DIVERGING, COUNTS_MAP), ("bias", "scatter"), strict=True)
    ):
        for panel, (name, field) in zip(axes[row], values.items(), strict=True):
            shown = np.ma.masked_invalid(field.T)
            panel.pcolormesh(first, second, shown, cmap=colours, norm=norm, rasterized=True)
            if row == 0:
                panel.set_title(name)
        bar = figure.colorbar(ScalarMappable(norm, colours), ax=list(axes[row]), pad=0.01)
        bar.set_label(f"{label} of $v_r$ {KM_S}")
        axes[row, 0].set_ylabel(f"from the observer {MPC}")
    if held.any():
        axes[0, 0].set_xlim(first[:-1][rows].min(), first[1:][rows].max())
        axes[0, 0].set_ylim(second[:-1][columns].min(), second[1:][columns].max())
    for panel in axes[-1]:
        panel.set_xlabel(f"from the edge {MPC}")
    return figure


def _largest(fields: Mapping[str, Float[np.ndarray, "x y"]]) -> float:
    """Largest size that all but a few cells of maps stay below."""
    values = np.concatenate([np.abs(field[np.isfinite(field)]) for field in fields.values()])
    return float(np.percentile(values, 98)) if values.size else 1.0


def _contour(axes: Axes, histogram: Histogram2D, look: Mapping[str, object]) -> None:
    levels = histogram.levels()
    if not levels:
        return
    x = 0.5 * (histogram.x_edges[1:] + histogram.x_edges[:-1])
    y = 0.5 * (histogram.y_edges[1:] + histogram.y_edges[:-1])
    axes.contour(
        x,
        y,
        histogram.density.T,
        levels=levels,
        colors=str(look["color"]),
        linestyles=[look["linestyle"]],
        linewidths=1.1,
    )
