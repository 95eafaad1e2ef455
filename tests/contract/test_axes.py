"""No result depends on the names or directions of axes, or on the order of rows."""

from dataclasses import fields, is_dataclass

import numpy as np
import pytest
import torch

from peculiar import statistics as st
from peculiar.core import PRESETS, Box, Catalogue, Field
from peculiar.fields import calculus, smooth, velocity
from peculiar.fields.redshift_space import to_redshift_space
from peculiar.fields.symmetry import Symmetry, apply_symmetry
from peculiar.linear import IterativeFFT, LinearTheory, MultiTracerWiener, Spectra, fit_beta, shipped_filter
from peculiar.linear.clustering import linear_bias, measure_clustering
from peculiar.linear.density_inputs import DensityInputs, density_inputs
from peculiar.linear.inputs import InputSpec, network_inputs
from peculiar.linear.local_bias import fit_local_bias
from peculiar.linear.local_bias import linear_bias as bias_of_boxes
from peculiar.linear.matter import linear_flow
from peculiar.linear.reliability import known_fraction
from peculiar.linear.surroundings import matter_surroundings, surroundings_displacement
from peculiar.linear.survey_inputs import SurveyInputs
from peculiar.simulate.halo_properties import _band_power
from peculiar.simulate.initial import linear_field
from peculiar.simulate.lpt import displacements
from peculiar.simulate.particle_mesh import accelerations
from peculiar.statistics.convergence import convergence, infall

COSMOLOGY = PRESETS["xiao2024"]
TURNS = {
    "xzy": Symmetry((0, 2, 1), (False, False, False)),
    "yzx": Symmetry((1, 2, 0), (False, False, False)),
    "zyx": Symmetry((2, 1, 0), (False, False, False)),
    "mirrored": Symmetry((1, 2, 0), (True, False, True)),
}
"""New axis i is old axis ``permutation[i]``, then reversed where ``flips[i]``."""


def turned_field(field: Field, turn: Symmetry) -> Field:
    vectors = ((0, 1, 2),) if field.kind == "vector" else ()
    return field.replace(data=apply_symmetry(field.data, turn, vectors=vectors).contiguous())


def turned_vectors(values, turn: Symmetry) -> np.ndarray:
    return np.asarray(values)[..., list(turn.permutation)] * np.where(turn.flips, -1, 1)


def turned_places(values, box, turn: Symmetry) -> np.ndarray:
    """Positions in a box at the origin."""
    places = np.asarray(values)[..., list(turn.permutation)]
    return np.where(turn.flips, box.size - places, places)


def turned_axis(line_of_sight: str, turn: Symmetry) -> str:
    return (
        line_of_sight
        if line_of_sight == "radial"
        else "xyz"[turn.permutation.index("xyz".index(line_of_sight))]
    )


def turned(catalogue: Catalogue, turn: Symmetry, *, seed: int = 3) -> Catalogue:
    """The same objects with other names of axes and in another order."""
    rows = np.random.default_rng(seed).permutation(len(catalogue))
    changes = {
        name: None if values is None else values[rows]
        for name, values in (("masses", catalogue.masses), ("weights", catalogue.weights))
    }
    observer = catalogue.observer
    completeness = catalogue.completeness
    return catalogue.replace(
        positions=turned_places(catalogue.positions[rows], catalogue.box, turn),
        velocities=None if catalogue.velocities is None else turned_vectors(catalogue.velocities[rows], turn),
        line_of_sight=turned_axis(catalogue.line_of_sight, turn),
        observer=None if observer is None else tuple(turned_places(observer, catalogue.box, turn).tolist()),
        completeness=None if completeness is None else turned_field(completeness, turn),
        **changes,
    )


def assert_same(found: torch.Tensor, expected: torch.Tensor, *, tolerance: float = 1e-4) -> None:
    """Within a tolerance of the largest value of each channel."""
    scale = expected.abs().amax(dim=(1, 2, 3), keepdim=True).clamp(min=1e-6)
    assert float(((found - expected) / scale).abs().max()) < tolerance


BOX = Box(160.0, 16)
EDGES = np.arange(0.5, 13) * BOX.k_fundamental  # beyond Nyquist: the planes that have no sign are in
LAGS = np.array([5.0, 25.0, 45.0, 65.0, 80.0])


def mesh(channels, seed, box=BOX):
    n = box.mesh
    data = torch.randn(channels, n, n, n, generator=torch.Generator().manual_seed(seed))
    # More power at some directions than at others: nothing is isotropic by chance.
    return data + 0.7 * data.roll(1, 3) + 0.4 * data.roll(1, 2)


DELTA = Field((mesh(1, 1) * 0.3).exp() - 1.1, BOX, ["delta"])
OTHER = Field(mesh(1, 2), BOX, ["delta"])
FLOW = Field(100 * mesh(3, 3), BOX, "xyz", "km/s", kind="vector")
OTHER_FLOW = Field(100 * mesh(3, 4), BOX, "xyz", "km/s", kind="vector")

STATISTICS = {
    "power": lambda d, e, u, v, axis: st.power_spectrum(d, edges=EDGES),
    "cross power": lambda d, e, u, v, axis: st.compare_power(d, e, edges=EDGES).cross,
    "Helmholtz": lambda d, e, u, v, axis: st.helmholtz_power(u, v, edges=EDGES),
    "multipoles": lambda d, e, u, v, axis: st.power_multipoles(d, e, line_of_sight=axis, edges=EDGES),
    "wedges": lambda d, e, u, v, axis: st.power_wedges(d, line_of_sight=axis, edges=EDGES),
    "correlation": lambda d, e, u, v, axis: st.correlation_multipoles(d, edges=LAGS, line_of_sight=axis),
    "plane": lambda d, e, u, v, axis: st.correlation_plane(
        d, across_edges=LAGS, along_edges=LAGS, line_of_sight=axis
    ),
    "bispectrum": lambda d, e, u, v, axis: st.bispectrum_in_bins(d, EDGES[:6:2]),
    "bispectrum at angles": lambda d, e, u, v, axis: st.bispectrum_at_angles(d, 0.1, 0.13),
    "three-point": lambda d, e, u, v, axis: st.three_point_multipoles(d, LAGS[:4], max_order=4),
    "vectors": lambda d, e, u, v, axis: st.compare_vectors(u, v),
    "scalars": lambda d, e, u, v, axis: st.compare(d, e),
    "one point": lambda d, e, u, v, axis: st.one_point_distribution(d, np.linspace(-1, 3, 9)),
    "two points": lambda d, e, u, v, axis: st.two_point_distribution(d, 30.0, np.linspace(-1, 3, 9)),
    "joint": lambda d, e, u, v, axis: st.joint_distribution(
        d, e, first_edges=np.linspace(-1, 3, 9), second_edges=np.linspace(-3, 3, 9)
    ),
    "bulk flow": lambda d, e, u, v, axis: st.bulk_flow(u, [30.0, 60.0]).speed,
    "tidal web": lambda d, e, u, v, axis: st.tidal_web(smooth.gaussian(d, 10.0), threshold=0.1).fractions,
    "sub-boxes": lambda d, e, u, v, axis: st.errors_from_sub_boxes(
        lambda one: one.data.numpy().var(), d, cells=8, step=4
    ),
    "beta": lambda d, e, u, v, axis: fit_beta(d.data[0], e.data[0], BOX, k_max=0.2),
    "Wiener spectra": lambda d, e, u, v, axis: Spectra.of(
        torch.cat([d.data, e.data]), d.data[0], u.data, BOX
    ),
    "local bias": lambda d, e, u, v, axis: (
        fit_local_bias(
            [(d, (2 * e.data[0]).exp().round())], smoothings=(0.0, 6.0), environments=(8.0, 16.0)
        ).mean
    ),
    "linear bias": lambda d, e, u, v, axis: bias_of_boxes([(d, e.data[0].exp())], k_max=0.15),
}


def numbers(result):
    """Every number of a result, one after another."""
    if is_dataclass(result):
        return np.concatenate([numbers(getattr(result, item.name)) for item in fields(result)])
    if isinstance(result, str | dict | type(None)) or (isinstance(result, tuple) and not result):
        return np.empty(0)
    if isinstance(result, tuple) and isinstance(result[0], str):
        return np.empty(0)
    return np.asarray(result, dtype=np.float64).ravel()


@pytest.mark.parametrize("turn", TURNS.values(), ids=TURNS)
@pytest.mark.parametrize("name", STATISTICS)
def test_statistics(name, turn):
    measure = STATISTICS[name]
    given = (DELTA, OTHER, FLOW, OTHER_FLOW)
    expected = numbers(measure(*given, "z"))
    found = numbers(measure(*(turned_field(one, turn) for one in given), turned_axis("z", turn)))
    scale = np.abs(expected[np.isfinite(expected)]).max()
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=1e-6 * scale)


FIELDS = {
    "gradient": lambda d, v: calculus.gradient(d),
    "curl": lambda d, v: calculus.curl(v),
    "divergence": lambda d, v: calculus.divergence(v),
    "Helmholtz": lambda d, v: calculus.helmholtz(v)[0],
    "Gaussian": lambda d, v: smooth.gaussian(v, 12.0),
    "top hat": lambda d, v: smooth.tophat(d, 12.0),
    "linear flow": lambda d, v: linear_flow(d, velocity_factor=50.0, smoothing=5.0)["momentum"],
}


@pytest.mark.parametrize("turn", TURNS.values(), ids=TURNS)
@pytest.mark.parametrize("name", FIELDS)
def test_fields(name, turn):
    change = FIELDS[name]
    expected = change(DELTA, FLOW)
    found = change(turned_field(DELTA, turn), turned_field(FLOW, turn))
    # A mirror turns the sense of a curl.
    sense = np.linalg.det(np.eye(3)[list(turn.permutation)]) * (-1) ** sum(turn.flips)
    sign = round(sense) if name == "curl" else 1
    assert_same(found.data, sign * turned_field(expected, turn).data)


def test_surroundings_of_matter():
    linear = linear_field(BOX, COSMOLOGY, seed=1, redshift=0.0)[None]
    cube = Field(linear, Box(160.0, 16, periodic=False), ["delta"])
    expected = matter_surroundings(cube, cosmology=COSMOLOGY, redshift=0.0)
    for turn in (TURNS["yzx"], TURNS["mirrored"]):
        found = matter_surroundings(turned_field(cube, turn), cosmology=COSMOLOGY, redshift=0.0)
        assert_same(found, apply_symmetry(expected, turn, vectors=[(0, 1, 2)]), tolerance=1e-3)


def test_inputs_of_densities():
    spec = DensityInputs(smoothing=(0.0, 10.0))
    delta = Field(DELTA.data.clamp(min=-0.9), BOX, ["delta"])
    expected = density_inputs(delta, spec, cosmology=COSMOLOGY, redshift=0.0)
    for turn in TURNS.values():
        found = density_inputs(turned_field(delta, turn), spec, cosmology=COSMOLOGY, redshift=0.0)
        assert_same(found, apply_symmetry(expected, turn, vectors=spec.vectors))


def test_perturbation_theory_and_forces():
    def at(values):
        psi = displacements(torch.fft.rfftn(values), BOX)
        return torch.cat(psi)

    particles = torch.rand(1, 500, 3, generator=torch.Generator().manual_seed(1)) * BOX.size
    force = accelerations(particles, BOX.size, mesh=16)[0].numpy()
    # As from `linear_density`: no mode stands on a Nyquist plane. Those of second order do.
    modes = torch.fft.rfftn(DELTA.data[0])
    modes[8] = modes[:, 8] = modes[..., 8] = 0
    linear = torch.fft.irfftn(modes, s=(16,) * 3)
    expected = at(linear)
    for turn in TURNS.values():
        found = at(apply_symmetry(linear[None], turn)[0].contiguous())
        assert_same(found, apply_symmetry(expected, turn, vectors=[(0, 1, 2), (3, 4, 5)]))
        places = torch.from_numpy(turned_places(particles.numpy(), BOX, turn)).float()
        forces = accelerations(places, BOX.size, mesh=16)[0].numpy()
        np.testing.assert_allclose(forces, turned_vectors(force, turn), atol=1e-3 * np.abs(force).max())


def test_halos_that_are_painted_again_have_one_power():
    points = np.random.default_rng(1).uniform(0, 160, (2000, 3)) ** 1.3 % 160
    for turn in TURNS.values():
        found = _band_power(turned_places(points, BOX, turn), BOX)
        assert found == pytest.approx(_band_power(points, BOX), rel=1e-3)


def test_velocities_of_particles_and_where_they_converge():
    rng = np.random.default_rng(4)
    points, speeds = rng.uniform(0, 160, (150, 3)), rng.normal(0, 300, (150, 3))
    for turn in (TURNS["yzx"], TURNS["mirrored"]):
        rows = rng.permutation(150)
        moved = turned_places(points[rows], BOX, turn), turned_vectors(speeds[rows], turn)
        for estimate in (velocity.nearest_particle, velocity.delaunay):
            expected = turned_field(estimate(points, speeds, BOX), turn)
            assert_same(estimate(*moved, BOX).data, expected.data, tolerance=1e-3)
    flow = smooth.gaussian(FLOW, 15.0)
    expected = convergence(flow, velocity_factor=50.0, smoothing=15.0)
    towards = infall(flow, expected.points, radius=40.0)
    for turn in TURNS.values():
        other = turned_field(flow, turn)
        found = convergence(other, velocity_factor=50.0, smoothing=15.0)
        np.testing.assert_allclose(found.points, turned_places(expected.points, BOX, turn), atol=1e-6)
        np.testing.assert_allclose(infall(other, found.points, radius=40.0), towards, rtol=1e-3, atol=0.1)


def halos(*, survey, **changes):
    """Clustered points in redshift space, with masses and weights; in a box many masses are equal.

    Equal ones are ranked by a hash of the coordinates, which a mirror changes.
    """
    rng = np.random.default_rng(5)
    size = 160.0
    centres = rng.uniform(0, size, (150, 3))
    points = np.mod(centres[rng.integers(150, size=9000)] + rng.normal(0, 7, (9000, 3)), size)
    masses = rng.lognormal(1, 1, len(points))
    real = Catalogue(
        points,
        Box(size, periodic=not survey),
        redshift=0.2,
        space="real",
        velocities=rng.normal(0, 200, points.shape),
        masses=masses if survey else np.ceil(masses),
        weights=rng.choice([1.0, 1.5], len(points)),
        **changes,
    )
    if survey:
        box = Box(size, 16, periodic=False)
        seen = torch.zeros(1, 16, 16, 16)
        seen[:, 2:, :13, 1:15] = torch.linspace(1, 0.4, 13)[None, None, :, None]
        real = real.replace(completeness=Field(seen, box, ["completeness"], space="redshift"))
    return to_redshift_space(real, COSMOLOGY)


CATALOGUES = {
    "box": halos(survey=False),
    "survey": halos(survey=True, line_of_sight="radial", observer=(-40.0, 70.0, 30.0)),
}
# A plane-parallel line of sight points up its axis: a mirror turns the box, not the observer.
TURNED = [(name, key) for name in CATALOGUES for key in TURNS if (name, key) != ("box", "mirrored")]
RECONSTRUCTORS = {
    "linear": LinearTheory(),
    "linear, masses": LinearTheory(weighting="mass"),
    "iterative": IterativeFFT(surroundings=True),
    "wiener": MultiTracerWiener(),
    "wiener, trained": shipped_filter(),
}
SPECS = {
    "moved": InputSpec(),
    "published": InputSpec(kind="published", weighting="mass"),
    "survey": SurveyInputs(),
    "observed": SurveyInputs(kind="observed", weighting="mass", values="logarithm"),
}


@pytest.mark.parametrize(("kind", "key"), TURNED)
class TestCatalogues:
    @pytest.mark.filterwarnings("ignore:number density:peculiar.core.errors.OutOfRangeWarning")
    @pytest.mark.parametrize("name", RECONSTRUCTORS)
    def test_reconstructors(self, kind, key, name):
        turn, catalogue = TURNS[key], CATALOGUES[kind]
        expected = RECONSTRUCTORS[name].reconstruct(catalogue, cells=16, cosmology=COSMOLOGY)
        found = RECONSTRUCTORS[name].reconstruct(turned(catalogue, turn), cells=16, cosmology=COSMOLOGY)
        for field in ("density", "velocity", "momentum"):
            assert_same(found[field].data, turned_field(expected[field], turn).data, tolerance=2e-3)

    @pytest.mark.parametrize("name", SPECS)
    def test_inputs_of_networks(self, kind, key, name):
        if (kind, name) == ("survey", "moved"):
            pytest.skip("what the survey has not seen is filled with random tracers")
        turn, catalogue, spec = TURNS[key], CATALOGUES[kind], SPECS[name]
        expected = network_inputs(catalogue, cells=16, cosmology=COSMOLOGY, spec=spec).data
        found = network_inputs(turned(catalogue, turn), cells=16, cosmology=COSMOLOGY, spec=spec).data
        assert_same(found, apply_symmetry(expected, turn, vectors=spec.vectors), tolerance=2e-3)

    def test_bias(self, kind, key):
        expected = linear_bias(CATALOGUES[kind], cosmology=COSMOLOGY)
        assert 0.5 < expected < 4.5
        found = linear_bias(turned(CATALOGUES[kind], TURNS[key]), cosmology=COSMOLOGY)
        assert found == pytest.approx(expected, rel=1e-4)

    def test_clustering(self, kind, key):
        expected = measure_clustering(CATALOGUES[kind], cosmology=COSMOLOGY)
        found = measure_clustering(turned(CATALOGUES[kind], TURNS[key]), cosmology=COSMOLOGY)
        for name in ("bias", "error", "noise"):
            assert getattr(found, name) == pytest.approx(getattr(expected, name), rel=1e-3)

    def test_power_of_a_catalogue(self, kind, key):
        if kind == "survey":
            pytest.skip("periodic boxes alone")
        both = CATALOGUES[kind], turned(CATALOGUES[kind], TURNS[key])
        powers = [
            st.power_multipoles(
                st.catalogue_modes(one, 16), line_of_sight=one.line_of_sight, edges=EDGES
            ).power
            for one in both
        ]
        np.testing.assert_allclose(powers[1], powers[0], rtol=1e-3, atol=1e-4 * np.nanmax(powers[0]))

    def test_surroundings_and_what_is_known(self, kind, key):
        turn, catalogue = TURNS[key], CATALOGUES[kind]
        both = [
            surroundings_displacement(one, one.positions, cells=16, cosmology=COSMOLOGY, bias=1.5)
            for one in (catalogue, turned(catalogue, turn))
        ]
        assert_same(both[1], apply_symmetry(both[0], turn, vectors=[(0, 1, 2)]), tolerance=5e-3)
        known = [
            known_fraction(one, cells=16, cosmology=COSMOLOGY, bias=1.5, draws=16)[None]
            for one in (catalogue, turned(catalogue, turn))
        ]
        # Its random fields know axes by name: as good as other seeds.
        assert float((known[1] - apply_symmetry(known[0], turn)).square().mean().sqrt()) < 0.06
