"""An evaluation to be read: its tables as Markdown, its figures as files, and its part of a report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from peculiar.evaluation.record import Evaluation
from peculiar.evaluation.table import markdown
from peculiar.evaluation.tasks import task_of
from peculiar.figures import report as html
from peculiar.figures.report import Section
from peculiar.figures.style import Plot, save


def scores_page(evaluation: Evaluation) -> str:
    """Return all tables of an evaluation as Markdown."""
    task = task_of(evaluation)
    parts = [task.introduction(evaluation), *(markdown(table) for table in task.tables(evaluation))]
    return "\n\n".join(parts) + "\n"


def draw(evaluation: Evaluation, directory: Path) -> None:
    """Write every figure as PDF and PNG into a new directory; captions in figures.md."""
    directory.mkdir(parents=True)
    source = evaluation.record["provenance"]
    software = f"{source['package']} {source['version']} {source['revision']}".strip()
    lines = ["# Figures", ""]
    for plot in task_of(evaluation).plots(evaluation):
        about = {"Title": plot.title, "Description": plot.caption, "Software": software}
        save(plot.figure, directory / plot.name, about=about)
        lines += [f"**{plot.name}**: {plot.title}. {plot.caption}", ""]
    (directory / "figures.md").write_text("\n".join(lines), encoding="utf-8")


def sections(evaluation: Evaluation) -> list[Section]:
    """Return the sections of a report: what the task shows first, scoreboard, figures, and what was done."""
    task = task_of(evaluation)
    plots = task.shown(evaluation)
    groups = [
        Section(title, gallery([plot for plot in plots if plot.name.startswith(prefixes)]))
        for title, prefixes in task.groups.items()
    ] or [Section(f"{task.title}: figures", gallery(plots))]
    first = len(task.groups) > 0
    tables = "".join(html.table(table) for table in task.tables(evaluation))
    return [
        *task.views(evaluation, plots),
        *groups[:first],
        Section(f"{task.title}: scoreboard", tables),
        *groups[first:],
        Section(f"{task.title}: how it was made", _made(evaluation)),
    ]


def gallery(plots: Sequence[Plot]) -> str:
    """Return figures side by side, as HTML."""
    pictures = [html.picture(p.figure, p.caption, alternative=p.title, vector=p.vector) for p in plots]
    return html.gallery(pictures)


def _made(evaluation: Evaluation) -> str:
    record = evaluation.record
    settings = [(key.replace("_", " "), plain_text(value)) for key, value in record["settings"].items()]
    boxes = [
        ("boxes", plain_text(record["boxes"])),
        *((key, plain_text(value)) for key, value in record.get("box", {}).items()),
    ]
    return html.facts(settings + boxes) + html.record(record["provenance"])


def plain_text(value: Any) -> str:
    """Return a setting of a record as a report shows it: numbers short, lists with commas."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(plain_text(item) for item in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
