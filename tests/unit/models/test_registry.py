import pytest
import torch

from peculiar import models
from peculiar.core.channels import vector
from peculiar.core.errors import InputError

FLOW = {"inputs": ["tracers", *vector("flow")], "velocity": "flow"}
HALOS = {"inputs": ["abundance_1", *vector("linear_velocity"), *vector("linear_momentum")]}


def test_lists_become_tuples():
    network = models.build("residual", FLOW | {"width": 4, "levels": 2, "blocks": [1, 2]})
    assert network.config.blocks == (1, 2)


@pytest.mark.parametrize(
    ("name", "config", "text"),
    [
        ("unet", {}, "he2019, .*residual, .*wu2021, xiao2024"),
        ("residual", FLOW | {"widht": 4}, "widht"),
        ("residual", FLOW | {"input_scale": [1.0]}, "input_scale"),
        ("residual", FLOW | {"velocity": [5, 6, 7]}, "velocity"),
        ("residual", {"inputs": []}, "wiener_velocity"),
        ("wang2024", {"in_channels": 0}, "in_channels"),
        ("xiao2024", HALOS | {"init_kernel": 4}, "odd"),
        ("xiao2024", HALOS | {"dropout": 1.0}, "dropout"),
        ("xiao2024", {"inputs": HALOS["inputs"][:4]}, "linear_momentum"),
    ],
)
def test_bad_settings_are_refused(name, config, text):
    with pytest.raises(InputError, match=text):
        models.build(name, config)


@pytest.mark.parametrize("huge", [{"width": 10**9}, {"levels": 40}])
def test_a_network_that_cannot_be_counted_is_refused(huge):
    with (
        torch.device("meta"),
        pytest.raises(InputError, match="model 'residual' must be one that can be built"),
    ):
        models.build("residual", FLOW | huge)
