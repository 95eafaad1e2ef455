import warnings
from dataclasses import asdict, replace

import pytest
import torch

from peculiar.core import PRESETS, Box, Field, InputError, OutOfRangeWarning
from peculiar.fields.symmetry import apply_symmetry, symmetries
from peculiar.inference.card_values import VectorTransfer
from peculiar.inference.emulator import DisplacementEmulator, FlowEmulator, with_transfer
from peculiar.inference.model_card import EmulatorCard
from peculiar.linear.density_inputs import DensityInputs
from peculiar.models import build
from peculiar.simulate.initial import linear_density
from peculiar.simulate.lagrangian import LagrangianFields, LagrangianInputs, lagrangian_fields

pytestmark = pytest.mark.usefixtures("single_precision")
BASE = PRESETS["he2019"]
BOX = Box(64.0, 16)
PARTICLES = LagrangianInputs(conditions=("Omega_m", "growth"))
MATTER = DensityInputs(smoothing=(4.0,))


def card(task, inputs, architecture, **changes):
    entries = {
        "name": "tiny",
        "package_version": "0",
        "weights_sha256": "0" * 64,
        "architecture": architecture,
        "configuration": {},
        "normalisation": {"velocity_factor": 52.1},
        "cosmology": asdict(BASE),
        "redshift": 0.0,
        "cell_size": 4.0,
        "velocity_definition": "of each particle",
        "metrics": {},
        "seeds": {},
        "task": task,
        "inputs": inputs,
        "cosmology_range": {"Omega_m": (0.25, 0.35)},
        "splits": {},
    }
    return EmulatorCard(**(entries | changes))


def network(name, **config):
    torch.manual_seed(3)
    module = build(name, {"width": 4, "levels": 2, "blocks": [1]} | config)
    torch.nn.init.normal_(module.head.conv.weight, std=0.1)
    return module.eval()


@pytest.fixture
def emulator():
    return DisplacementEmulator(
        network("displacement", inputs=PARTICLES.names), card("displace", PARTICLES, "displacement")
    )


@pytest.fixture
def theory():
    return lagrangian_fields(linear_density(BOX, BASE, seed=1), BOX, BASE, redshift=0.0)


def test_tiles_equal_the_whole(emulator):
    side = 48
    box = Box(4.0 * side, side)
    fields = lagrangian_fields(linear_density(box, BASE, seed=2), box, BASE, redshift=0.0)
    whole = emulator.emulate(fields, box, BASE, redshift=0.0)
    assert emulator.module.reach < side / 2
    tiles = replace(emulator, max_side=40).emulate(fields, box, BASE, redshift=0.0)
    for name in ("displacement", "velocity"):
        scale = float(whole[name].abs().max())
        torch.testing.assert_close(tiles[name], whole[name], rtol=1e-4, atol=1e-4 * scale)
        linear = (fields.zeldovich * (1 if name == "displacement" else BASE.velocity_factor(0.0))).std()
        assert (whole[name] / linear).std() > 0.5


def test_averaged_symmetries_turn_with_the_input(emulator, theory):
    averaged = replace(emulator, card=emulator.card.model_copy(update={"symmetry_average": 48}))
    element = symmetries(None)[17]

    def turn(mesh):
        return apply_symmetry(mesh, element, vectors=((0, 1, 2),))

    turned = LagrangianFields.of_theory(
        turn(theory.zeldovich),
        turn(theory.second_order),
        turn(theory.acceleration),
        cosmology=BASE,
        redshift=0.0,
    )
    first = averaged.emulate(theory, BOX, BASE, redshift=0.0)["displacement"]
    second = averaged.emulate(turned, BOX, BASE, redshift=0.0)["displacement"]
    torch.testing.assert_close(second, turn(first), rtol=1e-4, atol=1e-3)
    alone = emulator.emulate(turned, BOX, BASE, redshift=0.0)["displacement"]
    assert not torch.allclose(alone, turn(emulator.emulate(theory, BOX, BASE, redshift=0.0)["displacement"]))


def test_warns_outside_the_card(emulator, theory):
    with pytest.warns(OutOfRangeWarning, match="Omega_m 0.5 is outside 0.25 to 0.35"):
        emulator.emulate(theory, BOX, replace(BASE, Omega_m=0.5), redshift=0.0)
    with pytest.warns(OutOfRangeWarning, match="2 Mpc/h differ from 4 Mpc/h"):
        emulator.emulate(theory, Box(32.0, 16), BASE, redshift=0.0)
    for redshift in (0.5, float("nan")):
        with pytest.raises(InputError, match="redshift must be 0"):
            emulator.emulate(theory, BOX, BASE, redshift=redshift)
    assert emulator.knows(0.0)
    assert not emulator.knows(0.5)
    after = lagrangian_fields(linear_density(BOX, BASE, seed=1), BOX, BASE, redshift=0.0, steps=2)
    with pytest.raises(InputError, match="steps must be 0 for model 'tiny', got 2"):
        emulator.emulate(after, BOX, BASE, redshift=0.0)
    for count in (0, 49):
        with pytest.raises(InputError, match="symmetries must lie in 1 to 48"):
            emulator.emulate(theory, BOX, BASE, redshift=0.0, symmetries=count)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        emulator.emulate(theory, BOX, BASE, redshift=0.0)


def test_flow_gives_momentum_with_the_density_it_got():
    model = FlowEmulator(
        network("flow", inputs=MATTER.names),
        card("flow", MATTER, "flow", symmetry_average=2),
    )
    delta = torch.rand(1, 16, 16, 16, generator=torch.Generator().manual_seed(0)) - 0.5
    fields = model.flow(Field(delta, BOX, ["density"]), BASE, redshift=0.0)
    assert fields["velocity"].kind == fields["momentum"].kind == "vector"
    flow = fields["momentum"].data / (1 + delta)
    # Before training both are the same linear velocity.
    plain = network("flow", inputs=MATTER.names)
    torch.nn.init.zeros_(plain.head.conv.weight)
    start = replace(model, module=plain).flow(Field(delta, BOX, ["density"]), BASE, redshift=0.0)
    torch.testing.assert_close(
        start["momentum"].data, (1 + delta) * start["velocity"].data, rtol=1e-4, atol=1e-2
    )
    assert (flow - start["velocity"].data).std() > 1e-3
    with pytest.warns(OutOfRangeWarning, match="redshift 1 differs"):
        model.flow(Field(delta, BOX, ["density"]), BASE, redshift=1.0)


def test_transfer_multiplies_the_helmholtz_parts_apart():
    x = (torch.arange(16) + 0.5) * BOX.cell_size
    wave = torch.cos(2 * BOX.k_fundamental * x)[:, None, None].expand(16, 16, 16)
    # Along x a wave of x is potential, across it rotational.
    field = Field(torch.stack([wave, wave, torch.zeros_like(wave)]), BOX, "xyz", "km/s", kind="vector")
    table = VectorTransfer(k=(0.0, 10.0), potential=(2.0, 2.0), rotational=(3.0, 3.0))
    changed = with_transfer(field, table).data
    torch.testing.assert_close(changed[0], 2 * wave, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(changed[1], 3 * wave, rtol=1e-4, atol=1e-4)
    model = FlowEmulator(
        network("flow", inputs=MATTER.names),
        card("flow", MATTER, "flow", transfers={"velocity": table}),
    )
    fields = model.flow(Field(0.3 * wave[None].clone(), BOX, ["density"]), BASE, redshift=0.0)
    assert set(fields) == {"velocity", "momentum", "velocity_unbiased"}
    assert torch.equal(fields["velocity_unbiased"].data, with_transfer(fields["velocity"], table).data)
