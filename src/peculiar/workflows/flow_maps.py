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
from peculiar.core import Cosmology, Field, InputError
from peculiar.core.catalogue import Observer
from peculiar.core.output import atomic_output, check_output
from peculiar.core.provenance import provenance
from peculiar.fields.fourier import inverse_k_squared, to_fourier, to_real
from peculiar.figures import report as html
from peculiar.figures.flow_maps import FlowSlab, Mark, flow_slabs
from peculiar.figures.report import Section
from peculiar.figures.slices import Slab
from peculiar.figures.style import Plot, save
from peculiar.inference.reconstruction import Reconstruction
from peculiar.linear.overdensity import crop, fourier_box, pad
from peculiar.workflows.superclusters import (
    INFALL_RADIUS,
    LEAST,
    REACH,
    STRONGEST,
    SuperclusterFlow,
    superclusters_in,
)

THICKNESS = 40.0
"""Of the slabs [Mpc/h]."""
SLABS = 4
MARGIN = 10.0
"""How far outside a slab a supercluster may lie and still be marked in it [Mpc/h]."""


@dataclass(frozen=True, eq=False)
class SurveyFlow:
    """A reconstructed survey, cut to what it observes.

    Attributes
    ----------
    density, velocity : Field
        Overdensity, and a vector [km/s], in real space.
    coverage : (x, y, z)
        Observed cells.
    observer : (3,) [Mpc/h]
    cosmology : Cosmology
    redshift : float
        Effective redshift.
    """

    density: Field
    velocity: Field
    coverage: Bool[np.ndarray, "x y z"]
    observer: Observer
    cosmology: Cosmology
    redshift: float

    def potential(self) -> Field:
        """Return the gravitational potential [(km/s)^2] of the observed overdensity; see `potential`."""
        seen = torch.from_numpy(self.coverage).to(self.density.data.dtype)
        return potential(
            self.density.replace(data=self.density.data * seen),
            cosmology=self.cosmology,
            redshift=self.redshift,
        )

    def superclusters(self) -> SuperclusterFlow:
        """Return where the flow converges, against the superclusters that come with the package."""
        fields = {"density": self.density, "velocity": self.velocity}
        made = Reconstruction(fields, self.cosmology, self.redshift, observer=self.observer)
        return superclusters_in(made, coverage=self.coverage)


def potential(density: Field, *, cosmology: Cosmology, redshift: float) -> Field:
    """Return the peculiar gravitational potential of an overdensity.

    laplacian phi = (3/2) Omega_m H0^2 (1 + z) delta, in comoving coordinates. A box that is not periodic gets empty
    space around it; the constant is such that the mean over box and space is 0.

    Parameters
    ----------
    density : Field
        Overdensity, one channel; 0 where nothing is known.
    cosmology : Cosmology
    redshift : float

    Returns
    -------
    Field
        [(km/s)^2].

    Raises
    ------
    InputError
        If the density has several channels.
    """
    if density.data.shape[0] != 1:
        raise InputError(f"density must have one channel, got {density.data.shape[0]}: take one of them")
    box = fourier_box(density.box)
    source_k = to_fourier(pad(density.data, density.box)[0])
    source_k *= -1.5 * cosmology.Omega_m * 100.0**2 * (1 + redshift) * inverse_k_squared(box, source_k.device)
    data = crop(to_real(source_k, box.shape)[None], density.box)
    return density.replace(data=data, names=("potential",), unit="(km/s)^2")


def flow_plots(flow: SurveyFlow, found: SuperclusterFlow) -> list[Plot]:
    """Draw the flow over the potential and over its convergence, in slabs of equal height above the equator.

    Parameters
    ----------
    flow : SurveyFlow
    found : SuperclusterFlow
        Of the same flow: marks its superclusters and strongest points.
    """
    slabs = _slabs(flow, found)
    across, up = ("xyz".index(name) for name in slabs[0].slab.axes)
    observer = (flow.observer[across], flow.observer[up])
    about = (
        f"Slabs of {slabs[0].slab.thickness:.0f} Mpc/h at four heights above the plane of the celestial equator, each "
        "through a quarter of the observed volume; x points to ra 0, y to ra 90 deg. Arrows: mean of the reconstructed "
        "velocity over the slab, in its plane. Circles: superclusters of the literature whose place lies within "
        f"{MARGIN:.0f} Mpc/h of the slab; crosses: the {STRONGEST} strongest points of convergence; black line: edge "
        "of the survey; blank: not observed."
    )
    return [
        Plot(
            "fig15_potential",
            "Flow over the gravitational potential",
            "Contours: gravitational potential of the reconstructed overdensity, averaged over the slab, in units of "
            f"its rms where observed; orange is a well. {about}",
            flow_slabs(slabs, ground="potential", observer=observer),
        ),
        Plot(
            "fig15_convergence",
            "Flow over its convergence",
            f"Contours: convergence of the flow, smoothed with a Gaussian of {found.convergence.smoothing:g} Mpc/h, in "
            f"units of its rms. {about}",
            flow_slabs(slabs, ground="convergence", observer=observer),
        ),
    ]


def flow_section(flow: SurveyFlow) -> Section:
    """Return the section of a report: both maps and both tables."""
    found = flow.superclusters()
    pictures = [
        html.picture(plot.figure, plot.caption, alternative=plot.title, vector=False)
        for plot in flow_plots(flow, found)
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
    record = provenance({"cosmology": str(flow.cosmology), "redshift": flow.redshift}, inputs=inputs)
    found = flow.superclusters()
    with atomic_output(target, overwrite=force) as temporary:
        temporary.mkdir(parents=True)
        lines = ["# Potential, flow and superclusters", ""]
        for plot in flow_plots(flow, found):
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


def _slabs(flow: SurveyFlow, found: SuperclusterFlow) -> list[FlowSlab]:
    box = flow.velocity.box
    layers = min(max(1, round(THICKNESS / box.cell_size)), box.mesh)
    known = flow.coverage
    ground = flow.potential().numpy()
    ground /= max(float(ground[0][known].std()), 1e-30)
    smooth = np.nan_to_num(found.convergence.values)[None] / found.convergence.rms
    heights = np.cumsum(known.sum(axis=(0, 1))) / known.sum()
    middles = np.searchsorted(heights, (np.arange(SLABS) + 0.5) / SLABS)
    starts = np.unique(np.clip(middles - layers // 2, 0, box.mesh - layers))
    extent = np.ptp(np.argwhere(known.any(axis=2)), axis=0)
    long = (0, 1) if extent[0] >= extent[1] else (1, 0)  # the longer side lies flat
    order = (0, 1 + long[0], 1 + long[1], 3)
    corner = (box.origin[long[0]], box.origin[long[1]])
    places, points = found.superclusters.positions, found.convergence.points[:STRONGEST]
    judged = np.isfinite(found.named["convergence"])
    slabs = []
    for start in starts.tolist():
        cut = slice(start, start + layers)
        low = box.origin[2] + start * box.cell_size
        high = low + layers * box.cell_size
        share = known[..., cut].mean(axis=-1)
        weight = known[..., cut] / np.maximum(share, 1 / layers)[..., None]  # means over what is observed
        values = {
            "velocity": flow.velocity.numpy()[..., cut] * weight,
            "potential": ground[..., cut],
            "convergence": smooth[..., cut] * weight,
        }
        values = {name: np.transpose(array, order) for name, array in values.items()}
        near = judged & (places[:, 2] >= low - MARGIN) & (places[:, 2] < high + MARGIN)
        inside = (points[:, 2] >= low) & (points[:, 2] < high)
        names = [_short(name) for name in found.superclusters.names]
        marks = [Mark(names[i], tuple(places[i, long].tolist())) for i in np.flatnonzero(near)]
        slab = Slab(values, box.side, high - low, axes=("xyz"[long[0]], "xyz"[long[1]]), origin=corner)
        slabs.append(
            FlowSlab(
                slab,
                share.transpose(long),
                rf"${low:.0f}<z<{high:.0f}\ h^{{-1}}$ Mpc",
                marks,
                points[inside][:, long],
            )
        )
    return slabs


def _short(name: str) -> str:
    """Last part of a name such as "Sloan Great Wall, SCl 126"."""
    return name.rsplit(", ", 1)[-1]


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
