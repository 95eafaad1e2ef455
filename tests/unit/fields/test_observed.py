from __future__ import annotations

import numpy as np
import torch

from peculiar.core import Box, Field
from peculiar.fields.observed import cropped, observed_cells

BOX = Box(160.0, 32, origin=(-40.0, -80.0, -80.0), periodic=False)


def objects_inside(count: int = 4000) -> np.ndarray:
    """Positions in the half of the box with x < 40, in real space."""
    rng = np.random.default_rng(3)
    return rng.uniform((-40, -80, -80), (40, 80, 80), (count, 3))


def test_observed_cells_are_those_near_objects():
    seen = observed_cells(objects_inside(), BOX)
    assert seen[:14].mean() > 0.95  # x < 30
    assert not seen[22:].any()  # x > 70, four smoothing lengths from the nearest object


def test_crop_holds_the_observer_and_every_observed_cell():
    coverage = np.zeros((32, 32, 32), dtype=bool)
    coverage[20:24, 18:22, 16:30] = True
    density = Field(torch.arange(32.0**3).reshape(1, 32, 32, 32), BOX, ["density"])
    fields, cut = cropped({"density": density}, coverage, observer=(41.0, 1.0, 21.0))
    box = fields["density"].box
    assert box.cells == 14 + 8
    assert cut.sum() == coverage.sum()
    assert box.contains(np.array([[41.0, 1.0, 21.0]]))[0]
    point = np.array([[62.5, 12.5, 2.5]])
    assert np.allclose(fields["density"].at(point), density.at(point))
