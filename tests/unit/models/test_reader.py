import pytest
import torch

from peculiar.core.errors import InputError
from peculiar.models.reader import ReaderConfig, SightReader


def seen(n=50, places=9):
    random = torch.Generator().manual_seed(1)
    profile = torch.randn(n, places, 2, generator=random) * torch.tensor([300.0, 1.0])
    mean = profile[:, places // 2, 0]
    told = torch.stack([mean, torch.full((n,), 80.0), torch.full((n,), 120.0), torch.full((n,), 2.3)], dim=1)
    return profile, told


def network(**changes):
    torch.manual_seed(0)
    made = SightReader(ReaderConfig(places=9, width=8, **changes))
    torch.nn.init.normal_(made.layers[-1].weight)
    return made


@torch.no_grad()
def test_starts_at_the_mean():
    profile, told = seen()
    along, variance = SightReader(ReaderConfig(places=9, width=8))(profile, told)
    assert torch.equal(along, told[:, 0])
    assert torch.equal(variance, torch.full((50,), 100.0**2))


@torch.no_grad()
def test_a_line_seen_the_other_way_round_gives_the_other_sign():
    profile, told = seen()
    along, variance = network()(profile, told)
    back = profile.flip(1) * torch.tensor([-1.0, 1.0])
    other = network()(back, told * torch.tensor([-1.0, 1.0, 1.0, 1.0]))
    assert torch.allclose(other[0], -along, atol=1e-2)
    assert torch.allclose(other[1], variance, rtol=1e-4)
    assert float((along - told[:, 0]).abs().mean()) > 10


@torch.no_grad()
def test_fields_that_tell_no_error_are_read_too():
    profile, told = seen()
    told[::2, 2] = torch.nan
    along, variance = network()(profile, told)
    assert torch.isfinite(along).all()
    assert (variance > 0).all()


@pytest.mark.parametrize("changes", [{"places": 8}, {"places": 1}, {"width": 0}])
def test_bad_settings_are_refused(changes):
    with pytest.raises(InputError, match=r"reader\.(places|width) must be"):
        ReaderConfig(**changes)
