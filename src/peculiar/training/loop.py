"""The training loop, on lightning: schedule, averaged weights, checkpoints, whole-box validation."""

from __future__ import annotations

import logging
import math
import os
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from peculiar.core.errors import InputError
from peculiar.core.extras import extra
from peculiar.training.checkpoint import CHECKPOINT, WholeCheckpoints, load_checkpoint, restoring
from peculiar.training.dataset import Crops, FreshPair, TrainingPair, Vectors, WholeBoxes
from peculiar.training.meshes import check_meshes
from peculiar.training.objectives import Objective
from peculiar.training.report import Report
from peculiar.training.settings import TrainSettings

with extra("train"):
    import lightning
    from lightning.fabric.utilities.exceptions import MisconfigurationException
    from lightning.pytorch.accelerators import CPUAccelerator
    from lightning.pytorch.callbacks import Callback, WeightAveraging

_STATE = ("state_dict", "global_step", "seconds", "loops", "callbacks", "optimizer_states")
Batch = tuple[torch.Tensor, torch.Tensor]


def learning_rate(progress: float, settings: TrainSettings) -> float:
    """Learning rate at a fraction of the run: a linear rise, then half a cosine down to a hundredth.

    Examples
    --------
    >>> round(learning_rate(1.0, TrainSettings(steps=10, lr=1.0)), 4)
    0.01
    """
    if progress < settings.warmup:
        return settings.lr * max(progress / settings.warmup, 0.01)
    if settings.schedule == "constant":
        return settings.lr
    down = (progress - settings.warmup) / (1 - settings.warmup)
    return settings.lr * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(down, 1.0))))


class Training(lightning.LightningModule):
    """A network with its objective and optimiser.

    Parameters
    ----------
    network : torch.nn.Module
    objective : Objective
    settings : TrainSettings
    seed : int
        Of dropout.
    crop : bool
        Whether batches end at their faces: crops, and boxes that are not periodic.
    """

    def __init__(
        self,
        network: torch.nn.Module,
        objective: Objective,
        settings: TrainSettings,
        *,
        seed: int,
        crop: bool,
    ) -> None:
        super().__init__()
        self.network, self.objective, self.settings = network, objective, settings
        self.seed, self.crop = seed, crop
        self.seconds_before = 0.0
        self.started: float | None = None

    @property
    def trained(self) -> torch.nn.Module:
        """The part of the network that this stage trains."""
        return self.objective.trained(self.network)

    @property
    def seconds(self) -> float:
        """Time spent training, interrupted runs included."""
        now = 0.0 if self.started is None else time.monotonic() - self.started
        return self.seconds_before + now

    @property
    def progress(self) -> float:
        """Fraction of the run that is done, by steps or by time, whichever is further."""
        by_steps = self.global_step / self.settings.steps
        limit = self.settings.max_minutes
        return by_steps if limit is None else max(by_steps, self.seconds / (60 * limit))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam or AdamW over this stage's weights."""
        kind = torch.optim.AdamW if self.settings.optimiser == "adamw" else torch.optim.Adam
        decay = self.settings.weight_decay
        return kind(self.trained.parameters(), lr=self.settings.lr, weight_decay=decay)

    def configure_gradient_clipping(
        self,
        optimizer: Any,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Limit the norm of the gradient: of networks that are trained side by side (`parts`), each by itself."""
        if self.settings.clip:
            for part in getattr(self.trained, "parts", (self.trained,)):
                torch.nn.utils.clip_grad_norm_(part.parameters(), self.settings.clip)

    def on_train_start(self) -> None:
        """Start the clock."""
        self.started = time.monotonic()

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Set the learning rate and the seed of this step, so that a resumed run takes the same steps."""
        rate = learning_rate(self.progress, self.settings)
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = rate
        torch.manual_seed(self.seed * 1_000_003 + self.global_step * 1009 + self.global_rank)
        # Networks of other stages give their final answer.
        self.network.eval()
        self.trained.train()
        if self.progress >= self.settings.frozen_norm:
            for module in self.trained.modules():
                if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
                    module.eval()

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        """Return the loss of one batch."""
        inputs, targets = batch
        inputs = inputs.contiguous(memory_format=torch.channels_last_3d)
        loss = self.objective.loss(self.network, inputs, targets, crop=self.crop)
        self.log("train_loss", loss.detach(), prog_bar=True, on_step=True, on_epoch=False)
        return loss

    def validation_step(
        self, batch: tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor], batch_idx: int
    ) -> None:
        """Compare a whole box with its truth."""
        inputs, targets, factor, periodic = batch
        inputs = inputs.contiguous(memory_format=torch.channels_last_3d)
        values = self.objective.validate(self.network, inputs, targets, factor, periodic=bool(periodic.all()))
        self.log_dict(values, on_epoch=True, sync_dist=True, batch_size=len(inputs))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the time spent."""
        checkpoint["seconds"] = self.seconds

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the time spent before."""
        self.seconds_before = float(checkpoint["seconds"])


class AveragedWeights(WeightAveraging):
    """Exponential moving average of the weights, shorter at the start of training."""

    def __init__(self, decay: float) -> None:
        def average(mean: torch.Tensor, new: torch.Tensor, count: torch.Tensor | int) -> torch.Tensor:
            early = (1 + int(count)) / (10 + int(count))
            return mean + (new - mean) * (1 - min(decay, early))

        super().__init__(use_buffers=True, avg_fn=average)


class Checkpoints(Callback):
    """A checkpoint every so many steps, after the validation of its step, which a resumed run would not make up for.

    None of the last step: `fit` writes it with the averaged weights.
    """

    def __init__(self, path: Path, *, every: int, validate_every: int) -> None:
        self.path, self.every, self.validate_every = path, every, validate_every

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *args: Any) -> None:
        """Write it, where no validation follows."""
        if trainer.global_step % self.validate_every:
            self._save(trainer)

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Write it after a validation."""
        if trainer.state.fn == "fit":
            self._save(trainer)

    def _save(self, trainer: Any) -> None:
        if trainer.global_step % self.every == 0 and trainer.global_step < trainer.max_steps:
            trainer.save_checkpoint(self.path)


class TimeLimit(Callback):
    """Stop when the time is over; the schedule has come down by then."""

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *args: Any) -> None:
        """Look at the clock."""
        limit = pl_module.settings.max_minutes
        if limit is not None and pl_module.seconds >= 60 * limit:
            trainer.should_stop = True


def check_hardware(settings: TrainSettings) -> None:
    """Refuse an accelerator, a number of devices or a strategy that this machine does not have."""
    with quiet_lightning():
        try:
            trainer = lightning.Trainer(
                accelerator=settings.accelerator,
                devices=settings.devices,
                strategy=settings.strategy,
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
            )
        except (ValueError, RuntimeError, TypeError, ImportError, MisconfigurationException) as error:
            raise InputError(
                f"train.accelerator, devices and strategy must be this machine's, got {settings.accelerator!r}, "
                f"{settings.devices!r} and {settings.strategy!r} ({error}): leave them out"
            ) from error
    cores = os.cpu_count() or 1
    if isinstance(trainer.accelerator, CPUAccelerator) and trainer.num_devices > cores:
        raise InputError(
            f"train.devices must be at most this machine's {cores} cores, got {trainer.num_devices}: leave it out"
        )


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Keep lightning's advice and banners off the screen, and leave everything else as it was."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            for message in (
                r".*does not have many workers.*",
                r".*`IterableDataset` has `__len__` defined.*",
                r".*GPU available but not used.*",
                r".*isinstance\(treespec, LeafSpec\).*",
                r".*You are trying to `self.log\(\)`.*",
                r".*resuming from a checkpoint that ended before the epoch.*",
            ):
                warnings.filterwarnings("ignore", message=message)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def fit(
    network: torch.nn.Module,
    *,
    training: Sequence[TrainingPair | FreshPair],
    validation: Sequence[TrainingPair],
    objective: Objective,
    settings: TrainSettings,
    directory: Path,
    seed: int,
    vectors: Vectors = (),
    line_of_sight: str | None = None,
    resume: bool = False,
    announce: Callable[[str], None] = print,
) -> dict[str, float]:
    """Train a network in place; it ends with the averaged weights.

    Parameters
    ----------
    network : torch.nn.Module
        From `peculiar.models.build`.
    training, validation : sequence of TrainingPair, or of FreshPair for training
        Boxes for crops, and boxes for whole-box validation.
    objective : Objective
        What is minimised.
    settings : TrainSettings
    directory : path
        For ``last.ckpt`` and ``metrics.csv``.
    seed : int
        Of crops, symmetries and dropout. The initial weights are the caller's.
    vectors : sequence of (i, j, k)
        Input channels that are vectors.
    line_of_sight : "x", "y", "z" or None
        Axis that the augmentation keeps; None for all 48 symmetries.
    resume : bool
        Go on from ``last.ckpt`` if it is there. Without a time limit the result is that of an uninterrupted run,
        bit by bit.
    announce : callable
        Takes the lines of the report.

    Returns
    -------
    dict of float
        Validation at the end, "steps" and "minutes".

    Raises
    ------
    InputError
        If the network or the objective cannot use the meshes (`check_meshes`).
    """
    check_meshes(network, training, validation, crop=settings.crop, margin=objective.margin)
    directory.mkdir(parents=True, exist_ok=True)
    checkpoint = directory / CHECKPOINT
    going_on = resume and checkpoint.exists()
    start, done = 0, False
    if going_on:
        state = load_checkpoint(checkpoint, holds=_STATE)
        start = int(state["global_step"])
        over = settings.max_minutes is not None and state["seconds"] >= 60 * settings.max_minutes
        done = over or start >= settings.steps
    network.train()
    ends = settings.crop > 0 or not all(pair.periodic for pair in training)
    module = Training(network, objective, settings, seed=seed, crop=ends)
    module.network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    if going_on:
        with restoring(checkpoint):
            module.load_state_dict(state["state_dict"])
            module.on_load_checkpoint(state)
    on_gpu = settings.accelerator != "cpu" and torch.cuda.is_available()
    report = Report(directory / "metrics.csv", steps=settings.steps, start=start, announce=announce)
    with quiet_lightning():
        trainer = lightning.Trainer(
            accelerator=settings.accelerator,
            devices=settings.devices,
            strategy=settings.strategy,
            precision="bf16-mixed" if settings.halved("cuda" if on_gpu else "cpu") else "32-true",
            max_steps=settings.steps,
            max_epochs=-1,
            val_check_interval=min(settings.validate_every, settings.steps),
            check_val_every_n_epoch=None,
            num_sanity_val_steps=0,
            limit_val_batches=1.0,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            default_root_dir=directory,
            plugins=[WholeCheckpoints()],
            callbacks=[
                AveragedWeights(settings.ema),
                TimeLimit(),
                report,
                Checkpoints(
                    checkpoint, every=settings.checkpoint_every, validate_every=settings.validate_every
                ),
            ],
        )
        crops = Crops(
            training,
            crop=settings.crop,
            batch_size=settings.batch_size,
            steps=settings.steps,
            seed=seed,
            vectors=vectors,
            target_vectors=objective.targets.vectors,
            line_of_sight=line_of_sight,
            start=start,
            rank=trainer.global_rank,
            world=trainer.world_size,
        )
        boxes = DataLoader(WholeBoxes(validation), batch_size=1)
        if not done:
            trainer.fit(
                module,
                DataLoader(crops, batch_size=None),
                boxes,
                ckpt_path=checkpoint if going_on else None,
            )
            trainer.save_checkpoint(checkpoint)
        minutes, steps = module.seconds / 60, max(module.global_step, start)
        results = trainer.validate(module, boxes, verbose=False)[0]
    network.eval()
    return {**results, "steps": float(steps), "minutes": minutes}
