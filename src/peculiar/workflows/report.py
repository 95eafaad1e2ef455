"""`peculiar report`: one HTML file about a reconstruction, an evaluation, or both."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from peculiar.core.output import atomic_output, check_output
from peculiar.evaluation.page import sections as evaluation_sections
from peculiar.evaluation.record import Evaluation
from peculiar.evaluation.tasks import task_of
from peculiar.figures import report as html
from peculiar.figures.report import Headline, Section
from peculiar.inference.reconstruction import Reconstruction
from peculiar.workflows.survey_report import is_reconstruction, reconstruction_sections


def report(
    runs: str | Path | Reconstruction | Sequence[str | Path | Reconstruction],
    *,
    out: str | Path,
    objects: str | Path | None = None,
    title: str | None = None,
    warnings: Sequence[str] = (),
    force: bool = False,
) -> Path:
    """Write a self-contained HTML report.

    Parameters
    ----------
    runs : Reconstruction or path, or several
        Outputs of `peculiar reconstruct` (zarr) and directories of `peculiar evaluate`.
    out : path
        HTML file to write.
    objects : path, optional
        Objects table of the reconstruction: gives the positions and velocities of the objects.
    title : str, optional
    warnings : sequence of str
        To stand at the top, such as a catalogue outside the model card's range.
    force : bool
        Replace a report that is there.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    InputError
        If a run is neither kind of output, or the report would be larger than 15 MB.
    """
    given = [runs] if isinstance(runs, str | Path | Reconstruction) else list(runs)
    paths = [run if isinstance(run, Reconstruction) else Path(run) for run in given]
    files = [path for path in paths if isinstance(path, Path)]
    target = check_output(out, overwrite=force, inputs={"runs": files, "--objects": objects})
    headlines: list[Headline] = []
    sections: list[Section] = []
    subjects = []
    reconstructs = False
    for path in paths:
        if isinstance(path, Reconstruction) or is_reconstruction(path):
            reconstructs = True
            own = reconstruction_sections(path, objects=None if objects is None else Path(objects))
            headlines += own.headlines
            sections += own.sections
            subjects.append(own.subject)
            continue
        evaluation = Evaluation.open(path)
        task = task_of(evaluation)
        headlines += task.headlines(evaluation)
        sections += evaluation_sections(evaluation)
        subjects.append(task.subject(evaluation))
        reconstructs |= task.reconstructs
    if title is None:
        title = (
            "How well velocities are recovered"
            if headlines and len(paths) == 1
            else "Reconstructed velocities"
        )
        title = title if reconstructs else "How well the emulators do"
    text = html.page(
        title,
        summary=" ".join(subjects),
        headlines=headlines,
        sections=sections,
        warnings=warnings,
    )
    with atomic_output(target, overwrite=force) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return target
