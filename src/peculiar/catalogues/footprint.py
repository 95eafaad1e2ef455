"""The footprint of a survey: where it looked, from where to where, and how densely. Mocks and training share it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float

from peculiar.catalogues.luminosity import Schechter, selection_from_luminosity
from peculiar.catalogues.sample import read_survey
from peculiar.catalogues.selection import RadialSelection, completeness
from peculiar.catalogues.sky import SkyMask
from peculiar.catalogues.survey import Survey
from peculiar.core import Box, Cosmology, Field, InputError

FINEST = 64  # nside of the directions that the extent is taken from: 0.9 degrees
LEAST_COVERED = 0.5
"""Share of a cube's cells that a survey must have seen, where the cube is placed at random."""
_DRAWS = 200
_FINEST_PIXELS = 2**24
"""nside of the places that random points are drawn from: 0.01 arcseconds."""
_DRAWN_DISTANCES = 8193


@dataclass(frozen=True, eq=False)
class Footprint:
    """A survey's mask and n(r) about an observer at (0, 0, 0).

    Attributes
    ----------
    mask : SkyMask
    n_of_r : RadialSelection
        Between the survey's limits.
    luminosity_function : Schechter or None
        Of a flux-limited survey.
    """

    mask: SkyMask
    n_of_r: RadialSelection
    luminosity_function: Schechter | None = None

    @property
    def limits(self) -> tuple[float, float]:
        """Nearest and farthest distance [Mpc/h]."""
        return float(self.n_of_r.distances[0]), float(self.n_of_r.distances[-1])

    def covers(self, region: Box) -> Field:
        """Return the completeness on a region's mesh."""
        return completeness(region, self.mask, n_of_r=self.n_of_r)

    @cached_property
    def extent(self) -> tuple[Float[np.ndarray, " 3"], Float[np.ndarray, " 3"]]:
        """Lower and upper corner of what is covered [Mpc/h]."""
        import healpy

        nside = max(self.mask.nside, FINEST)
        directions = np.stack(healpy.pix2vec(nside, np.arange(12 * nside**2)), axis=1)
        seen = directions[self.mask.at(directions) > 0]
        near, far = self.limits
        points = np.concatenate([near * seen, far * seen])
        return points.min(axis=0), points.max(axis=0)

    def draw(
        self, number: int, random: np.random.Generator
    ) -> tuple[Float[np.ndarray, "n 3"], Float[np.ndarray, " n"]]:
        """Return random points with the mask and n(r): unit vectors in celestial axes, and distances [Mpc/h]."""
        import healpy

        chosen = random.choice(
            len(self.mask.values), size=number, p=self.mask.values / self.mask.values.sum()
        )
        finer = _FINEST_PIXELS // self.mask.nside
        inside = healpy.ring2nest(self.mask.nside, chosen) * finer**2 + random.integers(finer**2, size=number)
        sight = np.stack(healpy.pix2vec(_FINEST_PIXELS, inside, nest=True), axis=1)
        if self.mask.frame == "galactic":
            sight = sight @ healpy.Rotator(coord=["C", "G"]).mat
        distance = np.linspace(*self.limits, _DRAWN_DISTANCES)
        expected = self.n_of_r.cumulative(distance)
        places = np.interp(random.random(number), expected / expected[-1], distance)
        return sight, places

    def best(self, inner: Box) -> tuple[float, float, float]:
        """Return the lower corner at which a cube holds the most objects, on a grid of two cells."""
        reach = self.limits[1]
        step = 2 * inner.cell_size
        side = int(np.ceil(2 * reach / step)) + 1
        whole = Box(side * step, side, origin=(-reach, -reach, -reach), periodic=False)
        seen = self.covers(whole).numpy()[0].astype(np.float64)
        width = round(inner.side / step)
        sums = np.pad(seen, ((1, 0),) * 3).cumsum(0).cumsum(1).cumsum(2)
        for axis in range(3):
            sums = np.take(sums, range(width, side + 1), axis) - np.take(sums, range(side + 1 - width), axis)
        corner = np.unravel_index(int(sums.argmax()), sums.shape)
        x, y, z = (float(-reach + step * index) for index in corner)
        return x, y, z

    def random(self, inner: Box, random: np.random.Generator) -> tuple[float, float, float]:
        """Return a lower corner at which the survey saw at least half of a cube's cells.

        Raises
        ------
        InputError
            If 200 places in a row did not do.
        """
        reach = self.limits[1]
        coarse = inner.with_cells(max(inner.mesh // 5, 2))
        for _ in range(_DRAWS):
            x, y, z = random.uniform(-reach, reach - inner.side / 2, size=3).tolist()
            there = Box(inner.side, coarse.mesh, origin=(x, y, z), periodic=False)
            if float((self.covers(there).data > 0).float().mean()) >= LEAST_COVERED:
                return x, y, z
        raise InputError(
            f"survey must cover half of a cube of {inner.side:g} Mpc/h somewhere, got no such place: take smaller "
            "cubes, or a survey that reaches farther"
        )


def read_footprint(survey: Survey, *, cosmology: Cosmology, galaxies: Path | None = None) -> Footprint:
    """Read the footprint that a survey file describes.

    n(r) is measured in the survey's galaxies. Without any it is that of the file's table; or it is flat, or follows
    from the luminosity function in the file, and only its shape means anything.

    Parameters
    ----------
    survey : Survey
    cosmology : Cosmology
        Of distances.
    galaxies : path, optional
        The survey's catalogue.

    Raises
    ------
    InputError
        If the survey has no mask, has randoms, or nothing tells its n(r) or its limits.
    """
    if survey.randoms:
        raise InputError(
            f"a footprint must be a mask alone, got randoms {', '.join(map(str, survey.randoms))}: make a HEALPix map "
            "of the randoms and take randoms out of the survey file"
        )
    if galaxies is not None:
        sample = read_survey(galaxies, survey, cosmology=cosmology)
        return Footprint(sample.mask, sample.n_of_r, sample.luminosity_function)
    limits, luminosity = survey.limits(cosmology), survey.luminosity_function
    table = survey.n_of_z
    if table is None and (limits is None or (survey.radial != "flat" and luminosity is None)):
        problem = (
            "a footprint without galaxies must have n(z), or limits, and be flat or have a luminosity function, "
            "got"
        )
        found = f"radial = {survey.radial!r} and limits {limits}"
        raise InputError(
            f"{problem} {found}: name galaxies in the survey file",
            command=f"{problem} {found}: give the survey's own galaxies, or name them in the survey file",
        )
    mask = survey.sky_mask()
    if mask is None:
        raise InputError(
            "a footprint must have a mask, got none: give the mask, or name it in the survey file",
            command="a footprint must have a mask, got none: give --mask FILE, or name it in the survey file",
        )
    if table is not None:
        return Footprint(mask, table.selection(cosmology, limits=limits))
    assert limits is not None
    if luminosity is None or survey.flux_limit is None:
        return Footprint(mask, RadialSelection(np.array(limits), np.ones(2)))
    shape = luminosity.schechter
    n_of_r = selection_from_luminosity(
        shape,
        survey.flux_limit,
        cosmology=cosmology,
        distance_range=limits,
        solid_angle=mask.solid_angle,
        total=1.0,
    )
    return Footprint(mask, n_of_r, shape)
