import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from peculiar import models
from peculiar.core.channels import vector
from peculiar.core.errors import InputError
from peculiar.models.wang2024 import Wang2024
from peculiar.training.checkpoint import WholeCheckpoints
from peculiar.training.dataset import Crops
from peculiar.training.loop import Training, fit, learning_rate
from peculiar.training.losses import correlation
from peculiar.training.objectives import Components, PublishedStage, Velocities
from peculiar.training.report import read_metrics
from peculiar.training.settings import ComponentLoss, PublishedLoss, TrainSettings, VelocityLoss

NAMES = ("tracers", *vector("flow"), *vector("sight"))
VECTORS = ((1, 2, 3), (4, 5, 6))
STEPS = 12


class KilledError(Exception):
    """Stands for a run that is killed."""


def train(pairs, directory, *, resume=False, lines=None, **changes):
    torch.manual_seed(1)
    config = {"inputs": NAMES, "width": 4, "levels": 2, "blocks": [1], "velocity": "flow", "dropout": 0.2}
    network = models.build("residual", config)
    values = {
        "steps": STEPS,
        "crop": 8,
        "checkpoint_every": 4,
        "validate_every": 6,
        "lr": 1e-2,
        "accelerator": "cpu",
    }
    result = fit(
        network,
        training=pairs,
        validation=pairs[:1],
        settings=TrainSettings(**(values | changes)),
        objective=Components(ComponentLoss(margin=2)),
        directory=directory,
        seed=3,
        vectors=VECTORS,
        resume=resume,
        announce=(lines if lines is not None else []).append,
    )
    return network.state_dict(), result


def same(first, second):
    return all(torch.equal(first[key], second[key]) for key in first)


def test_resumed_run_ends_with_the_same_weights(pairs, tmp_path, monkeypatch):
    whole, result = train(pairs, tmp_path / "whole")
    original = Crops.batch

    def killed(self, step):
        if step == 7:
            raise KilledError
        return original(self, step)

    with monkeypatch.context() as patch:
        patch.setattr(Crops, "batch", killed)
        with pytest.raises(KilledError):
            train(pairs, tmp_path / "killed")
    resumed, again = train(pairs, tmp_path / "killed", resume=True)
    assert same(whole, resumed)
    assert result["loss"] == again["loss"]
    assert result["steps"] == again["steps"] == STEPS
    finished, _ = train(pairs, tmp_path / "killed", resume=True)
    assert same(whole, finished)
    curves = []
    for name in ("whole", "killed"):
        with (tmp_path / name / "metrics.csv").open(newline="") as file:
            curves.append([{**row, "minutes": ""} for row in csv.DictReader(file)])
    assert curves[0] == curves[1]
    assert [int(row["step"]) for row in curves[1]] == [6, 12]


@pytest.mark.parametrize(
    ("able", "precision", "halved"), [(True, "bf16", True), (False, "bf16", False), (True, "float32", False)]
)
def test_bf16_where_the_device_computes_in_it(pairs, tmp_path, monkeypatch, able, precision, halved):
    monkeypatch.setattr("peculiar.training.settings.computes_bf16", lambda device: able)
    seen = []
    loss = Components.loss

    def watched(self, *given, **told):
        seen.append(torch.is_autocast_enabled("cpu"))
        return loss(self, *given, **told)

    monkeypatch.setattr(Components, "loss", watched)
    train(pairs, tmp_path, steps=2, precision=precision)
    assert set(seen) == {halved}


@pytest.mark.parametrize("step", [5, 10])
def test_a_kill_between_checkpoint_and_validation_loses_no_row(pairs, tmp_path, monkeypatch, step):
    steps = {"steps": 10, "checkpoint_every": 5, "validate_every": 5}
    whole, _ = train(pairs, tmp_path / "whole", **steps)
    save = WholeCheckpoints.save_checkpoint

    def killed(self, checkpoint, path, storage_options=None):
        save(self, checkpoint, path)
        if checkpoint["global_step"] == step:
            raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(WholeCheckpoints, "save_checkpoint", killed)
        with pytest.raises(KilledError):
            train(pairs, tmp_path / "killed", **steps)
    resumed, _ = train(pairs, tmp_path / "killed", resume=True, **steps)
    assert same(whole, resumed)
    rows = [read_metrics(tmp_path / name / "metrics.csv") for name in ("whole", "killed")]
    assert list(rows[0]["step"]) == [5, 10]
    for name in rows[0].keys() - {"minutes"}:
        np.testing.assert_array_equal(rows[1][name], rows[0][name], err_msg=name)


def test_training_learns(pairs, tmp_path):
    lines = []
    _, result = train(pairs, tmp_path, steps=60, lr=5e-3, ema=0.9, validate_every=30, lines=lines)
    assert result["velocity_correlation"] > 0.9
    with (tmp_path / "metrics.csv").open(newline="") as file:
        losses = [float(row["loss"]) for row in csv.DictReader(file)]
    assert losses[1] < losses[0]
    assert "velocity rms" in lines[-1]


def test_time_limit_ends_the_run_and_its_schedule(pairs, tmp_path):
    _, result = train(pairs, tmp_path, steps=10**6, max_minutes=0.01, validate_every=10**6)
    assert 0 < result["steps"] < 10**6
    state = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert state["optimizer_states"][0]["param_groups"][0]["lr"] < 1e-2
    _, again = train(pairs, tmp_path, steps=10**6, max_minutes=0.01, validate_every=10**6, resume=True)
    assert again["steps"] == result["steps"]


def test_crop_too_small_for_the_coarsest_mesh_is_refused(pairs, tmp_path):
    with pytest.raises(InputError, match="crop must be at least 8 cells"):
        train(pairs, tmp_path / "run", crop=4)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("crop", [8, 0])
def test_regions_that_do_not_wrap_never_meet_a_periodic_network(pairs, tmp_path, monkeypatch, crop):
    """A network of three channels learns from targets of seven, without wrapping."""
    asked = []
    original = Wang2024.forward

    def record(self, inputs, *, periodic=True):
        asked.append((tuple(inputs.shape[2:]), periodic))
        return original(self, inputs, periodic=periodic)

    monkeypatch.setattr(Wang2024, "forward", record)
    isolated = [replace(pair, periodic=False) for pair in pairs]
    network = models.build("wang2024", {"in_channels": 7, "channels": [4, 8], "groups": 2, "dropout": 0.2})
    result = fit(
        network,
        training=isolated,
        validation=isolated[:1],
        settings=TrainSettings(steps=2, crop=crop, accelerator="cpu"),
        objective=Velocities(VelocityLoss(margin=2)),
        directory=tmp_path,
        seed=3,
        vectors=VECTORS,
        announce=lambda line: None,
    )
    assert {"loss", "velocity_rms", "velocity_correlation"} <= set(result)
    assert not any(periodic for _, periodic in asked)
    assert {shape for shape, _ in asked} == {(16, 16, 16), (crop or 16,) * 3}


@pytest.mark.parametrize(
    ("levels", "margin", "match"),
    [
        ([4, 8, 8, 8, 8, 8], 2, "multiple of the network's stride of 32"),
        ([4, 8], 8, "margin must be below half"),
    ],
)
def test_meshes_that_do_not_fit_are_refused_before_training(pairs, tmp_path, levels, margin, match):
    isolated = [replace(pair, periodic=False) for pair in pairs]
    with pytest.raises(InputError, match=match):
        fit(
            models.build("wang2024", {"in_channels": 7, "channels": levels, "groups": 2}),
            training=isolated,
            validation=isolated[:1],
            settings=TrainSettings(steps=2, crop=0, accelerator="cpu"),
            objective=Velocities(VelocityLoss(margin=margin)),
            directory=tmp_path / "run",
            seed=3,
        )
    assert not (tmp_path / "run").exists()


def test_published_stages_train_their_own_part(pairs, tmp_path):
    torch.manual_seed(0)
    names = ["abundance_1", *vector("linear_velocity"), *vector("linear_momentum")]
    network = models.build("xiao2024", {"inputs": names, "channels": [3, 3, 3], "init_kernel": 3})
    for stage in ("density", "velocity"):
        before = {key: value.clone() for key, value in network.state_dict().items()}
        fit(
            network,
            training=pairs,
            validation=pairs[:1],
            settings=TrainSettings(steps=2, crop=16, accelerator="cpu", ema=0.0),
            objective=PublishedStage(PublishedLoss(margin=1), stage),
            directory=tmp_path / stage,
            seed=0,
            vectors=VECTORS,
            line_of_sight="z",
            announce=lambda line: None,
        )
        changed = {
            key.split(".")[0]
            for key, value in network.state_dict().items()
            if not torch.equal(value, before[key])
        }
        assert changed == {stage}


def test_learning_rate_rises_and_falls():
    settings = TrainSettings(steps=100, lr=1.0, warmup=0.1)
    rates = [learning_rate(step / 100, settings) for step in range(101)]
    assert rates[0] < 0.02
    assert max(rates) == pytest.approx(1.0)
    assert rates.index(max(rates)) == 10
    assert rates[100] == pytest.approx(0.01)
    assert learning_rate(0.9, settings.model_copy(update={"schedule": "constant"})) == 1.0


def test_correlation_is_pearsons():
    first = torch.randn(1, 1, 6, 6, 6)
    assert float(correlation(first, 3 * first + 2)) == pytest.approx(1.0, abs=1e-5)
    assert float(correlation(first, -first)) == pytest.approx(-1.0, abs=1e-5)


def test_loss_and_network_must_fit():
    network = models.build("residual", {"inputs": NAMES, "velocity": "flow", "width": 4, "levels": 2})
    stage = PublishedStage(PublishedLoss(), "density")
    with pytest.raises(InputError, match="xiao2024"):
        stage.trained(network)


def test_batch_norm_keeps_its_statistics_at_the_end(pairs, tmp_path):
    def statistics(frozen_norm, name):
        torch.manual_seed(0)
        network = models.build("he2019", {"in_channels": 7, "out_channels": 7, "widths": [3, 3, 3]})
        fit(
            network,
            training=pairs,
            validation=pairs[:1],
            objective=Components(ComponentLoss(margin=0)),
            settings=TrainSettings(steps=3, crop=0, accelerator="cpu", ema=0.0, frozen_norm=frozen_norm),
            directory=tmp_path / name,
            seed=0,
            vectors=VECTORS,
            announce=lambda line: None,
        )
        return network.fine[0].norm.running_mean.clone()

    start = torch.zeros(3)
    assert torch.equal(statistics(0.0, "frozen"), start)
    assert not torch.equal(statistics(1.0, "free"), start)


class Stranger:
    """Runs code when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return (type(self.mark).touch, (self.mark,))


def test_code_in_a_checkpoint_is_not_run(pairs, tmp_path):
    torch.save({"global_step": 4, "callbacks": Stranger(tmp_path / "mark")}, tmp_path / "last.ckpt")
    with pytest.raises(InputError, match="must be whole and hold tensors and plain values only"):
        train(pairs, tmp_path, resume=True)
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"text", "cut", "other"])
def test_a_checkpoint_that_is_none_is_refused(pairs, tmp_path, content):
    if isinstance(content, str):
        torch.save({"weights": torch.ones(9)}, tmp_path / "last.ckpt")
        whole = (tmp_path / "last.ckpt").read_bytes()
        content = whole if content == "other" else whole[:-30]
    (tmp_path / "last.ckpt").write_bytes(content)
    with pytest.raises(InputError, match=r"must be whole .*last.ckpt.* give --force"):
        train(pairs, tmp_path, resume=True)


def test_a_checkpoint_of_another_network_is_refused(pairs, tmp_path):
    train(pairs, tmp_path, steps=2)
    state = torch.load(tmp_path / "last.ckpt", weights_only=True)
    state["state_dict"].popitem()
    torch.save(state, tmp_path / "last.ckpt")
    with pytest.raises(InputError, match="must be of this network"):
        train(pairs, tmp_path, resume=True)


def test_the_checkpoint_before_stays_until_the_new_one_is_whole(pairs, tmp_path, monkeypatch):
    """Nothing of it passes through TMPDIR, which may be another file system."""
    monkeypatch.setenv("TMPDIR", str(tmp_path / "nowhere"))
    monkeypatch.setattr("tempfile.tempdir", None)
    write, written = Path.write_bytes, []

    def killed(self, data):
        written.append(self.parent)
        if len(written) == 2:
            write(self, bytes(data)[:100])
            raise KilledError
        write(self, data)

    monkeypatch.setattr(Path, "write_bytes", killed)
    with pytest.raises(KilledError):
        train(pairs, tmp_path / "run")
    assert written == [tmp_path / "run"] * 2
    assert torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)["global_step"] == 4
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["last.ckpt", "metrics.csv"]


def test_networks_side_by_side_have_their_gradients_limited_each_by_itself():
    network = models.build("wu2021", {"width": 2})
    module = Training(
        network, Components(ComponentLoss()), TrainSettings(steps=1, clip=1.0), seed=0, crop=True
    )
    for part, size in zip(network.parts, (1e-3, 1e6), strict=True):
        for weight in part.parameters():
            weight.grad = torch.full_like(weight, size)
    module.configure_gradient_clipping(None)
    small, large = (
        torch.nn.utils.get_total_norm([p.grad for p in part.parameters()]) for part in network.parts
    )
    assert small == pytest.approx(
        1e-3 * sum(w.numel() for w in network.velocity.parameters()) ** 0.5, rel=1e-4
    )
    assert large == pytest.approx(1.0, rel=1e-4)
