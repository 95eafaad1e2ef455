"""Networks: channels on a mesh to channels on the same mesh.

A new network is one file here: a frozen config and a module that `register` names.
"""

from importlib import import_module
from pkgutil import iter_modules

from peculiar.models.registry import build, config_keys, names

for _file in iter_modules(__path__):
    import_module(f"{__name__}.{_file.name}")

__all__ = ["build", "config_keys", "names"]
