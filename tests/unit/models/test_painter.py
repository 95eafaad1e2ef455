import pytest
import torch

from peculiar.core import InputError
from peculiar.models import painter as painting_network
from peculiar.models.count_distribution import CountDistribution
from peculiar.models.painter import Painter, PainterConfig
from peculiar.models.sublattices import OFFSETS


def make(bins=2, *, seed=0):
    """A painter whose weights are all random: nothing that starts at zero may hide what comes before it."""
    torch.manual_seed(seed)
    painter = Painter(PainterConfig(bins=bins, width=4, blocks=1, hidden=6, free_counts=2))
    for key, parameter in painter.named_parameters():
        torch.nn.init.normal_(parameter, std=0.15 if parameter.ndim > 1 else 0.1)
        if key.endswith("norm.weight"):
            torch.nn.init.ones_(parameter)
    return painter.eval()


def density(n=8, *, seed=1):
    return torch.rand(1, 1, n, n, n, generator=torch.Generator().manual_seed(seed)) + 0.3


def parts(painter, inputs):
    features = painter.features(inputs)
    return features, painter.log_mean(features)


def generator(seed=3):
    return torch.Generator().manual_seed(seed)


def test_config_refuses_nothing_to_paint():
    with pytest.raises(InputError, match=r"painter.bins must be >= 1"):
        PainterConfig(bins=0)


def test_offsets_are_the_eight_sublattices():
    assert len(set(OFFSETS)) == 8


@torch.no_grad()
def test_a_draw_has_the_likelihood_that_its_passes_had(monkeypatch):
    painter, inputs = make(), density()
    seen = []
    draw = CountDistribution.draw

    def record(self, uniform):
        counts = draw(self, uniform)
        seen.append(self.log_prob(counts).sum())
        return counts

    monkeypatch.setattr(CountDistribution, "draw", record)
    counts = painter.draw(*parts(painter, inputs), generator=generator())
    assert counts.shape == (2, 8, 8, 8)
    assert counts.sum() > 20
    likelihood, _ = painter.log_likelihood(inputs, counts[None])
    assert torch.stack(seen).sum().item() == pytest.approx(likelihood.sum().item(), rel=1e-5)


@torch.no_grad()
def test_cells_see_only_what_was_drawn_before():
    painter, inputs = make(), density()
    counts = painter.draw(*parts(painter, inputs), generator=generator())[None]
    before, _ = painter.log_likelihood(inputs, counts)
    last = OFFSETS[-1]
    changed = counts.clone()
    changed[0, 0, last[0], last[1], last[2]] += 1  # the light bin, on the sublattice that is drawn last
    after, _ = painter.log_likelihood(inputs, changed)
    where = (before != after)[0]
    assert where.sum() == 1
    assert where[0, last[0], last[1], last[2]]
    first = OFFSETS[0]
    changed = counts.clone()
    changed[0, 0, first[0], first[1], first[2]] += 1
    after, _ = painter.log_likelihood(inputs, changed)
    assert (before != after)[
        0, 0
    ].sum() == 1 + 5**3 - 27  # all within two cells but the first sublattice's own
    assert not (before != after)[0, 1].any()


@torch.no_grad()
def test_light_halos_see_heavy_ones_nearby():
    painter, inputs = make(), density()
    counts = torch.zeros(1, 2, 8, 8, 8)
    before, _ = painter.log_likelihood(inputs, counts)
    counts[0, 1, 4, 4, 4] = 1
    after, _ = painter.log_likelihood(inputs, counts)
    assert (before != after)[0, 0].sum() == 27


@torch.no_grad()
def test_draws_follow_their_seed():
    painter = make()
    known = parts(painter, density())
    first = painter.draw(*known, generator=generator(1))
    assert torch.equal(first, painter.draw(*known, generator=generator(1)))
    assert not torch.equal(first, painter.draw(*known, generator=generator(2)))


def test_a_mesh_of_odd_sides_is_refused():
    painter = make()
    with pytest.raises(InputError, match="cells must be even"):
        painter.draw(*parts(painter, density(7)), generator=generator())


@torch.no_grad()
def test_poisson_likelihood_belongs_to_the_mean():
    painter, inputs = make(), density()
    counts = torch.poisson(painter(inputs).exp(), generator=generator())
    _, poisson = painter.log_likelihood(inputs, counts)
    expected = torch.distributions.Poisson(painter(inputs).exp()).log_prob(counts)
    assert torch.allclose(poisson.float(), expected, atol=1e-4)


def test_gradients_reach_every_parameter():
    painter, inputs = make().train(), density()
    counts = torch.poisson(torch.full((1, 2, 8, 8, 8), 0.7), generator=generator())
    torch.stack([part.mean() for part in painter.log_likelihood(inputs, counts)]).sum().backward()
    assert [
        key for key, p in painter.named_parameters() if p.grad is None or not torch.count_nonzero(p.grad)
    ] == []


def test_it_learns_that_neighbours_exclude_each_other():
    """Counts of one on a checkerboard of 2-cell period: given one cell, the likelihood knows the others."""
    torch.manual_seed(0)
    painter = Painter(PainterConfig(bins=1, width=4, blocks=1, hidden=8, free_counts=1))
    inputs = torch.zeros(2, 1, 8, 8, 8)
    stripes = (torch.arange(8) % 2).float().expand(8, 8, 8)
    counts = torch.stack([stripes, 1 - stripes])[:, None]  # either of the two, with equal chance
    optimiser = torch.optim.Adam(painter.parameters(), lr=3e-2)
    for _ in range(60):
        optimiser.zero_grad()
        found, poisson = painter.log_likelihood(inputs, counts)
        (-found.mean() - poisson.mean()).backward()
        optimiser.step()
    assert poisson.mean().item() < -0.8  # the mean alone knows no better than a half
    # Rates rise by exp(2) at most: the best is (ln(1/2) + 7/2 ln(0.79)) / 8 = -0.19.
    assert found.mean().item() > -0.25


@torch.no_grad()
def test_slabs_draw_what_is_drawn_at_once(monkeypatch):
    painter = make()
    known = parts(painter, density(12))
    whole = painter.draw(*known, generator=generator())
    monkeypatch.setattr(
        painting_network, "_AT_ONCE", 4 * 36
    )  # four of the six planes of a sublattice, then two
    assert torch.equal(whole, painter.draw(*known, generator=generator()))


@torch.no_grad()
def test_expected_counts_raise_the_mean_and_conditions_are_seen():
    torch.manual_seed(0)
    names = ("log_density", "expected_0", "expected_1", "growth")
    painter = Painter(PainterConfig(inputs=names, bins=2, width=4, blocks=1, hidden=6)).eval()
    for one in painter.encoder.modulations:
        torch.nn.init.normal_(one.linear.weight)
    inputs = torch.cat([density(), torch.full((1, 3, 8, 8, 8), -1.0)], dim=1)
    before = painter(inputs)
    inputs[:, 1] += 0.5
    assert torch.allclose(painter(inputs) - before, torch.tensor([0.5, 0.0])[:, None, None, None], atol=1e-5)
    assert painter.conditions(inputs).tolist() == [[-1.0]]
    inputs[:, 3] = 0.2
    assert not torch.allclose(painter(inputs)[:, 1], before[:, 1])


@torch.no_grad()
def test_conditions_change_nothing_before_training():
    settings = {"bins": 2, "width": 4, "blocks": 1, "hidden": 6}
    torch.manual_seed(0)
    one = Painter(PainterConfig(**settings)).eval()
    told = Painter(PainterConfig(**settings, inputs=("log_density", "growth"))).eval()
    told.load_state_dict(one.state_dict(), strict=False)
    inputs = torch.cat([density(), torch.full((1, 1, 8, 8, 8), -0.7)], dim=1)
    assert torch.equal(told(inputs), one(density()))


def test_every_bin_has_an_expected_count_or_none():
    with pytest.raises(InputError, match="expected count for each of the 2 bins or none"):
        PainterConfig(bins=2, inputs=("log_density", "expected_0"))
