import csv

import numpy as np
import pytest
import torch

from peculiar import models
from peculiar.core.errors import InputError
from peculiar.fields.symmetry import IDENTITY, apply_symmetry
from peculiar.training import adversarial
from peculiar.training.adversarial import anchor_distance, fit_adversarial, gradient_penalty, rotations
from peculiar.training.dataset import Crops, MeshPair
from peculiar.training.recipe import load_recipe
from peculiar.training.settings import AdversarialLoss, TrainSettings

UPDATES = 4


@pytest.fixture
def pairs(tmp_path):
    """Two boxes of 28^3 with halos where it is dense: 2 (1 + delta)^2 per cell, Poisson."""
    random = np.random.default_rng(0)
    made = []
    for number in range(2):
        rho = random.gamma(4.0, 0.25, size=(1, 28, 28, 28))
        np.save(tmp_path / f"inputs{number}.npy", np.log1p(rho).astype(np.float16))
        np.save(tmp_path / f"targets{number}.npy", random.poisson(2 * rho**2).astype(np.uint8))
        made.append(MeshPair(tmp_path / f"inputs{number}.npy", (tmp_path / f"targets{number}.npy",), 63.0))
    return made


def painter(**settings):
    torch.manual_seed(1)
    return models.build("ramanah2019", {"filters": 2} | settings)


def train(
    pairs, directory, *, network=None, resume=False, lines=None, critic_updates=2, anchor=0.0, **changes
):
    network = network or painter()
    values = {
        "steps": UPDATES,
        "optimiser": "adam",
        "weight_decay": 0.0,
        "clip": 0.0,
        "schedule": "constant",
        "warmup": 0.0,
        "ema": 0.5,
        "crop": 27,
        "accelerator": "cpu",
        "lr": 1e-3,
        "checkpoint_every": 2,
        "validate_every": 2,
    }
    found = fit_adversarial(
        network,
        training=pairs[:1],
        validation=pairs[1:],
        loss=AdversarialLoss(critic_updates=critic_updates, anchor=anchor, validation_patches=2),
        settings=TrainSettings(**(values | changes)),
        directory=directory,
        seed=3,
        resume=resume,
        announce=(lines if lines is not None else []).append,
    )
    return network.state_dict(), found


def rows(directory):
    with (directory / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


class Linear(torch.nn.Module):
    """A critic of one slope everywhere."""

    def __init__(self, weights):
        super().__init__()
        self.weights = torch.nn.Parameter(weights)

    def forward(self, patches):
        return (patches * self.weights).flatten(1).sum(1)


def test_gradient_penalty_of_a_linear_critic():
    """The slope is the weights: (|w| - 1)^2, with gradient 2 (|w| - 1) w / |w|."""
    weights = torch.randn(1, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    critic = Linear(weights)
    real, fake = torch.randn(2, 1, 3, 3, 3), torch.randn(2, 1, 3, 3, 3)
    penalty = gradient_penalty(critic, real, fake, mix=torch.tensor([0.2, 0.9]))
    norm = weights.norm()
    torch.testing.assert_close(penalty, (norm - 1) ** 2)
    penalty.backward()
    torch.testing.assert_close(critic.weights.grad, 2 * (norm - 1) * weights / norm)


def test_gradient_penalty_is_taken_between_the_patches():
    """Slopes of sum(x^2) / 2 are x: at a mixture of 3 and 1 with share 1/4 of the first, 1.5 in each of 8 cells."""
    penalty = gradient_penalty(
        lambda patches: patches.square().flatten(1).sum(1) / 2,
        torch.full((1, 1, 2, 2, 2), 3.0),
        torch.full((1, 1, 2, 2, 2), 1.0),
        mix=torch.tensor([0.25]),
    )
    assert penalty.item() == pytest.approx((1.5 * 8**0.5 - 1) ** 2)


def test_rotations_are_those_that_keep_the_hand():
    elements = rotations()
    assert len(set(elements)) == 24
    assert elements[0] == IDENTITY
    # (x, y, z) turns as a vector; the triple product of three of them keeps its sign in a rotation alone.
    axes = torch.eye(3).view(3, 3, 1, 1, 1)
    for element in elements:
        turned = torch.stack([apply_symmetry(axis, element, vectors=((0, 1, 2),)).flatten() for axis in axes])
        assert torch.det(turned) == 1


def test_resumed_run_ends_with_the_same_networks_and_curve(pairs, tmp_path, monkeypatch):
    whole, found = train(pairs, tmp_path / "whole", validate_every=4)
    original = Crops.batch

    def killed(self, step):
        if step == 3 * 3 + 1:
            raise KeyboardInterrupt
        return original(self, step)

    with monkeypatch.context() as patch:
        patch.setattr(Crops, "batch", killed)
        with pytest.raises(KeyboardInterrupt):
            train(pairs, tmp_path / "killed", validate_every=4)
    resumed, again = train(pairs, tmp_path / "killed", validate_every=4, resume=True)
    assert all(torch.equal(whole[key], resumed[key]) for key in whole)
    states = [torch.load(tmp_path / name / "last.ckpt") for name in ("whole", "killed")]
    critics = [state["critic"] for state in states]
    assert all(torch.equal(critics[0][key], critics[1][key]) for key in critics[0])
    for key in ("validation_wasserstein", "correlation", "mean_ratio", "steps"):
        assert found[key] == again[key]
    one, other = (rows(tmp_path / name) for name in ("whole", "killed"))
    assert [row | {"minutes": ""} for row in one] == [row | {"minutes": ""} for row in other]
    finished, _ = train(pairs, tmp_path / "killed", resume=True)
    assert all(torch.equal(whole[key], finished[key]) for key in whole)


def test_rows_beyond_the_checkpoint_are_written_again(pairs, tmp_path):
    train(pairs, tmp_path, steps=3, validate_every=1, checkpoint_every=10)
    state = torch.load(tmp_path / "last.ckpt")
    torch.save(state | {"update": 2}, tmp_path / "last.ckpt")
    train(pairs, tmp_path, validate_every=1, resume=True)
    assert [int(row["step"]) for row in rows(tmp_path)] == [1, 2, 3, 4]


def test_training_learns(pairs, tmp_path, monkeypatch):
    monkeypatch.setattr(adversarial, "SECONDS_BETWEEN_LINES", 0.0)
    network, lines = painter(filters=3), []
    _, found = train(
        pairs,
        tmp_path,
        network=network,
        steps=24,
        critic_updates=3,
        validate_every=6,
        checkpoint_every=100,
        lr=4e-3,
        lines=lines,
    )
    curve = rows(tmp_path)
    assert [int(row["step"]) for row in curve] == [6, 12, 18, 24]
    assert float(curve[0]["mean_ratio"]) < 0.5
    assert 0.75 < found["mean_ratio"] < 1.3
    assert found["correlation"] > 0.4
    assert abs(float(curve[-1]["wasserstein"])) < 0.1 * abs(float(curve[0]["wasserstein"]))
    assert float(curve[-1]["train_loss"]) == pytest.approx(
        10 * float(curve[-1]["gradient_penalty"]) - float(curve[-1]["wasserstein"]), rel=1e-4
    )
    assert not network.training
    assert any(line.startswith("update 1 of 24: wasserstein") and line.endswith("left") for line in lines)
    assert any("mean ratio" in line for line in lines)


def test_time_limit_stops(pairs, tmp_path):
    _, found = train(pairs, tmp_path, steps=10_000, max_minutes=1e-6)
    assert found["steps"] <= 1


def test_refuses_other_bins_and_patches_that_do_not_fit(pairs, tmp_path):
    with pytest.raises(InputError, match="bins of the generator must be"):
        train(pairs, tmp_path, network=painter(bins=2))
    with pytest.raises(InputError, match="crop must be at most"):
        train(pairs, tmp_path, crop=30)


def test_anchor_sees_blocks_of_cells_alone():
    """Halos that move within a block do not count; one that leaves it does, with a slope of one in all."""
    true = torch.zeros(1, 1, 10, 10, 10)
    true[..., 1, 2, 3] = 1.0
    assert anchor_distance(true.roll(1, 2), true) == 0
    moved = true.roll(5, 2).requires_grad_()
    distance = anchor_distance(moved, true)
    assert distance.item() == pytest.approx(2**0.5 * 5**-1.5, rel=1e-5)
    (slope,) = torch.autograd.grad(distance, moved)
    assert slope.norm().item() == pytest.approx(1.0, rel=1e-5)


def test_an_anchor_moves_the_generator_towards_the_true_counts(pairs, tmp_path):
    networks = [painter(filters=3) for _ in range(3)]  # as it starts, without an anchor, with one
    for network, anchor in zip(networks[1:], (0.0, 1e4), strict=True):
        train(pairs, tmp_path / str(anchor), network=network, steps=8, lr=4e-3, anchor=anchor)
    inputs, targets = (mesh[None] for mesh in pairs[1].crop((0, 0, 0), 0))
    with torch.no_grad():
        start, free, held = (anchor_distance(network(inputs), targets).item() for network in networks)
    assert held < 0.9 * min(start, free)


def test_settings_that_do_not_apply_are_refused(pairs, tmp_path):
    with pytest.raises(InputError, match=r"train.crop must be at least 27"):
        train(pairs, tmp_path, crop=26)
    with pytest.raises(InputError, match=r"train.accelerator must be auto, cpu or gpu"):
        train(pairs, tmp_path, accelerator="tpu")
    for name, value in (("frozen_norm", "0.5"), ("devices", "2"), ("strategy", "ddp")):
        with pytest.raises(InputError, match=f"train.{name} must be"):
            load_recipe("ramanah2019", profile="smoke", changes=[f"train.{name}={value}"])


def test_schedule_clip_and_decay_are_followed(pairs, tmp_path):
    still, _ = train(pairs, tmp_path / "a", steps=1, lr=1e-9, ema=0.0)
    start = painter().state_dict()
    assert all(torch.allclose(still[key], start[key], atol=1e-6) for key in start)
    train(pairs, tmp_path / "b", steps=4, validate_every=1, schedule="cosine", warmup=0.5)
    assert [float(row["learning_rate"]) for row in rows(tmp_path / "b")] == pytest.approx(
        [1e-5, 5e-4, 1e-3, 5.05e-4]
    )
    plain, _ = train(pairs, tmp_path / "c", steps=1, ema=0.0)
    clipped, _ = train(
        pairs, tmp_path / "d", steps=1, ema=0.0, clip=1e-9
    )  # Adam's epsilon is no longer small
    decayed, _ = train(pairs, tmp_path / "e", steps=1, ema=0.0, weight_decay=300.0, optimiser="adamw")
    key = "hidden.0.weight"
    assert (clipped[key] - start[key]).norm() < 0.5 * (plain[key] - start[key]).norm()
    assert decayed[key].norm() < 0.8 * plain[key].norm()
