"""The command line: options in, one workflow called. Nothing heavy is imported before a command runs."""

from peculiar.cli import emulate, reconstruct, research
from peculiar.cli.app import app

__all__ = ["app", "emulate", "reconstruct", "research"]
