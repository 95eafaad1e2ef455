import numpy as np
import pytest
import torch

from peculiar.core import PRESETS, Box, Field
from peculiar.core.channels import vector
from peculiar.fields.symmetry import Symmetry, apply_symmetry, symmetries
from peculiar.inference import NeuralReconstructor, save_model
from peculiar.inference.card_values import DensityTransfer
from peculiar.inference.reconstructor import assemble, calibrate
from peculiar.inference.tiled import TiledReconstructor
from peculiar.linear.inputs import InputSpec
from peculiar.linear.survey_inputs import SurveyInputs
from peculiar.models import build

COSMOLOGY = PRESETS["xiao2024"]


@pytest.fixture
def model(saved):
    return NeuralReconstructor.load(saved)


@pytest.fixture
def velocity_model(entries, tmp_path):
    """A network of velocity alone on the number of tracers in each cell, all weights random."""
    torch.manual_seed(2)
    settings = {"in_channels": 1, "channels": [4, 8, 8], "groups": 2}
    module = build("wang2024", settings)
    changes = {
        "architecture": "wang2024",
        "configuration": settings,
        "inputs": {"kind": "observed"},
        "periodic_training": False,
    }
    save_model(module, tmp_path, **entries | changes)
    return NeuralReconstructor.load(tmp_path / "tiny.safetensors")


def recorded(module, monkeypatch):
    """The meshes that a network is applied to, and whether they wrap."""
    seen = []
    forward = type(module).forward

    def record(self, inputs, *, periodic=True):
        seen.append((inputs[0], periodic))
        return forward(self, inputs, periodic=periodic)

    monkeypatch.setattr(type(module), "forward", record)
    return seen


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
@pytest.mark.parametrize("average", [1, 3])
def test_outputs_turn_with_the_line_of_sight(model, line_of_sight, permutation, average, single_precision):
    """A network of one line of sight sees every catalogue along it, in the same few symmetries."""
    changes = {"line_of_sight": "z", "symmetry_average": average}
    fixed = NeuralReconstructor(model.module, model.card.model_copy(update=changes))
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


def test_a_density_without_calibration_does_not_claim_its_power(model):
    plain = model.card.model_copy(update={"density_transfer": DensityTransfer(k=(0.0,), transfer=(1.0,))})
    found = [
        assemble(torch.zeros(7, 8, 8, 8), card=card, box=Box(20.0, 8), velocity_factor=1.0)["density"]
        for card in (model.card, plain)
    ]
    assert [field.definition for field in found] == ["power unbiased on average", "least mean-square error"]


@pytest.mark.parametrize("tiled", [False, True])
def test_density_is_calibrated_for_the_clustering_of_the_tracers(
    entries, halos, tmp_path, monkeypatch, tiled
):
    monkeypatch.setattr("peculiar.linear.inputs.monopole_bias", lambda catalogue, cosmology: 3.0)
    inputs = InputSpec(kind="published", bias="measured")
    settings = {"inputs": list(inputs.names), "channels": [2, 2, 4], "init_kernel": 3}
    changes = {
        "architecture": "xiao2024",
        "configuration": settings,
        "inputs": inputs.model_dump(mode="json"),
        "density_transfer": {"k": [0.1], "transfer": [1.2], "beta": 2.0},
    }
    torch.manual_seed(5)
    save_model(build("xiao2024", settings), tmp_path, **entries | changes)
    model = NeuralReconstructor.load(tmp_path / "tiny.safetensors")
    made = TiledReconstructor(model, allowed=1e9) if tiled else model
    fields = made.reconstruct(halos(), cells=32, cosmology=COSMOLOGY)
    least = fields["density_least_squares"].data
    assert least.std() > 1e-3
    torch.testing.assert_close(fields["density"].data, 0.8 * least, rtol=1e-3, atol=1e-3)


def test_velocity_alone_gives_the_density_of_linear_theory(model):
    """Without the card's transfer function, 1.0 to 1.2, which another network's density was fitted with."""
    box = Box(80.0, 16)
    k = 2 * box.k_fundamental
    x = torch.from_numpy(box.coordinates()).float()[:, None, None]
    flow = torch.zeros(3, 16, 16, 16)
    flow[0] = 0.4 / k * torch.sin(k * x)
    fields = assemble(flow, card=model.card, box=box, velocity_factor=50.0)
    delta = (-0.4 * torch.cos(k * x)).expand(1, 16, 16, 16)
    assert set(fields) == {"density", "velocity", "momentum"}
    torch.testing.assert_close(fields["density"].data, delta, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(fields["velocity"].data, 50 * flow)
    torch.testing.assert_close(fields["momentum"].data, 50 * (1 + delta) * flow, rtol=1e-4, atol=1e-3)
    assert "linear theory" in fields["density"].definition
    assert fields["velocity"].definition == model.card.velocity_definition
    assert "linear theory" in fields["momentum"].definition
    assert {fields[name].unit for name in ("velocity", "momentum")} == {"km/s"}


@pytest.mark.parametrize(("slope", "expected"), [(-0.1, 0.3), (0.9, -1.0)])
def test_the_density_of_an_isolated_flow_holds_up_to_its_faces(model, slope, expected):
    box = Box(40.0, 8, periodic=False)
    centres = torch.from_numpy(box.coordinates()).float()
    flow = slope * torch.stack(torch.meshgrid(centres, centres, centres, indexing="ij"))
    density = assemble(flow, card=model.card, box=box, velocity_factor=50.0)["density"]
    torch.testing.assert_close(density.data, torch.full((1, 8, 8, 8), expected), rtol=1e-4, atol=1e-4)


@pytest.mark.filterwarnings("ignore::peculiar.core.errors.OutOfRangeWarning")
def test_a_survey_is_filled_up_with_zeros_to_the_stride(velocity_model, halos, monkeypatch):
    seen = recorded(velocity_model.module, monkeypatch)
    catalogue = halos(size=70.0, box=Box(70.0, periodic=False))
    fields = velocity_model.reconstruct(catalogue, cells=30, cosmology=COSMOLOGY)
    assert set(fields) == {"density", "velocity", "momentum"}
    assert all(field.box == catalogue.box.with_cells(30) for field in fields.values())
    ((mesh, periodic),) = seen
    assert mesh.shape == (1, 32, 32, 32)
    assert not periodic
    assert torch.count_nonzero(mesh[:, :30, :30, :30]) == 30**3
    assert torch.count_nonzero(mesh) == 30**3
    velocity_model.reconstruct(halos(size=70.0), cells=32, cosmology=COSMOLOGY)
    assert seen[1][1] is True


def test_our_network_on_a_survey_ends_at_its_faces_too(model, monkeypatch, single_precision):
    """Other inputs get a margin that is filled with means."""
    names = (*(f"tracers_{i}" for i in range(8)), *vector("flow"))
    config = {"inputs": names, "velocity": "flow", "width": 2, "levels": 2, "blocks": [1]}
    network = build("residual", config).eval()
    survey = NeuralReconstructor(network, model.card.model_copy(update={"inputs": SurveyInputs()}))
    seen = recorded(network, monkeypatch)
    inputs = torch.randn(11, 9, 9, 9, generator=torch.Generator().manual_seed(4))
    outputs = survey.outputs(inputs, line_of_sight="radial", periodic=False)
    assert outputs.shape == (7, 9, 9, 9)
    assert seen[0][0].shape == (11, 10, 10, 10)
    model.outputs(torch.randn(13, 9, 9, 9), line_of_sight="z", periodic=False)
    assert seen[1][0].shape[1] > 40


def test_symmetries_of_velocity_alone_turn_its_components(velocity_model, single_precision):
    inputs = torch.randn(1, 8, 8, 8, generator=torch.Generator().manual_seed(4))
    card = velocity_model.card.model_copy(update={"symmetry_average": 48})
    averaged = NeuralReconstructor(velocity_model.module, card)
    turn = symmetries()[29]
    reference = averaged.outputs(inputs, line_of_sight="radial", periodic=False)
    turned = averaged.outputs(apply_symmetry(inputs, turn), line_of_sight="radial", periodic=False)
    torch.testing.assert_close(
        turned, apply_symmetry(reference, turn, vectors=((0, 1, 2),)), rtol=1e-4, atol=1e-4
    )


def test_memory_counts_the_margin_of_boxes_that_do_not_wrap(model):
    periodic = model.memory(Box(75.0, 32))
    assert periodic == 650 * 32**3
    isolated = model.memory(Box(75.0, 32, periodic=False))
    assert isolated == 500 * (32 + 2 * 16) ** 3
    assert model.memory(Box(70.0, 31)) == isolated  # no multiple of the stride: a margin too
