"""The command line: options in, one workflow called. Nothing heavy is imported before a command runs."""

from peculiar.cli import emulate, mock, paint, reconstruct, research, surveys, velocities
from peculiar.cli.app import app

__all__ = ["app", "emulate", "mock", "paint", "reconstruct", "research", "surveys", "velocities"]
