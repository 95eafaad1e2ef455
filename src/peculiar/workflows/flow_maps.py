"""Potential and flow of a reconstructed survey: maps, and the superclusters that the flow converges on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from astropy.table import Table
from jaxtyping import Bool

from peculiar.catalogues.write import write_table
from peculiar.core import Field
from peculiar.core.output import atomic_output, check_output
from peculiar.core.provenance import provenance
from peculiar.figures import report as html
from peculiar.figures.report import Section
from peculiar.figures.style import Plot, save
from peculiar.figures.survey_flow import flow_plots
from peculiar.inference.reconstruction import Reconstruction
from peculiar.linear.potential import potential
from peculiar.workflows.superclusters import (
    INFALL_RADIUS,
    LEAST,
    REACH,
    SuperclusterFlow,
    superclusters_in,
)


@dataclass(frozen=True, eq=False)
class SurveyFlow:
    """A reconstructed survey, cut to what it observes.

    Attributes
    ----------
    made : Reconstruction
        With an observer, a cosmology and a redshift.
    coverage : (x, y, z)
        Observed cells.
    """

    made: Reconstruction
    coverage: Bool[np.ndarray, "x y z"]

    def potential(self) -> Field:
        """Return the gravitational potential [(km/s)^2] of the observed overdensity, less its mean.

        What all that was seen has too much or too little is not known from what was seen.
        """
        density = self.made["density"]
        seen = torch.from_numpy(self.coverage).to(density.data.dtype)
        _, cosmology = self.made.sky()
        assert self.made.redshift is not None
        mean = (density.data * seen).sum() / seen.sum()
        observed = density.replace(data=(density.data - mean) * seen)
        return potential(observed, cosmology=cosmology, redshift=self.made.redshift)

    def superclusters(self) -> SuperclusterFlow:
        """Return where the flow converges, against the superclusters that come with the package."""
        return superclusters_in(self.made, coverage=self.coverage)

    def plots(self, found: SuperclusterFlow) -> list[Plot]:
        """Draw its maps with the superclusters that were found in it."""
        return flow_plots(
            self.made["velocity"],
            self.potential(),
            found.convergence,
            coverage=self.coverage,
            observer=self.made.sky()[0],
            superclusters=found.superclusters,
        )


def flow_section(flow: SurveyFlow) -> Section:
    """Return the section of a report: both maps and both tables."""
    found = flow.superclusters()
    pictures = [
        html.picture(plot.figure, plot.caption, alternative=plot.title, vector=False)
        for plot in flow.plots(found)
    ]
    body = (
        pictures[0]
        + html.subheading("Superclusters of the literature")
        + html.table(_named(found))
        + html.subheading("Where the flow converges most")
        + html.table(_strongest(found))
        + pictures[1]
    )
    return Section("Potential, flow and superclusters", body)


def write_flow(
    flow: SurveyFlow, out: str | Path, *, force: bool = False, inputs: Sequence[Path] = ()
) -> Path:
    """Write the maps as PDF and PNG, the tables as ECSV and Markdown, and where they came from.

    Parameters
    ----------
    flow : SurveyFlow
    out : path
        Directory for ``fig15_*.pdf`` and ``.png``, ``superclusters.ecsv``, ``convergence.ecsv``, ``figures.md`` with
        captions and tables, and ``provenance.json``.
    force : bool
        Replace one that is there.
    inputs : sequence of Path
        Files that the flow was read from, for the record.

    Returns
    -------
    Path
        The directory.

    Raises
    ------
    OutputExistsError
        If it is there and was not to be replaced.
    """
    target = check_output(out, overwrite=force)
    record = provenance(
        {"cosmology": str(flow.made.cosmology), "redshift": flow.made.redshift}, inputs=inputs
    )
    found = flow.superclusters()
    with atomic_output(target, overwrite=force) as temporary:
        temporary.mkdir(parents=True)
        lines = ["# Potential, flow and superclusters", ""]
        for plot in flow.plots(found):
            software = f"{record['package']} {record['version']} {record['revision']}".strip()
            about = {"Title": plot.title, "Description": plot.caption, "Software": software}
            save(plot.figure, temporary / plot.name, about=about)
            lines += [f"**{plot.name}**: {plot.title}. {plot.caption}", ""]
        for table in (_named(found), _strongest(found)):
            lines += _markdown(table)
        write_table(
            temporary / "superclusters.ecsv", found.named.copy(), kind="ascii.ecsv", provenance=record
        )
        write_table(
            temporary / "convergence.ecsv", found.strongest.copy(), kind="ascii.ecsv", provenance=record
        )
        (temporary / "figures.md").write_text("\n".join(lines), encoding="utf-8")
        (temporary / "provenance.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return target


def _named(found: SuperclusterFlow) -> html.Table:
    columns = [
        "",
        "distance [Mpc/h]",
        "size [Mpc/h]",
        "convergence [rms]",
        "percentile",
        "infall [km/s]",
        "strongest point [rms]",
        "at [Mpc/h]",
        "by chance",
        "members from",
    ]
    patterns = ("{:.0f}", "{:.0f}", "{:.1f}", "{:.1f}", "{:.0f}", "{:.1f}", "{:.0f}", "{:.2g}")
    keys = (
        "distance",
        "size",
        "convergence",
        "percentile",
        "infall",
        "point_convergence",
        "point_distance",
        "chance",
    )
    rows = [
        ("", [str(row["name"]), *_cells(row, keys, patterns), str(row["reference"])]) for row in found.named
    ]
    note = (
        f"Convergence of the flow at the mean place of the member clusters, in units of its rms; percentile among all "
        f"known cells; mean infall velocity over {INFALL_RADIUS:.0f} Mpc/h. Then the strongest point of convergence of "
        f"at least {LEAST:g} rms within {REACH:.0f} Mpc/h plus the size, and the share of the known volume with one as "
        f"strong within as much. {found.matched} of {found.judged} superclusters in the known volume have such a "
        f"point; as many random places would give {found.expected:.1f}. –: outside, or no such point."
    )
    return html.Table(columns, rows, note=note)


def _strongest(found: SuperclusterFlow) -> html.Table:
    columns = [
        "",
        "ra [deg]",
        "dec [deg]",
        "z",
        "distance [Mpc/h]",
        "convergence [rms]",
        "infall [km/s]",
        "match",
    ]
    patterns = ("{:.1f}", "{:.1f}", "{:.3f}", "{:.0f}", "{:.1f}", "{:.0f}")
    keys = ("ra", "dec", "z", "distance", "convergence", "infall")
    rows = [
        ("", [str(number + 1), *_cells(row, keys, patterns), str(row["match"])])
        for number, row in enumerate(found.strongest)
    ]
    return html.Table(columns, rows, note="z: of the distance, in the frame of the microwave background.")


def _cells(row: Table.Row, keys: Sequence[str], patterns: Sequence[str]) -> list[str]:
    return [
        pattern.format(float(row[key])) if np.isfinite(row[key]) else "–"
        for key, pattern in zip(keys, patterns, strict=True)
    ]


def _markdown(table: html.Table) -> list[str]:
    width = len(table.columns)
    lines = [list(table.columns), ["---"] * width, *(cells for _, cells in table.rows)]
    return [*("| " + " | ".join(cells) + " |" for cells in lines), "", table.note, ""]
