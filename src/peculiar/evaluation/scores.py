"""Scores over boxes: means with their errors, and statistics of all boxes together with the jackknife's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypedDict

import numpy as np


class Score(TypedDict):
    """A number with its standard error (NaN where one box tells none), and each box's own value."""

    mean: float
    error: float
    boxes: list[float]


def average(values: Sequence[float]) -> Score:
    """Mean over boxes with its standard error.

    Examples
    --------
    >>> average([1.0, 3.0])
    {'mean': 2.0, 'error': 1.0, 'boxes': [1.0, 3.0]}
    """
    data = np.asarray(values, dtype=np.float64)
    error = float(data.std(ddof=1) / np.sqrt(len(data))) if len(data) > 1 else float("nan")
    return {"mean": float(data.mean()), "error": error, "boxes": [float(value) for value in data]}


def alone(value: float) -> Score:
    """Return a number that is of all boxes together and has no error."""
    return {"mean": float(value), "error": float("nan"), "boxes": []}


def pooled(statistic: Callable[[list[int]], float], count: int) -> Score:
    """Value of all boxes together, its jackknife error, and each box's own value.

    Parameters
    ----------
    statistic : callable
        From the numbers of boxes to a value.
    count : int
        Number of boxes.
    """
    every = list(range(count))
    error = float("nan")
    if count > 1:
        rest = np.array([statistic([i for i in every if i != left]) for left in every])
        error = float(np.sqrt((count - 1) * np.mean((rest - rest.mean()) ** 2)))
    return {"mean": float(statistic(every)), "error": error, "boxes": [float(statistic([i])) for i in every]}
