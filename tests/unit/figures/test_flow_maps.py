from __future__ import annotations

import numpy as np
import pytest

from peculiar.core import InputError
from peculiar.figures.flow_maps import FlowSlab, Mark, flow_slabs
from peculiar.figures.slices import Slab


def item(seed: int = 0, *, observed: bool = True, **changes: object) -> FlowSlab:
    rng = np.random.default_rng(seed)
    values = {
        "velocity": 200 * rng.normal(size=(3, 16, 16, 2)),
        "potential": rng.normal(size=(1, 16, 16, 2)),
        "convergence": rng.normal(size=(1, 16, 16, 2)),
    }
    coverage = np.zeros((16, 16))
    if observed:
        coverage[4:12, 2:14] = 1.0
    return FlowSlab(Slab(values, 160.0, 20.0, axes=("y", "x")), coverage, "a slab", **changes)


@pytest.mark.parametrize("ground", ["potential", "convergence"])
def test_arrows_and_edge_stay_within_what_is_observed(ground):
    one = item(marks=[Mark("Coma", (80.0, 80.0))], points=np.array([[60.0, 60.0]]))
    figure = flow_slabs([one, item(1)], ground=ground, observer=(0.0, 0.0), arrows=16)
    panel = figure.axes[0]
    quiver = next(part for part in panel.collections if type(part).__name__ == "Quiver")
    assert len(quiver.U) == 8 * 12
    places = np.asarray(quiver.get_offsets())
    assert ((places > [40, 20]) & (places < [120, 140])).all()
    u, v = one.slab.plane("velocity")
    np.testing.assert_allclose(np.sort(quiver.U), np.sort(u[4:12, 2:14].ravel()), rtol=1e-5)
    np.testing.assert_allclose(u, one.slab.map("velocity")[1])  # the first axis is y
    np.testing.assert_allclose(v, one.slab.map("velocity")[0])
    assert "Coma" in [text.get_text() for text in panel.texts]
    assert panel.get_xlim()[0] <= 0  # the observer is in view
    assert len(figure.axes) == 4  # two slabs, two colour bars
    assert all(axes.get_xlabel() or axes.get_ylabel() for axes in figure.axes)


def test_names_of_neighbours_stand_apart():
    marks = [Mark("left", (70.0, 70.0)), Mark("right", (80.0, 75.0))]
    panel = flow_slabs([item(marks=marks)]).axes[0]
    side = {text.get_text(): text.get_va() for text in panel.texts if text.get_text() in ("left", "right")}
    assert side == {"left": "top", "right": "bottom"}


def test_the_legend_names_what_is_drawn():
    plain = flow_slabs([item()]).legends[0]
    assert [text.get_text() for text in plain.get_texts()] == ["edge of the survey"]
    full = flow_slabs([item(marks=[Mark("a", (50.0, 50.0))], points=np.ones((1, 2)))], observer=(1.0, 1.0))
    assert len(full.legends[0].get_texts()) == 4


def test_slabs_without_survey_are_refused():
    with pytest.raises(InputError, match="slabs must observe"):
        flow_slabs([item(observed=False)])
