import pytest
import torch

from peculiar.core import InputError
from peculiar.fields.symmetry import IDENTITY, apply_symmetry, symmetries
from peculiar.inference.whole import (
    MARGIN,
    apply_whole,
    average_symmetries,
    channels_last,
    extend,
    half_precision,
    run,
    spread_symmetries,
)

pytestmark = pytest.mark.usefixtures("single_precision")


def test_periodic_mesh_shifts_with_its_input(network, mesh):
    inputs = mesh(16)
    shift = (network.stride, -network.stride, 2 * network.stride)
    moved = apply_whole(network, inputs.roll(shift, (1, 2, 3)))
    torch.testing.assert_close(
        moved, apply_whole(network, inputs).roll(shift, (1, 2, 3)), rtol=1e-4, atol=1e-4
    )


def test_mesh_that_is_no_multiple_of_the_stride_wraps(network, mesh):
    inputs = mesh(15)
    outputs = apply_whole(network, inputs)
    assert outputs.shape == (7, 15, 15, 15)
    # Far from the network's reach a margin of MARGIN cells wraps as the mesh itself does.
    larger = torch.cat([inputs] * 3, dim=1)
    larger = torch.cat([larger] * 3, dim=2)
    larger = torch.cat([larger] * 3, dim=3)[:, :44, :44, :44]
    middle = run(network, larger[:, 1:, 1:, 1:][:, :42, :42, :42], periodic=False)[:, 14:29, 14:29, 14:29]
    torch.testing.assert_close(outputs, middle, rtol=1e-4, atol=1e-4)


def test_faces_of_a_box_that_is_not_periodic_do_not_see_each_other(network, mesh):
    inputs = mesh(16)
    changed = inputs.clone()
    changed[:, 0] += inputs[:, 0].flip(1) - inputs[:, 0]  # the channels' means stay
    difference = apply_whole(network, changed, periodic=False) - apply_whole(network, inputs, periodic=False)
    assert network.reach < 15
    assert difference[:, network.reach + 1 :].abs().max() < 1e-5 * difference[:, 0].abs().max()


def test_extend_pads_to_the_stride(mesh):
    inputs = mesh(10, channels=2)
    larger, below = extend(inputs, periodic=True, multiple=4, margin=3)
    assert larger.shape == (2, 20, 20, 20)
    assert below == 4
    assert torch.equal(larger[:, 4:14, 4:14, 4:14], inputs)
    assert torch.equal(larger[:, :4, 4:14, 4:14], inputs[:, -4:])
    larger, below = extend(inputs, periodic=False, multiple=1, margin=MARGIN)
    assert below == MARGIN
    torch.testing.assert_close(larger[:, 0, 0, 0], inputs.mean(dim=(1, 2, 3)))


def test_average_is_symmetric(network, mesh):
    inputs = mesh(8)
    group = symmetries("z")
    vectors = {"input_vectors": ((4, 5, 6),), "output_vectors": ((1, 2, 3), (4, 5, 6))}

    def mean(values):
        return average_symmetries(lambda x: apply_whole(network, x), values, elements=group, **vectors)

    turned = mean(apply_symmetry(inputs, group[7], vectors=((4, 5, 6),)))
    torch.testing.assert_close(
        turned, apply_symmetry(mean(inputs), group[7], vectors=((1, 2, 3), (4, 5, 6))), rtol=1e-4, atol=1e-4
    )
    assert not torch.allclose(mean(inputs), apply_whole(network, inputs), atol=1e-2)


def test_spread_symmetries():
    for count in (1, 3, 4, 16):
        chosen = spread_symmetries(count, line_of_sight="z")
        assert chosen[0] == IDENTITY
        assert len(set(chosen)) == count
    with pytest.raises(InputError, match="symmetry_average must lie in 1 to 16"):
        spread_symmetries(17, line_of_sight="z")
    with pytest.raises(InputError, match="at least one symmetry"):
        average_symmetries(lambda x: x, torch.zeros(1, 2, 2, 2), elements=[])


def test_result_is_float32_without_gradients(network, mesh, monkeypatch):
    monkeypatch.setattr("peculiar.inference.whole.half_precision", half_precision)
    outputs = apply_whole(network, mesh(8))
    assert outputs.dtype == torch.float32
    assert not outputs.requires_grad


@pytest.mark.parametrize("layout", ["as read", "channels last"])
def test_layers_keep_the_layout_in_which_they_are_fast(layout):
    """Strides of a batch of one mesh must be those by which a convolution knows channels-last memory."""
    found = []

    def layers(mesh, *, periodic):
        found.append(mesh.stride())
        return mesh

    mesh = torch.randn(3, 8, 8, 8)
    run(layers, mesh if layout == "as read" else channels_last(mesh), periodic=True)
    assert found == [torch.empty(1, 3, 8, 8, 8).to(memory_format=torch.channels_last_3d).stride()]
