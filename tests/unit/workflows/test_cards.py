"""What cards say of a network's density."""

from types import SimpleNamespace

import pytest
import torch

from peculiar.core import Box, Field
from peculiar.models.channels import log_density
from peculiar.workflows import cards

BOX = Box(64.0, 16)


def density(seed):
    delta = 0.05 * torch.randn(1, 16, 16, 16, generator=torch.Generator().manual_seed(seed))
    return delta - delta.mean()


def measured(monkeypatch, betas, *, known=True):
    """T(k) of a network that gives beta delta, of boxes whose tracers have these betas; they are known or not."""
    truth = [density(seed) for seed in range(len(betas))]
    pairs = [
        SimpleNamespace(
            crop=lambda corner, size, delta=delta, beta=beta: (log_density(beta * delta), log_density(delta))
        )
        for delta, beta in zip(truth, betas, strict=True)
    ]
    simulated = SimpleNamespace(box=BOX, cosmology=None)
    monkeypatch.setattr(cards.SimulatedBox, "open", lambda path: simulated)
    monkeypatch.setattr(cards, "observe", lambda box, variant, *, seed: seed)
    inputs = SimpleNamespace(beta=lambda number, cosmology: betas[number] if known else None)
    network = SimpleNamespace(
        outputs=lambda mesh, line_of_sight, periodic: mesh, card=SimpleNamespace(inputs=inputs)
    )
    observed = [(None, (number, None)) for number in range(len(betas))]
    table = cards.measure_transfer(network, pairs, observed)
    return truth, table


def test_transfer_is_measured_at_the_mean_clustering(monkeypatch):
    betas = [1.2, 1.6, 2.0]
    _, table = measured(monkeypatch, betas)
    assert table.beta == pytest.approx(1.6)
    assert table.transfer == pytest.approx([1 / 1.6] * len(table.k), rel=1e-3)


def test_transfer_without_clustering_is_of_the_mean_power(monkeypatch):
    truth, table = measured(monkeypatch, [1.0, 2.0], known=False)
    assert table.beta is None
    k, transfer = cards.fit_transfer(
        [Field(beta * one, BOX, ["density"]) for one, beta in zip(truth, (1.0, 2.0), strict=True)],
        [Field(one, BOX, ["density"]) for one in truth],
    )
    assert table.k == k
    assert table.transfer == pytest.approx(transfer, rel=1e-3)
