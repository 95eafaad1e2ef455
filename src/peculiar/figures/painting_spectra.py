"""Powers, bispectra and multipoles of painted halos (figures 10, 11, 13 and 14 of Kodi Ramanah et al. 2019)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from peculiar.figures.painting import title_masses
from peculiar.figures.style import LABELS, TRUTH, legend_below, line_style, styled

Boxes = Float[np.ndarray, "box k"]
POWER = r"$P$ [$h^{-3}$ Mpc$^3$]"
GOAL = "0.9"


@dataclass(frozen=True, eq=False)
class PaintedPower:
    """Powers of one model against those of the halos, (box, k) each [(Mpc/h)^3].

    Attributes
    ----------
    power : of draws, mean over draws
    mean_power, mean_cross : of the mean field, and with the halos
    true_power : of the halos
    """

    power: Boxes
    mean_power: Boxes
    mean_cross: Boxes
    true_power: Boxes

    @property
    def ratio(self) -> Float[np.ndarray, " k"]:
        """P / P_true of draws, boxes averaged first."""
        return self.power.mean(axis=0) / self.true_power.mean(axis=0)

    @property
    def spread(self) -> Float[np.ndarray, " k"]:
        """Standard deviation of P / P_true between boxes; zero for one box."""
        return (self.power / self.true_power).std(axis=0, ddof=min(1, len(self.power) - 1))

    @property
    def correlation(self) -> Float[np.ndarray, " k"]:
        """r(k) of the mean field, boxes averaged first."""
        power, true = self.mean_power.mean(axis=0), self.true_power.mean(axis=0)
        return self.mean_cross.mean(axis=0) / np.sqrt(power * true)


@styled
def halo_powers(k: Float[np.ndarray, " k"], models: Mapping[str, PaintedPower]) -> Figure:
    """Draw power, T(k), r(k) and stochasticity of all halos (figure 10).

    Parameters
    ----------
    k : (k,) [h/Mpc]
    models : name -> PaintedPower
    """
    figure = Figure(figsize=(8.9, 5.6))
    (power, transfer), (correlation, noise) = figure.subplots(2, 2, sharex=True)
    true = next(iter(models.values())).true_power.mean(axis=0)
    power.plot(k, true, color=TRUTH, lw=2.2, label="N-body halos")
    for index, (name, model) in enumerate(models.items()):
        look = line_style(index)
        power.plot(k, model.power.mean(axis=0), label=name, **look)
        _band(transfer, k, np.sqrt(model.ratio), 0.5 * model.spread, look)
        correlation.plot(k, model.correlation, **look)
        noise.plot(k, true * (1 - model.correlation**2), **look)
    transfer.axhline(1, color=TRUTH, lw=0.8)
    transfer.axhspan(np.sqrt(0.9), np.sqrt(1.1), color=GOAL, lw=0, zorder=0)
    power.set(yscale="log", ylabel=POWER, xlim=(0, None))
    transfer.set(ylim=(0.4, 1.6), ylabel=r"draws: $T(k)=\sqrt{P/P_{\rm true}}$")
    correlation.set(ylim=(None, 1.02), ylabel=r"mean field: $r(k)$", xlabel=LABELS["k"])
    noise.set(
        yscale="log", ylabel=r"mean field: $P_{\rm true}(1-r^2)$ [$h^{-3}$ Mpc$^3$]", xlabel=LABELS["k"]
    )
    legend_below(figure, *power.get_legend_handles_labels())
    return figure


@styled
def powers_by_mass(k: Float[np.ndarray, " k"], bins: Mapping[str, Mapping[str, PaintedPower]]) -> Figure:
    """Draw P / P_true of draws and r(k) of mean fields, one column a range of masses (figure 13).

    Parameters
    ----------
    k : (k,) [h/Mpc]
    bins : range as "12-12.5" -> name -> PaintedPower
    """
    figure = Figure(figsize=(2.25 * len(bins) + 0.5, 4.6))
    axes = figure.subplots(2, len(bins), sharex=True, sharey="row", squeeze=False)
    names = list(dict.fromkeys(name for models in bins.values() for name in models))
    for (upper, lower), (label, models) in zip(axes.T, bins.items(), strict=True):
        for name, model in models.items():
            look = line_style(names.index(name))
            _band(upper, k, model.ratio, model.spread, look, label=name)
            lower.plot(k, model.correlation, **look)
        upper.axhline(1, color=TRUTH, lw=0.8)
        upper.axhspan(0.9, 1.1, color=GOAL, lw=0, zorder=0)
        upper.set(ylim=(0.3, 2.2), xlim=(0, None))
        lower.set(ylim=(0, 1.02), xlabel=LABELS["k"])
        title_masses(upper, label)
    axes[0, 0].set_ylabel(r"draws: $P/P_{\rm true}$")
    axes[1, 0].set_ylabel(r"mean field: $r(k)$")
    handles = {label: handle for panel in axes[0] for handle, label in zip(*_legend(panel), strict=True)}
    legend_below(figure, list(handles.values()), list(handles))
    return figure


@styled
def bispectra(
    angles: Float[np.ndarray, " angle"],
    truth: Mapping[str, Float[np.ndarray, "box angle"]],
    models: Mapping[str, Mapping[str, Float[np.ndarray, "box angle"]]],
    *,
    titles: Mapping[str, str],
) -> Figure:
    """Draw B(theta) of each configuration and its ratio to the halos' below (figure 11).

    Parameters
    ----------
    angles : (angle,) [rad]
    truth : configuration -> (box, angle) [(Mpc/h)^6]
    models : name -> configuration -> (box, angle)
    titles : configuration -> str
        What stands in the panel.
    """
    figure = Figure(figsize=(4.2 * len(truth) + 0.5, 4.8))
    axes = figure.subplots(2, len(truth), sharex=True, squeeze=False, height_ratios=(1.4, 1))
    part = angles / np.pi
    for (upper, lower), (name, true) in zip(axes.T, truth.items(), strict=True):
        middle = true.mean(axis=0)
        upper.plot(part, middle, color=TRUTH, lw=2.2, label="N-body halos")
        for index, (model, several) in enumerate(models.items()):
            look = line_style(index)
            own = several[name]
            spread = (own / true).std(axis=0, ddof=min(1, len(own) - 1))
            upper.plot(part, own.mean(axis=0), label=model, **look)
            _band(lower, part, own.mean(axis=0) / middle, spread, look)
        upper.set(yscale="log", ylabel=r"$B$ [$h^{-6}$ Mpc$^6$]")
        lower.axhline(1, color=TRUTH, lw=0.8)
        lower.axhspan(0.9, 1.1, color=GOAL, lw=0, zorder=0)
        lower.set(ylim=(0, 2.2), xlabel=r"$\theta/\pi$", ylabel=r"$B/B_{\rm true}$", xlim=(0, 1))
        upper.set_title(titles[name])
    legend_below(figure, *axes[0, 0].get_legend_handles_labels())
    return figure


@styled
def bispectra_by_mass(
    angles: Float[np.ndarray, " angle"],
    bins: Mapping[str, Mapping[str, Mapping[str, Float[np.ndarray, "box angle"]]]],
    *,
    titles: Mapping[str, str],
) -> Figure:
    """Draw B / B_true of draws, a row a configuration, a column a range of masses (figure 14).

    Parameters
    ----------
    angles : (angle,) [rad]
    bins : range -> "truth" or name -> configuration -> (box, angle)
    titles : configuration -> str
    """
    figure = Figure(figsize=(2.25 * len(bins) + 0.5, 2.1 * len(titles) + 0.5))
    axes = figure.subplots(len(titles), len(bins), sharex=True, sharey=True, squeeze=False)
    names = list(dict.fromkeys(name for models in bins.values() for name in models if name != "truth"))
    for column, (label, models) in zip(axes.T, bins.items(), strict=True):
        for panel, configuration in zip(column, titles, strict=True):
            true = models["truth"][configuration].mean(axis=0)
            for name, several in models.items():
                if name != "truth":
                    ratio = several[configuration].mean(axis=0) / true
                    panel.plot(angles / np.pi, ratio, label=name, **line_style(names.index(name)))
            panel.axhline(1, color=TRUTH, lw=0.8)
            panel.axhspan(0.9, 1.1, color=GOAL, lw=0, zorder=0)
            panel.set(ylim=(0, 2.2), xlim=(0, 1))
        title_masses(column[0], label)
        column[-1].set_xlabel(r"$\theta/\pi$")
    for panel, title in zip(axes[:, 0], titles.values(), strict=True):
        panel.set_ylabel(r"$B/B_{\rm true}$" + f"\n{title}")
    handles = {label: handle for panel in axes[0] for handle, label in zip(*_legend(panel), strict=True)}
    legend_below(figure, list(handles.values()), list(handles))
    return figure


@styled
def catalogue_powers(
    k: Float[np.ndarray, " k"],
    models: Mapping[str, Mapping[str, tuple[Boxes, Boxes]]],
    *,
    scales: Mapping[str, str],
) -> Figure:
    """Draw power in real space and multipoles in redshift space, and their ratio to the halos' below.

    Parameters
    ----------
    k : (k,) [h/Mpc]
    models : name -> quantity -> (painted, true)
        Quantities are titles of panels, (box, k) [(Mpc/h)^3] each. Every model has halos of its own range of masses
        beside it.
    scales : quantity -> quantity
        In terms of whose true power differences are drawn.
    """
    quantities = list(next(iter(models.values())))
    figure = Figure(figsize=(2.45 * len(quantities) + 0.5, 4.6))
    axes = figure.subplots(2, len(quantities), sharex=True, squeeze=False, height_ratios=(1.4, 1))
    for (upper, lower), quantity in zip(axes.T, quantities, strict=True):
        for index, (name, found) in enumerate(models.items()):
            painted, true = found[quantity]
            look, middle = line_style(index), true.mean(axis=0)
            upper.plot(k, k * middle, color=TRUTH, lw=2.2 if index == 0 else 1.0, label="N-body halos")
            upper.plot(k, k * painted.mean(axis=0), label=name, **look)
            error = true.std(axis=0, ddof=1) / np.sqrt(len(true)) if len(true) > 1 else np.zeros(len(k))
            # Higher orders pass through zero: their differences are given in terms of the monopole.
            scale = found[scales[quantity]][1].mean(axis=0)
            _band(lower, k, (painted - true).mean(axis=0) / scale, error / scale, look)
        upper.axhline(0, color="0.3", lw=0.7)
        lower.axhline(0, color=TRUTH, lw=0.8)
        lower.axhspan(-0.1, 0.1, color=GOAL, lw=0, zorder=0)
        lower.set(ylim=(-0.5, 0.5), xlabel=LABELS["k"])
        upper.set_title(quantity)
    axes[0, 0].set_ylabel(r"$k\,P_\ell$ [$h^{-2}$ Mpc$^2$]")
    axes[1, 0].set_ylabel(r"$\Delta P_\ell / P_{0,\,\rm true}$")
    handles = {label: handle for handle, label in zip(*_legend(axes[0, 0]), strict=True)}
    legend_below(figure, list(handles.values()), list(handles))
    return figure


def _band(
    panel: Axes,
    x: np.ndarray,
    middle: np.ndarray,
    spread: np.ndarray,
    look: Mapping[str, object],
    *,
    label: str | None = None,
) -> None:
    panel.plot(x, middle, label=label, **look)
    panel.fill_between(x, middle - spread, middle + spread, color=str(look["color"]), alpha=0.18, lw=0)


def _legend(panel: Axes) -> tuple[list[Artist], list[str]]:
    handles, labels = panel.get_legend_handles_labels()
    return list(handles), list(labels)
