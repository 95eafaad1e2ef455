"""Networks by name: a frozen config and the module it builds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, TypeVar

from torch import nn

from peculiar.core.errors import InputError
from peculiar.core.records import checked

Builder = TypeVar("Builder", bound=Callable[..., nn.Module])

_REGISTRY: dict[str, tuple[type, Callable[[Any], nn.Module]]] = {}


def register(name: str, config: type) -> Callable[[Builder], Builder]:
    """Register a module class under a name, with the frozen dataclass it is built from."""

    def keep(builder: Builder) -> Builder:
        _REGISTRY[name] = (config, builder)
        return builder

    return keep


def names() -> tuple[str, ...]:
    """Return the names of all registered networks."""
    return tuple(sorted(_REGISTRY))


def config_keys(name: str) -> tuple[str, ...]:
    """Return the settings that a network takes."""
    return tuple(field.name for field in fields(_entry(name)[0]))


def build(name: str, config: Mapping[str, Any]) -> nn.Module:
    """Build a network from plain settings, as they stand in a recipe or a model card.

    Parameters
    ----------
    name : str
        One of `names`.
    config : mapping
        The settings of the network's config; lists are taken as tuples.

    Raises
    ------
    InputError
        If the name or a setting is unknown, a setting is out of its range, or the network is too large to be built.

    Examples
    --------
    >>> network = build("wang2024", {"in_channels": 1, "channels": [8, 16]})
    """
    config_class, builder = _entry(name)
    known = config_keys(name)
    unknown = sorted(set(config) - set(known))
    if unknown:
        raise InputError(
            f"settings of model {name!r} must be among {', '.join(known)}, got {', '.join(unknown)}"
        )
    settings: Any = checked(config_class, config, where=f"model {name!r}")
    try:
        return builder(settings)
    except RuntimeError as error:  # sizes beyond what torch can count
        reason = str(error).split("\n")[0]
        raise InputError(f"model {name!r} must be one that can be built, got {settings} ({reason})") from None


def _entry(name: str) -> tuple[type, Callable[[Any], nn.Module]]:
    if name not in _REGISTRY:
        raise InputError(f"model must be one of {', '.join(names())}, got {name!r}")
    return _REGISTRY[name]
