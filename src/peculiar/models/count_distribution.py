"""A distribution of counts in cells that may scatter less or more than Poisson."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

LOG_RATE_LIMITS = (-15.0, 4.5)
"""Range of ln(lambda): beyond it the normalisation would overflow, or a cell could never hold a halo."""
LOG_WEIGHT_LIMIT = 15.0
_LONGEST = 1000  # counts; a rate of exp(4.5) = 90 never comes near it


@dataclass(frozen=True, eq=False)
class CountDistribution:
    """Poisson probabilities reweighted: p(n) = w_n lambda^n / (n! Z), with w_0 = w_1 = 1.

    The weights of 2 ... m + 1 are free. For larger counts the last one holds, or, where it is below the one before,
    goes on falling by the same factor. So every count has a probability, the tail is that of a Poisson distribution,
    and counts that training never saw do not come back where two or three already hardly occur. Weights below one give
    less scatter than Poisson (halos exclude each other), weights above one more. All weights one: Poisson.

    Parameters
    ----------
    log_rate : (...)
        ln(lambda), held within `LOG_RATE_LIMITS`.
    log_weights : (m, ...)
        ln(w_2) ... ln(w_{m+1}), held within +- `LOG_WEIGHT_LIMIT`; m >= 1.
    """

    log_rate: Float[Tensor, "..."]
    log_weights: Float[Tensor, "m ..."]

    def __post_init__(self) -> None:
        # Double precision: the normalisation is a difference of large numbers where lambda is large.
        object.__setattr__(self, "log_rate", self.log_rate.double().clamp(*LOG_RATE_LIMITS))
        weights = self.log_weights.double().clamp(-LOG_WEIGHT_LIMIT, LOG_WEIGHT_LIMIT)
        object.__setattr__(self, "log_weights", weights)

    @classmethod
    def of_channels(cls, parameters: Float[Tensor, "batch channel ..."]) -> CountDistribution:
        """Take ln(lambda) from the first channel and the logarithms of the weights from the others."""
        return cls(parameters[:, 0], parameters[:, 1:].movedim(1, 0))

    def log_prob(self, counts: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Return ln p(n) of integer counts, in double precision."""
        n = counts.double()
        last = len(self.log_weights) + 1
        index = n.clamp(2, last).long()[None] - 2
        weight = torch.where(n < 2, 0.0, self.log_weights.gather(0, index)[0])
        weight = weight + (n - last).clamp(min=0) * self._log_fall()
        return n * self.log_rate - torch.lgamma(n + 1) + weight - self._sum(0).log()

    def mean(self) -> Float[Tensor, "..."]:
        """Return the expected count."""
        return self._sum(1) / self._sum(0)

    def variance(self) -> Float[Tensor, "..."]:
        """Return the variance of the count."""
        return self._sum(2) / self._sum(0) - self.mean().square()

    def draw(self, uniform: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Return the counts at which the cumulative probability passes uniform numbers.

        Parameters
        ----------
        uniform : (...)
            In [0, 1), such as `torch.rand` with a seeded generator; equal numbers give equal counts.

        Returns
        -------
        (...) float32, on the device of the parameters.
        """
        counts = torch.zeros_like(self.log_rate, dtype=torch.float32).flatten()
        # Most cells are empty: only those go on that may hold a halo.
        cells = (uniform * self._largest_sum() >= 1).flatten().nonzero()[:, 0]
        some = CountDistribution(
            self.log_rate.flatten()[cells], self.log_weights.flatten(1).index_select(1, cells)
        )
        rate, weights, fall = some.log_rate.exp(), some.log_weights.exp(), some._log_fall().exp()
        last = len(weights) + 1
        left = uniform.double().flatten()[cells] * some._sum(0)
        term = torch.ones_like(left)
        for n in range(1, _LONGEST):
            weight = 1.0 if n < 3 else weights[min(n - 1, last) - 2]
            left = left - term * weight
            stay = left >= 0
            if not stay.any():
                break
            if n == last + 1:
                rate = rate * fall  # from here on weights fall with each count
            cells, left, term = cells[stay], left[stay], term[stay] * rate[stay] / n
            rate, weights, fall = rate[stay], weights[:, stay], fall[stay]
            counts[cells] = n
        return counts.reshape(self.log_rate.shape)

    def _largest_sum(self) -> Tensor:
        """Return what the sum of 1 does not exceed, in single precision: 1 + lambda + w lambda^2 exp(lambda) / 2.

        w is the largest weight. No term is negative, so rounding stays far below the part in 10^5 that is added.
        """
        rate = self.log_rate.float().exp()
        largest = self.log_weights.amax(0).float().exp()
        return (1 + rate + largest * rate.square() * rate.exp() / 2) * (1 + 1e-5)

    def _log_fall(self) -> Tensor:
        """Return ln of the factor from one count's weight to the next beyond the last free one."""
        before = self.log_weights[-2] if len(self.log_weights) > 1 else 0.0
        return (self.log_weights[-1] - before).clamp(max=0)

    def _sum(self, power: int) -> Tensor:
        """Sum of n^power over all counts, not normalised; power 0, 1 or 2.

        The tail is one of Poisson with rate x = lambda * fall; P(a, x), the regularised incomplete gamma function, is
        its share from the count a on.
        """
        rate, weights = self.log_rate.exp(), self.log_weights.exp()
        last, log_fall = len(weights) + 1, self._log_fall()
        x = rate * log_fall.exp()

        def share(count: int) -> Tensor:
            return torch.special.gammainc(torch.full_like(x, count), x) if count else torch.ones_like(x)

        moment = {
            0: lambda: share(last),
            1: lambda: x * share(last - 1),
            2: lambda: x * share(last - 1) + x.square() * share(last - 2),
        }[power]()
        total = moment * (self.log_weights[-1] - last * log_fall + x).exp()
        term = torch.ones_like(rate)
        for n in range(last):
            total = total + n**power * (term if n < 2 else weights[n - 2] * term)
            term = term * rate / (n + 1)
        return total
