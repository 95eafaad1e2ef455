"""Joint distributions of predicted and true values (figures 6 to 9 of Xiao et al. 2024)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from peculiar.core.errors import InputError
from peculiar.figures.style import COUNTS_MAP, LABELS, TRUTH, line_style, name_panel, styled

CREDIBLE = (0.68, 0.95, 0.997)


@dataclass(frozen=True, eq=False)
class Histogram2D:
    """Counts of two quantities together.

    Parameters
    ----------
    counts : (x, y)
    x_edges, y_edges : (x + 1,), (y + 1,)
        In the quantities' units.
    """

    counts: Float[np.ndarray, "x y"]
    x_edges: Float[np.ndarray, " x1"]
    y_edges: Float[np.ndarray, " y1"]

    def __post_init__(self) -> None:
        expected = (len(self.x_edges) - 1, len(self.y_edges) - 1)
        if np.shape(self.counts) != expected:
            raise InputError(f"Histogram2D.counts must have shape {expected}, got {np.shape(self.counts)}")

    @property
    def density(self) -> Float[np.ndarray, "x y"]:
        """Probability per unit area, so that the integral is 1."""
        area = np.diff(self.x_edges)[:, None] * np.diff(self.y_edges)[None, :]
        return self.counts / max(float(self.counts.sum()), 1.0) / area

    def levels(self, fractions: Sequence[float] = CREDIBLE) -> list[float]:
        """Density above which the given fractions of all counts lie, increasing."""
        order = np.argsort(self.density, axis=None)[::-1]
        density = self.density.ravel()[order]
        enclosed = np.cumsum(self.counts.ravel()[order]) / max(float(self.counts.sum()), 1.0)
        places = np.minimum(np.searchsorted(enclosed, np.asarray(fractions)), len(density) - 1)
        found = {float(level) for level in density[places]}
        return sorted(level for level in found if level > 0)


@styled
def predicted_against_true(panels: Mapping[str, Mapping[str, Histogram2D]]) -> Figure:
    """Joint probability of the true (across) and predicted (up) value, one column a field (figures 6 and 7).

    Parameters
    ----------
    panels : reconstructor name -> field name -> Histogram2D
        One row per reconstructor; contours hold 68, 95 and 99.7 % of the voxels.
    """
    rows = len(panels)
    columns = max(len(fields) for fields in panels.values())
    figure = Figure(figsize=(2.4 * columns + 0.5, 2.35 * rows + 0.4))
    axes = figure.subplots(rows, columns, squeeze=False)
    for row, (model, fields) in zip(axes, panels.items(), strict=True):
        for panel in row[len(fields) :]:
            panel.set_axis_off()
        for panel, (name, histogram) in zip(row, fields.items(), strict=False):
            _shade(panel, histogram)
            _contours(panel, histogram, TRUTH, "-", linewidth=0.8)
            ends = [histogram.x_edges[0], histogram.x_edges[-1]]
            panel.plot(ends, ends, color="#D55E00", lw=0.9, ls=(0, (4, 2)))
            panel.set(xlim=ends, ylim=(histogram.y_edges[0], histogram.y_edges[-1]), aspect="equal")
            label = LABELS.get(name, name)
            panel.set(xlabel=f"true {label}", ylabel=f"predicted {label}")
            name_panel(panel, model)
    return figure


@styled
def with_density(
    truth: Mapping[str, Histogram2D], predictions: Mapping[str, Mapping[str, Histogram2D]]
) -> Figure:
    """Joint distribution of density and another field: truth shaded, predictions as contours (figures 8 and 9).

    Parameters
    ----------
    truth : field name -> Histogram2D
        x is 1 + delta of the same fields, y the field.
    predictions : reconstructor name -> field name -> Histogram2D
    """
    columns = len(truth)
    figure = Figure(figsize=(2.65 * columns + 0.3, 3.3))
    axes = figure.subplots(1, columns, squeeze=False)[0]
    for panel, (name, histogram) in zip(axes, truth.items(), strict=True):
        _shade(panel, histogram, colours="Greys")
        _contours(panel, histogram, TRUTH, "-")
        for index, (_, fields) in enumerate(predictions.items()):
            if name in fields:
                look = line_style(index)
                _contours(panel, fields[name], str(look["color"]), look["linestyle"])
        panel.set(
            xlabel=r"$1+\delta$",
            ylabel=LABELS.get(name, name),
            xlim=(histogram.x_edges[0], histogram.x_edges[-1]),
            ylim=(histogram.y_edges[0], histogram.y_edges[-1]),
        )
    handles = [Line2D([], [], color=TRUTH)] + [
        Line2D([], [], **line_style(i)) for i in range(len(predictions))
    ]
    labels = ["truth", *predictions]
    title = "contours hold 68, 95 and 99.7 % of the voxels"
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), title=title)
    return figure


def _shade(axes: Axes, histogram: Histogram2D, *, colours: str = COUNTS_MAP) -> None:
    density = histogram.density.T
    if not (density > 0).any():
        return
    top = float(density.max())
    shown = np.ma.masked_less_equal(density, 0)
    axes.pcolormesh(
        histogram.x_edges,
        histogram.y_edges,
        shown,
        norm=LogNorm(top * 1e-5, top * (3 if colours == "Greys" else 1)),
        cmap=colours,
        rasterized=True,
    )


def _contours(
    axes: Axes, histogram: Histogram2D, colour: str, linestyle: object, *, linewidth: float = 1.2
) -> None:
    levels = histogram.levels()
    if not levels:
        return
    x = 0.5 * (histogram.x_edges[1:] + histogram.x_edges[:-1])
    y = 0.5 * (histogram.y_edges[1:] + histogram.y_edges[:-1])
    axes.contour(
        x, y, histogram.density.T, levels=levels, colors=colour, linestyles=[linestyle], linewidths=linewidth
    )
