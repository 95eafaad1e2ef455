import json

import numpy as np
import pytest
import torch

from peculiar.core import PRESETS, Box, Field, InputError
from peculiar.fields.calculus import displacement
from peculiar.fields.smooth import gaussian
from peculiar.fields.symmetry import IDENTITY, Symmetry, apply_symmetry, invert_symmetry
from peculiar.linear.overdensity import sampling
from peculiar.linear.survey_inputs import SurveyInputs
from peculiar.models.channels import OUTPUTS, VELOCITY
from peculiar.simulate.box_files import write_box
from peculiar.simulate.halos import Halos
from peculiar.simulate.mocks import SimulatedBox
from peculiar.simulate.satellites import Members
from peculiar.training.dataset import Crops
from peculiar.training.fresh_cubes import FreshCubes
from peculiar.training.survey_cubes import (
    SurveyVariant,
    cached_cubes,
    footprint,
    observe_cube,
    unseen_by,
)

SIZE, CELLS = 600.0, 24
COSMOLOGY = PRESETS["wang2024"]
HALOS = 60_000


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    random = np.random.default_rng(3)
    box = Box(SIZE, CELLS)
    mesh = torch.from_numpy(random.normal(size=(4, CELLS, CELLS, CELLS)).astype(np.float32))
    path = tmp_path_factory.mktemp("boxes") / "box-00001.h5"
    write_box(
        path,
        COSMOLOGY,
        seed=1,
        redshift=0.0,
        fields={
            "density": Field(mesh[:1].abs(), box, ["density"]),
            "velocity": Field(300 * mesh[1:], box, "xyz", "km/s", kind="vector"),
            "linear_density": Field(mesh[:1], box, ["linear_density"]),
        },
        halos=Halos(
            positions=random.uniform(0, SIZE, (HALOS, 3)).astype(np.float32),
            velocities=random.normal(0, 300, (HALOS, 3)).astype(np.float32),
            masses=np.sort(random.lognormal(27, 1, HALOS))[::-1].copy(),
            counts=np.ones(HALOS, np.int32),
            members=np.empty(0, np.int64),
            offsets=np.zeros(HALOS + 1, np.int64),
        ),
        members=Members(np.zeros((0, 3), np.float16), np.zeros((0, 3), np.float16), np.zeros(0, np.int32)),
        attributes={"settings": json.dumps({})},
    )
    return SimulatedBox.open(path)


def variant(name="simulation", **changes):
    return SurveyVariant.model_validate({"name": name, "cells": 12} | changes)


def test_cubes_that_lie_apart_tile_the_box(simulated):
    cubes = [observe_cube(simulated, variant(), number=i, margin=0) for i in range(8)]
    rows = [cube.velocity.numpy() for cube in cubes]
    top = [np.concatenate(rows[i : i + 2], axis=3) for i in range(0, 8, 2)]
    half = [np.concatenate(top[i : i + 2], axis=2) for i in range(0, 4, 2)]
    assert np.array_equal(np.concatenate(half, axis=1), simulated.velocity.numpy())
    with pytest.raises(InputError, match="600 Mpc/h"):
        observe_cube(simulated, variant(), number=8)
    with pytest.raises(InputError, match="twice"):
        observe_cube(simulated, variant(cells=20), number=0)


def test_places_and_observers_belong_to_box_variant_and_number(simulated):
    def observed(number, **changes):
        return observe_cube(simulated, variant(**changes), number=number, places="random").catalogue

    first, again, other = observed(0), observed(0), observed(1)
    assert np.array_equal(first.positions, again.positions)
    assert first.observer == again.observer != other.observer
    assert observed(0, pattern="axis").line_of_sight == "z"
    assert observed(0, pattern="centre").observer == (150.0, 150.0, 150.0)


@pytest.mark.parametrize("pattern", ["survey", "survey cube"])
def test_a_survey_has_its_footprint_and_density(simulated, pattern):
    wanted = 1e-4
    one = variant(pattern=pattern, survey="sdss_main", number_density=wanted, masses=False)
    mock = observe_cube(simulated, one, number=2, places="random")
    catalogue = mock.catalogue
    assert catalogue.observer == (0.0, 0.0, 0.0)
    assert catalogue.masses is None
    seen = catalogue.completeness.data[0]
    margin = mock.margin
    rows = slice(margin, -margin)
    assert float(seen.sum()) == pytest.approx(float(seen[rows, rows, rows].sum()))
    mean = wanted * mock.inner.volume
    assert abs(len(catalogue) - mean) < 5 * np.sqrt(mean)
    survey = footprint("sdss_main", COSMOLOGY)
    covered = survey.mask.at(catalogue.positions) > 0
    # Cells on the edge are seen in part, and their objects stand anywhere in them.
    assert covered.mean() > 0.8


def test_the_best_place_holds_more_than_others(simulated):
    survey = footprint("sdss_main", COSMOLOGY)
    inner = Box(300.0, 12, periodic=False)

    def held(corner):
        return float(survey.covers(Box(300.0, 12, origin=corner, periodic=False)).data.mean())

    best = survey.best(inner)
    random = np.random.default_rng(0)
    assert held(best) > 0.98 * max(held(survey.random(inner, random)) for _ in range(10))


def test_a_survey_holds_what_there_is_where_it_would_hold_more(simulated):
    there = HALOS / SIZE**3
    one = variant(pattern="survey cube", survey="sdss_main", number_density=0.6 * there)
    mock = observe_cube(simulated, one, number=0)
    mean = 0.6 * there * mock.inner.volume
    assert float(mock.catalogue.completeness.data.max()) == 1.0
    assert abs(len(mock.catalogue) - mean) < 5 * np.sqrt(mean)
    # the ceiling: no place holds more than all halos, so no weight is below the mean over that
    assert mock.catalogue.weights.min() == pytest.approx(0.6, rel=1e-3)
    assert mock.catalogue.weights.max() == 1.0


@pytest.mark.parametrize("kind", ["survey", "observed"])
def test_cubes_are_kept_as_pairs_that_do_not_wrap(simulated, kind):
    spec = SurveyInputs(kind=kind, smoothing=30.0)

    def make(catalogue, cells, cosmology):
        return spec.channels(catalogue, cells=cells, cosmology=cosmology)

    def cached():
        return cached_cubes(
            [simulated.path],
            [variant(cubes=2)],
            make_inputs=make,
            channels=len(spec.names),
            description=spec.model_dump(),
        )

    pairs = cached()
    assert len(pairs) == 2
    assert not pairs[0].periodic
    inputs, targets = pairs[1].crop((0, 0, 0), 0)
    assert inputs.shape == (len(spec.names), 24, 24, 24)
    assert targets.shape == (len(OUTPUTS), 24, 24, 24)
    mock = observe_cube(simulated, variant(), number=1, places="random")
    true = mock.velocity.data / COSMOLOGY.velocity_factor(0.0)
    assert torch.allclose(targets[VELOCITY], true, atol=2e-2)
    other = SurveyInputs(kind="observed", values="density")
    again = cached_cubes(
        [simulated.path],
        [variant(cubes=2)],
        make_inputs=lambda catalogue, cells, cosmology: other.channels(
            catalogue, cells=cells, cosmology=cosmology
        ),
        channels=len(other.names),
        description=other.model_dump(),
    )
    assert [pair.targets for pair in again] == [pair.targets for pair in pairs]
    assert again[0].inputs != pairs[0].inputs
    before = {path: path.stat().st_mtime_ns for path in simulated.path.parent.rglob("*.npy")}
    assert cached() == pairs
    assert before == {path: path.stat().st_mtime_ns for path in simulated.path.parent.rglob("*.npy")}


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"survey": "sdss_main"}, "survey belongs to the patterns"),
        ({"pattern": "survey"}, "survey belongs to the patterns"),
        ({"choice": "massive"}, "number_density"),
        ({"cells": 3}, "greater than"),
        ({"masses": "some"}, "bool"),
    ],
)
def test_bad_variants_are_refused(changes, match):
    with pytest.raises(ValueError, match=match):
        variant(**changes)


def test_what_cannot_be_seen_moves_as_expected_in_the_targets(simulated):
    """The true flow of unseen matter leaves the targets, and the inputs' estimate takes its place."""
    one = variant(cubes=1)

    def make(catalogue, cells, cosmology):
        return torch.full((3, cells, cells, cells), 0.5)

    common = {"make_inputs": make, "channels": 3, "description": {}}
    plain = cached_cubes([simulated.path], [one], **common)[0].crop((0, 0, 0), 0)[1]
    changed = cached_cubes([simulated.path], [one], expected=slice(0, 3), **common)[0].crop((0, 0, 0), 0)[1]
    mock = observe_cube(simulated, one, number=0, places="random")
    moved = plain[VELOCITY] - changed[VELOCITY]
    assert torch.allclose(moved, unseen_by(mock, simulated) - 0.5, atol=2e-2)


@pytest.mark.parametrize("turn", [IDENTITY, Symmetry((2, 0, 1), (True, False, True))])
def test_unseen_and_seen_matter_move_a_region_together(simulated, turn):
    """Linear theory: with the flow of what is covered, the flow is that of the whole box."""
    mock = observe_cube(simulated, variant(), number=3, places="random", turn=turn)
    back = invert_symmetry(turn)
    unseen = apply_symmetry(unseen_by(mock, simulated), back, vectors=[(0, 1, 2)])
    n = mock.density.box.mesh
    covered = apply_symmetry(sampling(mock.catalogue, n).covered[None, :n, :n, :n], back)[0]
    x, y, z = (torch.from_numpy(index) for index in np.ix_(*mock.rows))
    seen = torch.zeros(CELLS, CELLS, CELLS)
    seen[x, y, z] = torch.where(covered, simulated.density.data[0][x, y, z], 0.0)
    parts = [
        displacement(gaussian(Field(delta[None], simulated.box, ["density"]), 5.0).data[0], simulated.box)
        for delta in (seen, simulated.density.data[0])
    ]
    assert torch.allclose(unseen + parts[0][:, x, y, z], parts[1][:, x, y, z], atol=1e-3)


def fresh(simulated, **changes):
    spec = SurveyInputs(kind="observed", values="density")

    def make(catalogue, cells, cosmology):
        return spec.channels(catalogue, cells=cells, cosmology=cosmology)

    return FreshCubes(simulated, variant(**changes), make)


def test_every_step_sees_another_cube_and_a_resumed_training_the_same(simulated):
    def crops(start):
        return Crops([fresh(simulated)], crop=16, batch_size=2, steps=4, seed=5, start=start)

    batches = list(crops(0))
    inputs, targets = batches[3]
    assert inputs.shape == (2, 1, 16, 16, 16)
    assert targets.shape == (2, len(OUTPUTS), 16, 16, 16)
    for one, again in zip(batches[3], next(iter(crops(3))), strict=True):
        assert torch.equal(one, again)
    speeds = [float(cube[VELOCITY].norm()) for _, cubes in batches for cube in cubes]
    assert len(set(speeds)) == len(speeds)


def test_a_fresh_cube_is_the_box_at_some_place_and_turn(simulated):
    """Its values are the box's, and nothing is seen beyond its faces."""
    inputs, targets = fresh(simulated).draw(np.random.default_rng(1), 0)
    true = simulated.velocity.data / COSMOLOGY.velocity_factor(0.0)
    known = set(true.abs().flatten().tolist())
    assert {abs(value) for value in targets[VELOCITY].flatten().tolist()} <= known
    rows = slice(6, 18)
    assert float(inputs[0, rows, rows, rows].sum()) == pytest.approx(float(inputs.sum())) != 0


def test_a_survey_stays_where_it_is_while_the_box_turns(simulated):
    one = {"pattern": "survey cube", "survey": "sdss_main", "number_density": 1e-4, "masses": False}
    seen = [fresh(simulated, **one).draw(np.random.default_rng(seed), 0)[0] for seed in (1, 2)]
    empty = [mesh[0] == 0 for mesh in seen]
    place = observe_cube(simulated, variant(**one), number=0, places="random").catalogue
    for cells in empty:
        assert bool(cells[place.completeness.data[0] == 0].all())
    assert not torch.equal(*seen)
