import numpy as np
import pytest
import torch

from peculiar.core import Box, Catalogue, Field, InputError
from peculiar.linear.overdensity import (
    PADDING,
    binned_weights,
    crop,
    fourier_box,
    overdensity,
    pad,
    sampling,
    surrounded,
    tracer_weights,
)


def even(per_side: int, size: float = 100.0) -> np.ndarray:
    line = (np.arange(per_side) + 0.5) * size / per_side
    return np.stack(np.meshgrid(line, line, line, indexing="ij"), axis=-1).reshape(-1, 3)


def test_a_periodic_box_is_its_own_fourier_box():
    box = Box(100.0, 16)
    assert fourier_box(box) == box
    assert torch.equal(pad(torch.ones(1, 16, 16, 16), box), torch.ones(1, 16, 16, 16))


def test_other_boxes_are_padded_with_zeros_and_cropped_back():
    box = Box(100.0, 17, origin=(1.0, 2.0, 3.0), periodic=False)
    wide = fourier_box(box)
    assert wide.periodic
    assert wide.origin == box.origin
    assert wide.mesh >= PADDING * 17
    assert wide.cell_size == pytest.approx(box.cell_size)
    data = torch.rand(2, 17, 17, 17)
    padded = pad(data, box)
    assert padded.shape == (2, *(wide.mesh,) * 3)
    assert padded.sum() == pytest.approx(float(data.sum()), rel=1e-5)
    assert torch.equal(crop(padded, box), data)


def test_overdensity_has_zero_mean_in_each_channel_and_nothing_where_there_are_no_tracers():
    rng = np.random.default_rng(0)
    catalogue = Catalogue(rng.uniform(0, 100, (500, 3)), Box(100.0), redshift=0.0)
    weights = np.column_stack([rng.random(500), np.zeros(500)])
    delta = overdensity(catalogue.positions, sampling(catalogue, 8), weights=weights)
    assert abs(float(delta[0].mean())) < 1e-5
    assert float(delta[0].std()) > 0.1
    assert not delta[1].any()


def test_survey_overdensity_divides_by_the_completeness():
    """Tracers thinned as the completeness says have no overdensity, also where its mesh is another one."""
    box = Box(100.0, periodic=False)
    fraction = torch.ones(1, 10, 10, 10)
    fraction[:, 5:] = 0.5
    fraction[:, 9:] = 0.1
    completeness = Field(fraction, box.with_cells(10), names=("completeness",))
    points = even(40)
    weights = completeness.data[0][tuple((points // 10).astype(int).T)].numpy()
    catalogue = Catalogue(points, box, redshift=0.0, weights=weights, completeness=completeness)
    grid = sampling(catalogue, 10)
    delta = overdensity(points, grid, weights=catalogue.weights)[0]
    assert float(delta.abs().max()) < 1e-4
    assert not grid.covered[9, :10, :10].any()
    assert grid.covered[8, 1:9, 1:9].all()
    finer = sampling(catalogue, 20)
    assert finer.expected[4, 10, 10] == pytest.approx(1.0)
    assert finer.expected[14, 10, 10] == pytest.approx(0.5)


def test_weights_follow_masses_and_completeness():
    catalogue = Catalogue(
        even(2), Box(100.0), redshift=0.0, masses=np.arange(1.0, 9.0), weights=np.full(8, 2.0)
    )
    np.testing.assert_array_equal(tracer_weights(catalogue), 2.0)
    np.testing.assert_allclose(tracer_weights(catalogue, "mass"), 2 * np.arange(1.0, 9.0) / 4.5)
    binned = binned_weights(catalogue, (2e-6, 8e-6))
    np.testing.assert_array_equal(binned[:, 0], [0, 0, 0, 0, 0, 0, 2, 2])
    np.testing.assert_array_equal(binned.sum(axis=1), 2.0)
    assert binned_weights(catalogue.replace(masses=None)).shape == (8, 1)


def test_bad_input_is_named():
    catalogue = Catalogue(even(2), Box(100.0), redshift=0.0)
    with pytest.raises(InputError, match="masses must be given"):
        tracer_weights(catalogue, "mass")
    with pytest.raises(InputError, match="weighting must be"):
        tracer_weights(catalogue, "light")
    nothing = Field(torch.zeros(1, 4, 4, 4), Box(100.0, 4), names=("completeness",))
    with pytest.raises(InputError, match="completeness must be > 0"):
        sampling(catalogue.replace(completeness=nothing), 4)


def test_a_catalogue_is_surrounded_by_what_it_does_not_see():
    box = Box((100.0, 100.0, 50.0), 20, origin=(1.0, 2.0, 3.0), periodic=False)
    catalogue = Catalogue(np.full((1, 3), 30.0), box, redshift=0.5)
    larger = surrounded(catalogue, cells=20, margin=4)
    assert larger.box.with_cells(28).shape == (28, 28, 18)
    assert larger.box.cell_size == pytest.approx(5.0)
    assert larger.box.origin == (-19.0, -18.0, -17.0)
    assert larger.number_density == pytest.approx(catalogue.number_density)
    seen = larger.completeness.data[0]
    assert torch.equal(seen[4:-4, 4:-4, 4:-4], torch.ones(20, 20, 10))
    assert float(seen.sum()) == 20 * 20 * 10
