"""Slabs of a survey: arrows of the flow over its potential or convergence (figure 15 of Wang et al. 2024)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from peculiar.core.errors import InputError
from peculiar.figures.slices import Slab, draw_arrows
from peculiar.figures.style import DIVERGING, SPEED_MAP, legend_below, name_panel, styled

Ground = Literal["potential", "convergence"]
GROUNDS = {
    "potential": r"gravitational potential $\phi\,/\,\sigma_\phi$",
    "convergence": r"convergence $-\nabla\cdot v\,/\,aHf$, smoothed, over its rms",
}
LEVELS = {"potential": np.linspace(-2.0, 2.0, 17), "convergence": np.linspace(-2.5, 2.5, 11)}
FAINT = 0.45
"""Opacity of the contours: the arrows are to be seen."""
BLIND = "#F4F1EA"
MARK = "#0072B2"


@dataclass(frozen=True)
class Mark:
    """A named place in a slab.

    Attributes
    ----------
    name : str
    place : (float, float) [Mpc/h]
        Along the slab's two long axes.
    """

    name: str
    place: tuple[float, float]


@dataclass(frozen=True, eq=False)
class FlowSlab:
    """A slab of a survey with what is marked on it.

    Attributes
    ----------
    slab : Slab
        With "velocity" [km/s] and the ground, "potential" or "convergence", in units of its rms.
    coverage : (x, y)
        Share of the slab's depth that the survey observes.
    title : str
    marks : sequence of Mark
        Superclusters.
    points : (n, 2) [Mpc/h]
        Strongest points of convergence.
    """

    slab: Slab
    coverage: Float[np.ndarray, "x y"]
    title: str
    marks: Sequence[Mark] = ()
    points: Float[np.ndarray, "n 2"] | None = None


@styled
def flow_slabs(
    slabs: Sequence[FlowSlab],
    *,
    ground: Ground = "potential",
    observer: tuple[float, float] | None = None,
    arrows: int = 27,
) -> Figure:
    """Draw the mean velocity in slabs over contours of the potential or of the convergence, two panels a row.

    Parameters
    ----------
    slabs : sequence of FlowSlab
        Alike in their axes and size.
    ground : "potential" or "convergence"
        What the contours show.
    observer : (float, float) [Mpc/h], optional
        Marked in each panel: the point of the slabs' plane above or below the observer.
    arrows : int
        About how many arrows along a side.

    Raises
    ------
    InputError
        If there are no slabs, or they observe nothing.
    """
    kept = [np.asarray(item.coverage) > 0.5 for item in slabs]
    if not any(keep.any() for keep in kept):
        raise InputError("slabs must observe something, got none that does: take other heights")
    rows = -(-len(slabs) // 2)
    limits = _limits(slabs, kept, observer)
    ratio = (limits[3] - limits[2]) / (limits[1] - limits[0])
    figure = Figure(figsize=(11.2, 4.6 * ratio * rows + 0.9))
    panels = figure.subplots(rows, 2, squeeze=False, sharex=True, sharey=True).ravel()
    speeds = [np.hypot(*item.slab.plane("velocity"))[keep] for item, keep in zip(slabs, kept, strict=True)]
    norm = Normalize(0, float(np.percentile(np.concatenate(speeds), 99)))
    colours = BoundaryNorm(LEVELS[ground], 256, extend="both")
    for panel, item, keep in zip(panels, slabs, kept, strict=False):
        _ground(panel, item, ground, keep=keep, norm=colours)
        draw_arrows(panel, item.slab, "velocity", count=arrows, norm=norm, keep=keep)
        _marks(panel, item)
        if observer is not None:
            panel.plot(*observer, marker="*", ms=12, mfc="#F0E442", mec="black", zorder=6, clip_on=True)
        panel.set(xlim=limits[:2], ylim=limits[2:], aspect="equal")
        name_panel(panel, item.title)
    for panel in panels[len(slabs) :]:
        panel.remove()
    x, y = slabs[0].slab.axes
    for index, panel in enumerate(panels[: len(slabs)]):
        if index + 2 >= len(slabs):
            panel.set_xlabel(rf"${x}$ [$h^{{-1}}$ Mpc]")
            panel.tick_params(labelbottom=True)
        if index % 2 == 0:
            panel.set_ylabel(rf"${y}$ [$h^{{-1}}$ Mpc]")
    shown = list(panels[: len(slabs)])
    bar = figure.colorbar(ScalarMappable(norm, SPEED_MAP), ax=shown, shrink=0.9, aspect=32, pad=0.01)
    bar.set_label(r"mean velocity in the plane [km s$^{-1}$]")
    shades = ScalarMappable(colours, _map(ground))
    bar = figure.colorbar(shades, ax=shown, shrink=0.9, aspect=32, pad=0.01, alpha=FAINT)
    bar.set_label(GROUNDS[ground])
    _legend(figure, slabs, observer=observer is not None)
    return figure


def _map(ground: Ground) -> str:
    """Wells and convergence are the darker, orange end of the map."""
    return DIVERGING if ground == "convergence" else f"{DIVERGING.removesuffix('_r')}"


def _ground(
    axes: Axes, item: FlowSlab, ground: Ground, *, keep: Float[np.ndarray, "x y"], norm: BoundaryNorm
) -> None:
    """Draw filled and grey contours where the survey observes, and its edge."""
    slab = item.slab
    values = np.ma.masked_where(~keep, slab.map(ground)[0])
    n = len(keep)
    x, y = (start + (np.arange(n) + 0.5) * slab.size / n for start in slab.origin)
    axes.set_facecolor(BLIND)
    levels = LEVELS[ground]
    if keep.any():
        axes.contourf(x, y, values.T, levels, cmap=_map(ground), norm=norm, extend="both", alpha=FAINT)
        axes.contour(x, y, values.T, levels, colors="0.45", linewidths=0.45, linestyles="solid")
        axes.contour(x, y, np.asarray(item.coverage, dtype=float).T, [0.5], colors="black", linewidths=1.1)


def _marks(axes: Axes, item: FlowSlab) -> None:
    if item.points is not None and len(item.points):
        axes.plot(*item.points.T, ls="", marker="x", ms=6, mew=1.6, color="black", zorder=5)
    places = np.array([mark.place for mark in item.marks]).reshape(-1, 2)
    apart = np.linalg.norm(places[:, None] - places[None], axis=-1) + np.diag(np.full(len(places), np.inf))
    for mark, nearest in zip(item.marks, places[apart.argmin(axis=1)] if len(places) else [], strict=True):
        side = -1 if nearest[1] > mark.place[1] else 1  # names stand away from the nearest neighbour
        axes.plot(*mark.place, marker="o", ms=9, mfc="none", mec=MARK, mew=1.8, zorder=6)
        text = axes.annotate(
            mark.name,
            mark.place,
            xytext=(0, 8 * side),
            textcoords="offset points",
            ha="center",
            va="bottom" if side > 0 else "top",
            fontsize=8.5,
            color="black",
            zorder=7,
        )
        text.set_path_effects([withStroke(linewidth=2.6, foreground="white")])


def _limits(
    slabs: Sequence[FlowSlab], kept: Sequence[np.ndarray], observer: tuple[float, float] | None
) -> tuple[float, float, float, float]:
    """Left, right, bottom, top [Mpc/h] that hold what any slab observes, and the observer."""
    first = slabs[0].slab
    seen = np.argwhere(np.any(kept, axis=0))
    low, high = seen.min(axis=0) - 4, seen.max(axis=0) + 5  # leaves room for names
    cell = first.size / len(kept[0])
    corners = np.stack([low, high]) * cell + np.asarray(first.origin)
    if observer is not None:
        corners = np.stack([np.minimum(corners[0], observer), np.maximum(corners[1], observer)])
        corners += 2 * cell * np.array([[-1.0], [1.0]])
    (left, bottom), (right, top) = corners.tolist()
    return left, right, bottom, top


def _legend(figure: Figure, slabs: Sequence[FlowSlab], *, observer: bool) -> None:
    handles = [Line2D([], [], color="black", lw=1.1)]
    names = ["edge of the survey"]
    if any(item.marks for item in slabs):
        handles.append(Line2D([], [], ls="", marker="o", ms=9, mfc="none", mec=MARK, mew=1.8))
        names.append("supercluster of the literature")
    if any(item.points is not None and len(item.points) for item in slabs):
        handles.append(Line2D([], [], ls="", marker="x", ms=6, mew=1.6, color="black"))
        names.append("strongest convergence")
    if observer:
        handles.append(Line2D([], [], ls="", marker="*", ms=12, mfc="#F0E442", mec="black"))
        names.append("observer, below or above")
    legend_below(figure, handles, names)
