"""Settings of training, as they stand in a recipe."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator

from peculiar.core.limits import computes_bf16


class Frozen(BaseModel):
    """A part of a recipe: read only, of finite numbers, and a wrong key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _no_truth_for_a_number(cls, entries: Any) -> Any:
        for name, field in cls.model_fields.items() if isinstance(entries, dict) else ():
            if field.annotation is not bool and isinstance(entries.get(name), bool):
                raise ValueError(f"{name} must be no true or false")
        return entries


class ComponentLoss(Frozen):
    """The weighted sum of `peculiar.training.losses.component_losses`."""

    kind: Literal["components"] = "components"
    density: float = Field(0.5, ge=0, le=1e6)
    velocity: float = Field(1.0, ge=0, le=1e6)
    momentum: float = Field(0.25, ge=0, le=1e6)
    velocity_scale: float = Field(1.0, gt=0, le=1e6, description="typical velocity error [Mpc/h]")
    momentum_scale: float = Field(3.0, gt=0, le=1e6, description="typical momentum error [Mpc/h]")
    margin: int = Field(8, ge=0, le=1024, description="outer cells of a crop that the loss leaves out")


class LikelihoodLoss(Frozen):
    """Errors of density, velocity and momentum, and the likelihood of the velocities' errors.

    See `peculiar.training.likelihood`.
    """

    kind: Literal["likelihood"] = "likelihood"
    density: float = Field(0.5, ge=0, le=1e6)
    velocity: float = Field(1.0, ge=0, le=1e6)
    momentum: float = Field(0.03, ge=0, le=1e6)
    errors: float = Field(0.03, ge=0, le=1e6)
    momentum_scale: float = Field(3.0, gt=0, le=1e6, description="typical momentum error [Mpc/h]")
    margin: int = Field(8, ge=0, le=1024, description="outer cells of a crop that the loss leaves out")


class PublishedLoss(Frozen):
    """The stages of Xiao et al. 2024, eqs. 5 and 6."""

    kind: Literal["published"] = "published"
    margin: int = Field(8, ge=0, le=1024, description="outer cells of a crop that the loss leaves out")


class DisplacementLoss(Frozen):
    """Displacements against displacements (see `peculiar.training.losses.displacement_losses`)."""

    kind: Literal["displacement"] = "displacement"
    error: Literal["relative distance", "square"] = "relative distance"
    velocity: float = Field(
        0.3, ge=0, le=1e6, description="weight of the velocity, for networks that give one"
    )
    margin: int = Field(8, ge=0, le=1024, description="outer cells of a crop that the loss leaves out")


class FlowLoss(Frozen):
    """Velocity and momentum of a density (see `peculiar.training.losses.flow_losses`)."""

    kind: Literal["flow"] = "flow"
    velocity: float = Field(1.0, ge=0, le=1e6)
    momentum: float = Field(1.0, ge=0, le=1e6)
    velocity_scale: float = Field(1.0, gt=0, le=1e6, description="typical velocity error [Mpc/h]")
    momentum_scale: float = Field(3.0, gt=0, le=1e6, description="typical momentum error [Mpc/h]")
    density_power: float = Field(
        2.0, ge=0, le=8, description="the momentum's squared error is divided by (1 + rho) to this power"
    )
    margin: int = Field(6, ge=0, le=1024, description="outer cells of a crop that the loss leaves out")


class VelocityLoss(Frozen):
    """The weighted sum of the three terms of Wang et al. 2024 (see `peculiar.training.losses.velocity_losses`)."""

    kind: Literal["velocity"] = "velocity"
    square: float = Field(1.0, ge=0, le=1e6, description="weight of the mean squared error")
    dice: float = Field(1.0, ge=0, le=1e6, description="weight of the dice loss")
    weighted: float = Field(
        1.0, ge=0, le=1e6, description="weight of the squared error that counts by velocity"
    )
    velocity_scale: float = Field(
        8.0,
        gt=0,
        le=1e6,
        description="typical speed over a H f [Mpc/h], with which the three terms are of one size",
    )
    margin: int = Field(6, ge=0, le=1024, description="outer cells of a crop that the loss leaves out")

    @model_validator(mode="after")
    def _some(self) -> VelocityLoss:
        if not self.square + self.dice + self.weighted:
            raise ValueError("one of square, dice and weighted must be > 0")
        return self


class CountLoss(Frozen):
    """The likelihood of counts in cells (see `peculiar.training.count_objective`)."""

    kind: Literal["counts"] = "counts"
    margin: int = Field(10, ge=0, le=1024, description="outer cells of a crop that the loss leaves out")


class AdversarialLoss(Frozen):
    """A critic, as in Kodi Ramanah et al. 2019 (see `peculiar.training.adversarial`)."""

    kind: Literal["adversarial"] = "adversarial"
    critic_updates: int = Field(5, gt=0, le=1000, description="of the critic before each of the generator's")
    gradient_penalty: float = Field(10.0, ge=0, le=1e6, description="lambda of eq. 3.1")
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.5, 0.999)
    anchor: float = Field(
        0.0,
        ge=0,
        le=1e6,
        description="weight of the distance to the true counts on large scales; 0 as published",
    )
    validation_patches: int = Field(16, gt=0, le=10**6, description="on which the critic is asked")


LossSettings = Annotated[
    ComponentLoss
    | LikelihoodLoss
    | PublishedLoss
    | DisplacementLoss
    | FlowLoss
    | VelocityLoss
    | CountLoss
    | AdversarialLoss,
    Field(discriminator="kind"),
]


class TrainSettings(Frozen):
    """How training runs."""

    steps: int = Field(gt=0, le=10**9, description="optimiser steps, for each stage")
    lr: float = Field(1e-3, gt=0, le=1, description="highest learning rate")
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup: float = Field(0.03, ge=0, lt=1, description="fraction of the run in which the rate rises")
    optimiser: Literal["adam", "adamw"] = "adamw"
    weight_decay: float = Field(1e-4, ge=0, le=1e6)
    clip: float = Field(1.0, ge=0, le=1e6, description="largest gradient norm; 0 for no limit")
    frozen_norm: float = Field(
        1.0, ge=0, le=1, description="fraction of the run after which batch norm keeps its running statistics"
    )
    ema: float = Field(0.999, ge=0, lt=1, description="decay of the averaged weights, which are the result")
    crop: int = Field(56, ge=0, le=4096, description="cells along a side of a crop; 0 for whole boxes")
    batch_size: int = Field(1, gt=0, le=10**6)
    precision: Literal["bf16", "float32"] = Field(
        "bf16", description="bf16 where the device has instructions for it, else float32"
    )
    accelerator: str = "auto"
    devices: int | str = "auto"
    strategy: str = "auto"
    checkpoint_every: int = Field(500, gt=0, description="steps")
    validate_every: int = Field(500, gt=0, description="steps")
    max_minutes: float | None = Field(
        None, gt=0, description="time limit: the schedule ends then, if the steps are not done before"
    )

    def halved(self, device: torch.device | str) -> bool:
        """Return whether networks are trained in bf16 on a device."""
        return self.precision == "bf16" and computes_bf16(device)
