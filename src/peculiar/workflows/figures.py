"""`peculiar figures`: every figure of an evaluation or of a reconstructed survey as PDF and PNG."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from peculiar.core import InputError
from peculiar.core.output import atomic_output, check_output, refuse_inputs
from peculiar.figures.style import Plot, save
from peculiar.workflows.evaluation import Evaluation
from peculiar.workflows.flow_maps import write_flow
from peculiar.workflows.plots import draw
from peculiar.workflows.plots_displacement import displacement_plots
from peculiar.workflows.plots_flow import plots_of_flow
from peculiar.workflows.plots_paint import plots_of_paint
from peculiar.workflows.plots_survey import plots_of_survey
from peculiar.workflows.provenance import provenance
from peculiar.workflows.survey_report import is_reconstruction, read_survey_flow


def figures(
    run: str | Path, *, out: str | Path, objects: str | Path | None = None, force: bool = False
) -> Path:
    """Write the figures that a report of the evaluation shows, of tracers at each satellite fraction.

    Parameters
    ----------
    run : path
        Directory of `peculiar evaluate`, or zarr of `peculiar reconstruct --sky`.
    out : path
        Directory for ``NAME.pdf`` and ``.png`` (300 dpi; of tracers ``NAME_satellitesPERCENT``), ``figures.md`` with
        their captions, and ``provenance.json``. Of a survey see `peculiar.workflows.flow_maps.write_flow`.
    objects : path, optional
        Table of `reconstruct --at-objects`; a survey needs it.
    force : bool
        Replace figures that are there.

    Returns
    -------
    Path
        The directory.

    Raises
    ------
    InputError
        If the run is neither, a survey comes without objects or an evaluation with them, or the output is there and
        was not to be replaced.
    """
    refuse_inputs(out, [run, objects])
    if is_reconstruction(Path(run)) != (objects is not None):
        raise InputError(
            f"objects must be given for a reconstructed survey only, got {objects} for {run}: give --objects of its "
            "reconstruct --at-objects, or none for an evaluation"
        )
    if objects is not None:
        return write_flow(read_survey_flow(run, objects=objects), out, force=force, inputs=[Path(objects)])
    target = check_output(out, overwrite=force)
    evaluation = Evaluation.open(run)
    inputs = [Path(run) / name for name in ("scores.json", "arrays.npz")]
    record = provenance({"run": str(run), "evaluation": evaluation.record["provenance"]}, inputs=inputs)
    with atomic_output(target, overwrite=force) as temporary:
        draw_evaluation(evaluation, temporary)
        (temporary / "provenance.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return target


def evaluation_plots(evaluation: Evaluation) -> list[Plot]:
    """Draw every figure of an evaluation, whatever was evaluated."""
    kind = evaluation.record.get("kind", "tracers")
    if kind == "displacement":
        return displacement_plots(evaluation)
    if kind == "flow":
        return plots_of_flow(evaluation)
    if kind == "paint":
        return plots_of_paint(evaluation)
    if kind == "survey":
        return plots_of_survey(evaluation)
    return [
        replace(plot, name=f"{plot.name}_satellites{100 * fraction:02.0f}")
        for fraction in evaluation.fractions
        for plot in draw(evaluation, fraction)
    ]


def draw_evaluation(evaluation: Evaluation, directory: Path) -> None:
    """Write every figure as PDF and PNG into a new directory; captions in figures.md."""
    directory.mkdir(parents=True)
    source = evaluation.record["provenance"]
    software = f"{source['package']} {source['version']} {source['revision']}".strip()
    lines = ["# Figures", ""]
    for plot in evaluation_plots(evaluation):
        about = {"Title": plot.title, "Description": plot.caption, "Software": software}
        save(plot.figure, directory / plot.name, about=about)
        lines += [f"**{plot.name}**: {plot.title}. {plot.caption}", ""]
    (directory / "figures.md").write_text("\n".join(lines), encoding="utf-8")
