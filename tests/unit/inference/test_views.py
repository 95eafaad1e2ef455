from functools import partial

import pytest
import torch

from peculiar.fields.symmetry import IDENTITY, apply_symmetry, symmetries
from peculiar.inference.grids import Frame
from peculiar.inference.tiles import apply_stages, stages_of
from peculiar.inference.views import Held, View

MESH = torch.arange(4 * 6 * 8 * 10, dtype=torch.float32).reshape(4, 6, 8, 10)
VECTORS = ((1, 2, 3),)


@pytest.mark.parametrize("beyond", [None, torch.tensor([5.0, 6.0, 7.0, 8.0])])
@pytest.mark.parametrize("symmetry", [IDENTITY, symmetries()[13], symmetries()[29]])
def test_cells_are_those_of_the_turned_mesh_or_of_what_lies_beyond(symmetry, beyond):
    view = View(MESH, symmetry, VECTORS, beyond=beyond)
    turned = apply_symmetry(MESH, symmetry, vectors=VECTORS)
    assert view.shape == tuple(turned.shape[1:])
    low, high = (-2, 1, 3), (4, 5, view.shape[2] + 1)
    found = view.read(low, high)
    for place in ((2, 1, 0), (4, 3, 2)):  # inside
        cell = tuple(start + offset for start, offset in zip(low, place, strict=True))
        assert torch.equal(found[(slice(None), *place)], turned[(slice(None), *cell)])
    outside = turned[:, -2, 1, 3] if beyond is None else view.read((-1, -1, -1), (0, 0, 0))[:, 0, 0, 0]
    assert torch.equal(found[:, 0, 0, 0], outside)


@pytest.mark.parametrize("symmetry", [IDENTITY, symmetries()[13], symmetries()[29]])
def test_cells_that_are_held_are_those_that_would_be_read(symmetry):
    view = View(MESH, symmetry, VECTORS)
    there = [(-4, 10), (-3, 9), (-1, 12)]
    held = Held(there, view.cells(there))
    assert torch.equal(view.read((0, 1, 2), (4, 5, 6), held=held), view.read((0, 1, 2), (4, 5, 6)))


class Counted:
    """An array that counts how many numbers are read of it."""

    def __init__(self, mesh):
        self.mesh, self.shape, self.read = mesh, mesh.shape, 0

    def __getitem__(self, region):
        found = self.mesh[region]
        self.read += found.numel()
        return found


def test_inputs_are_read_once_for_all_symmetries(network, mesh):
    """Reading the inputs of a large mesh from the disk took as long as its finest convolutions."""
    counts = []
    for elements in (symmetries("z")[:1], symmetries("z")[::4]):
        inputs = Counted(mesh(32))
        apply_stages(
            stages_of(network),
            [View(inputs, element) for element in elements],
            frame=partial(Frame.of, multiple=2, periodic=True),
            core=lambda stage: 16,
            make=lambda stage, shape, chunks: torch.empty(shape),
        )
        counts.append(inputs.read)
    assert counts[0] == counts[1]
