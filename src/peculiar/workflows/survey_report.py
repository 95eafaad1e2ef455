"""The part of a report about a reconstruction: maps, velocities, what was done; a survey has no truth."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Bool, Float

from peculiar.core import Box, Cosmology, Field, InputError
from peculiar.core.records import checked
from peculiar.fields.files import REMEDY, ReconstructionAttributes
from peculiar.fields.paint import paint
from peculiar.fields.smooth import gaussian
from peculiar.figures import report as html
from peculiar.figures.flow import flow_view
from peculiar.figures.report import Headline, Section
from peculiar.figures.slices import SLAB_THICKNESS, Slab, observer_slices, velocity_histogram
from peculiar.figures.volume import VOLUME_CELLS, Volume, coarsen, interactive
from peculiar.inference.reconstruction import Reconstruction, reconstruction
from peculiar.workflows.flow_maps import SurveyFlow, flow_section

if TYPE_CHECKING:
    from astropy.table import Table

REACH = 8.0  # Mpc/h; a cell counts as observed where objects lie within about this distance
OBSERVED = 0.08  # smoothed number of objects over its mean above which a cell counts as observed


@dataclass(frozen=True)
class Reconstructed:
    """What a report shows of a reconstruction.

    Attributes
    ----------
    subject : str
        One sentence.
    headlines : list of Headline
    sections : list of Section
    """

    subject: str
    headlines: list[Headline]
    sections: list[Section]


def is_reconstruction(run: Path | str) -> bool:
    """Whether a path looks like the zarr of a reconstruction; else it looks like an evaluation.

    Raises
    ------
    InputError
        If it is neither.
    """
    path = Path(run)
    if (path / "scores.json").is_file():
        return False
    if (path / ".zattrs").is_file() or (path / "zarr.json").is_file():
        return True
    there = "" if path.exists() else ", where there is nothing"
    raise InputError(
        f"run must be an output of peculiar reconstruct or peculiar evaluate, got {run}{there}: check the path"
    )


def reconstruction_sections(run: Reconstruction | Path, *, objects: Path | None = None) -> Reconstructed:
    """Describe a reconstruction.

    Parameters
    ----------
    run : Reconstruction or path
    objects : Path, optional
        Objects table of the same reconstruction.

    Raises
    ------
    InputError
        If it lacks density or velocity, or the table its added columns.
    """
    made = reconstruction(run)
    missing = [name for name in ("density", "velocity") if name not in made]
    if missing:
        raise InputError(f"reconstruction must hold density and velocity, got no {' and no '.join(missing)}")
    fields, attributes = dict(made), _attributes(made)
    observer = attributes.get("observer")
    place = None if observer is None else (float(observer[0]), float(observer[1]), float(observer[2]))
    table = None
    if objects is not None:
        table = _selected(_read_objects(objects), attributes, fields["density"].box)
    positions = None if table is None else _positions(table)
    box = fields["density"].box
    coverage = None
    if positions is not None and not box.periodic:
        fields, coverage = cropped(fields, observed_cells(positions, box), observer=place)
    name = str(attributes.get("model", "reconstruction"))
    count = int(attributes.get("objects", 0))
    kind = "a survey seen from inside" if attributes.get("line_of_sight") == "radial" else "a box"
    subject = (
        f"Real-space density and velocity of the matter around {count:,} objects in redshift space, {kind}, by {name} "
        f"on a mesh of {_mesh_text(box)} cells of {box.cell_size:.2f} Mpc/h."
    )
    sections = [
        _view(fields, coverage, place),
        _maps(fields, coverage, place, positions),
        *_flow(fields, coverage, place if made.on_the_sky else None, attributes),
        _velocities(fields, coverage, table),
        _made(attributes, box),
    ]
    headlines = [
        Headline(
            f"{count:,}", "objects reconstructed", f"{float(attributes['number_density']):.1e} per (Mpc/h)³"
        ),
        *_speed_headline(fields["velocity"], coverage),
    ]
    if table is not None:
        spread = float(np.std(np.asarray(table["v_los"], dtype=float)))
        headlines.append(Headline(f"{spread:.0f} km/s", "rms line-of-sight velocity of the objects"))
    return Reconstructed(subject, headlines, sections)


def read_survey_flow(run: Reconstruction | Path | str, *, objects: Path | str | None = None) -> SurveyFlow:
    """Read a reconstructed survey, cut to what it observes, for maps and superclusters.

    Parameters
    ----------
    run : Reconstruction or path
        Of `peculiar reconstruct --sky`.
    objects : path, optional
        Table of `--at-objects` of the same reconstruction: tells what was observed. A reconstruction that was not read
        from a file knows its objects.

    Raises
    ------
    InputError
        If it lacks density or velocity or is of no survey on the sky, or the table its added columns.
    """
    made = reconstruction(run)
    if not {"density", "velocity"} <= set(made) or made.observer is None or not made.on_the_sky:
        raise InputError(
            f"field must be of a survey on the sky, got {made.model or run}: reconstruct with --sky"
        )
    observer, box, attributes = made.observer, made.box, _attributes(made)
    if objects is None:
        positions = made.at_objects().positions_real
    else:
        positions = _positions(_selected(_read_objects(Path(objects)), attributes, box))
    fields, coverage = cropped(dict(made), observed_cells(positions, box), observer=observer)
    return survey_flow(fields, coverage, observer, attributes)


def survey_flow(
    fields: dict[str, Field],
    coverage: Bool[np.ndarray, "x y z"],
    observer: tuple[float, float, float],
    attributes: dict[str, Any],
) -> SurveyFlow:
    """Put the fields of a survey together with what its attributes tell."""
    return SurveyFlow(
        fields["density"],
        fields["velocity"],
        coverage,
        observer,
        Cosmology(**_mapping(attributes["cosmology"])),
        float(attributes["redshift"]),
    )


def observed_cells(positions: Float[np.ndarray, "n 3"], box: Box) -> Bool[np.ndarray, "x y z"]:
    """Return the cells near objects: their smoothed number is at least 8 % of its mean over the cells that hold any."""
    open_box = replace(box, periodic=False)
    counts = paint(positions, open_box)
    smoothed = gaussian(Field(counts, open_box, ("objects",)), REACH).data[0]
    typical = smoothed[counts[0] > 0].mean()
    return np.asarray((smoothed > OBSERVED * typical).cpu().numpy())


def cropped(
    fields: dict[str, Field],
    coverage: Bool[np.ndarray, "x y z"],
    *,
    observer: tuple[float, float, float] | None,
) -> tuple[dict[str, Field], Bool[np.ndarray, "x y z"]]:
    """Cut the smallest cube that holds the observed cells, and the observer where the box does.

    Where it reaches beyond the faces of a box with three sides, nothing is observed, and the fields are 0.
    """
    fields, coverage = _in_cube(fields, coverage)
    box = fields["density"].box
    seen = np.argwhere(coverage)
    if observer is not None and box.contains(np.asarray([observer]))[0]:
        cell = (np.asarray(observer) - np.asarray(box.origin)) / box.cell_size
        seen = np.vstack([seen, np.minimum(cell.astype(int), box.mesh - 1)])
    low, high = seen.min(axis=0), seen.max(axis=0) + 1
    cells = min(int((high - low).max()) + 8, box.mesh)
    start = np.clip((low + high - cells) // 2, 0, box.mesh - cells)
    cut = tuple(slice(int(first), int(first) + cells) for first in start)
    x, y, z = (float(o + i * box.cell_size) for o, i in zip(box.origin, start, strict=True))
    part = Box(cells * box.cell_size, cells, (x, y, z), periodic=False)
    inside = {
        name: field.replace(data=field.data[(slice(None), *cut)], box=part) for name, field in fields.items()
    }
    return inside, coverage[cut]


def _in_cube(
    fields: dict[str, Field], coverage: Bool[np.ndarray, "x y z"]
) -> tuple[dict[str, Field], Bool[np.ndarray, "x y z"]]:
    box = fields["density"].box
    side = max(box.shape)
    below = [(side - n) // 2 for n in box.shape]
    x, y, z = ((low, side - n - low) for low, n in zip(below, box.shape, strict=True))
    corner = [o - low * box.cell_size for o, low in zip(box.origin, below, strict=True)]
    cube = Box(side * box.cell_size, side, (corner[0], corner[1], corner[2]), periodic=False)
    larger = {
        name: field.replace(data=torch.nn.functional.pad(field.data, (*z, *y, *x)), box=cube)
        for name, field in fields.items()
    }
    return larger, np.pad(coverage, (x, y, z))


def _speed_headline(velocity: Field, coverage: np.ndarray | None) -> list[Headline]:
    speed = torch.linalg.vector_norm(velocity.data, dim=0).numpy()
    inside = speed if coverage is None else speed[coverage]
    where = "over the box" if coverage is None else "where objects are"
    scatter = f"scatter {inside.std():.0f} km/s, {where}"
    return [Headline(f"{inside.mean():.0f} km/s", "mean speed |v| of the matter", scatter)]


def _view(
    fields: dict[str, Field], coverage: np.ndarray | None, observer: tuple[float, float, float] | None
) -> Section:
    box = fields["density"].box
    volume = Volume(
        coarsen(fields["density"].numpy(), VOLUME_CELLS)[0],
        coarsen(fields["velocity"].numpy(), VOLUME_CELLS),
        box.side,
        origin=box.origin,
        periodic=box.periodic,
        coverage=None if coverage is None else coarsen(coverage[None].astype(float), VOLUME_CELLS)[0] > 0.5,
    )
    caption = (
        "Drag to turn, scroll to zoom. Surfaces of equal density in grey; lines follow the velocity. The slider moves "
        "a slice through the density."
    )
    paper = (
        "Lines follow the velocity; grey dots: the 2 % of cells that are densest; floor: density of the lowest "
        "layer."
    )
    still = html.picture(flow_view(volume), paper, alternative="The flow", vector=False)
    body = html.view(
        interactive({"reconstruction": volume}, name="reconstructed", observer=observer), caption, still=still
    )
    return Section("The flow around us" if observer is not None else "The flow in three dimensions", body)


def _maps(
    fields: dict[str, Field],
    coverage: np.ndarray | None,
    observer: tuple[float, float, float] | None,
    positions: np.ndarray | None,
) -> Section:
    box = fields["density"].box
    layers = max(1, round(SLAB_THICKNESS / box.cell_size))
    starts = [_start(axis, box, layers, observer) for axis in range(3)]
    weight = np.ones(fields["density"].data.shape[1:]) if coverage is None else coverage
    seen = [
        float(np.moveaxis(weight, axis, 0)[starts[axis] : starts[axis] + layers].mean()) for axis in range(3)
    ]
    chosen = sorted(sorted(range(3), key=lambda axis: -seen[axis])[:2], reverse=True)
    slabs, objects, masks = [], [], []
    for axis in chosen:
        kept = [a for a in range(3) if a != axis]
        rows = slice(starts[axis], starts[axis] + layers)
        values = {
            name: np.moveaxis(fields[name].numpy(), 1 + axis, -1)[..., rows]
            for name in ("density", "velocity")
        }
        thickness = layers * box.cell_size
        origin = box.origin[kept[0]], box.origin[kept[1]]
        slabs.append(Slab(values, box.side, thickness, axes=("xyz"[kept[0]], "xyz"[kept[1]]), origin=origin))
        if positions is not None and coverage is not None:
            low = box.origin[axis] + starts[axis] * box.cell_size
            inside = (positions[:, axis] >= low) & (positions[:, axis] < low + thickness)
            objects.append(positions[inside][:, kept])
            masks.append(np.moveaxis(coverage, axis, -1)[..., rows].mean(axis=-1) > 0.5)
    figure = observer_slices(slabs, observer=observer, objects=objects or None, coverage=masks or None)
    caption = (
        f"Slabs of {slabs[0].thickness:.0f} Mpc/h"
        + (" through the observer (star)" if observer is not None else " through the middle")
        + ". Greys: density of the dark matter in real space, averaged over the slab; arrows: its velocity in the plane"
        + ("; blue: objects at their real-space positions; blank: not observed." if objects else ".")
    )
    body = html.picture(figure, caption, alternative="Density and velocity", vector=False)
    return Section("Maps", body)


def _start(axis: int, box: Box, layers: int, observer: tuple[float, float, float] | None) -> int:
    """First layer of a slab through the observer, or through the middle where there is none in the box."""
    middle = (box.mesh - layers) // 2
    if observer is None or not 0 <= observer[axis] - box.origin[axis] <= box.side:
        return middle
    cell = int((observer[axis] - box.origin[axis]) / box.cell_size)
    return min(max(cell - layers // 2, 0), box.mesh - layers)


def _flow(
    fields: dict[str, Field],
    coverage: np.ndarray | None,
    observer: tuple[float, float, float] | None,
    attributes: dict[str, Any],
) -> list[Section]:
    """Return the section about potential and superclusters: of surveys on the sky only, whose axes are celestial."""
    if coverage is None or observer is None:
        return []
    try:
        return [flow_section(survey_flow(fields, coverage, observer, attributes))]
    except InputError:  # a survey of a few cells has no inside whose convergence could be told
        return []


def _velocities(fields: dict[str, Field], coverage: np.ndarray | None, table: Table | None) -> Section:
    component = fields["velocity"].numpy().reshape(3, -1)
    if coverage is not None:
        component = component[:, coverage.ravel()]
    samples = {"matter, one component": component.ravel()[:: max(1, component.size // 300_000)]}
    if table is not None:
        samples["objects, line of sight"] = np.asarray(table["v_los"], dtype=float)
    figure = velocity_histogram(samples)
    caption = "Reconstructed velocities; positive along the line of sight is away from the observer."
    return Section("Velocities", html.picture(figure, caption, alternative="Distribution of velocities"))


def _made(attributes: dict[str, Any], box: Box) -> Section:
    values = _mapping(attributes["cosmology"])
    entries = [
        ("model", str(attributes.get("model"))),
        ("box", f"{box.extent}, {_mesh_text(box)} cells, {'periodic' if box.periodic else 'not periodic'}"),
        ("redshift", f"{float(attributes['redshift']):.3f}"),
        ("line of sight", str(attributes.get("line_of_sight"))),
        ("cosmology", ", ".join(f"{key} = {value:g}" for key, value in values.items())),
    ]
    return Section(
        "How the fields were made", html.facts(entries) + html.record(_mapping(attributes["provenance"]))
    )


def _read_objects(path: Path) -> Table:
    from peculiar.catalogues import read_table

    table = read_table(path)
    missing = [name for name in ("v_los", "x_real", "y_real", "z_real") if name not in table.colnames]
    if missing:
        raise InputError(
            f"objects must be a table of peculiar reconstruct --at-objects, got no {missing} in {path}"
        )
    return table


def _selected(table: Table, attributes: dict[str, Any], box: Box) -> Table:
    """Rows of the table that were reconstructed from: inside the box, and in the distance range of a survey."""
    positions = _positions(table)
    chosen = np.isfinite(positions).all(axis=1)
    chosen[chosen] = box.contains(positions[chosen])
    limits = _mapping(attributes["provenance"]).get("settings", {}).get("distance_range")
    observer = attributes.get("observer")
    if limits and observer is not None:
        distance = np.linalg.norm(positions - np.asarray(observer, dtype=float), axis=1)
        chosen &= (distance >= limits[0]) & (distance <= limits[1])
    if not chosen.any():
        raise InputError(
            f"objects must lie in the fields, got none of {len(table)} inside: is it the same catalogue?"
        )
    return table[chosen]


def _positions(table: Table) -> Float[np.ndarray, "n 3"]:
    """Real-space positions [Mpc/h]."""
    return np.column_stack([np.asarray(table[f"{axis}_real"], dtype=float) for axis in "xyz"])


def _attributes(made: Reconstruction) -> dict[str, Any]:
    """Return the attributes, once they are found to be those of an output of reconstruct."""
    found = made.attributes()
    box = made.box
    own = {"box_size": box.size, "box_units": "Mpc/h", "box_origin": box.origin, "periodic": box.periodic}
    checked(ReconstructionAttributes, own | found, where="reconstruction", remedy=REMEDY)
    return found


def _mesh_text(box: Box) -> str:
    return box.mesh_text.replace("^3", "³")


def _mapping(value: Any) -> dict[str, Any]:
    """Attributes of zarr hold mappings as JSON."""
    return dict(json.loads(value) if isinstance(value, str) else value)
