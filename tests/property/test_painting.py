import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from peculiar.core import Box
from peculiar.core.readout import readout
from peculiar.fields.paint import paint

SCHEMES = ("ngp", "cic", "tsc")
sizes = st.floats(1, 1e4)
cells = st.integers(2, 9)
origins = st.tuples(*[st.floats(-1e3, 1e3)] * 3)
numbers = st.integers(1, 12)


@st.composite
def particles(draw, periodic=True):
    """A box and particles in and around it, with weights."""
    box = Box(draw(sizes), draw(cells), origin=draw(origins), periodic=periodic)
    count = draw(numbers)
    # Up to a side beyond each face.
    unit = draw(arrays(np.float64, (count, 3), elements=st.floats(-1, 2)))
    weights = draw(arrays(np.float64, count, elements=st.floats(0, 1e3)))
    return box, np.asarray(box.origin) + unit * box.size, weights


@pytest.mark.parametrize("scheme", SCHEMES)
@given(data=particles())
def test_a_periodic_mesh_holds_all_weight(scheme, data):
    box, positions, weights = data
    mesh = paint(positions, box, weights=weights, scheme=scheme).double()
    assert float(mesh.sum()) == pytest.approx(weights.sum(), rel=1e-5, abs=1e-6)
    assert float(mesh.min()) >= 0


@pytest.mark.parametrize("scheme", SCHEMES)
@given(data=particles(periodic=False))
def test_an_open_mesh_holds_no_more_than_all_weight(scheme, data):
    box, positions, weights = data
    mesh = paint(positions, box, weights=weights, scheme=scheme).double()
    assert -1e-6 <= float(mesh.sum()) <= weights.sum() * (1 + 1e-5) + 1e-6


@pytest.mark.parametrize("scheme", ["cic", "tsc"])
@given(data=particles(), steps=st.tuples(*[st.integers(-20, 20)] * 3))
def test_particles_moved_by_whole_cells_roll_the_mesh(scheme, data, steps):
    box, positions, weights = data
    moved = positions + np.asarray(steps) * box.cell_size
    mesh = paint(positions, box, weights=weights, scheme=scheme)
    rolled = mesh.roll(steps, dims=(1, 2, 3))
    # Kernels take positions as float32: what they lose is a share of a cell.
    lost = 1e-6 * (np.abs(moved).max() + np.abs(positions).max() + 1e3) / box.cell_size + 1e-5
    found = paint(moved, box, weights=weights, scheme=scheme)
    assert float((found - rolled).abs().max()) <= lost * weights.sum() + 1e-9


@pytest.mark.parametrize("scheme", SCHEMES)
@given(data=particles(), seed=st.integers(0, 99))
def test_the_order_of_rows_does_not_matter(scheme, data, seed):
    box, positions, weights = data
    order = np.random.default_rng(seed).permutation(len(weights))
    found = paint(positions[order], box, weights=weights[order], scheme=scheme)
    expected = paint(positions, box, weights=weights, scheme=scheme)
    assert float((found - expected).abs().max()) <= 1e-6 * weights.sum() + 1e-9


@given(data=particles(), axes=st.permutations([0, 1, 2]))
def test_axes_have_no_names(data, axes):
    box, positions, weights = data
    turned = Box(box.size, box.mesh, origin=tuple(np.asarray(box.origin)[axes]))
    mesh = paint(positions, box, weights=weights).permute(0, *(1 + axis for axis in axes))
    found = paint(positions[:, axes], turned, weights=weights)
    assert float((found - mesh).abs().max()) <= 1e-6 * weights.sum() + 1e-9


@pytest.mark.parametrize("scheme", SCHEMES)
@given(data=particles(), value=st.floats(-1e3, 1e3))
def test_a_constant_mesh_reads_as_its_constant_everywhere(scheme, data, value):
    box, positions, _ = data
    mesh = paint(positions, box) * 0 + value
    assert readout(mesh, positions, box, scheme=scheme).numpy() == pytest.approx(value, rel=1e-5, abs=1e-30)


@given(data=particles())
def test_wrapped_places_lie_in_the_box_and_a_whole_number_of_sides_away(data):
    box, positions, _ = data
    wrapped = box.wrap(positions)
    assert box.contains(wrapped).all()
    sides = (wrapped - positions) / box.size
    tolerance = 1e-9 * (1 + np.abs(positions).max() / box.size)
    assert np.abs(sides - sides.round()).max() <= tolerance
    assert box.wrap(wrapped) == pytest.approx(wrapped)
