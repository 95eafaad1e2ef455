"""Isolated cubes of `peculiar mock`: tables with their truth, for any reader of catalogues.

The cubes that networks train on and are evaluated in are those of `peculiar.training.survey_cubes`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from peculiar.core import Box, Catalogue, Field, InputError
from peculiar.core.catalogue import LineOfSight
from peculiar.simulate.mocks import SimulatedBox
from peculiar.simulate.regions import observe_region
from peculiar.workflows.mock_table import documented_table

if TYPE_CHECKING:
    from astropy.table import Table

CubePattern = Literal["axis", "centre", "random"]


def isolated_cube(size: float, box: Box) -> Box:
    """Return an isolated cube in cells of the simulated box, its corner at the origin.

    Raises
    ------
    InputError
        If the size is no number of whole cells, or does not fit into the box.
    """
    cells = round(size / box.cell_size) if np.isfinite(size) else 0
    if cells < 2 or cells > box.mesh or abs(cells * box.cell_size / size - 1) > 1e-6:
        raise InputError(
            f"cube must be whole cells of {box.cell_size:g} Mpc/h and fit into boxes of {box.side:g} Mpc/h, got "
            f"{size:g} Mpc/h: change --cube, or simulate larger boxes"
        )
    return Box(size, cells, periodic=False)


def mock_cube(
    simulated: SimulatedBox,
    tracers: Catalogue,
    cube: Box,
    *,
    pattern: CubePattern,
    masses: bool,
    seed: int,
) -> tuple[Table, dict[str, Field], dict[str, Any]]:
    """Return the mock of a cube at a random place of a box, by the patterns of section 3 of Wang et al. (2024).

    Parameters
    ----------
    simulated : SimulatedBox
    tracers : Catalogue
        Of the whole box in real space.
    cube : Box
        See `isolated_cube`.
    pattern : "axis", "centre" or "random"
        Lines of sight: along z, radial from the cube's centre, radial from a random observer in the periodic box.
    masses : bool
        Whether the table has a column "mass", which readers use.
    seed : int
        Of the place and the observer.

    Returns
    -------
    table, fields, facts
        The catalogue in the format of `write_catalogue` with its truth, "density", "velocity" and "momentum", and what
        the record tells.
    """
    rng = np.random.default_rng([simulated.seed, seed, 13])
    i, j, k = (int(cell) for cell in rng.integers(0, simulated.box.mesh, 3))
    line_of_sight: LineOfSight = "z" if pattern == "axis" else "radial"
    observer = None
    if pattern == "centre":
        observer = (cube.side / 2,) * 3
    elif pattern == "random":
        x, y, z = ((cube.side - simulated.box.side) / 2 + simulated.box.side * rng.random(3)).tolist()
        observer = (x, y, z)
    seen = observe_region(
        simulated,
        tracers,
        cube,
        at=(i, j, k),
        line_of_sight=line_of_sight,
        observer=observer,
        seed=seed,
    )
    catalogue = seen.catalogue
    velocities, halo_masses = catalogue.velocities, catalogue.masses
    assert velocities is not None
    assert halo_masses is not None
    columns: dict[str, Any] = dict(zip("xyz", catalogue.positions.T, strict=True))
    if masses:
        columns["mass"] = halo_masses
    columns |= dict(zip(("vx", "vy", "vz"), velocities.T, strict=True))
    columns["v_los"] = np.einsum("ij,ij->i", velocities, catalogue.sight_lines(seen.positions_real))
    columns |= dict(zip(("x_real", "y_real", "z_real"), seen.positions_real.T, strict=True))
    columns["halo_mass"] = halo_masses
    table = documented_table(columns)
    table["z"].unit, table["z"].description = table["x"].unit, table["x"].description
    table.meta.update(box_size=cube.side, redshift=simulated.redshift, space="redshift", los=line_of_sight)
    facts = {
        "pattern": pattern,
        "line_of_sight": line_of_sight,
        **({} if observer is None else {"observer": list(observer)}),
        "number_density": len(table) / cube.volume,
        "box_origin_cell": [i, j, k],
        "read_with": _reading(cube, simulated, line_of_sight, observer),
    }
    fields = {"density": seen.density, "velocity": seen.velocity, "momentum": seen.momentum}
    return table, fields, facts


def _reading(
    cube: Box,
    simulated: SimulatedBox,
    line_of_sight: str,
    observer: tuple[float, float, float] | None,
) -> str:
    """The options of `peculiar reconstruct` for a cube."""
    place = "" if observer is None else f" --observer={','.join(f'{x:.6g}' for x in observer)}"
    return (
        f"--box {cube.side:g} --cells {cube.mesh} --no-periodic --los {line_of_sight}{place} "
        f"--redshift {simulated.redshift:g}"
    )
