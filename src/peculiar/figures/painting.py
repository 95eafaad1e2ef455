"""Painted halos on paper: slices, counts in cells, the mass function (figures 8 and 9 of Kodi Ramanah et al. 2019)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, PowerNorm
from matplotlib.figure import Figure

from peculiar.figures.style import (
    COUNTS_MAP,
    DENSITY_MAP,
    TRUTH,
    legend_below,
    line_style,
    name_panel,
    styled,
)

Map = Float[np.ndarray, "x y"]
MASS = r"$M$ [$h^{-1}\,M_\odot$]"


@styled
def count_slices(
    density: Map, truth: Map, painted: Mapping[str, Map], *, size: float, depth: float
) -> Figure:
    """Draw the 2LPT density, the halos, and what each model paints, in one slice (figure 8).

    Parameters
    ----------
    density : (x, y)
        1 + delta, mean over the slice.
    truth : (x, y)
        Halos in each column of cells.
    painted : name -> (x, y)
    size, depth : float
        Side and depth of the slice [Mpc/h].
    """
    panels = {"N-body halos": truth, **painted}
    columns = min(4, len(panels) + 1)
    rows = -(-(len(panels) + 1) // columns)
    figure = Figure(figsize=(2.45 * columns + 1.7, 2.45 * rows + 0.5))
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    flat = axes.ravel()
    where = {"origin": "lower", "extent": (0, size, 0, size), "rasterized": True}
    ground = flat[0].imshow(
        np.clip(density, 0.1, None).T, cmap="Greys", norm=LogNorm(0.2, max(5.0, density.max())), **where
    )
    name_panel(flat[0], r"2LPT, $1+\delta$")
    norm = PowerNorm(0.5, 0, float(np.percentile(truth, 99.9)))
    shown = None
    for panel, (name, counts) in zip(flat[1:], panels.items(), strict=False):
        shown = panel.imshow(counts.T, cmap=DENSITY_MAP, norm=norm, **where)
        name_panel(panel, name)
    for panel in flat[len(panels) + 1 :]:
        panel.set_axis_off()
    for panel in axes[-1]:
        panel.set_xlabel(r"$x$ [$h^{-1}$ Mpc]")
    for panel in axes[:, 0]:
        panel.set_ylabel(r"$y$ [$h^{-1}$ Mpc]")
    if shown is not None:
        label = rf"halos in a column of {depth:g} $h^{{-1}}$ Mpc"
        figure.colorbar(shown, ax=axes, pad=0.01, shrink=0.8, extend="max").set_label(label)
    bar = figure.colorbar(ground, ax=axes, pad=0.02, shrink=0.8)
    bar.set_ticks([0.2, 0.5, 1, 2, 5], labels=["0.2", "0.5", "1", "2", "5"])
    bar.minorticks_off()
    bar.set_label(r"$1+\delta$")
    return figure


@styled
def conditional_counts(joints: Mapping[str, Map], *, largest: int) -> Figure:
    """Draw the distribution of painted counts given the true count of the cell, and of their difference (figure 9).

    Parameters
    ----------
    joints : name -> (true count, painted count)
        Cells.
    largest : int
        Largest count that is shown.
    """
    figure = Figure(figsize=(2.7 * (len(joints) + 1) + 0.9, 3.5))
    axes = figure.subplots(1, len(joints) + 1, squeeze=False)[0]
    edges = np.arange(largest + 2) - 0.5
    norm, shown = LogNorm(1e-3, 1), None
    for index, (panel, (name, joint)) in enumerate(zip(axes, joints.items(), strict=False)):
        cells = joint.sum(axis=1, keepdims=True)
        share = np.divide(joint, cells, out=np.zeros_like(joint), where=cells > 0)
        part = share[: largest + 1, : largest + 1]
        shown = panel.pcolormesh(
            edges, edges, np.ma.masked_less(part.T, 1e-3), norm=norm, cmap=COUNTS_MAP, rasterized=True
        )
        panel.plot([0, largest], [0, largest], color="#D55E00", lw=0.9, ls=(0, (4, 2)))
        panel.set(
            xlabel="N-body halos in the cell",
            xlim=(edges[0], edges[-1]),
            ylim=(edges[0], edges[-1]),
            aspect="equal",
        )
        panel.locator_params(integer=True, nbins=6)
        name_panel(panel, name)
        difference, chance = _differences(joint)
        axes[-1].plot(difference, chance, drawstyle="steps-mid", label=name, **line_style(index))
    axes[0].set_ylabel("painted halos in the cell")
    axes[-1].set(
        xlabel="painted - N-body halos",
        ylabel="share of the cells",
        yscale="log",
        xlim=(-10, 10),
        ylim=(1e-6, 1.5),
        box_aspect=1,
    )
    if shown is not None:
        bar = figure.colorbar(shown, ax=list(axes[:-1]), pad=0.01, shrink=0.8)
        bar.set_label("probability given the N-body count")
    legend_below(figure, *axes[-1].get_legend_handles_labels())
    return figure


@styled
def count_distributions(
    truth: Mapping[float, Float[np.ndarray, " count"]],
    painted: Mapping[str, Mapping[float, Float[np.ndarray, " count"]]],
) -> Figure:
    """Draw the probability of a count in cubes of several sizes, and its ratio to the halos' below.

    Parameters
    ----------
    truth : side of the cube [Mpc/h] -> (count,)
        Cubes that hold 0, 1, 2, ... halos.
    painted : name -> side -> (count,)
    """
    figure = Figure(figsize=(2.9 * len(truth) + 0.5, 4.6))
    axes = figure.subplots(2, len(truth), sharex="col", sharey="row", squeeze=False, height_ratios=(1.6, 1))
    for (upper, lower), (side, cubes) in zip(axes.T, truth.items(), strict=True):
        # Counts are put together by two, four, ... so that the width of a step is about a thirtieth of the range.
        step = max(1, int(np.max(np.nonzero(cubes)[0], initial=0)) // 30)
        middle, true = _coarse(cubes, step)
        upper.step(middle, true, where="mid", color=TRUTH, lw=2.0, label="N-body halos")
        for index, (name, several) in enumerate(painted.items()):
            _, own = _coarse(several[side], step)
            upper.step(middle, own, where="mid", label=name, **line_style(index))
            kept = true * cubes.sum() * step >= 20
            ratio = np.divide(own, true, out=np.full_like(own, np.nan), where=kept)
            lower.plot(middle, ratio, marker=".", ms=3, **line_style(index))
        lower.axhline(1, color="0.3", lw=0.7)
        lower.axhspan(0.9, 1.1, color="0.9", lw=0, zorder=0)
        last = float(middle[true > 0].max(initial=1)) * 1.1
        upper.set(yscale="log", xlim=(-0.5, last), ylim=(0.3 / cubes.sum() / step, 2))
        lower.set(xlabel="halos in a cube", ylim=(0.4, 1.6))
        name_panel(lower, rf"cubes of {side:g} $h^{{-1}}$ Mpc", low=True)
    axes[0, 0].set_ylabel("probability")
    axes[1, 0].set_ylabel("ratio to N-body")
    legend_below(figure, *axes[0, 0].get_legend_handles_labels())
    return figure


@styled
def counts_given_density(
    edges: Float[np.ndarray, " edge"], truth: Map, painted: Mapping[str, Map], *, least: int = 100
) -> Figure:
    """Draw mean and variance over mean of the counts in a cell against its 2LPT density.

    Parameters
    ----------
    edges : (edge,)
        Of 1 + delta, in even ratios.
    truth, painted : (density, count)
        Cells.
    least : int
        Cells that a bin must hold.
    """
    figure = Figure(figsize=(6.7, 4.9))
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(1.4, 1))
    middle = np.sqrt(edges[1:] * edges[:-1])
    kept = truth.sum(axis=1) >= least
    looks = [{"color": TRUTH, "linestyle": "-", "lw": 2.2}, *(line_style(i) for i in range(len(painted)))]
    for (name, joint), look in zip({"N-body halos": truth, **painted}.items(), looks, strict=True):
        mean, ratio = _moments(joint[kept])
        upper.plot(middle[kept], mean, label=name, **look)
        lower.plot(middle[kept], ratio, **look)
    lower.axhline(1, color="0.3", lw=0.7)
    upper.set(xscale="log", yscale="log", ylabel="mean count")
    lower.set(xlabel=r"$1+\delta$ of 2LPT in the cell", ylabel="variance / mean", ylim=(0.5, None))
    legend_below(figure, *upper.get_legend_handles_labels())
    return figure


@styled
def mass_functions(
    edges: Float[np.ndarray, " edge"],
    truth: Float[np.ndarray, "box bin"],
    painted: Mapping[str, Float[np.ndarray, "box bin"]],
    *,
    volume: float,
    least: int = 30,
) -> Figure:
    """Draw dn/dlnM of painted and simulated halos, and its ratio below.

    Parameters
    ----------
    edges : (edge,) [Msun/h]
    truth, painted : (box, bin)
        Halos.
    volume : float
        Of a box [(Mpc/h)^3].
    least : int
        Simulated halos of all boxes that a bin needs for a ratio.
    """
    figure = Figure(figsize=(5.6, 4.9))
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(1.4, 1))
    middle, width = np.sqrt(edges[1:] * edges[:-1]), np.diff(np.log(edges))
    true = truth.sum(axis=0)
    kept = true >= least
    upper.plot(
        middle, _positive(true / len(truth) / width / volume), color=TRUTH, lw=2.2, label="N-body halos"
    )
    for index, (name, several) in enumerate(painted.items()):
        look = line_style(index)
        own = several.sum(axis=0)
        upper.plot(middle, _positive(own / len(several) / width / volume), label=name, **look)
        lower.errorbar(
            middle[kept],
            own[kept] / true[kept],
            yerr=1 / np.sqrt(true[kept]),
            marker="o",
            ms=3,
            lw=1.0,
            color=str(look["color"]),
        )
    lower.axhline(1, color="0.3", lw=0.7)
    lower.axhspan(0.9, 1.1, color="0.9", lw=0, zorder=0)
    upper.set(xscale="log", yscale="log", ylabel=r"$dn/d\ln M$ [$h^3$ Mpc$^{-3}$]")
    lower.set(xlabel=MASS, ylabel="ratio to N-body", ylim=(0.6, 1.4))
    legend_below(figure, *upper.get_legend_handles_labels())
    return figure


def title_masses(panel: Axes, label: str) -> None:
    """Write a range of masses, as "12-12.5", above a panel."""
    low, high = label.split("-")
    panel.set_title(rf"$10^{{{low}}}$ to $10^{{{high}}}\,h^{{-1}}M_\odot$")


def _differences(joint: Map) -> tuple[np.ndarray, np.ndarray]:
    """Painted less true count, and the share of cells with it."""
    n = len(joint)
    offset = np.arange(n)[None, :] - np.arange(n)[:, None]
    share = np.bincount((offset + n - 1).ravel(), weights=joint.ravel(), minlength=2 * n - 1) / joint.sum()
    return np.arange(1 - n, n), share


def _coarse(cubes: np.ndarray, step: int) -> tuple[np.ndarray, np.ndarray]:
    """Middles of steps of several counts, and the probability of one count in them."""
    padded = np.pad(cubes, (0, -len(cubes) % step)).reshape(-1, step)
    return np.arange(len(padded)) * step + 0.5 * (step - 1), padded.sum(axis=1) / cubes.sum() / step


def _moments(joint: Map) -> tuple[np.ndarray, np.ndarray]:
    count = np.arange(joint.shape[1])
    cells = joint.sum(axis=1)
    mean = joint @ count / cells
    variance = joint @ count**2 / cells - mean**2
    return _positive(mean), np.divide(variance, mean, out=np.full_like(mean, np.nan), where=mean > 0)


def _positive(values: np.ndarray) -> np.ndarray:
    """Values that a logarithmic axis can show; NaN elsewhere."""
    return np.where(values > 0, values, np.nan)
