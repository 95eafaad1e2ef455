"""What was measured of an object is kept as long as the object lives, so that no one measures it twice."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

Value = TypeVar("Value")
Found = TypeVar("Found")
Given = ParamSpec("Given")


def kept(function: Callable[Concatenate[Value, Given], Found]) -> Callable[Concatenate[Value, Given], Found]:
    """Return a function that keeps what it found of its first argument, by what else it was given.

    For immutable values, which are told apart by identity and not by content, such as `peculiar.Catalogue`: arrays must
    not be changed in place. What else is given must be hashable, and what is found must not hold the value.

    Examples
    --------
    >>> @kept
    ... def total(numbers, *, times):
    ...     print("summed")
    ...     return times * sum(numbers)
    >>> some = frozenset([1, 2])
    >>> total(some, times=2), total(some, times=2)
    summed
    (6, 6)
    """
    every: WeakKeyDictionary[Any, dict[Any, Found]] = WeakKeyDictionary()

    @wraps(function)
    def once(value: Value, *rest: Given.args, **given: Given.kwargs) -> Found:
        own = every.setdefault(value, {})
        key = rest, frozenset(given.items())
        if key not in own:
            own[key] = function(value, *rest, **given)
        return own[key]

    return once
