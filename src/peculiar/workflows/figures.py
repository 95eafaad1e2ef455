"""`peculiar figures`: every figure of an evaluation as PDF and PNG."""

from __future__ import annotations

import json
from pathlib import Path

from peculiar.core.output import atomic_output, check_output
from peculiar.workflows.evaluation import Evaluation
from peculiar.workflows.plots import draw_all
from peculiar.workflows.provenance import provenance


def figures(run: str | Path, *, out: str | Path, force: bool = False) -> Path:
    """Write the figures that a report of the evaluation shows, at each satellite fraction.

    Parameters
    ----------
    run : path
        Directory of `peculiar evaluate`.
    out : path
        Directory for ``NAME_satellitesPERCENT.pdf`` and ``.png`` (300 dpi), ``figures.md`` with their captions, and
        ``provenance.json``.
    force : bool
        Replace figures that are there.

    Returns
    -------
    Path
        The directory.

    Raises
    ------
    InputError
        If the run is no evaluation, or the output is there and was not to be replaced.
    """
    target = check_output(out, overwrite=force)
    evaluation = Evaluation.open(run)
    inputs = [Path(run) / name for name in ("scores.json", "arrays.npz")]
    record = provenance({"run": str(run), "evaluation": evaluation.record["provenance"]}, inputs=inputs)
    with atomic_output(target, overwrite=force) as temporary:
        draw_all(evaluation, temporary)
        (temporary / "provenance.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return target
