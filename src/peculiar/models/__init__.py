"""Networks: input channels on a mesh to density, velocity and momentum channels on the same mesh.

A new network is one file: a frozen config and a module that `register` names.
"""

from peculiar.models import residual, xiao2024
from peculiar.models.registry import build, config_keys, names

__all__ = ["build", "config_keys", "names", "residual", "xiao2024"]
