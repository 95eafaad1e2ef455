from dataclasses import replace

import numpy as np
import pytest
import torch

from peculiar.core import PRESETS, Box, Catalogue, Field
from peculiar.core.errors import InputError
from peculiar.fields.symmetry import Symmetry, apply_symmetry
from peculiar.linear.clustering import linear_bias, monopole_bias
from peculiar.linear.inputs import InputSpec, network_inputs
from peculiar.linear.overdensity import tracer_weights
from peculiar.linear.wiener import shipped_filter

COSMOLOGY = PRESETS["xiao2024"]
CELLS = 24
BOX = Box(24 * 2.34375)
SPEC = InputSpec()


def clustered(line_of_sight="z", **changes):
    random = np.random.default_rng(3)
    centres = random.uniform(0, BOX.size, (60, 3))
    positions = (centres[random.integers(60, size=530)] + random.normal(0, 2.5, (530, 3))) % BOX.size
    values = {
        "positions": positions,
        "box": BOX,
        "redshift": 0.59,
        "line_of_sight": line_of_sight,
        "masses": random.lognormal(size=530),
    }
    return Catalogue(**(values | changes))


def inputs(catalogue, spec=SPEC):
    return network_inputs(catalogue, cells=CELLS, cosmology=COSMOLOGY, spec=spec)


@pytest.mark.parametrize("kind", ["moved", "published"])
def test_channels_have_the_names_of_the_spec(kind):
    spec = InputSpec(kind=kind)
    found = inputs(clustered(), spec)
    assert tuple(found.names) == spec.names
    assert torch.isfinite(found.data).all()
    for vector in spec.vectors:
        assert [spec.names[channel][-2:] for channel in vector] == ["_x", "_y", "_z"]


def test_channels_turn_with_the_catalogue():
    """Axes change places, and so do the lines of sight: every channel follows."""
    catalogue = clustered("z")
    turned = catalogue.replace(positions=catalogue.positions[:, [2, 0, 1]], line_of_sight="x")
    turn = Symmetry((2, 0, 1), (False, False, False))
    expected = apply_symmetry(inputs(catalogue).data, turn, vectors=SPEC.vectors)
    torch.testing.assert_close(inputs(turned).data, expected, rtol=1e-3, atol=2e-3)


def test_counts_add_up_to_the_number_density():
    found = inputs(clustered())
    counts = torch.expm1(found.data[:4]).sum(dim=(1, 2, 3))
    expected = np.diff(SPEC.abundances, prepend=0) * BOX.volume
    np.testing.assert_allclose(counts.numpy(), expected, rtol=1e-3)


def test_without_masses_all_tracers_stand_in_the_last_bin():
    found = inputs(clustered(masses=None))
    assert found.data[:3].abs().max() == 0
    assert torch.expm1(found.data[3]).sum().item() == pytest.approx(
        SPEC.abundances[-1] * BOX.volume, rel=1e-3
    )


def test_stronger_clustering_lowers_the_flow():
    spec, flat = InputSpec(), InputSpec(flow_response=0.0)
    found, plain = inputs(clustered(), spec), inputs(clustered(), flat)
    clustering = float(found.data[11, 0, 0, 0])
    factor = 1 + np.clip(spec.flow_response * clustering, -0.2, 0.2)
    torch.testing.assert_close(found.data[4:7], factor * plain.data[4:7], rtol=1e-4, atol=1e-5)


def test_a_survey_is_filled_with_random_tracers_where_it_has_not_seen():
    box = Box(BOX.size, CELLS, periodic=False)
    seen = torch.ones(1, CELLS, CELLS, CELLS)
    seen[:, :12] = 0
    catalogue = clustered()
    inside = catalogue.positions[:, 0] > BOX.size / 2
    survey = Catalogue(
        positions=catalogue.positions[inside],
        box=Box(BOX.size, periodic=False),
        redshift=0.59,
        masses=catalogue.masses[inside],
        completeness=Field(seen, box, ["completeness"]),
    )
    found = inputs(survey)
    unseen = torch.expm1(found.data[:4, :10]).mean(dim=(1, 2, 3)).sum().item()
    assert unseen == pytest.approx(SPEC.abundances[-1] * 2.34375**3, rel=0.3)
    assert found.data[3, :10].std() > 0.01
    torch.testing.assert_close(found.data, inputs(survey).data)


@pytest.mark.filterwarnings("ignore:bias of 530 objects")
@pytest.mark.parametrize("weighting", ["number", "mass"])
def test_measured_beta_is_that_of_the_weighted_tracers(weighting):
    """v_lin goes with 1 / beta (eq. 2), and m_lin is (1 + delta / beta) v_lin (eq. 3)."""
    catalogue = clustered()
    plain, measured = (
        inputs(catalogue, InputSpec(kind="published", weighting=weighting, bias=bias))
        for bias in (1.0, "measured")
    )
    weights = tracer_weights(catalogue, weighting)
    beta = monopole_bias(catalogue.replace(weights=weights), cosmology=COSMOLOGY)
    assert beta > 1
    torch.testing.assert_close(beta * measured.data[4:7], plain.data[4:7], rtol=1e-4, atol=1e-4)
    assert not torch.allclose(beta * measured.data[7:10], plain.data[7:10], rtol=1e-2)


def test_measured_bias_is_not_of_inputs_that_are_moved_back():
    with pytest.raises(ValueError, match="bias must be a number for kind 'moved', got 'measured'"):
        InputSpec(bias="measured")


def test_mass_weighting_needs_the_published_inputs():
    with pytest.raises(InputError, match="weighting must be 'number'"):
        inputs(clustered(), InputSpec(weighting="mass"))


def test_conditions_are_those_of_the_catalogue_and_its_cosmology():
    spec = InputSpec(conditions=("redshift", "density", "bias", "cell"))
    found = inputs(clustered(), spec)
    plain = inputs(clustered())
    assert torch.equal(found.data[:-4], plain.data)
    redshift, density, bias, cell = found.data[-4:, 0, 0, 0].tolist()
    assert (redshift, cell) == pytest.approx((0.59, np.log(2.34375)))
    assert density == pytest.approx(np.log1p(530 / CELLS**3))
    assert bias == pytest.approx(np.log(linear_bias(clustered(), cosmology=COSMOLOGY)))


def test_the_wiener_filter_of_a_card_is_used():
    own = replace(shipped_filter(), weights_velocity=2 * shipped_filter().weights_velocity)
    spec = InputSpec(wiener=own.to_dict())
    flow = SPEC.names.of("wiener_velocity")
    found, plain = inputs(clustered(), spec), inputs(clustered())
    torch.testing.assert_close(found.data[flow], 2 * plain.data[flow])
    assert (
        InputSpec.model_validate_json(spec.model_dump_json()).tables
        == spec.tables
        == {"wiener": own.checksum}
    )
    assert SPEC.tables == {"wiener": shipped_filter().checksum} != spec.tables


def test_a_filter_that_is_not_fitted_yet_cannot_be_used():
    with pytest.raises(InputError, match="inputs.wiener must be a filter when it is used, got 'fitted'"):
        inputs(clustered(), InputSpec(wiener="fitted"))
    with pytest.raises(ValueError, match="wiener must be 'package', 'fitted' or a table, got 'fited'"):
        InputSpec(wiener="fited")


def test_on_a_light_cone_conditions_are_of_the_epoch_of_each_cell():
    box = Box((80.0, 40.0, 40.0), origin=(300.0, 0.0, 0.0), periodic=False)
    random = np.random.default_rng(1)
    catalogue = Catalogue(
        positions=random.uniform(0, 1, (500, 3)) * box.sides + box.origin,
        box=box,
        redshift=0.1,
        line_of_sight="radial",
        observer=(0.0, 0.0, 0.0),
        masses=random.random(500),
        light_cone=True,
    )
    spec = InputSpec(conditions=("redshift", "growth", "density"))
    found = network_inputs(catalogue, cells=16, cosmology=COSMOLOGY, spec=spec)
    assert found.data.shape == (len(spec.names), 16, 8, 8)
    centres = np.stack(np.meshgrid(*(found.box.coordinates(i) for i in range(3)), indexing="ij"))
    redshift = COSMOLOGY.redshift_at(np.linalg.norm(centres, axis=0))
    np.testing.assert_allclose(found.data[-3].numpy(), redshift, rtol=1e-4)
    growth = [COSMOLOGY.sigma8 * COSMOLOGY.growth(float(z)) for z in redshift[:, 4, 4]]
    np.testing.assert_allclose(found.data[-2, :, 4, 4].numpy(), np.log(growth), atol=1e-4)
    assert float(found.data[-1, 8, 4, 4]) == pytest.approx(np.log1p(500 / 1024))


def test_the_momentum_of_heavy_clusters_fits_into_half_precision():
    box = Box(96.0)
    random = np.random.default_rng(0)
    masses = np.concatenate([[1e17], np.full(999, 1e11)])
    catalogue = Catalogue(
        random.uniform(0, 96, (1000, 3)), box=box, masses=masses, line_of_sight="z", redshift=0.5
    )
    spec = InputSpec(kind="published", weighting="mass", bias=1.0)
    found = network_inputs(catalogue, cells=48, cosmology=PRESETS["xiao2024"], spec=spec)
    assert float(found.data.abs().max()) > 5e4
    assert bool(torch.isfinite(found.data.half()).all())
