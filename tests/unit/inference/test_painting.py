from types import SimpleNamespace

import pytest
import torch

from peculiar.core import PRESETS, Box, Field, InputError
from peculiar.inference import painting
from peculiar.inference.model_card import PainterCard
from peculiar.inference.painting import DrawnCounts, HaloPainter, PaintedField
from peculiar.models import build
from peculiar.models.channels import log_density

COSMOLOGY = PRESETS["xiao2024"]
EPOCH = {"cosmology": COSMOLOGY, "redshift": 0.5}


@pytest.fixture(scope="module")
def density():
    contrast = torch.randn(1, 18, 18, 18, generator=torch.Generator().manual_seed(5)).abs() - 0.8
    return Field(contrast, Box(72.0, 18), ["density"])


@pytest.fixture(scope="module")
def module():
    torch.manual_seed(4)
    return build("ramanah2019", {"filters": 3}).eval()


def field_painter(module, **settings):
    card = SimpleNamespace(
        name="tiny",
        cell_size=4.0,
        cell_size_range=(4.0, 4.0),
        redshift=0.5,
        redshift_range=(0.5, 0.5),
        cosmology_range={},
    )
    return PaintedField(module, card, **settings)


def test_the_model_decides_the_kind_of_painter(module, monkeypatch):
    card = PainterCard.model_construct(name="tiny")
    monkeypatch.setattr(painting, "load_model", lambda name: (module, card))
    painter = HaloPainter.load("tiny")
    assert isinstance(painter, PaintedField)
    assert (painter.stochastic, painter.passes) == (False, 1)
    drawing = build("painter", {"bins": 3, "width": 2, "blocks": 1, "hidden": 2})
    monkeypatch.setattr(painting, "load_model", lambda name: (drawing, card))
    painter = HaloPainter.load("tiny", max_side=20)
    assert isinstance(painter, DrawnCounts)
    assert (painter.stochastic, painter.passes, painter.max_side) == (True, 24, 20)
    monkeypatch.setattr(painting, "load_model", lambda name: (module, SimpleNamespace(name="other")))
    with pytest.raises(InputError, match="task 'paint', got 'other'"):
        HaloPainter.load("other")


def test_the_mean_of_a_field_painter_is_the_networks_output(module, density):
    mean = field_painter(module).mean_counts(density, **EPOCH)
    with torch.no_grad():
        expected = module(log_density(density.data, floor=1.0)[None])[0]
    assert expected.std() > 0.1
    assert torch.allclose(mean.data, expected, rtol=0.03, atol=0.03)  # bfloat16 where the processor has it
    assert mean.names == ("counts_0",)
    tiled = field_painter(module, max_side=14).mean_counts(density, **EPOCH)
    assert torch.allclose(tiled.data, mean.data, rtol=0.03, atol=0.03)


def test_rounding_at_random_keeps_the_mean(module, density):
    painter, told = field_painter(module), []
    mean = painter.mean_counts(density, **EPOCH).data
    counts = painter.counts(density, **EPOCH, seed=1, advance=told.append).data
    assert told == [1]
    assert torch.equal(counts, counts.round())
    assert (counts - mean).abs().max() < 1
    shares = mean.frac() * (1 - mean.frac())
    assert abs((counts - mean).sum()) < 4 * shares.sum().sqrt()
    assert torch.equal(counts, painter.counts(density, **EPOCH, seed=1).data)
    assert not torch.equal(counts, painter.counts(density, **EPOCH, seed=2).data)


def test_a_field_painter_takes_any_mesh_that_is_not_smaller_than_what_a_cell_sees(module):
    painter = field_painter(module)
    with pytest.raises(InputError, match="at least 9 along each side"):
        painter.check(Box(32.0, 8), COSMOLOGY, redshift=0.5)
    painter.check(Box(36.0, 9), COSMOLOGY, redshift=0.5)
    with pytest.raises(InputError, match="use 18 cells"):
        painter.check(Box(72.0, 9), COSMOLOGY, redshift=0.5)
    with pytest.raises(InputError, match="periodic"):
        painter.check(Box(36.0, 9, periodic=False), COSMOLOGY, redshift=0.5)
