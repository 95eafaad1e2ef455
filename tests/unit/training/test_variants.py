import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from peculiar.core import PRESETS, Box, Field
from peculiar.fields.calculus import displacement_from_fourier
from peculiar.linear.linear_theory import smoothed_fourier
from peculiar.linear.overdensity import fourier_box, pad
from peculiar.linear.wiener_inputs import WienerInputs
from peculiar.models.channels import OUTPUTS
from peculiar.simulate.box_files import write_box
from peculiar.simulate.halos import Halos
from peculiar.simulate.mocks import SimulatedBox
from peculiar.simulate.satellites import Members
from peculiar.training.cache import cached_pairs
from peculiar.training.variants import (
    UNSEEN_SMOOTHING,
    Variant,
    isolated_velocity,
    observe,
)

SIZE, CELLS, HALOS = 300.0, 16, 20_000
COSMOLOGY = PRESETS["xiao2024"]


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    random = np.random.default_rng(3)
    box = Box(SIZE, CELLS)
    mesh = torch.from_numpy(random.normal(size=(4, CELLS, CELLS, CELLS)).astype(np.float32))
    path = tmp_path_factory.mktemp("boxes") / "box-00001.h5"
    hosts = np.repeat(np.arange(HALOS, dtype=np.int32), 2)
    write_box(
        path,
        COSMOLOGY,
        seed=1,
        redshift=0.5,
        fields={
            "density": Field(mesh[:1].abs(), box, ["density"]),
            "velocity": Field(300 * mesh[1:], box, "xyz", "km/s", kind="vector"),
            "linear_density": Field(mesh[:1], box, ["linear_density"]),
        },
        halos=Halos(
            positions=random.uniform(0, SIZE, (HALOS, 3)).astype(np.float32),
            velocities=random.normal(0, 300, (HALOS, 3)).astype(np.float32),
            masses=np.sort(random.lognormal(27, 1, HALOS))[::-1].copy(),
            counts=np.full(HALOS, 2, np.int32),
            members=np.empty(0, np.int64),
            offsets=np.zeros(HALOS + 1, np.int64),
        ),
        members=Members(
            random.normal(0, 0.5, (2 * HALOS, 3)).astype(np.float16),
            random.normal(0, 500, (2 * HALOS, 3)).astype(np.float16),
            hosts,
        ),
        attributes={"settings": json.dumps({})},
    )
    return SimulatedBox.open(path)


def test_each_box_has_its_own_number_between_two(simulated):
    variant = Variant(number_density=(1e-4, 5e-4), satellite_fraction=(0.1, 0.3))
    found = [observe(simulated, variant, seed=seed).number_density for seed in range(6)]
    assert all(1e-4 <= n <= 5e-4 for n in found)
    assert len(set(found)) == 6
    assert found[0] == observe(simulated, variant, seed=0).number_density


def test_a_range_ends_at_what_the_box_holds(simulated):
    most = HALOS / SIZE**3
    dense = observe(simulated, Variant(number_density=(1e-4, 1.0)), seed=1)
    sparse = observe(simulated, Variant(number_density=(0.5, 1.0)), seed=1)
    assert 1e-4 <= dense.number_density <= most
    assert most / 2 <= sparse.number_density <= most * 1.001


def test_satellites_have_the_velocities_of_their_halos(simulated):
    catalogue = observe(simulated, Variant(number_density=3e-4, satellite_fraction=0.3), seed=2)
    ours = {tuple(v) for v in simulated.halos.velocities.tolist()}
    assert {tuple(v) for v in catalogue.velocities.tolist()} <= ours
    drawn = simulated.catalogue(3e-4, satellite_fraction=0.3, seed=2)
    assert np.array_equal(drawn.positions, catalogue.positions)
    assert not np.allclose(drawn.velocities, catalogue.velocities)


def test_thinned_objects_are_of_any_mass(simulated):
    ranked = observe(simulated, Variant(number_density=(1e-4, 7e-4)), seed=5)
    thinned = observe(simulated, Variant(number_density=(1e-4, 7e-4), thinned=True), seed=5)
    assert thinned.masses.min() < 0.8 * ranked.masses.min()
    assert thinned.number_density == pytest.approx(ranked.number_density, rel=0.1)
    assert observe(simulated, Variant(number_density=3e-4, ranked=False), seed=5).masses is None


@pytest.mark.parametrize(("region", "sight", "full"), [("faces", "z", True), ("survey", "radial", False)])
def test_regions_see_objects_as_their_completeness_says(simulated, region, sight, full):
    variant = Variant(number_density=7e-4, region=region, line_of_sight=sight)
    catalogue = observe(simulated, variant, seed=3)
    seen = catalogue.completeness.data[0]
    assert not catalogue.box.periodic
    assert 0.05 < float((seen > 0).double().mean()) < 0.8
    assert (float(seen[seen > 0].min()) == 1.0) == full
    assert catalogue.number_density == pytest.approx(7e-4, rel=0.1)
    inside = catalogue.completeness.at(catalogue.positions)
    assert (inside > 0).all()


def test_pairs_have_the_fields_of_their_box(simulated):
    spec = WienerInputs(conditions=("growth",))
    variants = [Variant(number_density=5e-4), Variant(number_density=5e-4, region="faces")]
    pairs = cached_pairs(
        [simulated.path],
        variants,
        make_inputs=lambda c, n, cosmology: spec.channels(c, cells=n, cosmology=cosmology),
        channels=len(spec.names),
        description=spec.model_dump(),
        linear_density=spec.names.of("wiener_density"),
    )
    inputs, targets = pairs[0].crop((0, 0, 0), 0)
    assert inputs.shape[0] == len(spec.names)
    assert targets.shape[0] == len(OUTPUTS)
    assert [pair.periodic for pair in pairs] == [True, False]


def test_inputs_are_counts_and_what_is_expected(simulated):
    catalogue = simulated.catalogue(7e-4)
    spec = WienerInputs(conditions=("ranked",))
    channels = dict(zip(spec.names, spec.channels(catalogue, cells=CELLS, cosmology=COSMOLOGY), strict=True))
    counts = [channels[name].expm1() for name in spec.names if name.startswith("tracers")]
    shares = [float(one.sum()) / len(catalogue) for one in counts]
    assert np.allclose(shares, [0.03, 0.07, 0.2, 0.7], atol=1e-3)
    assert torch.allclose(channels["expected"].exp(), torch.tensor(7e-4 * (SIZE / CELLS) ** 3), rtol=1e-3)
    bare = dict(
        zip(
            spec.names,
            spec.channels(catalogue.replace(masses=None), cells=CELLS, cosmology=COSMOLOGY),
            strict=True,
        )
    )
    assert float(bare["tracers_0.03"].abs().max()) == 0
    assert [float(one["ranked"].mean()) for one in (channels, bare)] == [1, 0]
    assert float(bare["tracers_1"].expm1().sum()) == pytest.approx(len(catalogue), rel=1e-4)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"number_density": (1e-3, 1e-4)}, "number_density must be > 0"),
        ({"number_density": 0.0}, "number_density must be > 0"),
        ({"satellite_fraction": (0.1, 1.0)}, "satellite_fraction must lie in"),
        ({"region": "survey"}, "must have line_of_sight 'radial'"),
    ],
)
def test_bad_variants_are_refused(changes, match):
    with pytest.raises(ValueError, match=match):
        Variant(**changes)


def test_unseen_matter_pulls_as_the_linear_estimate_expects(simulated):
    """The velocity of a box is its linear flow: what is left is that of seen matter alone, and of what is expected."""
    catalogue = observe(simulated, Variant(number_density=7e-4, region="faces"), seed=3)
    region, seen = catalogue.completeness.box, (catalogue.completeness.data > 0).float()
    factor = COSMOLOGY.velocity_factor(simulated.redshift)
    density = simulated.density.data

    def flow(delta, box, smoothing=UNSEEN_SMOOTHING):
        modes = smoothed_fourier(pad(delta, box)[0], fourier_box(box), smoothing=smoothing, bias=1.0)
        return displacement_from_fourier(modes, fourier_box(box), kept=box)

    linear = simulated.velocity.replace(data=factor * flow(density, simulated.box))
    box = SimpleNamespace(
        box=simulated.box,
        density=simulated.density,
        velocity=linear,
        cosmology=COSMOLOGY,
        redshift=simulated.redshift,
    )
    expected = torch.randn(density.shape, generator=torch.Generator().manual_seed(1))
    found = isolated_velocity(box, catalogue, expected)
    alone = flow(density * seen, region) + flow(expected * (1 - seen), region, smoothing=0.0)
    assert torch.allclose(found, factor * alone, atol=1e-3 * float(found.abs().max()))
    assert not torch.allclose(found, linear.data, atol=0.1 * float(found.abs().max()))


def test_regions_have_targets_of_their_own(simulated):
    spec = WienerInputs()
    (pair,) = cached_pairs(
        [simulated.path],
        [Variant(number_density=5e-4, region="faces")],
        make_inputs=lambda c, n, cosmology: spec.channels(c, cells=n, cosmology=cosmology),
        channels=len(spec.names),
        description=spec.model_dump(),
        linear_density=spec.names.of("wiener_density"),
    )
    targets = pair.crop((0, 0, 0), 0)[1]
    moved = targets[1:4] - simulated.velocity.data / pair.velocity_factor
    assert float(moved.std()) > 0.1
