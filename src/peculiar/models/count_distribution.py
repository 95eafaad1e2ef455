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

    The weights of 2 ... m + 1 are free and the last one holds for all larger counts, so every count has a probability
    and the tail is that of a Poisson distribution. Weights below one give less scatter than Poisson (halos exclude
    each other), weights above one more. All weights one: Poisson.

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
        return n * self.log_rate - torch.lgamma(n + 1) + weight - self._sums()[0].log()

    def mean(self) -> Float[Tensor, "..."]:
        """Return the expected count."""
        total, first, _ = self._sums()
        return first / total

    def variance(self) -> Float[Tensor, "..."]:
        """Return the variance of the count."""
        total, first, second = self._sums()
        return second / total - (first / total).square()

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
        rate, weights = some.log_rate.exp(), some.log_weights.exp()
        left = uniform.double().flatten()[cells] * some._sums()[0]
        term = torch.ones_like(left)
        for n in range(1, _LONGEST):
            weight = 1.0 if n < 3 else weights[min(n - 1, len(weights) + 1) - 2]
            left = left - term * weight
            stay = left >= 0
            if not stay.any():
                break
            cells, left, term = cells[stay], left[stay], term[stay] * rate[stay] / n
            rate, weights = rate[stay], weights[:, stay]
            counts[cells] = n
        return counts.reshape(self.log_rate.shape)

    def _largest_sum(self) -> Tensor:
        """Return what the sum of 1 does not exceed, in single precision: 1 + lambda + w lambda^2 exp(lambda) / 2.

        w is the largest weight. No term is negative, so rounding stays far below the part in 10^5 that is added.
        """
        rate = self.log_rate.float().exp()
        largest = self.log_weights.amax(0).float().exp()
        return (1 + rate + largest * rate.square() * rate.exp() / 2) * (1 + 1e-5)

    def _sums(self) -> tuple[Tensor, Tensor, Tensor]:
        """Sums of 1, n and n^2 over all counts, not normalised: Poisson's own, corrected where the weight differs."""
        rate, weights = self.log_rate.exp(), self.log_weights.exp()
        last = weights[-1]
        whole = last * rate.exp()
        total, first, second = whole, whole * rate, whole * (rate + rate.square())
        term = torch.ones_like(rate)
        for n in range(len(weights) + 1):
            excess = ((1.0 if n < 2 else weights[n - 2]) - last) * term
            total, first, second = total + excess, first + n * excess, second + n * n * excess
            term = term * rate / (n + 1)
        return total, first, second
