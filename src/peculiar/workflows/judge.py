"""An evaluation as a directory: scores, arrays, tables and figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from peculiar.core.output import atomic_output, check_output
from peculiar.core.provenance import provenance
from peculiar.core.workers import Workers, crew
from peculiar.evaluation.page import draw, scores_page
from peculiar.evaluation.protocol import Task, evaluate
from peculiar.workflows.progress import progress_bar


def judge(
    task: Task[Any],
    *,
    out: str | Path,
    figures: bool = True,
    workers: Workers = None,
    force: bool = False,
) -> Path:
    """Run a task and write what was found.

    Parameters
    ----------
    task : Task
        Its arguments are checked already.
    out : path
        Directory to write: ``scores.json`` and ``scores.md`` (means over boxes with their standard errors),
        ``arrays.npz`` (spectra, joint distributions, slabs), and ``figures/``.
    figures : bool
        Also draw the figures, as PDF and PNG.
    workers : int or str, optional
        Who judges the files; see `peculiar.core.workers.crew`.
    force : bool
        Replace an evaluation that is there.

    Returns
    -------
    Path
        The directory.
    """
    target = check_output(out, overwrite=force, inputs={"paths": task.paths, "tune_on": task.tune_on})
    with crew(workers, tasks=len(task.paths), memory=task.memory, what="an evaluation") as hands:
        evaluation = evaluate(task, progress=progress_bar, crew=hands)
    evaluation.record["provenance"] = provenance(task.settings, inputs=task.inputs, seed=task.seed)
    with atomic_output(target, overwrite=force) as temporary:
        evaluation.save(temporary)
        (temporary / "scores.md").write_text(scores_page(evaluation), encoding="utf-8")
        if figures:
            draw(evaluation, temporary / "figures")
    return target
