"""The command line: options in, one workflow called. Nothing heavy is imported before a command runs."""

from peculiar.cli import reconstruct, research
from peculiar.cli.app import app

__all__ = ["app", "reconstruct", "research"]
