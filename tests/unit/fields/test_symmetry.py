import numpy as np
import pytest
import torch

from peculiar.core import InputError
from peculiar.fields.symmetry import IDENTITY, apply_symmetry, invert_symmetry, symmetries, turn_vectors


def gradient(scalar):
    """Periodic centred differences (batch, 3, x, y, z): a true vector made from a scalar."""
    return torch.stack([(scalar.roll(-1, a) - scalar.roll(1, a)) / 2 for a in (-3, -2, -1)], dim=-4)


@pytest.mark.parametrize(
    ("line_of_sight", "count"), [(None, 48), ("radial", 48), ("z", 16), ("x", 16), (1, 16)]
)
def test_group_size_and_closure_under_inversion(line_of_sight, count):
    group = symmetries(line_of_sight)
    assert len(set(group)) == count
    assert group[0] == IDENTITY
    assert {invert_symmetry(s) for s in group} == set(group)


def test_line_of_sight_axis_stays_itself():
    z = torch.arange(4.0).expand(1, 4, 4, 4)
    for symmetry in symmetries("z"):
        moved = apply_symmetry(z, symmetry)
        assert torch.equal(moved, z.flip(-1) if symmetry.flips[2] else z)


@pytest.mark.parametrize("line_of_sight", [None, "y"])
def test_vectors_turn_with_their_axes(line_of_sight):
    scalar = torch.randn(2, 6, 6, 6, generator=torch.Generator().manual_seed(1))
    mesh = torch.cat([scalar[:, None], gradient(scalar)], dim=1)
    for symmetry in symmetries(line_of_sight):
        moved = apply_symmetry(mesh, symmetry, vectors=((1, 2, 3),))
        torch.testing.assert_close(moved[:, 1:], gradient(moved[:, 0]))
        back = apply_symmetry(moved, invert_symmetry(symmetry), vectors=((1, 2, 3),))
        assert torch.equal(back, mesh)


def test_scalars_do_not_change_sign_and_gradients_flow():
    mesh = torch.randn(4, 3, 3, 3, requires_grad=True)
    moved = apply_symmetry(mesh, symmetries()[13])
    assert moved.sum().item() == pytest.approx(mesh.sum().item(), abs=1e-4)
    moved.sum().backward()
    assert torch.equal(mesh.grad, torch.ones_like(mesh))


def test_unknown_axis_is_refused():
    with pytest.raises(InputError, match="line_of_sight must be"):
        symmetries("w")


@pytest.mark.parametrize("symmetry", symmetries())
def test_places_turn_as_meshes_do(symmetry):
    """A cell that is marked stands, after a turn, where its place about the centre has turned to."""
    cell = np.array([[0, 1, 3]])
    mesh = torch.zeros(1, 4, 4, 4)
    mesh[0, 0, 1, 3] = 1.0
    turned = turn_vectors(cell + 0.5 - 2.0, symmetry) + 2.0 - 0.5
    assert apply_symmetry(mesh, symmetry)[0].nonzero().tolist() == turned.tolist()
