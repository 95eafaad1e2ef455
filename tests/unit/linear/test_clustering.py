import numpy as np
import pytest
import torch

from peculiar.core import PRESETS, Box, Catalogue, Field, OutOfRangeWarning
from peculiar.linear.clustering import expected_bias, linear_bias, measure_clustering
from peculiar.simulate.initial import linear_field

COSMOLOGY = PRESETS["wang2024"]
SIDE, CELLS = 512.0, 64
REDSHIFT = 9.0  # waves are weak: no tracer density is clipped
CELL = SIDE / CELLS
FREQUENCIES = np.ix_(*[np.fft.fftfreq(CELLS)] * 3)  # cycles in a cell


def tracers(delta, bias, seed, *, per_cell=8.0, fraction=None):
    """Poisson tracers of a linear field, at random places in their cells, which smears waves as the field makes up."""
    random = np.random.default_rng(seed)
    smeared = np.sinc(FREQUENCIES[0]) * np.sinc(FREQUENCIES[1]) * np.sinc(FREQUENCIES[2])
    sharp = np.fft.ifftn(np.fft.fftn(delta.numpy()) / smeared).real
    mean = per_cell * np.clip(1 + bias * sharp, 0, None)
    counts = random.poisson(mean if fraction is None else mean * fraction)
    rows = np.stack(np.nonzero(counts), axis=1)
    rows = np.repeat(rows, counts[tuple(rows.T)], axis=0)
    return (rows + random.random(rows.shape)) * CELL


@pytest.fixture(scope="module")
def fields():
    box = Box(SIDE, CELLS)
    return [linear_field(box, COSMOLOGY, seed=seed, redshift=REDSHIFT) for seed in (1, 2)]


@pytest.mark.parametrize("bias", [0.8, 1.6])
def test_a_whole_box_gives_the_bias_of_its_tracers(fields, bias):
    found = [
        linear_bias(
            Catalogue(
                positions=tracers(delta, bias, 3), box=Box(SIDE, CELLS), redshift=REDSHIFT, space="real"
            ),
            cosmology=COSMOLOGY,
        )
        for delta in fields
    ]
    assert np.mean(found) == pytest.approx(bias, rel=0.04)


@pytest.mark.parametrize(("bias", "together"), [(0.8, 1), (1.6, 1), (1.6, 2)])
def test_bias_and_noise_are_told_apart(fields, bias, together):
    """Tracers that come in pairs have twice the Poisson noise of their number, and the same bias."""
    found = []
    for delta in fields:
        positions = np.repeat(tracers(delta, bias, 3, per_cell=4.0), together, axis=0)
        catalogue = Catalogue(positions, Box(SIDE, CELLS), redshift=REDSHIFT, space="real")
        found.append(measure_clustering(catalogue, cosmology=COSMOLOGY))
        assert found[-1].noise == pytest.approx(together / catalogue.number_density, rel=0.05)
        assert 0.005 < found[-1].error < 0.1
    assert np.mean([one.bias for one in found]) == pytest.approx(bias, rel=0.05)


def test_a_survey_gives_the_bias_through_its_mask_and_weights(fields):
    """Half of a box is seen, at a density that falls along y, one tracer in two of it with a weight of 2."""
    region = Box(SIDE, CELLS, periodic=False)
    seen = np.zeros((CELLS,) * 3)
    seen[: CELLS // 2] = np.linspace(1, 0.5, CELLS)[None, :, None]
    found = []
    for seed, delta in enumerate(fields):
        positions = tracers(delta, 1.3, seed, fraction=seen)
        random = np.random.default_rng(seed)
        halved = positions[:, 2] < SIDE / 2
        kept = ~halved | (random.random(len(positions)) < 0.5)
        catalogue = Catalogue(
            positions=positions[kept],
            box=region,
            redshift=REDSHIFT,
            space="real",
            weights=np.where(halved, 2.0, 1.0)[kept],
            completeness=Field(torch.from_numpy(seen).float()[None], region, ["completeness"]),
        )
        found.append(linear_bias(catalogue, cosmology=COSMOLOGY))
    assert np.mean(found) == pytest.approx(1.3, rel=0.04)


def test_redshift_space_distortions_are_taken_off(fields):
    """Linear distortions along z raise the power by Kaiser's factor."""
    bias, growth = 1.4, COSMOLOGY.growth_rate(REDSHIFT)
    box = Box(SIDE, CELLS)
    k = [2 * np.pi * cycles / CELL for cycles in FREQUENCIES]
    squared = k[0] ** 2 + k[1] ** 2 + k[2] ** 2
    squared[0, 0, 0] = 1
    found = []
    for delta in fields:
        modes = np.fft.fftn(delta.numpy()) * (bias + growth * k[2] ** 2 / squared) / bias
        observed = torch.from_numpy(np.fft.ifftn(modes).real).float()
        catalogue = Catalogue(
            positions=tracers(observed, bias, 5),
            box=box,
            redshift=REDSHIFT,
            line_of_sight="z",
            space="redshift",
        )
        found.append(linear_bias(catalogue, cosmology=COSMOLOGY))
    assert np.mean(found) == pytest.approx(bias, rel=0.04)


def test_tracers_without_structure_have_little_bias():
    random = np.random.default_rng(0)
    catalogue = Catalogue(
        positions=random.uniform(0, 320, (20000, 3)), box=Box(320.0, 32), redshift=0.0, space="real"
    )
    assert linear_bias(catalogue, cosmology=COSMOLOGY) < 0.5


def few() -> Catalogue:
    random = np.random.default_rng(0)
    return Catalogue(positions=random.uniform(0, 60, (5, 3)), box=Box(60.0, 16), redshift=0.0, space="real")


def test_too_few_tracers_have_the_bias_that_their_density_tells():
    expected = expected_bias(few().number_density, cosmology=COSMOLOGY, redshift=0.0)
    assert linear_bias(few(), cosmology=COSMOLOGY) == pytest.approx(expected, rel=0.25)
    with pytest.warns(OutOfRangeWarning, match=rf"bias of 5 objects .* density have {expected:.2f}"):
        found = measure_clustering(few(), cosmology=COSMOLOGY)
    assert found.bias == pytest.approx(expected, rel=0.15)
    assert found.error > 0.2


@pytest.mark.parametrize(
    ("density", "bias"), [(1e-4, 2.69), (3e-4, 2.12), (1e-3, 1.64), (2e-3, 1.43), (3e-3, 1.32)]
)
def test_the_expected_bias_is_that_of_halos(density, bias):
    """Tinker et al. 2010 over all halos above the mass of an abundance, as docs/simulation.md has it."""
    found = expected_bias(density, cosmology=PRESETS["xiao2024"], redshift=0.59)
    assert found == pytest.approx(bias, rel=0.05)
