"""Errors and warnings that a user meets."""


class PeculiarError(Exception):
    """Base of every error that peculiar raises on purpose."""


class InputError(PeculiarError, ValueError):
    """Bad input: the message gives the name, the value, the rule and the remedy. Exit code 2 on the command line."""


class OutputExistsError(InputError):
    """An output is already there and was not to be overwritten."""


class OutOfRangeWarning(UserWarning):
    """A catalogue lies outside the range that a model card states."""
