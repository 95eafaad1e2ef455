"""Errors from boxes and overlapping sub-boxes."""

import numpy as np
import pytest
import torch

from peculiar.core import Box, Field, InputError
from peculiar.statistics.uncertainty import (
    errors_from_boxes,
    errors_from_sub_boxes,
    rescaled_errors,
    sub_boxes,
)


def test_errors_from_boxes():
    values = np.array([[1.0, 10.0], [3.0, 10.0], [5.0, 16.0]])
    result = errors_from_boxes(values)
    np.testing.assert_allclose(result.mean, [3, 12])
    np.testing.assert_allclose(result.std, [2, np.sqrt(12)])
    np.testing.assert_allclose(result.error, result.std / np.sqrt(3))


def test_the_paper_s_factor():
    values = np.random.default_rng(1).normal(size=(25, 3))
    result = rescaled_errors(values, total_volume=1200 * 1200 * 600, box_volume=600**3)
    np.testing.assert_allclose(result.error, 0.4 * result.std)


@pytest.mark.parametrize(("step", "boxes", "covered"), [(4, 27, 16), (8, 8, 16), (3, 27, 14), (16, 1, 8)])
def test_sub_boxes(step, boxes, covered):
    field = Field(torch.randn(1, 16, 16, 16), Box(32.0, 16, origin=(5.0, 0.0, 0.0)), ("delta",))
    cut = list(sub_boxes(field, 8, step=step))
    assert len(cut) == boxes
    last = cut[-1]
    start = covered - 8
    assert torch.equal(last.data, field.data[:, start : start + 8, start : start + 8, start : start + 8])
    assert last.box == Box(16.0, 8, origin=(5.0 + 2 * start, 2.0 * start, 2.0 * start))
    if boxes > 1:
        result = errors_from_sub_boxes(lambda f: f.data.mean().reshape(1), field, cells=8, step=step)
        factor = np.sqrt((covered / 8) ** 3 / boxes)
        np.testing.assert_allclose(result.error, factor * result.std)
        assert result.boxes == boxes


def test_bad_input():
    field = Field(torch.randn(1, 16, 16, 16), Box(32.0, 16), ("delta",))
    with pytest.raises(InputError, match="two or more boxes"):
        errors_from_boxes(np.ones((1, 4)))
    with pytest.raises(InputError, match="finite, got 1"):
        errors_from_boxes(np.array([[1.0], [np.nan]]))
    with pytest.raises(InputError, match="box_volume"):
        rescaled_errors(np.ones((3, 1)), total_volume=1.0, box_volume=2.0)
    with pytest.raises(InputError, match="cells must lie"):
        list(sub_boxes(field, 17, step=1))
    with pytest.raises(InputError, match="step must be"):
        list(sub_boxes(field, 8, step=0))
    with pytest.raises(InputError, match="share one box"):
        errors_from_sub_boxes(lambda a, b: a, field, field.replace(box=Box(33.0, 16)), cells=8, step=8)
