"""Ways in which simulated boxes are observed for training."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from pydantic import Field as Setting
from pydantic import field_validator, model_validator

from peculiar.core.box import Box
from peculiar.core.catalogue import Catalogue
from peculiar.core.field import Field
from peculiar.linear.isolated import linear_displacement
from peculiar.linear.overdensity import fourier_box
from peculiar.simulate.mocks import SimulatedBox
from peculiar.training.settings import Frozen

Range = float | tuple[float, float]
SMALLEST_REGION, LARGEST_REGION = 0.5, 0.9
"""Sides of what is seen of a box, over the box's."""
UNSEEN_SMOOTHING = 5.0
"""Of the density whose flow counts as that of unseen matter [Mpc/h]."""
FAINTEST = 0.02
"""Expected fraction of the mean density in the farthest cells of a survey."""


class Variant(Frozen):
    """One way to observe a box; of two numbers each box has its own between them."""

    number_density: Range = Setting(3e-3, description="(h/Mpc)^3, drawn evenly in the logarithm")
    satellite_fraction: Range = 0.0
    line_of_sight: Literal["x", "y", "z", "radial"] = "z"
    space: Literal["redshift", "real"] = "redshift"
    ranked: bool = Setting(True, description="whether the catalogue has masses to rank by")
    thinned: bool = Setting(False, description="whether objects are chosen at random, not by mass")
    region: Literal["whole", "faces", "survey"] = Setting(
        "whole",
        description="what is seen of the box: all, a block, or a cone from a radial observer that thins with distance",
    )

    @field_validator("number_density", "satellite_fraction")
    @classmethod
    def _range(cls, value: Range, info: object) -> Range:
        low, high = value if isinstance(value, tuple) else (value, value)
        if getattr(info, "field_name", "") == "number_density":
            if not 0 < low <= high:
                raise ValueError("number_density must be > 0, and rise")
        elif not 0 <= low <= high < 1:
            raise ValueError("satellite_fraction must lie in [0, 1), and rise")
        return value

    @model_validator(mode="after")
    def _observed(self) -> Variant:
        if self.region == "survey" and self.line_of_sight != "radial":
            raise ValueError("region 'survey' must have line_of_sight 'radial'")
        return self

    def bounds(self, name: Literal["number_density", "satellite_fraction"]) -> tuple[float, float]:
        """Return the least and the greatest value of a setting."""
        value = getattr(self, name)
        return value if isinstance(value, tuple) else (value, value)


def observe(
    box: SimulatedBox, variant: Variant, *, seed: int, velocities: Literal["host", "own"] = "host"
) -> Catalogue:
    """Draw a variant's catalogue.

    A radial observer stands at random, at most one box side outside. Of a range of densities those count that the box
    holds.

    Parameters
    ----------
    box : SimulatedBox
    variant : Variant
    seed : int
        Of all that is drawn, mixed with the box's own.
    velocities : {"host", "own"}
        That the objects have: those of the halos that they live in, or their own.
    """
    random = np.random.default_rng([box.seed, seed])
    observer: tuple[float, float, float] | None = None
    if variant.line_of_sight == "radial":
        x, y, z = random.uniform(-box.box.side, 2 * box.box.side, size=3).tolist()
        observer = (x, y, z)
    drawn = np.random.default_rng([box.seed, seed, round(1000 * box.redshift)])
    low, high = variant.bounds("number_density")
    satellites = float(drawn.uniform(*variant.bounds("satellite_fraction")))
    density = low
    if low < high:
        high = min(high, len(box.halos) / box.box.volume)
        density = float(np.exp(drawn.uniform(np.log(min(low, high / 2)), np.log(high))))
        density, satellites = float(f"{density:.4g}"), round(satellites, 4)
    galaxies = box.galaxies(high if variant.thinned else density, satellite_fraction=satellites, seed=seed)
    catalogue = box.observed(
        galaxies, line_of_sight=variant.line_of_sight, observer=observer, space=variant.space
    )
    if velocities == "host":
        catalogue = catalogue.replace(velocities=box.halos.velocities[galaxies.host])
    if variant.thinned:
        catalogue = chosen(catalogue, drawn.random(len(catalogue)) < density / high)
    if not variant.ranked:
        catalogue = catalogue.replace(masses=None)
    return catalogue if variant.region == "whole" else _seen(catalogue, box.box, variant, drawn)


def chosen(catalogue: Catalogue, rows: np.ndarray) -> Catalogue:
    """Return a catalogue with some of its objects."""
    return catalogue.replace(
        positions=catalogue.positions[rows],
        **{
            name: values[rows]
            for name in ("velocities", "masses", "weights")
            if (values := getattr(catalogue, name)) is not None
        },
    )


def _seen(catalogue: Catalogue, box: Box, variant: Variant, random: np.random.Generator) -> Catalogue:
    """Return what a survey sees of a periodic box: its completeness is on the box's mesh."""
    lower = random.uniform(SMALLEST_REGION, LARGEST_REGION, size=3)
    corner = random.uniform(0, 1 - lower)
    places = [(np.arange(box.mesh) + 0.5) / box.mesh] * 3
    inside = [(x >= start) & (x < start + size) for x, start, size in zip(places, corner, lower, strict=True)]
    seen = (inside[0][:, None, None] & inside[1][:, None] & inside[2]).astype(np.float32)
    if variant.region == "survey":
        observer = catalogue.observer
        assert observer is not None
        x, y, z = ((place * box.side - at) ** 2 for place, at in zip(places, observer, strict=True))
        distance = np.sqrt(x[:, None, None] + y[:, None] + z)
        near, far = distance[seen > 0].min(), distance[seen > 0].max()
        seen *= np.exp((distance - near) / (far - near) * np.log(random.uniform(FAINTEST, 1))).clip(max=1)
    region = Box(box.side, box.mesh, periodic=False)
    index = np.minimum((catalogue.positions / box.cell_size).astype(int), box.mesh - 1)
    rows = random.random(len(catalogue)) < seen[tuple(index.T)]
    completeness = Field(torch.from_numpy(seen)[None], region, ["completeness"], space="redshift")
    return chosen(catalogue, rows).replace(box=region, completeness=completeness)


def isolated_velocity(
    box: SimulatedBox, catalogue: Catalogue, linear_density: Float[torch.Tensor, "1 x y z"]
) -> Float[torch.Tensor, "3 x y z"]:
    """Return the true velocity [km/s], but that unseen matter pulls as the linear estimate expects.

    A network cannot know the flow that matter beyond a survey causes; in a periodic box that matter is also another one
    than in the sky, for its waves end at the box. So the flow of unseen matter, and of the images of what is seen, is
    taken out, and that of the estimate's density beyond what is seen put in its place (a control variate).

    Parameters
    ----------
    box : SimulatedBox
    catalogue : Catalogue
        With completeness, on the mesh of the box.
    linear_density : (1, x, y, z)
        The linear estimate.
    """
    assert catalogue.completeness is not None
    seen = (catalogue.completeness.data[0] > 0).float()
    region = catalogue.completeness.box
    grid = fourier_box(region)
    delta = box.density.data[0]
    unseen = linear_displacement(delta, box.box, smoothing=UNSEEN_SMOOTHING)
    unseen -= linear_displacement(delta * seen, region, grid=grid, smoothing=UNSEEN_SMOOTHING)
    expected = linear_displacement(linear_density[0] * (1 - seen), region, grid=grid)
    factor = box.cosmology.velocity_factor(box.redshift)
    return box.velocity.data + factor * (expected - unseen)
