"""Networks: channels on a mesh to channels on the same mesh.

A new network is one file: a frozen config and a module that `register` names.
"""

from peculiar.models import (
    displacement,
    flow,
    he2019,
    painter,
    ramanah2019,
    residual,
    wang2024,
    wu2021,
    xiao2024,
)
from peculiar.models.registry import build, config_keys, names

__all__ = [
    "build",
    "config_keys",
    "displacement",
    "flow",
    "he2019",
    "names",
    "painter",
    "ramanah2019",
    "residual",
    "wang2024",
    "wu2021",
    "xiao2024",
]
