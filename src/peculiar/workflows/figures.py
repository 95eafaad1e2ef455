"""`peculiar figures`: every figure of an evaluation or of a reconstructed survey as PDF and PNG."""

from __future__ import annotations

import json
from pathlib import Path

from peculiar.core import InputError
from peculiar.core.output import atomic_output, check_output, refuse_inputs
from peculiar.core.provenance import provenance
from peculiar.evaluation.page import draw
from peculiar.evaluation.record import Evaluation
from peculiar.inference.reconstruction import Reconstruction
from peculiar.workflows.flow_maps import write_flow
from peculiar.workflows.survey_report import is_reconstruction, read_survey_flow


def draw_figures(
    run: str | Path | Reconstruction,
    *,
    out: str | Path,
    objects: str | Path | None = None,
    force: bool = False,
) -> Path:
    """Write the figures that a report of the evaluation shows, of tracers at each satellite fraction.

    Parameters
    ----------
    run : path or Reconstruction
        Directory of `peculiar evaluate`, or zarr of `peculiar reconstruct --sky`.
    out : path
        Directory for ``NAME.pdf`` and ``.png`` (300 dpi; of tracers ``NAME_satellitesPERCENT``), ``figures.md`` with
        their captions, and ``provenance.json``. Of a survey see `peculiar.workflows.flow_maps.write_flow`.
    objects : path, optional
        Table of `reconstruct --at-objects`; a survey that is read from a file needs it.
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
    inputs = [] if objects is None else [Path(objects)]
    if isinstance(run, Reconstruction):
        return write_flow(read_survey_flow(run, objects=objects), out, force=force, inputs=inputs)
    refuse_inputs(out, {"run": run, "--objects": objects})
    if is_reconstruction(run):
        if objects is None and Reconstruction.open(run).on_the_sky:
            raise InputError(
                f"objects must be given for a reconstructed survey, got none for {run}: give its table, --objects of "
                "reconstruct --at-objects"
            )
        return write_flow(read_survey_flow(run, objects=objects), out, force=force, inputs=inputs)
    if objects is not None:
        raise InputError(
            f"objects must be of a reconstructed survey, got {objects} for the evaluation {run}: leave them out"
        )
    target = check_output(out, overwrite=force)
    evaluation = Evaluation.open(run)
    files = [Path(run) / name for name in ("scores.json", "arrays.npz")]
    record = provenance({"run": str(run), "evaluation": evaluation.record["provenance"]}, inputs=files)
    with atomic_output(target, overwrite=force) as temporary:
        draw(evaluation, temporary)
        (temporary / "provenance.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return target
