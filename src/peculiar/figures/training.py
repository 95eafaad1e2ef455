"""How a training went: its loss curve, and what validation measured."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from peculiar.core.errors import InputError
from peculiar.figures.style import legend_below, line_style, styled

_PAIRS = {"loss": "train_loss", "validation_wasserstein": "wasserstein"}
"""Columns of validation that are drawn with one of training, whose name their panel has."""
_TRAINED = ("train_loss", "wasserstein", "gradient_penalty")
_NOT_DRAWN = ("step", "minutes", "learning_rate")
_WIDEST = 3  # panels in a row
_DECADES = 1.5  # of positive values beyond which an axis is logarithmic


@styled
def training_curves(metrics: Mapping[str, Float[np.ndarray, " row"]]) -> Figure:
    """Draw the columns of a run's ``metrics.csv`` over its steps, one panel for each; the loss comes first.

    Parameters
    ----------
    metrics : name -> (row,)
        The columns, "step" among them; NaN where there is no value.

    Raises
    ------
    InputError
        If there are no steps, or nothing beside them.
    """
    panels: dict[str, dict[str, str]] = {}
    for name in metrics:
        if name in _TRAINED:
            panels.setdefault(name, {})["training"] = name
        elif name not in _NOT_DRAWN:
            panels.setdefault(_PAIRS.get(name, name), {})["validation"] = name
    if not panels or not len(metrics.get("step", ())):
        raise InputError(
            f"metrics must hold steps and values to be drawn, got the columns {', '.join(metrics)}"
        )
    columns = min(len(panels), _WIDEST)
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(2.6 * columns, 2.0 * rows + 0.5))
    handles = {}
    for index, (name, lines) in enumerate(panels.items()):
        axes = figure.add_subplot(rows, columns, index + 1)
        values = []
        for number, kind in enumerate(("training", "validation")):
            if kind in lines:
                column = np.asarray(metrics[lines[kind]], dtype=float)
                values.append(column[np.isfinite(column)])
                marker = "o" if len(column) == 1 else ""
                (handles[kind],) = axes.plot(metrics["step"], column, marker=marker, **line_style(number))
        every = np.concatenate(values)
        if len(every) and every.min() > 0 and np.log10(every.max() / every.min()) > _DECADES:
            axes.set_yscale("log")
        axes.set_title(name.removeprefix("train_").replace("_", " "))
        axes.ticklabel_format(axis="x", style="sci", scilimits=(-3, 4))
        if index >= len(panels) - columns:
            axes.set_xlabel("step")
    legend_below(figure, list(handles.values()), list(handles))
    return figure
