import numpy as np
import pytest
import torch

from peculiar.core import PRESETS, Box, Catalogue, Field, InputError
from peculiar.linear import IterativeFFT
from peculiar.linear.clustering import linear_bias
from peculiar.linear.inputs import network_inputs
from peculiar.linear.survey_inputs import SurveyInputs

COSMOLOGY = PRESETS["wang2024"]
CELLS = 16
BOX = Box(160.0, CELLS, origin=(10.0, -50.0, 0.0), periodic=False)


def survey(masses=True, number=4000):
    """Seen in the lower half of x alone, twice as many in the lower half of z."""
    random = np.random.default_rng(5)
    seen = torch.zeros(1, CELLS, CELLS, CELLS)
    seen[:, :8] = 0.5
    seen[:, :8, :, :8] = 1.0
    positions = random.uniform(0, 160, (number, 3)) * [0.5, 1, 1]
    positions = positions[(positions[:, 2] < 80) | (random.random(number) < 0.5)]
    return Catalogue(
        positions=positions + BOX.origin,
        box=BOX,
        redshift=0.0,
        line_of_sight="radial",
        observer=(0.0, 0.0, 0.0),
        masses=random.lognormal(28, 1, len(positions)) if masses else None,
        completeness=Field(seen, BOX, ["completeness"], space="redshift"),
    )


def survey_inputs(catalogue, *, cells, cosmology, spec):
    return spec.channels(catalogue, cells=cells, cosmology=cosmology)


def channel(data, spec, name):
    return data[spec.names.index(name)]


def test_zero_stands_for_what_is_not_known():
    spec = SurveyInputs()
    data = survey_inputs(survey(), cells=CELLS, cosmology=COSMOLOGY, spec=spec)
    assert data.shape == (len(spec.names), CELLS, CELLS, CELLS)
    blind = data[:, 10:]
    for name in ("observed", "moved", "moved_mass", "completeness", "density"):
        assert float(channel(blind, spec, name).abs().max()) == 0
        assert float(channel(data[:, :7], spec, name).std()) > 0
    assert float(channel(blind, spec, "flow_x").std()) > 0  # but matter that is seen pulls there


def test_expected_counts_are_the_catalogues():
    spec = SurveyInputs()
    catalogue = survey()
    expected = channel(survey_inputs(catalogue, cells=CELLS, cosmology=COSMOLOGY, spec=spec), spec, "density")
    # The cloud-in-cell assignment carries an eighth of the cells at the box's faces out of it.
    assert float(expected[1:-1, 1:-1, 1:-1].expm1().sum()) == pytest.approx(
        len(catalogue) * 14**2 / 16**2 * 7 / 8, rel=0.02
    )
    assert float(expected[3, 8, 3].expm1() / expected[3, 8, 12].expm1()) == pytest.approx(2, rel=1e-3)


def test_the_flow_is_that_of_the_iterative_fft():
    spec = SurveyInputs(smoothing=12.0)
    catalogue = survey()
    data = survey_inputs(catalogue, cells=CELLS, cosmology=COSMOLOGY, spec=spec)
    bias = linear_bias(catalogue, cosmology=COSMOLOGY)
    assert np.allclose(data[14], np.log(bias))
    flow = IterativeFFT(smoothing=12.0, bias=bias, surroundings=True).reconstruct(
        catalogue, cells=CELLS, cosmology=COSMOLOGY
    )
    scale = COSMOLOGY.velocity_factor(catalogue.redshift)
    assert torch.allclose(data[5:8] * scale, flow["velocity"].data, atol=1e-2)


def test_without_masses_numbers_stand_in_their_channel():
    spec = SurveyInputs()
    data = survey_inputs(survey(masses=False), cells=CELLS, cosmology=COSMOLOGY, spec=spec)
    assert torch.equal(channel(data, spec, "moved_mass"), channel(data, spec, "moved"))
    weighted = survey_inputs(survey(), cells=CELLS, cosmology=COSMOLOGY, spec=spec)
    assert not torch.equal(channel(weighted, spec, "moved_mass"), channel(weighted, spec, "moved"))


def test_observed_counts_lie_in_their_cells():
    catalogue = survey()
    spec = SurveyInputs(kind="observed", values="density")
    field = network_inputs(catalogue, cells=CELLS, cosmology=COSMOLOGY, spec=spec)
    index = np.floor((catalogue.positions - BOX.origin) / 10).astype(int)
    counts = np.zeros((CELLS,) * 3)
    np.add.at(counts, tuple(index.T), 1)
    found = field.numpy()[0]
    assert np.allclose(found / found.max(), counts / counts.max(), atol=1e-6)
    others = {
        values: survey_inputs(
            catalogue, cells=CELLS, cosmology=COSMOLOGY, spec=SurveyInputs(kind="observed", values=values)
        )[0].numpy()
        for values in ("contrast", "logarithm")
    }
    assert np.allclose(others["contrast"][:8], found[:8] - 1, atol=1e-6)
    assert np.allclose(others["logarithm"], np.log1p(found), atol=1e-6)
    assert abs(others["contrast"][10:]).max() == 0


def test_mass_weights_need_masses():
    spec = SurveyInputs(kind="observed", weighting="mass")
    with pytest.raises(InputError, match="masses"):
        survey_inputs(survey(masses=False), cells=CELLS, cosmology=COSMOLOGY, spec=spec)
    assert survey_inputs(survey(), cells=CELLS, cosmology=COSMOLOGY, spec=spec).shape == (1, 16, 16, 16)


def test_vectors_are_the_channels_of_flow_and_sight():
    spec = SurveyInputs()
    assert [[spec.names[i] for i in vector] for vector in spec.vectors] == [
        ["flow_x", "flow_y", "flow_z"],
        ["surroundings_x", "surroundings_y", "surroundings_z"],
        ["sight_x", "sight_y", "sight_z"],
    ]
    assert SurveyInputs(kind="observed").vectors == ()
