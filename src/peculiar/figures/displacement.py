"""Figures of displacement emulators: figures 2, 3 and 5 of He et al. 2019, remade."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from peculiar.figures.style import LABELS, TRUTH, legend_below, line_style, name_panel, styled

KINDS = ("displacement", "density")
UNITS = {
    "displacement": r"$P_\Psi$ [$h^{-5}$ Mpc$^5$]",
    "density": r"$P_\delta$ [$h^{-3}$ Mpc$^3$]",
}
ERROR_MAP = "viridis"


@dataclass(frozen=True, eq=False)
class Spectra:
    """Powers of one method against the truth, one row a pair.

    Parameters
    ----------
    k : (k,) [h/Mpc]
    power, true_power, cross : (pair, k)
    """

    k: Float[np.ndarray, " k"]
    power: Float[np.ndarray, "pair k"]
    true_power: Float[np.ndarray, "pair k"]
    cross: Float[np.ndarray, "pair k"]


@styled
def particle_sheets(
    truth: Float[np.ndarray, "3 x y layer"],
    methods: Mapping[str, Float[np.ndarray, "3 x y layer"]],
    *,
    size: float,
) -> Figure:
    """Draw where the particles of a sheet of the lattice go, coloured by how far a method puts them wrong (fig. 2).

    Parameters
    ----------
    truth : (3, x, y, layer) [Mpc/h]
        Displacement of the particles of a few lattice layers.
    methods : name -> (3, x, y, layer) [Mpc/h]
    size : float
        Side of the box [Mpc/h].
    """
    panels = 1 + len(methods)
    figure = Figure(figsize=(3.0 * panels, 3.5))
    all_axes = figure.subplots(1, panels, sharex=True, sharey=True)
    places = _places(truth, size)
    all_axes[0].scatter(*places, s=1.2, color=TRUTH, linewidths=0)
    name_panel(all_axes[0], "particle mesh (truth)")
    shown = None
    for axes, (name, displacement) in zip(all_axes[1:], methods.items(), strict=True):
        error = np.sqrt(((displacement - truth) ** 2).sum(axis=0)).ravel()
        shown = axes.scatter(
            *_places(displacement, size),
            s=1.2,
            c=np.maximum(error, 0.05),
            norm=LogNorm(0.05, 8.0),
            cmap=ERROR_MAP,
            linewidths=0,
        )
        name_panel(axes, name)
    for axes in all_axes:
        axes.set(xlim=(0, size), ylim=(0, size), aspect="equal", xlabel=r"$x$ [$h^{-1}$ Mpc]")
    all_axes[0].set_ylabel(r"$y$ [$h^{-1}$ Mpc]")
    if shown is not None:
        figure.colorbar(shown, ax=all_axes, label=r"error of the displacement [$h^{-1}$ Mpc]", shrink=0.85)
    return figure


@styled
def displacement_spectra(methods: Mapping[str, Mapping[str, Spectra]]) -> Figure:
    """Draw power, T(k) = sqrt(P / P_true) and 1 - r^2 of displacement and density (figs. 3a and 5).

    Parameters
    ----------
    methods : name -> {"displacement", "density"} -> Spectra
        Lines are means over pairs; bands hold the standard deviation of T between pairs.
    """
    figure = Figure(figsize=(8.6, 7.4))
    grid = figure.subplots(3, 2, sharex=True, height_ratios=(1.3, 1, 1))
    for column, kind in enumerate(KINDS):
        power, transfer, noise = grid[:, column]
        first = next(iter(methods.values()))[kind]
        power.loglog(
            first.k, first.true_power.mean(axis=0), color=TRUTH, lw=2.2, label="particle mesh (truth)"
        )
        transfer.axhline(1.0, color=TRUTH, lw=0.8)
        transfer.axhspan(0.99, 1.01, color="0.85", lw=0, label="1 %")
        for index, (name, spectra) in enumerate(methods.items()):
            one, look = spectra[kind], line_style(index)
            mean, true, cross = (a.mean(axis=0) for a in (one.power, one.true_power, one.cross))
            power.loglog(one.k, mean, label=name, **look)
            rows = np.sqrt(one.power / one.true_power)
            middle = np.sqrt(mean / true)
            transfer.semilogx(one.k, middle, **look)
            if len(rows) > 1:
                spread = rows.std(axis=0, ddof=1)
                transfer.fill_between(
                    one.k, middle - spread, middle + spread, color=str(look["color"]), alpha=0.18, lw=0
                )
            noise.loglog(one.k, np.maximum(1 - cross**2 / (mean * true), 1e-6), **look)
        power.set(ylabel=UNITS[kind], title=kind.capitalize())
        transfer.set(ylim=(0.6, 1.25), ylabel=r"$T(k)=\sqrt{P/P_{\rm true}}$")
        noise.set(ylim=(1e-5, 1.0), ylabel=r"$1-r^2$", xlabel=LABELS["k"])
    handles, labels = grid[0, 0].get_legend_handles_labels()
    bands, names = grid[1, 0].get_legend_handles_labels()
    legend_below(figure, [*handles, *bands], [*labels, *names])
    return figure


@styled
def three_point_ratios(
    r: Float[np.ndarray, " bin"],
    truth: Float[np.ndarray, "pair order bin bin"],
    methods: Mapping[str, Float[np.ndarray, "pair order bin bin"]],
    *,
    fixed: int = 3,
    orders: tuple[int, ...] = (0, 1, 2, 3),
) -> Figure:
    """Draw zeta_l(r1, r2) over the true one, r2 held fixed, its mean over pairs (fig. 3b).

    Parameters
    ----------
    r : (bin,) [Mpc/h]
        Middle of the bins.
    truth, methods : (pair, order, bin, bin)
    fixed : int
        Bin of r2.
    orders : tuple of int
        l of the panels.
    """
    figure = Figure(figsize=(3.0 * len(orders), 3.6))
    all_axes = figure.subplots(1, len(orders), sharey=True, sharex=True)
    for order, axes in zip(orders, all_axes, strict=True):
        true = truth[:, order, :, fixed].mean(axis=0)
        axes.axhline(1.0, color=TRUTH, lw=0.8)
        for index, (name, rows) in enumerate(methods.items()):
            ratio = rows[:, order, :, fixed] / true
            axes.errorbar(
                r + 0.5 * (index - len(methods) / 2),
                ratio.mean(axis=0),
                yerr=(rows - truth)[:, order, :, fixed].std(axis=0, ddof=min(1, len(rows) - 1))
                / np.abs(true),
                label=name,
                ms=3,
                marker="o",
                lw=0.9,
                color=str(line_style(index)["color"]),
            )
        axes.set(ylim=(0, 2), xlabel=r"$r_1$ [$h^{-1}$ Mpc]")
        name_panel(axes, rf"$\ell={order}$, $r_2={r[fixed]:g}\,h^{{-1}}$ Mpc")
    all_axes[0].set_ylabel(r"$\zeta_\ell / \zeta_{\ell,\,{\rm true}}$")
    legend_below(figure, *all_axes[0].get_legend_handles_labels())
    return figure


def _places(displacement: np.ndarray, size: float) -> tuple[np.ndarray, np.ndarray]:
    n = displacement.shape[1]
    q = (np.arange(n) + 0.5) * size / n
    x = (q[:, None, None] + displacement[0]) % size
    y = (q[None, :, None] + displacement[1]) % size
    return x.ravel(), y.ravel()
