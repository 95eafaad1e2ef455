import pytest
import torch

from peculiar.core.errors import InputError
from peculiar.models.he2019 import He2019, He2019Config


def test_has_the_published_number_of_weights():
    with torch.device("meta"):
        network = He2019(He2019Config())
    convolutions = [p for p in network.parameters() if p.ndim == 5]
    assert len(convolutions) == 15
    assert sum(p.numel() for p in convolutions) == 8_410_368


@torch.no_grad()
def test_scale_is_the_unit_of_displacement():
    torch.manual_seed(0)
    unit = He2019(He2019Config(widths=(4, 5, 6), scale=1.0)).eval()
    torch.nn.init.ones_(unit.fine[0].norm.bias)  # else the network is linear in its unit whatever the scale
    scaled = He2019(He2019Config(widths=(4, 5, 6), scale=3.0)).eval()
    scaled.load_state_dict(unit.state_dict())
    inputs = torch.randn(1, 3, 8, 8, 8)
    assert torch.allclose(scaled(3 * inputs), 3 * unit(inputs), atol=1e-5)
    assert not torch.allclose(scaled(inputs), unit(inputs), atol=1e-2)


@pytest.mark.parametrize(
    "wrong", [{"widths": (4, 4)}, {"widths": (4, 0, 4)}, {"scale": 0.0}, {"in_channels": 0}]
)
def test_refuses(wrong):
    with pytest.raises(InputError, match=f"he2019.{next(iter(wrong))} must be"):
        He2019Config(**wrong)
