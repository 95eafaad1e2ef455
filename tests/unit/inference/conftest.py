import pytest
import torch

from peculiar.models import build


@pytest.fixture
def network():
    """A small local network, all of whose weights matter."""
    torch.manual_seed(3)
    module = build(
        "residual",
        {"in_channels": 7, "width": 4, "levels": 2, "blocks": [1, 1], "baseline": [-1, 4, 5, 6, 4, 5, 6]},
    )
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return module.eval()


@pytest.fixture
def mesh():
    def make(side, channels=7):
        return torch.randn(channels, side, side, side, generator=torch.Generator().manual_seed(side))

    return make


@pytest.fixture
def single_precision(monkeypatch):
    """Turn bf16 off, whose rounding hides errors below a percent."""
    from contextlib import nullcontext

    monkeypatch.setattr("peculiar.inference.whole.half_precision", lambda device: nullcontext())
