import pytest
import torch

from peculiar.core.errors import InputError
from peculiar.models.reader import ReaderConfig, SightReader


def seen(n=50, places=9):
    random = torch.Generator().manual_seed(1)
    profile = torch.randn(n, places, 2, generator=random) * torch.tensor([300.0, 1.0])
    return profile, torch.tensor([120.0, 2.3, 1.0]).expand(n, 3).clone()


def network(**changes):
    torch.manual_seed(0)
    made = SightReader(ReaderConfig(places=9, width=8, **changes))
    torch.nn.init.normal_(made.layers[-1].weight)
    return made


@torch.no_grad()
def test_starts_at_the_means():
    profile, told = seen()
    plain = SightReader(ReaderConfig(places=9, width=8))
    found, means = plain(profile, told), plain.mean(profile)
    assert torch.equal(found.host, means.host)
    assert torch.equal(found.own, means.own)
    for variance in (found.rest, found.own_variance):
        assert torch.equal(variance, torch.full((50,), 100.0**2))


def test_the_mean_is_that_of_the_fields_along_a_fine_sight_line():
    """A uniform density and flow: places count by the Gaussian of 200 km/s about the flow, which all have."""
    profile = torch.stack([torch.full((1, 33), 150.0), torch.zeros(1, 33)], dim=2)
    found = SightReader(ReaderConfig()).mean(profile)
    assert float(found.host) == pytest.approx(150.0, rel=1e-5)
    assert float(found.rest) == pytest.approx(0.0, abs=0.1)
    assert float(found.own) == pytest.approx(150.0, rel=1e-4)
    assert float(found.own_variance) == pytest.approx(200.0**2, rel=1e-3)
    profile[..., 0] = torch.where(
        torch.arange(33) < 16, 0.0, 300.0
    )  # the nearer half stands, the farther flows on
    found = SightReader(ReaderConfig()).mean(profile)
    needed = 1600 - 100 * torch.arange(33.0)
    weight = (-((needed - profile[0, :, 0]) ** 2) / (2 * 200**2)).exp()
    expected = (weight * torch.stack([profile[0, :, 0], needed])).sum(dim=1) / weight.sum()
    assert [float(found.host), float(found.own)] == pytest.approx(expected.tolist(), rel=1e-4)
    assert 100 < float(found.rest) ** 0.5 < 151


@torch.no_grad()
def test_a_line_seen_the_other_way_round_gives_the_other_sign():
    profile, told = seen()
    found, means = network()(profile, told), network().mean(profile)
    other = network()(profile.flip(1) * torch.tensor([-1.0, 1.0]), told)
    for velocity in (0, 2):
        assert torch.allclose(other[velocity], -found[velocity], atol=1e-2)
        assert torch.allclose(other[velocity + 1], found[velocity + 1], rtol=1e-4)
        assert float((found[velocity] - means[velocity]).abs().mean()) > 10


@torch.no_grad()
def test_fields_that_tell_no_error_are_read_too():
    profile, told = seen()
    told[::2, 0] = torch.nan
    found = network()(profile, told)
    assert all(torch.isfinite(one).all() for one in found)
    assert (torch.stack([found.rest, found.own_variance]) > 0).all()


@pytest.mark.parametrize("changes", [{"places": 8}, {"places": 1}, {"width": 0}, {"reach": 0.0}])
def test_bad_settings_are_refused(changes):
    with pytest.raises(InputError, match=r"reader\.(places|width|reach) must be"):
        ReaderConfig(**changes)
