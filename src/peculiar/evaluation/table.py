"""The score table: what each row is, how a cell is written, and the table as Markdown."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from peculiar.evaluation.scores import Score
from peculiar.figures.report import Table

Columns = Mapping[str, Mapping[str, Score]]
"""Model -> score name -> score."""


@dataclass(frozen=True)
class Row:
    """One line of a score table.

    Attributes
    ----------
    key : str
        Score name; its "mean".
    label : str
        In words, with the unit.
    group : str
        Heading it stands under.
    decimals : int
    spread : str
        Score whose value follows as "± ..." (a standard deviation over voxels), or "".
    true, true_spread : str
        Scores that hold the true value, or "".
    target : float or None
        Value of a perfect model, to mark the best column; None marks none.
    lead : str
        Score that stands before it, with a stroke between, or "".
    """

    key: str
    label: str
    group: str = ""
    decimals: int = 3
    spread: str = ""
    true: str = ""
    true_spread: str = ""
    target: float | None = None
    lead: str = ""


def score_table(
    rows: Sequence[Row],
    columns: Columns,
    *,
    title: str = "",
    note: str = "",
    names: Mapping[str, str] | None = None,
    truth: bool = False,
    beside: Mapping[str, Mapping[str, str]] | None = None,
) -> Table:
    """Put the scores of models side by side; the closest to the ideal of each row is marked.

    Parameters
    ----------
    rows : sequence of Row
        Those without a score in any column are left out.
    columns : model -> score name -> score
    title, note : str
        Above the table and below it.
    names : model -> str, optional
        Headings in place of the models' names.
    truth : bool
        Whether a column tells the true values.
    beside : heading -> score name -> text, optional
        Further columns: what papers printed, and goals.
    """
    further = beside or {}
    lines: list[tuple[str, list[str]]] = []
    best: dict[int, int] = {}
    for row in rows:
        if not any(row.key in scores for scores in columns.values()):
            continue
        winner = best_model(columns, row)
        if winner is not None:
            best[len(lines)] = 1 + list(columns).index(winner)
        cells = [row.label, *(cell_text(scores, row) for scores in columns.values())]
        if truth:
            cells.append(true_text(next(iter(columns.values())), row))
        cells += [values.get(row.key, "") for values in further.values()]
        lines.append((row.group, cells))
    headings = [names.get(name, name) for name in columns] if names else list(columns)
    return Table(["", *headings, *(["truth"] if truth else []), *further], lines, best, note, title)


def published_figures(module: str) -> dict[str, dict[str, Any]]:
    """Return what ``published.toml`` beside a module holds: the printed figures, as the paper writes them."""
    return tomllib.loads(Path(module).with_name("published.toml").read_text(encoding="utf-8"))


def markdown(table: Table) -> str:
    """Return a table as Markdown, the cells that are best in bold."""
    lines = [
        f"| {' | '.join(_escaped(name) for name in table.columns)} |".replace("|  |", "| |"),
        "| --- |" + " ---: |" * (len(table.columns) - 1),
    ]
    for number, (_, cells) in enumerate(table.rows):
        texts = [_escaped(text) for text in cells]
        if number in table.best:
            texts[table.best[number]] = f"**{texts[table.best[number]]}**"
        lines.append("| " + " | ".join(texts) + " |")
    head = [f"## {table.title}", ""] if table.title else []
    foot = ["", table.note] if table.note else []
    return "\n".join([*head, *lines, *foot])


def cell_text(scores: Mapping[str, Score], row: Row) -> str:
    """Text of one cell: mean over boxes, and its standard error in parentheses or the spread over voxels after ±."""
    if row.key not in scores:
        return "–"
    if row.spread in scores:
        mean, spread = (_number(scores[key], row.decimals, error=False) for key in (row.key, row.spread))
        return f"{mean} ± {spread}"
    lead = f"{_number(scores[row.lead], row.decimals, error=False)} / " if row.lead in scores else ""
    return lead + _number(scores[row.key], row.decimals)


def true_text(scores: Mapping[str, Score], row: Row) -> str:
    """Text of the true value where the row has one, or ""."""
    if row.true not in scores:
        return ""
    text = _number(scores[row.true], row.decimals, error=False)
    if row.true_spread in scores:
        return f"{text} ± {_number(scores[row.true_spread], row.decimals, error=False)}"
    return f"rms {text}"


def best_model(columns: Columns, row: Row) -> str | None:
    """Model whose mean is closest to the row's target, or None where the row has none."""
    if row.target is None:
        return None
    distance = {
        name: abs(float(scores[row.key]["mean"]) - row.target)
        for name, scores in columns.items()
        if row.key in scores and scores[row.key]["mean"] is not None
    }
    return min(distance, key=distance.__getitem__) if len(distance) > 1 else None


def _number(score: Score, decimals: int, *, error: bool = True) -> str:
    mean, spread = score["mean"], score["error"]
    if not isinstance(mean, float | int) or not np.isfinite(mean):
        return "–"
    text = f"{round(mean, decimals) + 0.0:.{decimals}f}"  # + 0.0 turns -0.00 into 0.00
    if error and isinstance(spread, float) and np.isfinite(spread):
        text += f" ({spread:.{decimals}f})"
    return text


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")
