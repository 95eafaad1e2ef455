from dataclasses import replace

import numpy as np
import pytest
import torch

from peculiar.core.errors import InputError
from peculiar.training.reader import ObjectSample, fit_reader


def sample(n, seed, *, error=np.nan, noise=50.0):
    """Hosts that move as the field does 3 places on, a third faster, and at random; objects move about them as much."""
    random = np.random.default_rng(seed)
    profile = random.normal(size=(n, 9, 2)) * [300.0, 1.0]
    host = 0.66 * (profile[:, 1, 0] + profile[:, 7, 0]) + random.normal(0, noise, n)
    own = host + random.normal(0, noise, n)
    told = np.column_stack([np.full(n, error), np.full(n, 2.3), np.zeros(n)])
    return ObjectSample(*(one.astype(np.float32) for one in (profile, told, host, own)))


def read(network, one):
    with torch.no_grad():
        return [x.numpy() for x in network(torch.from_numpy(one.profile), torch.from_numpy(one.told))]


def test_it_learns_what_hosts_do_and_how_well_it_knows():
    network = fit_reader([sample(4000, 0), sample(500, 1)], steps=600, announce=lambda _line: None)
    held_out = sample(2000, 2)
    host, rest, own, variance = read(network, held_out)
    for found, true, told in ((host, held_out.host, rest), (own, held_out.own, variance)):
        error = found - true
        assert error.std() < 0.35 * true.std()
        assert np.sqrt((error**2 / told).mean()) == pytest.approx(1, abs=0.2)
    assert variance.mean() > 1.5 * rest.mean()


def test_the_error_of_the_fields_is_not_told_again():
    training = [sample(4000, 0, error=80.0, noise=100.0)]
    network = fit_reader(training, steps=1500, announce=lambda _line: None)
    held_out = sample(2000, 2, error=80.0, noise=100.0)
    along, rest, *_ = read(network, held_out)
    assert np.sqrt(((along - held_out.host) ** 2 / (rest + 80.0**2)).mean()) == pytest.approx(1, abs=0.2)
    untold = replace(held_out, told=held_out.told.copy())
    untold.told[:, 0] = np.nan
    assert read(network, untold)[1].mean() > rest.mean() + 0.5 * 80.0**2


def test_the_same_seed_gives_the_same_reader():
    one, other = (fit_reader([sample(300, 0)], steps=5, batch=32, seed=3) for _ in range(2))
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)


def test_samples_without_objects_are_refused():
    with pytest.raises(InputError, match="samples must be some"):
        fit_reader([])
    with pytest.raises(InputError, match="each with objects"):
        fit_reader([sample(0, 0)])
