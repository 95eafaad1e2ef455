import numpy as np
import pytest
import torch
from scipy import stats

from peculiar.models.count_distribution import CountDistribution


def poisson(rates, weights=3):
    rate = torch.as_tensor(rates, dtype=torch.float64)
    return CountDistribution(rate.log(), torch.zeros(weights, *rate.shape))


def brute(rate, weights, largest=400):
    """Probabilities of 0 ... largest, summed term by term."""
    n = np.arange(largest)
    fall = min(weights[-1] - (weights[-2] if len(weights) > 1 else 0.0), 0.0)
    log_w = np.concatenate([[0, 0], weights, weights[-1] + fall * np.arange(1, largest)])[:largest]
    logs = log_w + stats.poisson.logpmf(n, rate)
    p = np.exp(logs - logs.max())
    return n, p / p.sum()


@pytest.mark.parametrize("rate", [1e-4, 0.3, 5.0, 60.0])
def test_weights_of_one_are_poisson(rate):
    n = torch.arange(12, dtype=torch.float32)
    found = poisson(np.full(12, rate))
    assert np.allclose(found.log_prob(n).numpy(), stats.poisson.logpmf(n.numpy(), rate), atol=1e-9)
    assert np.allclose(found.mean().numpy(), rate)
    assert np.allclose(found.variance().numpy(), rate)


@pytest.mark.parametrize("rate", [1e-3, 0.5, 7.0])
@pytest.mark.parametrize("weights", [(-3.0, -4.0, 1.0), (2.0, 3.0, 5.0), (-0.7,), (-2.0, -5.0)])
def test_probabilities_and_moments_equal_sums_term_by_term(rate, weights):
    n, p = brute(rate, np.array(weights))
    shape = (30,)
    distribution = CountDistribution(
        torch.full(shape, np.log(rate)), torch.tensor(weights)[:, None].expand(-1, 30)
    )
    assert np.allclose(distribution.log_prob(torch.arange(30.0)).exp().numpy(), p[:30], rtol=1e-5, atol=1e-12)
    mean = (n * p).sum()
    assert distribution.mean()[0].item() == pytest.approx(mean, rel=1e-5)
    assert distribution.variance()[0].item() == pytest.approx((n**2 * p).sum() - mean**2, rel=1e-4)


def test_it_can_scatter_less_than_poisson():
    found = CountDistribution(torch.tensor([0.0]), torch.tensor([[-3.0]]))
    assert found.variance() < 0.6 * found.mean()


def test_counts_that_never_occur_do_not_come_back():
    """One halo or two at most: a rate of 24 with falling weights must not bring 24 of them."""
    found = CountDistribution(torch.tensor([3.18]), torch.tensor([[-4.04], [-8.43], [-15.0]]))
    assert found.mean().item() < 2
    assert found.draw(torch.tensor([0.999])).item() < 5


@pytest.mark.parametrize("weights", [(-0.5, 0.8), (0.8, -0.5)])
def test_draws_are_the_inverse_of_the_cumulative_distribution(weights):
    rate, weights = 2.5, np.array(weights)
    _, p = brute(rate, weights)
    edges = np.cumsum(p)
    uniform = torch.tensor(
        [0.0, edges[0] - 1e-6, edges[0] + 1e-6, edges[3] - 1e-6, edges[3] + 1e-6, edges[8] + 1e-7]
    )
    parameters = CountDistribution(
        torch.full((6,), np.log(rate)), torch.tensor(weights)[:, None].expand(-1, 6)
    )
    assert parameters.draw(uniform).tolist() == [0, 0, 1, 3, 4, 9]


def test_draws_have_the_mean_and_variance():
    shape = (40, 50, 50)
    distribution = CountDistribution(
        torch.full(shape, 0.4), torch.tensor([-1.0, -2.0])[:, None, None, None].expand(-1, *shape)
    )
    counts = distribution.draw(torch.rand(shape, generator=torch.Generator().manual_seed(1)))
    assert counts.shape == shape
    assert counts.mean().item() == pytest.approx(distribution.mean()[0, 0, 0].item(), rel=0.01)
    assert counts.var().item() == pytest.approx(distribution.variance()[0, 0, 0].item(), rel=0.02)


def test_gradients_are_those_of_finite_differences():
    log_rate = torch.tensor([-8.0, 0.3, 3.0], dtype=torch.float64, requires_grad=True)
    weights = torch.tensor([[0.5, -1.0, 2.0], [1.0, 0.2, -3.0]], dtype=torch.float64, requires_grad=True)
    counts = torch.tensor([0.0, 2.0, 9.0])
    assert torch.autograd.gradcheck(
        lambda r, w: CountDistribution(r, w).log_prob(counts), (log_rate, weights), fast_mode=True
    )


def test_extreme_parameters_stay_finite():
    found = CountDistribution(torch.tensor([-1e4, 1e4, 1e4]), torch.tensor([[1e4, 1e4, -1e4]]).expand(3, -1))
    assert torch.isfinite(found.log_prob(torch.tensor([0.0, 3.0, 50.0]))).all()
    assert torch.isfinite(found.variance()).all()
    assert torch.isfinite(found.draw(torch.tensor([0.5, 0.5, 0.999]))).all()


def test_cells_that_are_passed_over_are_empty():
    """Whatever the weights: a draw equals that of each cell alone, and where the uniform number is below p(0), zero."""
    random = torch.Generator().manual_seed(2)
    log_rate = 4 * torch.randn(2000, generator=random) - 3
    weights = 5 * torch.randn(3, 2000, generator=random)
    uniform = torch.rand(2000, generator=random)
    distribution = CountDistribution(log_rate, weights)
    empty = uniform < distribution.log_prob(torch.zeros(2000)).exp()
    assert 0.2 < empty.float().mean() < 0.95
    assert torch.equal(distribution.draw(uniform) == 0, empty)
