"""The part of a report about a reconstruction: maps, velocities, what was done; a survey has no truth."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float

from peculiar.catalogues.table_file import TableFile
from peculiar.core import Box, Field, InputError
from peculiar.core.cosmologies import cosmology_settings
from peculiar.core.records import checked
from peculiar.fields.files import REMEDY, ReconstructionAttributes, refuse_hdf5
from peculiar.fields.observed import cropped, in_cube, observed_cells
from peculiar.figures import report as html
from peculiar.figures.reconstruction import map_section, speed_headline, velocity_section, view_section
from peculiar.figures.report import Headline, Section
from peculiar.inference.given import field_name, reconstruction
from peculiar.inference.reconstruction import Reconstruction
from peculiar.workflows.flow_maps import SurveyFlow, flow_section

if TYPE_CHECKING:
    from astropy.table import Table


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
    refuse_hdf5(path)
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
    attributes = _attributes(made)
    table = None if objects is None else _selected(_read_objects(objects), made)
    positions = None if table is None else _positions(table)
    v_los = None if table is None else np.asarray(table["v_los"], dtype=float)
    fields, box, coverage = dict(made), made.box, None
    if positions is not None and not box.periodic:
        fields, coverage = cropped(fields, observed_cells(positions, box), observer=made.observer)
    elif not box.is_cube:
        fields, coverage = in_cube(fields, np.ones(box.shape, dtype=bool))
    count = int(attributes["objects"])
    kind = "a survey seen from inside" if made.line_of_sight == "radial" else "a box"
    subject = (
        f"Real-space density and velocity of the matter around {count:,} objects in redshift space, {kind}, by "
        f"{made.model} on a mesh of {_mesh_text(box)} cells of {box.cell_size:.2f} Mpc/h."
    )
    sections = [
        view_section(fields, coverage=coverage, observer=made.observer),
        map_section(fields, coverage=coverage, observer=made.observer, positions=positions),
        *_flow(made, fields, coverage),
        velocity_section(fields["velocity"], coverage=coverage, objects=v_los),
        _made(made, attributes),
    ]
    headlines = [
        Headline(
            f"{count:,}", "objects reconstructed", f"{float(attributes['number_density']):.1e} per (Mpc/h)³"
        ),
        speed_headline(fields["velocity"], coverage=coverage),
    ]
    if v_los is not None:
        headlines.append(Headline(f"{v_los.std():.0f} km/s", "rms line-of-sight velocity of the objects"))
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
        kind = "fields without density and velocity" if made.on_the_sky else "a box"
        raise InputError(
            f"field must hold density and velocity of a survey on the sky, got {kind} in {field_name(run)}: "
            "reconstruct with --sky; `peculiar report` shows boxes"
        )
    _attributes(made)
    if objects is None:
        positions = made.at_objects().positions_real
    else:
        positions = _positions(_selected(_read_objects(Path(objects)), made))
    fields, coverage = cropped(dict(made), observed_cells(positions, made.box), observer=made.observer)
    return SurveyFlow(replace(made, fields=fields), coverage)


def _flow(
    made: Reconstruction, fields: dict[str, Field], coverage: Bool[np.ndarray, "x y z"] | None
) -> list[Section]:
    """Return the section about potential and superclusters: of surveys on the sky only, whose axes are celestial."""
    if coverage is None or not made.on_the_sky:
        return []
    try:
        return [flow_section(SurveyFlow(replace(made, fields=fields), coverage))]
    except InputError:  # a survey of a few cells has no inside whose convergence could be told
        return []


def _made(made: Reconstruction, attributes: dict[str, Any]) -> Section:
    assert made.cosmology is not None
    box = made.box
    values = cosmology_settings(made.cosmology)
    entries = [
        ("model", made.model),
        ("box", f"{box.extent}, {_mesh_text(box)} cells, {'periodic' if box.periodic else 'not periodic'}"),
        ("redshift", f"{made.redshift:.3f}"),
        ("line of sight", str(made.line_of_sight)),
        ("cosmology", ", ".join(f"{key} = {value:g}" for key, value in values.items())),
    ]
    how = html.facts(entries) + html.record(json.loads(attributes["provenance"]))
    return Section("How the fields were made", how)


def _read_objects(path: Path) -> Table:
    from astropy.table import Table

    needed = ("v_los", "x_real", "y_real", "z_real")
    table = TableFile(path, needed)
    missing = [name for name in needed if name not in table.colnames]
    if missing:
        raise InputError(
            f"objects must be a table of peculiar reconstruct --at-objects, got no {missing} in {path}"
        )
    return Table({name: table[name] for name in needed}, copy=False)


def _selected(table: Table, made: Reconstruction) -> Table:
    """Rows of the table that were reconstructed from: inside the box, and in the distance range of a survey."""
    positions = made.box.settled(_positions(table))
    chosen = np.isfinite(positions).all(axis=1)
    chosen[chosen] = made.box.contains(positions[chosen])
    limits = made.provenance.get("settings", {}).get("distance_range")
    if limits and made.observer is not None:
        distance = np.linalg.norm(positions - np.asarray(made.observer), axis=1)
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
