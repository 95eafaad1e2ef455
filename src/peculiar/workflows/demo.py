"""`peculiar demo`: a real survey and a simulated box, reconstructed with what comes with the package."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

from peculiar.catalogues import load_survey
from peculiar.core import InputError, OutOfRangeWarning
from peculiar.core.limits import Device
from peculiar.core.output import atomic_output, check_output
from peculiar.core.provenance import provenance
from peculiar.evaluation.record import Evaluation
from peculiar.evaluation.tracers.task import TracerTask
from peculiar.inference.model_card import DEFAULT_MODEL, SPECIALIST
from peculiar.workflows.catalogue_options import CatalogueOptions
from peculiar.workflows.evaluate import evaluate
from peculiar.workflows.reconstruct import CLASSICAL
from peculiar.workflows.reconstruct_file import reconstruct_file
from peculiar.workflows.report import report

SURVEY = "sdss_dr7"
SATELLITES = (0.0, 0.25)


@dataclass(frozen=True)
class Demo:
    """What the demo made.

    Attributes
    ----------
    report : Path
        HTML file to open.
    headlines : tuple of str
        The key numbers, one sentence each.
    """

    report: Path
    headlines: tuple[str, ...]


def demo(out: str | Path = "runs/demo", *, device: Device = "auto") -> Demo:
    """Reconstruct the SDSS DR7 example and a simulated box with known truth, and write a report about both.

    Parameters
    ----------
    out : path
        Directory for the fields (``sdss_dr7.zarr``), the galaxies with their velocities (``sdss_dr7_galaxies.fits``),
        the scores (``evaluation/``) and ``report.html``. An earlier demo there is replaced.
    device : "auto", "cpu" or "cuda"
        Of networks.

    Raises
    ------
    InputError
        If the directory holds something else, or the package came without its examples.
    """
    target = check_output(out, overwrite=True)
    examples = files("peculiar") / "examples"
    caught: list[str] = []
    with (
        as_file(examples / "sdss_dr7") as survey,
        as_file(examples / "box") as boxes,
        atomic_output(target, overwrite=True) as temporary,
    ):
        if not survey.is_dir() or not boxes.is_dir():
            raise InputError(
                "peculiar must come with its examples, got none: install it again from a release or git"
            )
        temporary.mkdir(parents=True)
        fields, galaxies = temporary / "sdss_dr7.zarr", temporary / "sdss_dr7_galaxies.fits"
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always", OutOfRangeWarning)
            reconstruct_file(
                survey / "galaxies.fits",
                out=fields,
                options=CatalogueOptions(survey=load_survey(SURVEY)),
                objects=galaxies,
                device=device,
            )
            caught += [f"SDSS DR7: {warning.message}" for warning in seen]
        evaluate(
            boxes,
            out=temporary / "evaluation",
            models=[DEFAULT_MODEL, SPECIALIST, *CLASSICAL],
            satellite_fraction=SATELLITES,
            figures=False,
            device=device,
        )
        report(
            [fields, temporary / "evaluation"],
            out=temporary / "report.html",
            objects=galaxies,
            title="From galaxies in redshift space to the flow of matter",
            warnings=caught,
        )
        headlines = [
            f"{item.label}: {item.value}" + (f" ({item.context})" if item.context else "")
            for item in TracerTask.headlines(Evaluation.open(temporary / "evaluation"))
        ]
        record = provenance(
            {
                "models": [DEFAULT_MODEL, SPECIALIST],
                "satellite_fraction": SATELLITES,
            }
        )
        (temporary / "provenance.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return Demo(target / "report.html", tuple(headlines))
