"""Channels of a mesh by their names."""

from __future__ import annotations

from collections.abc import Mapping

from peculiar.core.errors import InputError


def vector(name: str) -> tuple[str, str, str]:
    """Return the names of a vector's components.

    Examples
    --------
    >>> vector("velocity")
    ('velocity_x', 'velocity_y', 'velocity_z')
    """
    return f"{name}_x", f"{name}_y", f"{name}_z"


class Channels(tuple[str, ...]):
    """Names of a mesh's channels, in their order.

    A name stands for its own channel, or else for all that have it in front of their last underscore: a vector for its
    components.

    Examples
    --------
    >>> channels = Channels(("log_density", *vector("velocity")))
    >>> channels.of("velocity"), channels.vectors
    (slice(1, 4, None), ((1, 2, 3),))
    """

    __slots__ = ()

    def of(self, name: str) -> slice:
        """Return where the channels of a name are.

        Raises
        ------
        InputError
            If there are none, or others stand between them.
        """
        found = [i for i, own in enumerate(self) if own == name]
        found = found or [i for i, own in enumerate(self) if own.rpartition("_")[:2] == (name, "_")]
        if not found or found[-1] - found[0] >= len(found):
            raise InputError(f"channel must be one of {', '.join(self)}, or a vector of them, got {name!r}")
        return slice(found[0], found[-1] + 1)

    @property
    def vectors(self) -> tuple[tuple[int, int, int], ...]:
        """Where the components of vectors are."""
        return tuple(
            (start, start + 1, start + 2)
            for start, name in enumerate(self)
            if self[start : start + 3] == vector(name.removesuffix("_x"))
        )

    @property
    def scalars(self) -> list[int]:
        """Where the channels are that belong to no vector."""
        inside = {channel for found in self.vectors for channel in found}
        return [channel for channel in range(len(self)) if channel not in inside]

    def values(self, given: Mapping[str, float], *, default: float) -> list[float]:
        """Return a number for each channel, from numbers by name.

        Raises
        ------
        InputError
            If a name is that of no channel.
        """
        numbers = [default] * len(self)
        for name, value in given.items():
            where = self.of(name)
            numbers[where] = [value] * (where.stop - where.start)
        return numbers


def require_vector(channels: Channels, name: str) -> None:
    """Raise InputError unless a name is that of a vector."""
    where = channels.of(name)
    if tuple(range(where.start, where.stop)) not in channels.vectors:
        raise InputError(f"channels of {name!r} must be a vector's, got {', '.join(channels[where])}")
