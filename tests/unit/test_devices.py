"""--device: which commands have it, no mixing of devices, and the CPU's results on a GPU where there is one."""

from contextlib import nullcontext

import numpy as np
import pytest
import torch
import typer

import peculiar
from peculiar.cli import app
from peculiar.core import PRESETS, Box, Catalogue, InputError
from peculiar.inference import emulator, whole
from peculiar.inference.model_card import WEIGHTS, EmulatorCard, ModelCard, read_card
from peculiar.inference.reconstructor import NeuralReconstructor
from peculiar.models import build
from peculiar.simulate.initial import linear_density
from peculiar.simulate.lagrangian import lagrangian_fields
from peculiar.simulate.mocks import SimulatedBox
from peculiar.simulate.particle_mesh import Steps, evolve
from peculiar.workflows.reconstruct import make_reconstructor
from peculiar.workflows.train import device_changes

COMPUTE = {"demo", "emulate", "evaluate", "flow", "paint", "reconstruct", "simulate", "train", "tune"}
COSMOLOGY = PRESETS["xiao2024"]
NETWORKS = 0.01
"""Error of a network on a GPU over the rms; `residual` in bf16 and in float32 differs by 0.006 at most."""
MESHES = 1e-4
"""The same of particles and meshes."""
gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU")


def test_commands_that_compute_have_the_option():
    commands = typer.main.get_command(app).commands
    found = {name for name, command in commands.items() if any(p.name == "device" for p in command.params)}
    assert found == COMPUTE


def test_cuda_without_a_gpu_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for call in (
        lambda: peculiar.emulate(Box(64.0, 16), seed=1, device="cuda"),
        lambda: make_reconstructor("residual", device="cuda"),
        lambda: peculiar.simulate_run(tmp_path / "run", seeds=[1], device="cuda"),
        lambda: device_changes("cuda"),
    ):
        with pytest.raises(InputError, match="device must be auto, cpu, or cuda where torch sees a GPU"):
            call()
    assert not list(tmp_path.iterdir())


def test_a_device_is_a_setting_of_a_training(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert device_changes("auto") == []
    assert device_changes("cuda") == ["train.accelerator=gpu"]
    assert device_changes("cpu") == ["train.accelerator=cpu"]


@pytest.mark.parametrize(
    "name", ["residual", "survey", "xiao2024", "wang2024", "flow", "wu2021", "displacement", "few-steps"]
)
def test_networks_stay_on_their_device(name, monkeypatch):
    """Tensors of the device "meta" hold no values, and refuse those of the CPU as a GPU's do."""
    monkeypatch.setattr(whole, "half_precision", lambda device: nullcontext())
    card = read_card(WEIGHTS / f"{name}.json")
    module = build(card.architecture, card.configuration).eval().to("meta")
    inputs = torch.zeros(len(card.inputs.names), 32, 32, 32)
    if isinstance(card, ModelCard):
        network = NeuralReconstructor(module, card)
        sight = "x" if card.line_of_sight == "z" else "radial"
        outputs = network.outputs(inputs, line_of_sight=sight, periodic=not card.inputs.isolated)
    else:
        assert isinstance(card, EmulatorCard)
        outputs = emulator._averaged(module, card, inputs, max_side=64)
    assert outputs.device.type == "meta"
    assert outputs.shape[1:] == (32, 32, 32)


def test_particles_stay_on_their_device():
    box = Box(64.0, 16)
    modes = linear_density(box, COSMOLOGY, seed=1, device="meta")
    for steps in (0, 2):
        theory = lagrangian_fields(modes, box, COSMOLOGY, redshift=0.5, steps=steps)
        assert theory.moving.device.type == theory.acceleration.device.type == "meta"
    assert (
        evolve(modes[None], box, COSMOLOGY, redshift=0.5, steps=Steps(count=2)).positions.device.type
        == "meta"
    )


def relative(found, expected):
    """The rms difference over the rms."""
    found, expected = (np.asarray(values, dtype=np.float64) for values in (found, expected))
    return float(np.sqrt(np.mean((found - expected) ** 2) / np.mean(expected**2)))


@gpu
def test_a_simulation_on_a_gpu(tmp_path):
    settings = peculiar.BoxSettings(size=60.0, particles=32, cells=16, steps=Steps(count=3), min_particles=8)
    cpu, cuda = (
        SimulatedBox.open(
            peculiar.simulate_run(tmp_path / device, seeds=[1], settings=settings, device=device)[0]
        )
        for device in ("cpu", "cuda")
    )
    for name in ("density", "velocity", "linear_density"):
        assert relative(getattr(cuda, name).numpy(), getattr(cpu, name).numpy()) < 10 * MESHES


@gpu
def test_reconstructions_flows_and_emulations_on_a_gpu():
    rng = np.random.default_rng(1)
    side = 75.0
    halos = Catalogue(
        rng.uniform(0, side, (1200, 3)), Box(side), redshift=0.59, space="redshift", line_of_sight="z"
    )
    cpu, cuda = (
        peculiar.reconstruct(halos, model="residual", device=device, cells=32) for device in ("cpu", "cuda")
    )
    for name in cpu:
        assert relative(cuda[name].numpy(), cpu[name].numpy()) < NETWORKS
    density = cpu["density"].replace(data=cpu["density"].data.clamp(min=-0.9))
    cpu, cuda = (peculiar.flow(density, redshift=0.0, device=device) for device in ("cpu", "cuda"))
    assert relative(cuda["velocity"].numpy(), cpu["velocity"].numpy()) < NETWORKS
    cpu, cuda = (peculiar.emulate(Box(128.0, 32), seed=1, device=device) for device in ("cpu", "cuda"))
    assert relative(cuda.displacement.cpu(), cpu.displacement) < NETWORKS
