import pytest
import torch

from peculiar.core import InputError
from peculiar.core.limits import choose_device, require_density, require_redshift, require_seeds


def test_seeds_of_every_generator():
    require_seeds([0, 7, 2**32 - 1])
    with pytest.raises(InputError, match="seeds must be distinct, at least one, got 0 of them"):
        require_seeds([])
    with pytest.raises(InputError, match="seeds must be distinct, at least one, got 3 of them"):
        require_seeds([1, 2, 1])
    for seed in (-1, 2**32, 10**30):
        with pytest.raises(InputError, match=f"seed must lie in 0 to 4294967295, got {seed}"):
            require_seeds([3, seed], name="seed")


@pytest.mark.parametrize("redshift", [float("nan"), -1.0, 9.0, float("inf")])
def test_redshifts_that_a_run_does_not_reach(redshift):
    with pytest.raises(InputError, match="redshift must be >= 0 and below 9"):
        require_redshift(redshift, below=9)


def test_redshifts_that_are_right():
    for redshift in (None, 0.0, 8.9):
        require_redshift(redshift, below=9)


@pytest.mark.parametrize("density", [float("nan"), -1.0, 0.0, float("inf")])
def test_densities_that_no_objects_have(density):
    with pytest.raises(InputError, match="number_density must be > 0"):
        require_density(density)


def test_devices(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == choose_device("cpu") == "cpu"
    for device in ("cuda", "gpu", ""):
        with pytest.raises(InputError, match="device must be auto, cpu"):
            choose_device(device)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device("auto") == choose_device("cuda") == "cuda"
