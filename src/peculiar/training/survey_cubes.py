"""Isolated cubes of large boxes as surveys see them: what networks for surveys train on and are judged by."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from pydantic import Field as Setting
from pydantic import model_validator

from peculiar.catalogues.luminosity import FluxLimit, Schechter, selection_from_luminosity
from peculiar.catalogues.selection import RadialSelection, completeness
from peculiar.catalogues.sky import ORIGIN, SkyMask, read_mask
from peculiar.catalogues.survey import load_survey
from peculiar.core.box import Box
from peculiar.core.catalogue import Catalogue, LineOfSight
from peculiar.core.cosmology import Cosmology
from peculiar.core.errors import InputError
from peculiar.core.field import Field
from peculiar.fields.calculus import displacement_from_fourier
from peculiar.linear.linear_theory import smoothed_fourier
from peculiar.linear.overdensity import sampling
from peculiar.models.channels import DENSITY_FLOOR, OUTPUTS, encode
from peculiar.simulate.mocks import SimulatedBox
from peculiar.simulate.regions import MockSurvey, TracerSettings, box_tracers, observe_region, with_margin
from peculiar.training.cache import box_key, cache_of, is_mesh, save_mesh
from peculiar.training.dataset import MeshPair
from peculiar.training.settings import Frozen

FORMAT = 1
CUBE_CELLS = 60
"""Of an isolated cube: 300 Mpc/h with cells of 5 Mpc/h (Wang et al. 2024)."""
MARGIN = 6
"""Cells around a cube that a network sees empty."""
FARTHEST_OBSERVER = 1500.0
"""Of a random observer from the cube's centre, along each axis [Mpc/h]: as far as another cube of their 3000 Mpc/h."""
LUMINOSITY = Schechter(M_star=-20.44, alpha=-1.05)
"""Of galaxies in r (Blanton et al. 2003, ApJ 592, 819)."""
FLUX_LIMIT = FluxLimit(faintest=17.6)
"""Of the SDSS main galaxy sample, r."""
UNSEEN_SMOOTHING = 5.0  # Mpc/h, of the density of matter that a survey did not see
_LEAST_COVERED = 0.5
"""Share of a cube's cells that a survey must have seen."""
_DRAWS = 200


class SurveyVariant(Frozen):
    """One way in which cubes are observed.

    The paper's three patterns of redshift space are "axis" (along z), "centre" (radial from the cube's centre) and
    "random" (radial from a random observer). "survey" places the cube at random in the SDSS DR7 footprint, with its
    completeness; "survey cube" at the place in it that is covered best.
    """

    name: str
    pattern: Literal["axis", "centre", "random", "survey", "survey cube"] = "random"
    radial: Literal["flat", "flux-limited"] = Setting("flat", description="of a survey")
    choice: Literal["all", "massive"] = "all"
    tracer_density: float | None = Setting(None, gt=0, description="of 'massive' [(h/Mpc)^3]")
    least_mass: float = Setting(0.0, ge=0, description="[Msun/h]")
    satellite_fraction: float = Setting(0.0, ge=0, lt=1)
    masses: bool = True
    number_density: float | None = Setting(
        None,
        gt=0,
        description="mean over the cube [(h/Mpc)^3], chosen at random; all tracers where not given",
    )
    cubes: int = Setting(8, gt=0, description="of each box, at random places")
    cells: int = Setting(CUBE_CELLS, gt=7, description="of a cube along a side")

    @model_validator(mode="after")
    def _consistent(self) -> SurveyVariant:
        self.tracers()
        if self.radial != "flat" and not self.pattern.startswith("survey"):
            raise ValueError("radial = 'flux-limited' needs the pattern 'survey' or 'survey cube'")
        return self

    @property
    def mesh(self) -> int:
        """Cells along a side of the mesh that a network sees: the cube with its margin."""
        return self.cells + 2 * MARGIN

    def tracers(self) -> TracerSettings:
        """Return which objects of a box are observed."""
        return TracerSettings(
            self.choice, self.tracer_density, self.least_mass, self.satellite_fraction, self.masses
        )


SAMPLES = {
    sample.name: sample
    for sample in (
        SurveyVariant(name="simulation"),
        SurveyVariant(name="simulation, along an axis", pattern="axis"),
        SurveyVariant(name="simulation, from the centre", pattern="centre"),
        SurveyVariant(name="above 1e12", least_mass=1e12),
        SurveyVariant(
            name="galaxies", pattern="survey cube", radial="flux-limited", number_density=7.8e-3, masses=False
        ),
        SurveyVariant(name="groups", pattern="survey cube", radial="flux-limited", number_density=5.2e-3),
        SurveyVariant(
            name="volume-limited",
            pattern="survey cube",
            choice="massive",
            tracer_density=5.5e-3,
            satellite_fraction=0.2,
            masses=False,
        ),
    )
}
"""What networks for surveys are judged on: the paper's simulation and SDSS samples, and the SDSS sample of the demo."""


class Footprint:
    """The SDSS DR7 footprint with a radial selection.

    Parameters
    ----------
    radial : "flat" or "flux-limited"
        From 80 to 312 Mpc/h, as the volume-limited sample of the examples; or the main sample's to r = 17.6, from 20 to
        450 Mpc/h.
    cosmology : Cosmology
    """

    def __init__(self, radial: str, cosmology: Cosmology) -> None:
        survey = load_survey("sdss_dr7")
        assert survey.mask is not None
        self.mask: SkyMask = read_mask(survey.mask, complete_above=survey.complete_above)
        if radial == "flat":
            self.limits = survey.distances or (80.0, 312.0)
            self.n_of_r = RadialSelection(np.array(self.limits), np.ones(2))
        else:
            self.limits = (20.0, 450.0)
            self.n_of_r = selection_from_luminosity(
                LUMINOSITY,
                FLUX_LIMIT,
                cosmology=cosmology,
                distance_range=self.limits,
                solid_angle=self.mask.solid_angle,
                total=1.0,
            )

    def covers(self, region: Box) -> Field:
        """Return the completeness on a region's mesh."""
        return completeness(region, self.mask, n_of_r=self.n_of_r)

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
            if float((self.covers(there).data > 0).float().mean()) >= _LEAST_COVERED:
                return x, y, z
        raise InputError(
            f"survey must cover half of a cube of {inner.side:g} Mpc/h somewhere, got no such place"
        )


@lru_cache(maxsize=4)
def footprint(radial: str, cosmology: Cosmology) -> Footprint:
    """Return a `Footprint`, made once."""
    return Footprint(radial, cosmology)


def observe_cube(
    simulated: SimulatedBox,
    variant: SurveyVariant,
    *,
    number: int,
    tracers: Catalogue | None = None,
    margin: int = MARGIN,
    places: Literal["apart", "random"] = "apart",
) -> MockSurvey:
    """Observe one cube of a box.

    Parameters
    ----------
    simulated : SimulatedBox
    variant : SurveyVariant
    number : int
        Of the cube: with "apart" they tile the box, x slowest; with "random" each has its own place.
    tracers : Catalogue, optional
        Of `box_tracers`, where many cubes of one box are observed.
    margin : int
        Cells around the cube.
    places : "apart" or "random"

    Raises
    ------
    InputError
        If the box is smaller than two cubes along a side with "apart", or there is no such cube.
    """
    cells = variant.cells
    per_side = simulated.box.mesh // cells
    if places == "apart" and (per_side < 2 or not 0 <= number < per_side**3):
        raise InputError(
            f"cubes of {cells} cells must fit at least twice along a box's side and number be one of them, got cube "
            f"{number} of a box of {simulated.box.mesh} cells: simulate 600 Mpc/h with cells of 5 Mpc/h"
        )
    random = np.random.default_rng([simulated.seed, number, *variant.name.encode()])
    if places == "apart":
        corner = tuple(cells * int(i) for i in np.unravel_index(number, (per_side,) * 3))
    else:
        corner = tuple(random.integers(simulated.box.mesh, size=3).tolist())
    cell = simulated.box.cell_size
    inner = Box(cells * cell, cells, periodic=False)
    sight: LineOfSight = "radial"
    observer: tuple[float, float, float] | None = None
    expected: Field | None = None
    density = variant.number_density
    if variant.pattern == "axis":
        sight = "z"
    elif variant.pattern == "centre":
        observer = (inner.side / 2,) * 3
    elif variant.pattern == "random":
        x, y, z = (inner.side / 2 + random.uniform(-FARTHEST_OBSERVER, FARTHEST_OBSERVER, size=3)).tolist()
        observer = (x, y, z)
    else:
        survey = footprint(variant.radial, simulated.cosmology)
        place = survey.best(inner) if variant.pattern == "survey cube" else survey.random(inner, random)
        inner = Box(inner.side, cells, origin=place, periodic=False)
        observer = ORIGIN
    tracers = tracers or box_tracers(simulated, variant.tracers(), seed=simulated.seed)
    if variant.pattern.startswith("survey"):
        expected, density = _completeness(survey, inner, margin, tracers.number_density, density)
    return observe_region(
        simulated,
        tracers,
        inner,
        at=(corner[0], corner[1], corner[2]),
        margin=margin,
        number_density=density,
        completeness=expected,
        line_of_sight=sight,
        observer=observer,
        seed=number,
    )


def _completeness(
    survey: Footprint, inner: Box, margin: int, available: float, mean: float | None
) -> tuple[Field, float]:
    """Return the completeness, and the density where it is 1: the mean over the cube, which near galaxies exceed.

    Where the survey would hold more than there is, it holds what there is.
    """
    seen = survey.covers(with_margin(inner, margin))
    rows = slice(margin, margin + inner.mesh)
    inside = seen.data[0, rows, rows, rows].double()
    if mean is None:
        return seen, available
    peak = mean / float(inside.mean())
    for _ in range(50):  # the ceiling takes some away, so that the rest has to rise
        found = float((peak * inside).clamp(max=available).mean())
        if found >= 0.999 * mean:
            break
        peak *= mean / found
    return seen.replace(data=(seen.data * (peak / mean)).clamp(max=available / mean)), mean


def unseen_displacement(simulated: SimulatedBox, mock: MockSurvey) -> Float[torch.Tensor, "3 x y z"]:
    """Return the linear displacement in a region [Mpc/h] that the matter causes which its survey did not see.

    The density of the whole box, less that of covered cells, smoothed over 5 Mpc/h.
    """
    box = simulated.box
    x, y, z = (torch.from_numpy(index) for index in np.ix_(*mock.rows))
    n = mock.density.box.mesh
    covered = sampling(mock.catalogue, n).covered
    assert covered is not None
    delta = simulated.density.data[0].clone()
    delta[x, y, z] = torch.where(covered[:n, :n, :n], 0.0, delta[x, y, z])
    delta_k = smoothed_fourier(delta, box, smoothing=UNSEEN_SMOOTHING, bias=1.0)
    return displacement_from_fourier(delta_k, box)[:, x, y, z]


def cached_cubes(
    boxes: Sequence[Path],
    variants: Sequence[SurveyVariant],
    *,
    make_inputs: Callable[[Catalogue, int, Cosmology], Float[torch.Tensor, "channel x y z"]],
    channels: int,
    description: Mapping[str, Any],
    expected: slice | None = None,
    advance: Callable[[int], None] = lambda _count: None,
) -> list[MeshPair]:
    """Return cubes at random places of every box in every variant, making what is not there yet.

    A cube of 72^3 cells takes 8 MB for eleven input channels and 5 MB for the targets, in float16.

    Parameters
    ----------
    boxes : sequence of path
        Simulated boxes of at least 300 Mpc/h.
    variants : sequence of SurveyVariant
    make_inputs : callable
        From a catalogue, cells and a cosmology to input channels.
    channels : int
        Of the inputs.
    description : mapping
        What `make_inputs` depends on, as JSON: other inputs get other files.
    expected : slice, optional
        Input channels that hold the displacement which unseen matter is expected to cause. In the targets it then
        stands in place of the one that unseen matter does cause, so that a network need not learn through what it
        cannot know (a control variate). As far as the former is the mean of the latter, given the inputs, the best
        answer stays what it is.
    advance : callable
        Told after each cube.
    """
    pairs = []
    for path in boxes:
        box = SimulatedBox.open(path)
        factor = box.cosmology.velocity_factor(box.redshift)
        folder = cache_of(path)
        for variant in variants:
            tracers: Catalogue | None = None
            for number in range(variant.cubes):
                own = variant.model_dump(exclude={"cubes"})
                inputs = folder / f"cube-{box_key(path, FORMAT, own, number, description)}.npy"
                kind = DENSITY_FLOOR if expected is None else [DENSITY_FLOOR, UNSEEN_SMOOTHING, description]
                targets = folder / f"cube-{box_key(path, FORMAT, own, number, kind)}-truth.npy"
                seen = is_mesh(inputs, channels=channels, cells=variant.mesh)
                true = is_mesh(targets, channels=len(OUTPUTS), cells=variant.mesh)
                if not (seen and true):
                    tracers = tracers or box_tracers(box, variant.tracers(), seed=box.seed)
                    made = {}
                    mock = observe_cube(box, variant, number=number, tracers=tracers, places="random")
                    if not seen:
                        made[inputs] = make_inputs(
                            mock.catalogue, mock.density.box.mesh, box.cosmology
                        ).half()
                    if not true:  # other inputs may share them
                        velocity = mock.velocity.data
                        if expected is not None:
                            known = made[inputs] if inputs in made else torch.from_numpy(np.load(inputs))
                            known = known[expected].float()
                            velocity = velocity + factor * (known - unseen_displacement(box, mock))
                        physical = (mock.density.data, velocity, velocity * (1 + mock.density.data))
                        made[targets] = encode(*physical, velocity_factor=factor).half()
                    save_meshes(made)
                label = f"{path.stem} {variant.name} {number}"
                pairs.append(MeshPair(inputs, targets, factor, label, periodic=False))
                advance(1)
    return pairs
