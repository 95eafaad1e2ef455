import numpy as np
import pytest
import torch

from peculiar.core import PRESETS, Box, Field
from peculiar.fields.symmetry import Symmetry, apply_symmetry, symmetries
from peculiar.inference import NeuralReconstructor
from peculiar.inference.model_card import DensityTransfer
from peculiar.inference.reconstructor import assemble, calibrate

COSMOLOGY = PRESETS["xiao2024"]


@pytest.fixture
def model(saved):
    return NeuralReconstructor.load(saved)


@pytest.mark.parametrize("periodic", [True, False])
def test_calibrate_multiplies_every_mode_by_its_factor(periodic):
    box = Box(64.0, 16, periodic=periodic)
    x = torch.from_numpy(box.coordinates()).float()
    wave = torch.cos(2 * box.k_fundamental * x)[None, :, None, None].expand(1, 16, 16, 16)
    table = DensityTransfer(k=(0.1, 0.3), transfer=(1.0, 2.0))
    found = calibrate(wave, table, box)
    if periodic:
        factor = np.interp(2 * box.k_fundamental, table.k, table.transfer)
        torch.testing.assert_close(found, factor * wave, rtol=1e-4, atol=1e-4)
    flat = calibrate(wave, DensityTransfer(k=(0.1,), transfer=(1.5,)), box)
    torch.testing.assert_close(flat, 1.5 * wave, rtol=1e-4, atol=1e-4)


def test_assemble_names_units_and_definition(model):
    box = Box(20.0, 8)
    outputs = torch.zeros(7, 8, 8, 8)
    outputs[1:4], outputs[4:] = 2.0, 3.0
    fields = assemble(outputs, card=model.card, box=box, velocity_factor=100.0)
    assert torch.all(fields["velocity"].data == 200.0)
    assert torch.all(fields["momentum"].data == 300.0)
    assert fields["density"].data.abs().max() < 1e-6
    assert fields["density_least_squares"].data.abs().max() < 1e-6
    assert fields["velocity"].definition == "momentum / density"
    assert [fields[name].kind for name in ("density", "velocity", "momentum")] == [
        "scalar",
        "vector",
        "vector",
    ]
    assert fields["momentum"].unit == "km/s"


@pytest.mark.parametrize(
    ("line_of_sight", "permutation"), [("x", (2, 0, 1)), ("y", (1, 2, 0)), ("z", (0, 1, 2))]
)
def test_outputs_turn_with_the_line_of_sight(model, line_of_sight, permutation, single_precision):
    """A network of one line of sight sees every catalogue along it."""
    fixed = NeuralReconstructor(model.module, model.card.model_copy(update={"line_of_sight": "z"}))
    inputs = torch.randn(13, 8, 8, 8, generator=torch.Generator().manual_seed(4))
    turn = Symmetry(permutation, (False, False, False))
    turned = fixed.outputs(
        apply_symmetry(inputs, turn, vectors=model.card.inputs.vectors),
        line_of_sight=line_of_sight,
        periodic=True,
    )
    reference = fixed.outputs(inputs, line_of_sight="z", periodic=True)
    expected = apply_symmetry(reference, turn, vectors=((1, 2, 3), (4, 5, 6)))
    torch.testing.assert_close(turned, expected, rtol=1e-4, atol=1e-4)


def test_symmetry_average_of_the_card_is_used(model, single_precision):
    inputs = torch.randn(13, 8, 8, 8, generator=torch.Generator().manual_seed(4))
    card = model.card.model_copy(update={"symmetry_average": 48})
    averaged = NeuralReconstructor(model.module, card)
    vectors = {"vectors": ((1, 2, 3), (4, 5, 6))}
    turn = symmetries()[29]
    reference = apply_symmetry(averaged.outputs(inputs, line_of_sight="z", periodic=True), turn, **vectors)
    inputs = apply_symmetry(inputs, turn, vectors=card.inputs.vectors)
    turned = averaged.outputs(inputs, line_of_sight="z", periodic=True)
    torch.testing.assert_close(turned, reference, rtol=1e-4, atol=1e-4)
    single = model.outputs(inputs, line_of_sight="z", periodic=True)
    assert not torch.allclose(turned, single, atol=1e-3)


def test_reconstruct_gives_fields_on_the_catalogue_box(model, halos):
    catalogue = halos()
    fields = model.reconstruct(catalogue, cells=32, cosmology=COSMOLOGY)
    assert set(fields) == {"density", "density_least_squares", "velocity", "momentum"}
    assert all(isinstance(field, Field) and field.box == Box(75.0, 32) for field in fields.values())
    assert all(torch.isfinite(field.data).all() for field in fields.values())
    assert fields["density"].data.min() >= -1
    assert fields["density"].data.mean().abs() < 1e-5
    assert model.name == "tiny"


def test_large_boxes_go_in_tiles(model, halos, single_precision):
    whole = model.reconstruct(halos(), cells=32, cosmology=COSMOLOGY)
    tiles = NeuralReconstructor(model.module, model.card, max_side=28).reconstruct(
        halos(), cells=32, cosmology=COSMOLOGY
    )
    for name, field in whole.items():
        torch.testing.assert_close(
            tiles[name].data, field.data, rtol=1e-3, atol=1e-4 * field.data.abs().max().item()
        )
