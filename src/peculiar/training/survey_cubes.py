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

from peculiar.catalogues.footprint import Footprint, read_footprint
from peculiar.catalogues.sky import ORIGIN
from peculiar.catalogues.survey import Survey, load_survey
from peculiar.core.box import Box
from peculiar.core.catalogue import Catalogue, LineOfSight
from peculiar.core.cosmology import Cosmology
from peculiar.core.errors import InputError
from peculiar.core.field import Field
from peculiar.core.records import checksum
from peculiar.fields.symmetry import IDENTITY, Symmetry, apply_symmetry, invert_symmetry
from peculiar.linear.isolated import unseen_displacement
from peculiar.linear.overdensity import sampling
from peculiar.models.channels import DENSITY_FLOOR, OUTPUTS, encode
from peculiar.simulate.mocks import SimulatedBox
from peculiar.simulate.regions import MockSurvey, TracerSettings, box_tracers, observe_region, with_margin
from peculiar.training.cache import MakeInputs, box_key, cache_of, is_mesh, save_meshes
from peculiar.training.dataset import MeshPair
from peculiar.training.settings import Frozen
from peculiar.training.variants import UNSEEN_SMOOTHING

FORMAT = 1
CUBE_CELLS = 60
"""Of an isolated cube: 300 Mpc/h with cells of 5 Mpc/h (Wang et al. 2024)."""
MARGIN = 6
"""Cells around a cube that a network sees empty."""
FARTHEST_OBSERVER = 1500.0
"""Of a random observer from the cube's centre, along each axis [Mpc/h]: as far as another cube of their 3000 Mpc/h."""


class SurveyVariant(Frozen):
    """One way in which cubes are observed.

    The paper's three patterns of redshift space are "axis" (along z), "centre" (radial from the cube's centre) and
    "random" (radial from a random observer). "survey" places the cube at random in a survey's footprint, with its
    completeness; "survey cube" at the place in it that is covered best.
    """

    name: str
    pattern: Literal["axis", "centre", "random", "survey", "survey cube"] = "random"
    survey: str | None = Setting(None, description="of the patterns of surveys: its name or file (.toml)")
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
        if (self.survey is not None) != self.pattern.startswith("survey"):
            raise ValueError(
                "survey belongs to the patterns 'survey' and 'survey cube', and they to a survey"
            )
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


def footprint(survey: str, cosmology: Cosmology) -> Footprint:
    """Return the footprint of a survey's name or file, made once."""
    return _footprint(load_survey(survey).model_dump_json(), cosmology)


@lru_cache(maxsize=4)
def _footprint(survey: str, cosmology: Cosmology) -> Footprint:
    described = Survey.model_validate_json(survey)
    # Cubes have densities of their own: galaxies are asked for a shape alone.
    plain = described.radial == "flat" and described.limits(cosmology) is not None
    shaped = plain or described.luminosity_function is not None
    return read_footprint(described, cosmology=cosmology, galaxies=None if shaped else described.galaxies)


def variant_key(variant: SurveyVariant) -> dict[str, Any]:
    """Return what a variant's cubes depend on but their number, with what is in its survey's files."""
    own = variant.model_dump(exclude={"cubes"})
    if variant.survey is not None:
        survey = load_survey(variant.survey)
        files = [path for path in (survey.mask, survey.galaxies) if path is not None]
        own["survey"] = survey.model_dump(mode="json", exclude={"mask", "galaxies"})
        own["files"] = [checksum(path) for path in files]
    return own


def beside(tables: Sequence[Any], folder: Path) -> list[Any]:
    """Return tables of variants with the paths of their surveys taken from a folder, that of the file they stand in."""
    return [
        table | {"survey": str(folder / table["survey"])}
        if isinstance(table, dict) and str(table.get("survey", "")).endswith(".toml")
        else table
        for table in tables
    ]


def observe_cube(
    simulated: SimulatedBox,
    variant: SurveyVariant,
    *,
    number: int,
    tracers: Catalogue | None = None,
    margin: int = MARGIN,
    places: Literal["apart", "random"] = "apart",
    turn: Symmetry = IDENTITY,
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
    turn : Symmetry
        By which the box is turned before it is observed.

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
        assert variant.survey is not None
        survey = footprint(variant.survey, simulated.cosmology)
        place = (
            _best_place(survey, inner) if variant.pattern == "survey cube" else survey.random(inner, random)
        )
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
        turn=turn,
        seed=number,
    )


@lru_cache(maxsize=4)
def _best_place(survey: Footprint, inner: Box) -> tuple[float, float, float]:
    return survey.best(inner)


@lru_cache(maxsize=16)
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


def unseen_by(mock: MockSurvey, simulated: SimulatedBox) -> Float[torch.Tensor, "3 x y z"]:
    """Return the linear displacement in a region [Mpc/h] that the matter causes which its survey did not see.

    The density of the whole box, less that of covered cells, smoothed over 5 Mpc/h.
    """
    x, y, z = np.ix_(*mock.rows)
    n = mock.density.box.mesh
    covered = sampling(mock.catalogue, n).covered
    assert covered is not None
    seen = torch.zeros(simulated.box.shape, dtype=torch.bool)
    seen[x, y, z] = apply_symmetry(covered[None, :n, :n, :n], invert_symmetry(mock.turn))[0]
    unseen = unseen_displacement(simulated.density, seen, smoothing=UNSEEN_SMOOTHING)[:, x, y, z]
    return apply_symmetry(unseen, mock.turn, vectors=[(0, 1, 2)])


def cube_targets(
    simulated: SimulatedBox, mock: MockSurvey, known: Float[torch.Tensor, "3 x y z"] | None = None
) -> Float[torch.Tensor, "channel x y z"]:
    """Return the targets of an observed cube.

    Parameters
    ----------
    simulated : SimulatedBox
    mock : MockSurvey
        Of it.
    known : (3, x, y, z) [Mpc/h], optional
        The displacement that unseen matter is expected to cause: stands in place of the one that it does cause.
    """
    factor = simulated.cosmology.velocity_factor(simulated.redshift)
    velocity = mock.velocity.data
    if known is not None:
        velocity = velocity + factor * (known - unseen_by(mock, simulated))
    density = mock.density.data
    return encode(density, velocity, velocity * (1 + density), velocity_factor=factor)


def cached_cubes(
    boxes: Sequence[Path],
    variants: Sequence[SurveyVariant],
    *,
    make_inputs: MakeInputs,
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
            tracers, own = None, variant_key(variant)
            for number in range(variant.cubes):
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
                        known = None
                        if expected is not None:
                            known = made[inputs] if inputs in made else torch.from_numpy(np.load(inputs))
                            known = known[expected].float()
                        made[targets] = cube_targets(box, mock, known).half()
                    save_meshes(made)
                label = f"{path.stem} {variant.name} {number}"
                pairs.append(MeshPair(inputs, (targets,), factor, label, periodic=False))
                advance(1)
    return pairs
