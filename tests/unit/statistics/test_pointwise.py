"""Cell-by-cell agreement against direct NumPy sums and constructed answers."""

import numpy as np
import pytest
import torch

from peculiar.core import Box, Field, InputError
from peculiar.statistics.pointwise import compare, compare_vectors, magnitude, residual_ratio

BOX = Box(100.0, 12)


def vector(data):
    return Field(torch.as_tensor(data, dtype=torch.float32), BOX, "xyz", unit="km/s", kind="vector")


@pytest.fixture
def pair():
    rng = np.random.default_rng(1)
    truth = rng.normal(50.0, 300.0, (3, 12, 12, 12)).astype(np.float32)
    predicted = (0.8 * truth + rng.normal(10.0, 60.0, truth.shape)).astype(np.float32)
    return predicted, truth


def test_compare_equals_numpy(pair):
    predicted, truth = pair
    result = compare(vector(predicted), vector(truth))
    for i in range(3):
        p, t = predicted[i].ravel().astype(float), truth[i].ravel().astype(float)
        assert result.correlation[i] == pytest.approx(np.corrcoef(p, t)[0, 1], rel=1e-5)
        assert result.slope[i] == pytest.approx(np.polyfit(t, p, 1)[0], rel=1e-4)
        assert result.inverse_slope[i] == pytest.approx(np.polyfit(p, t, 1)[0], rel=1e-4)
        assert result.rms_error[i] == pytest.approx(np.sqrt(((p - t) ** 2).mean()), rel=1e-5)
        assert result.residual_fraction[i] == pytest.approx((p - t).var() / t.var(), rel=1e-4)
        assert result.bias[i] == pytest.approx((p - t).mean(), abs=1e-3)
        assert result.std[i] == pytest.approx(p.std(), rel=1e-5)
        assert result.true_mean[i] == pytest.approx(t.mean(), abs=1e-3)
    assert result.unit == "km/s"


def test_compare_vectors_equals_numpy(pair):
    predicted, truth = pair
    result = compare_vectors(vector(predicted), vector(truth))
    p, t = predicted.reshape(3, -1).astype(float), truth.reshape(3, -1).astype(float)
    length, true_length = np.linalg.norm(p, axis=0), np.linalg.norm(t, axis=0)
    cosine = (p * t).sum(0) / length / true_length
    assert result.magnitude_mean == pytest.approx(length.mean(), rel=1e-5)
    assert result.true_magnitude_std == pytest.approx(true_length.std(), rel=1e-5)
    assert result.magnitude_correlation == pytest.approx(np.corrcoef(length, true_length)[0, 1], rel=1e-4)
    assert result.angle_mean == pytest.approx((1 - cosine).mean(), rel=1e-4)
    assert result.angle_std == pytest.approx(cosine.std(), rel=1e-4)
    assert result.coherence == pytest.approx(((p * t).sum(0) / true_length**2).mean(), rel=1e-4)
    assert result.within == pytest.approx((np.linalg.norm(p - t, axis=0) < 200).mean(), abs=1e-9)
    assert result.rms_error == pytest.approx(np.sqrt(((p - t) ** 2).mean()), rel=1e-5)
    expected = (p - t).var(axis=1).sum() / t.var(axis=1).sum()
    assert result.residual_fraction == pytest.approx(expected, rel=1e-4)


def test_perfect_and_reversed_vectors(pair):
    truth = vector(pair[1])
    same = compare_vectors(truth, truth)
    assert same.angle_mean == pytest.approx(0, abs=1e-6)
    assert same.coherence == pytest.approx(1)
    assert same.within == 1
    assert compare_vectors(truth.replace(data=-2 * truth.data), truth).coherence == pytest.approx(
        -2, rel=1e-5
    )
    assert compare_vectors(truth.replace(data=-2 * truth.data), truth).cosine == pytest.approx(-1, rel=1e-5)


def test_directions_ignore_cells_without_one(pair):
    truth, predicted = pair[1].copy(), pair[0].copy()
    truth[:, 0] = 0.0
    result = compare_vectors(vector(predicted), vector(truth))
    kept = compare_vectors(
        vector(predicted), vector(truth), mask=torch.arange(12)[:, None, None].expand(12, 12, 12) > 0
    )
    assert result.cosine == pytest.approx(kept.cosine)
    assert result.coherence == pytest.approx(kept.coherence)


def test_mask_selects_cells(pair):
    predicted, truth = vector(pair[0]), vector(pair[1])
    spoiled = predicted.data.clone()
    spoiled[:, 6:] = 1e4
    unknown = predicted.data.clone()
    unknown[:, 6:] = float("nan")
    mask = torch.zeros(12, 12, 12, dtype=torch.bool)
    mask[:6] = True
    masked = compare(predicted.replace(data=spoiled), truth, mask=mask)
    assert (masked.correlation > 0.9).all()
    np.testing.assert_array_equal(
        compare(predicted.replace(data=unknown), truth, mask=mask).correlation, masked.correlation
    )
    assert (compare(predicted.replace(data=spoiled), truth).correlation < 0.5).all()


def test_residual_ratio_of_known_noise(pair):
    truth = vector(pair[1])
    noise = torch.randn(truth.data.shape, generator=torch.Generator().manual_seed(2))
    better, worse = (
        truth.replace(data=truth.data + 30 * noise + 5),
        truth.replace(data=truth.data - 60 * noise),
    )
    assert residual_ratio(better, worse, truth) == pytest.approx(0.25, rel=1e-4)


def test_magnitude():
    data = torch.zeros(3, 12, 12, 12)
    data[0], data[1] = 3.0, 4.0
    length = magnitude(vector(data))
    assert length.kind == "scalar"
    assert torch.equal(length.data, torch.full((1, 12, 12, 12), 5.0))


def test_bad_input(pair):
    truth = vector(pair[1])
    other = Field(truth.data, Box(101.0, 12), "xyz", kind="vector")
    with pytest.raises(InputError, match="share one box"):
        compare(other, truth)
    broken = truth.data.clone()
    broken[0, 0, 0, 0] = float("nan")
    with pytest.raises(InputError, match="predicted must be finite, got 1 values"):
        compare(truth.replace(data=broken), truth)
    with pytest.raises(InputError, match="same channels and kind"):
        compare(truth.replace(kind="scalar"), truth)
    with pytest.raises(InputError, match="must be a vector field"):
        compare_vectors(truth.replace(kind="scalar"), truth.replace(kind="scalar"))
    with pytest.raises(InputError, match="constant"):
        compare(truth.replace(data=torch.full_like(truth.data, 0.1)), truth)
    with pytest.raises(InputError, match="mask must be a bool tensor"):
        compare(truth, truth, mask=torch.ones(5, 5, 5, dtype=torch.bool))
    with pytest.raises(InputError, match="mask must select"):
        compare(truth, truth, mask=torch.zeros(12, 12, 12, dtype=torch.bool))
    with pytest.raises(InputError, match="reference must differ"):
        residual_ratio(truth, truth, truth)
    with pytest.raises(InputError, match="non-zero somewhere"):
        compare_vectors(truth.replace(data=torch.zeros_like(truth.data)), truth)
    with pytest.raises(InputError, match="threshold"):
        compare_vectors(truth, truth, threshold=0)
