"""What every registered network from meshes to meshes must do."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from safetensors.torch import load_file, save_file

from peculiar import models
from peculiar.core.channels import vector
from peculiar.fields.symmetry import Symmetry, apply_symmetry, symmetries
from peculiar.inference.whole import average_symmetries
from peculiar.linear.density_inputs import DensityInputs
from peculiar.linear.inputs import InputSpec
from peculiar.simulate.lagrangian import LagrangianInputs


def reconstruction(*velocity):
    """Targets of a network that corrects the velocity in three of its inputs: log density, velocity, momentum."""

    def targets(inputs):
        flow = 1.5 * inputs[:, list(velocity)]
        logarithm = torch.tanh(inputs[:, :1])
        return torch.cat([logarithm, flow, logarithm.exp() * flow], dim=1)

    return targets


def with_errors(inputs):
    """Targets of a network that also tells log variances of its velocity."""
    fields = reconstruction(1, 2, 3)(inputs)
    variance = torch.tanh(inputs[:, :1]).expand(-1, 2, -1, -1, -1)
    return torch.cat([fields, variance], dim=1)


def displacement(inputs):
    """Targets of an emulator of displacements: the first ones, some of them further."""
    return 1.3 * inputs[:, :3] + torch.tanh(inputs[:, :3].roll(1, 2))


def displacement_and_velocity(inputs):
    """Targets of our emulator: corrections of the first two of its vectors."""
    return torch.cat([1.3 * inputs[:, :3], 0.7 * inputs[:, 3:6].roll(1, 2)], dim=1)


def steps_and_more(inputs):
    """Targets of our emulator of few steps: parts of its second vector's difference from the first."""
    first, difference = inputs[:, :3], inputs[:, 3:6] - inputs[:, :3]
    return torch.cat([first + 0.7 * difference, first + 0.2 * difference.roll(1, 2)], dim=1)


def corrected_flow(inputs):
    """Targets of our network from density and linear velocity to velocity and momentum."""
    velocity = 1.5 * inputs[:, 1:]
    return torch.cat([velocity, torch.expm1(inputs[:, :1]) * velocity], dim=1)


def velocity(inputs):
    """Targets of a network from tracers to velocity: differences across each cell."""
    return torch.cat([inputs.roll(-1, axis) - inputs.roll(1, axis) for axis in (2, 3, 4)], dim=1)


def flow(inputs):
    """Targets of a network from density to velocity and momentum."""
    return torch.cat([velocity(inputs), inputs.exp() * velocity(inputs)], dim=1)


def counts(inputs):
    """Targets of a painter: halos per cell of a density."""
    return (inputs + 0.3 * inputs.roll(1, 2)).exp()


def log_counts(inputs):
    """Targets of our painter: logarithms of mean counts in two bins of mass."""
    return torch.cat([counts(inputs).log() - 1, 2 * counts(inputs).log() - 2], dim=1)


@dataclass(frozen=True)
class Case:
    """A small network, the channels of its meshes, a pair to overfit and the rate at which it learns."""

    config: dict
    inputs: int
    outputs: int
    targets: Callable
    rate: float = 1e-2
    apart: str = "none"
    """Parameters with this prefix shape draws, not the output; a test of their own looks at them."""
    local: bool = True
    """False for layers that take statistics over the mesh: there is no reach, and tiles are refused."""


CASES = {
    "displacement": Case(
        {"inputs": LagrangianInputs(conditions=("Omega_m", "growth")).names, "width": 8, "blocks": [1, 2]},
        11,
        6,
        displacement_and_velocity,
        1e-2,
    ),
    "few-steps": Case(
        {
            "inputs": LagrangianInputs(
                fields=("moved", "moving"), steps=(1, 3), conditions=("growth",)
            ).names,
            "slopes": {"steps": -0.1},
            "width": 8,
            "blocks": [1, 2],
        },
        8,
        6,
        steps_and_more,
        1e-2,
    ),
    "flow": Case(
        {"inputs": DensityInputs(smoothing=(2.0,)).names, "width": 8, "levels": 3, "blocks": [1, 2]},
        4,
        6,
        corrected_flow,
        1e-2,
    ),
    "general": Case(
        {
            "inputs": ("tracers", *vector("wiener_velocity"), *vector("sight")),
            "width": 8,
            "blocks": [1, 2],
        },
        7,
        9,
        with_errors,
        3e-3,
    ),
    "he2019": Case({"widths": [6, 8, 10], "scale": 2.0}, 3, 3, displacement),
    "painter": Case({"bins": 2, "width": 8, "blocks": 2, "hidden": 4}, 1, 2, log_counts, apart="stages."),
    "ramanah2019": Case({"filters": 6}, 1, 1, counts),
    "residual": Case(
        {
            "inputs": ("tracers", *vector("flow"), *vector("sight")),
            "velocity": "flow",
            "width": 8,
            "blocks": [1, 2],
        },
        7,
        7,
        reconstruction(1, 2, 3),
        1e-3,
    ),
    "wang2024": Case({"in_channels": 1, "channels": [4, 8, 8], "groups": 2}, 1, 3, velocity, local=False),
    "wu2021": Case({"width": 4, "velocity_scale": 2.0, "momentum_scale": 4.0}, 1, 6, flow),
    "xiao2024": Case(
        {
            "inputs": InputSpec(kind="published").names,
            "channels": [6, 8, 10],
            "init_kernel": 3,
            "dropout": 0.2,
        },
        10,
        7,
        reconstruction(4, 5, 6),
    ),
}


def make(name, *, seed=0):
    """Build a small network, all weights random: nothing that starts at zero may hide what comes before it."""
    torch.manual_seed(seed)
    network = models.build(name, CASES[name].config)
    for key, parameter in network.named_parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=(2 / parameter[0].numel()) ** 0.5)
        elif key.endswith("weight"):
            torch.nn.init.uniform_(parameter, 0.7, 1.3)
        else:
            torch.nn.init.uniform_(parameter, 0.1, 0.6)
    return network.eval()


def mesh(name, n=16, *, seed=1):
    return torch.randn(1, CASES[name].inputs, n, n, n, generator=torch.Generator().manual_seed(seed))


NETWORKS = [name for name in models.names() if name != "reader"]
"""All but that of sight lines, of which tests/unit/models/test_reader.py tells."""


def test_every_network_is_covered():
    assert set(CASES) == set(NETWORKS)


@pytest.mark.parametrize("name", NETWORKS)
class TestContract:
    @torch.no_grad()
    def test_shape(self, name):
        inputs = mesh(name)[..., :12]
        outputs = make(name)(inputs)
        assert outputs.shape == (1, CASES[name].outputs, 16, 16, 12)
        assert outputs.dtype == torch.float32
        assert torch.isfinite(outputs).all()

    def test_gradients_reach_every_parameter(self, name):
        network = make(name).train()
        network(mesh(name)).square().mean().backward()
        silent = [
            key
            for key, p in network.named_parameters()
            if not key.startswith(CASES[name].apart) and (p.grad is None or not torch.count_nonzero(p.grad))
        ]
        assert silent == []

    @torch.no_grad()
    def test_saved_weights_give_the_same_outputs(self, name, tmp_path):
        network, other = make(name), make(name, seed=5)
        inputs = mesh(name)
        assert not torch.allclose(network(inputs), other(inputs))
        save_file(network.state_dict(), tmp_path / "weights.safetensors")
        other.load_state_dict(load_file(tmp_path / "weights.safetensors"))
        assert torch.equal(network(inputs), other(inputs))

    @torch.no_grad()
    @pytest.mark.parametrize("axis", [2, 3, 4])
    def test_shift_by_a_stride_shifts_the_output(self, name, axis):
        network, inputs = make(name), mesh(name)
        outputs = network(inputs)
        shifted = network(inputs.roll(network.stride, axis))
        scale = outputs.abs().max()
        assert (shifted - outputs.roll(network.stride, axis)).abs().max() < 1e-5 * scale
        assert (shifted - outputs).abs().max() > 1e-2 * scale

    @torch.no_grad()
    def test_a_crop_does_not_wrap(self, name):
        network, inputs = make(name), mesh(name)
        touched = inputs.clone()
        touched[..., 0] += 3.0
        far_face = (Ellipsis, slice(-2, None))
        assert not torch.equal(network(touched)[far_face], network(inputs)[far_face])
        assert not torch.allclose(network(inputs)[far_face], network(inputs, periodic=False)[far_face])

    @torch.no_grad()
    def test_reach_is_where_the_output_stops_to_change(self, name):
        network = make(name)
        reach = getattr(network, "reach", 0)
        side = 2 * (-(-reach // network.stride) + 2) * network.stride
        inputs = torch.randn(1, CASES[name].inputs, side, network.stride * 4, network.stride * 4)
        touched = inputs.clone()
        touched[:, :, side // 2] += 3.0
        changed = (network(touched) != network(inputs)).amax(dim=(0, 1, 3, 4))
        far = (torch.arange(side) - side // 2).abs() > reach
        if CASES[name].local:
            assert not changed[far].any()
        else:
            assert changed.all()
            assert not hasattr(network, "reach")  # it would be taken for local, and cut into tiles

    def test_overfits_one_pair(self, name):
        torch.manual_seed(2)
        case = CASES[name]
        dropout = {"dropout": 0.0} if "dropout" in models.config_keys(name) else {}
        network = models.build(name, case.config | dropout)
        inputs = mesh(name, 8)
        targets = case.targets(inputs)
        optimiser = torch.optim.Adam(network.parameters(), lr=case.rate)
        network.train()
        first = 0.0
        for _ in range(150):
            optimiser.zero_grad()
            loss = (network(inputs) - targets).square().mean()
            loss.backward()
            optimiser.step()
            first = first or float(loss.detach())
            if float(loss.detach()) < 0.1 * first:
                break
        else:
            pytest.fail(f"loss went from {first:.3g} to {float(loss.detach()):.3g} only")

    @torch.no_grad()
    def test_the_mean_over_all_symmetries_knows_no_axis(self, name):
        """No network is symmetric by itself."""
        network, inputs = make(name), mesh(name, 8)[0]

        def averaged(values):
            return average_symmetries(lambda one: network(one[None])[0], values, elements=symmetries(None))

        turn = Symmetry((2, 0, 1), (False, True, False))
        plain, turned = (network(values[None])[0] for values in (inputs, apply_symmetry(inputs, turn)))
        assert not torch.allclose(turned, apply_symmetry(plain, turn), rtol=1e-3)
        expected = apply_symmetry(averaged(inputs), turn)
        error = (averaged(apply_symmetry(inputs, turn)) - expected).abs().max()
        assert error < 1e-4 * expected.abs().max()

    @torch.no_grad()
    def test_a_mesh_must_fit_the_stride(self, name):
        network, odd = make(name), mesh(name)[..., :14]
        if network.stride == 1:
            assert network(odd).shape[2:] == odd.shape[2:]
        else:
            with pytest.raises(ValueError, match="multiples of 4"):
                network(odd)
