"""Power spectra, multipoles and two-point correlations against the truth (figures 10 to 14 of Xiao et al. 2024)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from peculiar.core.errors import InputError
from peculiar.figures.style import (
    LABELS,
    POWER_LABELS,
    REDSHIFT_SPACE,
    TRUTH,
    legend_below,
    line_style,
    name_panel,
    styled,
)

Boxes = Float[np.ndarray, "box k"]
BAND = "bands: standard deviation between boxes"


@styled
def powers(
    k: Float[np.ndarray, " k"],
    truth: Mapping[str, Boxes],
    predictions: Mapping[str, Mapping[str, Boxes]],
    *,
    tolerance: Mapping[str, tuple[float, float, float]] | None = None,
    ratio_limit: float = 0.35,
) -> Figure:
    """Auto power of each field, and R = P/P_true - 1 below it (figures 10 to 12 of Xiao et al. 2024).

    Parameters
    ----------
    k : (k,) [h/Mpc]
    truth : field name -> (box, k)
        Power of the true fields, one row a box.
    predictions : reconstructor name -> field name -> (box, k)
        A reconstructor may lack a field.
    tolerance : field name -> (k_low, k_high, R)
        Published bounds on |R|, drawn as grey boxes.
    ratio_limit : float
        Half height of the R panels.

    Returns
    -------
    Figure
        Bands are the standard deviation between boxes: eq. 11 with boxes that do not overlap.
    """
    _require_rows(k, truth)
    figure = Figure(figsize=(max(2.6 * len(truth) + 0.4, 5.6), 4.4))
    axes = figure.subplots(2, len(truth), sharex=True, squeeze=False, height_ratios=(2, 1))
    for column, (name, true_power) in enumerate(truth.items()):
        top, bottom = axes[:, column]
        _band(top, k, true_power, {"color": TRUTH, "linestyle": "-"}, "truth")
        for index, (model, fields) in enumerate(predictions.items()):
            if name not in fields:
                continue
            style = line_style(index)
            _band(top, k, fields[name], style, model)
            _band(bottom, k, fields[name] / true_power - 1, style, None)
        if tolerance and name in tolerance:
            low, high, bound = tolerance[name]
            bottom.fill_between([low, high], -bound, bound, color="0.85", lw=0, zorder=0)
        mean = true_power.mean(axis=0)
        top.set(xscale="log", yscale="log", ylabel=POWER_LABELS.get(name, name))
        # Smoothed reconstructions fall by ten decades: the truth sets the range.
        top.set_ylim(float(mean.min()) / 10, float(mean.max()) * 3)
        bottom.axhline(0, color="0.3", lw=0.7)
        bottom.set(ylim=(-ratio_limit, ratio_limit), xlabel=LABELS["k"])
        if column == 0:
            bottom.set_ylabel(r"$R=P/P_{\rm true}-1$")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    if tolerance:
        handles.append(Patch(color="0.85"))
        labels.append(r"published bound on $|R|$")
    legend_below(figure, handles, labels, title=_band_title(truth))
    return figure


@styled
def coherence(
    k: Float[np.ndarray, " k"],
    transfer: Mapping[str, Mapping[str, Boxes]],
    correlation: Mapping[str, Mapping[str, Boxes]],
    *,
    fields: Sequence[str] = ("density", "velocity", "momentum"),
) -> Figure:
    """Correlation r(k) = P_cross / sqrt(P P_true), and T(k) = sqrt(P / P_true) below it.

    Parameters
    ----------
    k : (k,) [h/Mpc]
    transfer, correlation : reconstructor name -> field name -> (box, k)
    fields : sequence of str
        One column each.
    """
    figure = Figure(figsize=(2.8 * len(fields) + 0.4, 4.0))
    axes = figure.subplots(2, len(fields), sharex=True, squeeze=False)
    lowest = 1.0
    for column, name in enumerate(fields):
        top, bottom = axes[:, column]
        for index, model in enumerate(correlation):
            if name in correlation[model]:
                _band(top, k, correlation[model][name], line_style(index), model)
                _band(bottom, k, transfer[model][name], line_style(index), None)
                lowest = min(lowest, float(np.nanmin(np.mean(correlation[model][name], axis=0))))
        for panel in (top, bottom):
            panel.axhline(1, color="0.3", lw=0.7)
            panel.set_xscale("log")
        bottom.set(xlabel=LABELS["k"], ylim=(0.4, 1.6))
        name_panel(top, name, low=True)
    for panel in axes[0]:
        panel.set_ylim(max(lowest - 0.05, -0.1), 1.04)
    axes[0, 0].set_ylabel(r"$r(k)$")
    axes[1, 0].set_ylabel(r"$T(k)=\sqrt{P/P_{\rm true}}$")
    title = _band_title(next(iter(correlation.values())))
    legend_below(figure, *axes[0, 0].get_legend_handles_labels(), title=title)
    return figure


@styled
def multipoles(
    k: Float[np.ndarray, " k"],
    truth: Mapping[int, Boxes],
    predictions: Mapping[str, Mapping[int, Boxes]],
    *,
    redshift_space: Mapping[int, Boxes] | None = None,
) -> Figure:
    """P_2 and P_4 of the density, true and reconstructed, and of the tracers in redshift space (figure 14).

    Parameters
    ----------
    k : (k,) [h/Mpc]
    truth, redshift_space : multipole -> (box, k) [(Mpc/h)^3]
    predictions : reconstructor name -> multipole -> (box, k)
    """
    _require_rows(k, truth)
    figure = Figure(figsize=(2.6 * len(truth) + 0.4, 3.6))
    axes = figure.subplots(1, len(truth), squeeze=False)[0]
    for panel, (order, true_power) in zip(axes, truth.items(), strict=True):
        weight = k
        if redshift_space:
            style = {"color": REDSHIFT_SPACE, "linestyle": (0, (5, 2))}
            _band(panel, k, weight * redshift_space[order], style, "tracers, redshift space")
        _band(panel, k, weight * true_power, {"color": TRUTH, "linestyle": "-"}, "truth, real space")
        for index, (model, orders) in enumerate(predictions.items()):
            _band(panel, k, weight * orders[order], line_style(index), model)
        panel.axhline(0, color="0.3", lw=0.7)
        panel.set(xscale="log", xlabel=LABELS["k"], ylabel=rf"$k\,P_{order}(k)$ [$h^{{-2}}$ Mpc$^2$]")
    legend_below(figure, *axes[0].get_legend_handles_labels(), title=_band_title(truth))
    return figure


@styled
def correlation_contours(
    separation: Float[np.ndarray, " r"],
    panels: Mapping[str, Mapping[str, Float[np.ndarray, "r r"]]],
    *,
    levels: Sequence[float] = (0.02, 0.06, 0.12),
) -> Figure:
    """Two-point correlation xi(r_perp, r_par): real space, redshift space and moved back (figure 13).

    Parameters
    ----------
    separation : (r,) [Mpc/h]
        Bin centres, the same across and along the line of sight.
    panels : panel name -> {"real", "redshift", "moved back"} -> (r_perp, r_par)
        Mean over boxes; drawn in all four quadrants.
    levels : sequence of float
        Contours, increasing.
    """
    figure = Figure(figsize=(3.3 * len(panels) + 0.5, 4.4))
    axes = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    mirrored = np.concatenate([-separation[separation > 0][::-1], separation])
    looks = {
        "redshift": {"colors": REDSHIFT_SPACE, "linestyles": "dotted"},
        "moved back": {"colors": "#0072B2", "linestyles": "dashed"},
    }
    for panel, (name, maps) in zip(axes, panels.items(), strict=True):
        quadrants = {key: _mirror(value, skip=int(separation[0] == 0)) for key, value in maps.items()}
        shades = ["0.88", "0.74", "0.58", "0.45", "0.35"][: len(levels)]
        top = max(float(np.nanmax(quadrants["real"])), levels[-1]) + 1
        panel.contourf(mirrored, mirrored, quadrants["real"].T, levels=[*levels, top], colors=shades)
        for key, look in looks.items():
            if key in quadrants:
                panel.contour(mirrored, mirrored, quadrants[key].T, levels=levels, linewidths=1.3, **look)
        panel.set(aspect="equal", xlabel=r"$r_\perp$ [$h^{-1}$ Mpc]")
        name_panel(panel, name)
    axes[0].set_ylabel(r"$r_\parallel$ [$h^{-1}$ Mpc]")
    handles = [
        Patch(color="0.74"),
        Line2D([], [], color="#0072B2", ls="dashed"),
        Line2D([], [], color=REDSHIFT_SPACE, ls="dotted"),
    ]
    values = ", ".join(f"{level:g}" for level in levels)
    labels = ["real space", "moved back with the reconstruction", "redshift space"]
    legend_below(figure, handles, labels, title=rf"$\xi(r_\perp, r_\parallel)$ of the tracers at {values}")
    return figure


def _band(
    axes: Axes, k: np.ndarray, rows: np.ndarray, style: Mapping[str, object], label: str | None
) -> None:
    """Draw the mean over boxes and, with two boxes or more, their standard deviation."""
    rows = np.atleast_2d(rows)
    mean = rows.mean(axis=0)
    axes.plot(k, mean, label=label, **style)
    if len(rows) > 1:
        scatter = rows.std(axis=0, ddof=1)
        axes.fill_between(k, mean - scatter, mean + scatter, color=style["color"], alpha=0.18, lw=0)


def _mirror(quadrant: np.ndarray, *, skip: int) -> np.ndarray:
    """Reflect the first quadrant into all four; `skip` rows lie on the axes and have no mirror image."""
    half = np.concatenate([quadrant[skip:][::-1], quadrant], axis=0)
    return np.concatenate([half[:, skip:][:, ::-1], half], axis=1)


def _band_title(rows: Mapping[str, np.ndarray] | Mapping[int, np.ndarray]) -> str:
    """Say what the bands are; nothing where one box gives none."""
    boxes = len(np.atleast_2d(next(iter(rows.values()))))
    return f"{BAND} ({boxes} boxes)" if boxes > 1 else "one box"


def _require_rows(k: np.ndarray, truth: Mapping[str, np.ndarray] | Mapping[int, np.ndarray]) -> None:
    for name, rows in truth.items():
        if np.atleast_2d(rows).shape[1] != len(k):
            raise InputError(f"powers must have one column per k ({len(k)}), got {np.shape(rows)} for {name}")
