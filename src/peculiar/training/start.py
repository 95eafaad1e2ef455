"""Networks that begin with the weights of another one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import TypeGuard, cast

import torch

from peculiar.core.channels import Channels
from peculiar.core.errors import InputError
from peculiar.models.channels import outputs_of
from peculiar.models.unet import ResidualUNet, UNetShape


def start_from(
    network: torch.nn.Module, other: torch.nn.Module, channels: Mapping[str, Sequence[str]] | None = None
) -> None:
    """Give a network the weights of another one of the same settings, or of a residual U-Net whose channels may differ.

    Input channels of one name, or of `channels`, act as in the other network, whatever their scales; others have no
    effect at first, nor do conditions that only the network has. Outputs of one name are the same, others are 0.

    Parameters
    ----------
    network, other : nn.Module
        Residual U-Nets have `config.inputs`, and `input_scale`.
    channels : mapping of str to sequence of str
        Channels of the network that stand for the mean of some of the other's.

    Raises
    ------
    InputError
        If one of them is no such network, their shapes differ, or a channel is unknown.
    """
    alike = type(network) is type(other) and getattr(network, "config", 0) == getattr(other, "config", 1)
    if alike and not channels:
        network.load_state_dict(other.state_dict())
        return
    if not (_with_scales(network) and _with_scales(other)):
        raise InputError(
            "network.start must be of residual U-Nets with scales of their inputs, or of a network with the same "
            f"settings, got {type(other).__name__} for {type(network).__name__}"
        )
    shape, old_shape = (_shape(one.shape) for one in (network, other))
    if shape != old_shape:
        raise InputError(f"network.start must have {shape}, got {old_shape}")
    inputs, old_inputs = _inputs(network), _inputs(other)
    told, old_told = (
        [names[place] for place in one.conditions] for names, one in ((inputs, network), (old_inputs, other))
    )
    if old_told and told != old_told:
        raise InputError(
            f"network.start must have the conditions {', '.join(told) or 'none'}, got {', '.join(old_told)}"
        )
    outputs, old_outputs = outputs_of(network), outputs_of(other)
    same = {name: (name,) for name in inputs if name in old_inputs}
    stands = same | {name: tuple(others) for name, others in (channels or {}).items()}
    for name, others in stands.items():
        if name not in inputs or not others or not set(others) <= set(old_inputs):
            raise InputError(
                f"network.channels must map {', '.join(inputs)} to some of {', '.join(old_inputs)}, got {name} to "
                f"{', '.join(others) or 'none'}"
            )
    own, given = network.state_dict(), other.state_dict()
    scale, old_scale = (cast(torch.Tensor, one.input_scale).flatten() for one in (network, other))
    for key, values in own.items():
        if key == "stem.conv.weight":
            values.zero_()
            for name, others in stands.items():
                row = inputs.index(name)
                for old in (old_inputs.index(one) for one in others):
                    share = scale[row] / old_scale[old] / len(others)
                    values[:, row] += share * given[key][:, old]
        elif key.startswith("head.conv"):
            values.zero_()
            for row, name in enumerate(outputs):
                if name in old_outputs:
                    values[row] = given[key][old_outputs.index(name)]
        elif key in given:
            values.copy_(given[key])


def _shape(shape: UNetShape) -> str:
    return ", ".join(
        f"{one.name} {getattr(shape, one.name)}" for one in fields(UNetShape) if one.name != "dropout"
    )


def _with_scales(network: torch.nn.Module) -> TypeGuard[ResidualUNet]:
    return isinstance(network, ResidualUNet) and hasattr(network, "input_scale")


def _inputs(network: ResidualUNet) -> Channels:
    names = getattr(getattr(network, "config", None), "inputs", None)
    if names is None:
        raise InputError(
            f"network.start must be a network with names of channels, got {type(network).__name__}"
        )
    return Channels(names)
