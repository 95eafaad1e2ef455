"""Errors and warnings that a user meets."""

from __future__ import annotations


class PeculiarError(Exception):
    """Base of every error that peculiar raises on purpose."""


class InputError(PeculiarError, ValueError):
    """Bad input: the message gives the name, the value, the rule and the remedy. Exit code 2 on the command line.

    Parameters
    ----------
    message : str
        Its remedy in the words of Python.
    command : str, optional
        The message with its remedy in options of the command line, where they differ.
    """

    def __init__(self, message: str, *, command: str | None = None) -> None:
        super().__init__(message)
        self.command = command or message

    def within(self, what: str) -> InputError:
        """Return the error with the name of what it is about in front."""
        return InputError(f"{what}: {self}", command=f"{what}: {self.command}")


class InputWarning(UserWarning):
    """Input that is taken, with a doubt; `command` is the message in options of the command line."""

    def __init__(self, message: str, *, command: str | None = None) -> None:
        super().__init__(message)
        self.command = command or message


class OutputExistsError(InputError):
    """An output is already there and was not to be overwritten."""


class MissingExtraError(PeculiarError, ImportError):
    """A package that not everyone needs is asked for, and is not installed."""


class OutOfRangeWarning(UserWarning):
    """A catalogue lies outside the range that a model card states."""


def require_kind(value: object, kind: type, *, name: str, remedy: str) -> None:
    """Refuse a value of another type than the one that is meant, where a user may well give another."""
    if not isinstance(value, kind):
        raise InputError(f"{name} must be a {kind.__name__}, got {type(value).__name__}: {remedy}")
