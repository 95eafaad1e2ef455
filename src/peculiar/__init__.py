"""From a galaxy or halo catalogue in redshift space to the real-space density, velocity and momentum of dark matter.

Examples
--------
>>> import peculiar
>>> halos = peculiar.read_catalogue("halos.h5", box=peculiar.Box(size=300.0))  # doctest: +SKIP
>>> fields = peculiar.reconstruct(halos)  # density, velocity, momentum  # doctest: +SKIP
>>> objects = peculiar.at_objects(halos, fields, cosmology=peculiar.PRESETS["xiao2024"])  # doctest: +SKIP
>>> objects.v_los  # km/s, (n,), at the objects' real-space positions  # doctest: +SKIP
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from peculiar.catalogues import read_catalogue, read_sky_catalogue, write_objects
    from peculiar.core import PRESETS, Box, Catalogue, Cosmology, Field, InputError, OutOfRangeWarning
    from peculiar.fields.objects import at_objects
    from peculiar.inference.model_card import available_models, load_model
    from peculiar.workflows.field_files import read_fields, write_fields
    from peculiar.workflows.query import query
    from peculiar.workflows.reconstruct import reconstruct
    from peculiar.workflows.sky_field import read_sky_field

# Name to module: torch takes seconds to import, and `peculiar --help` needs none of it.
_HOMES = {
    "PRESETS": "peculiar.core",
    "Box": "peculiar.core",
    "Catalogue": "peculiar.core",
    "Cosmology": "peculiar.core",
    "Field": "peculiar.core",
    "InputError": "peculiar.core",
    "OutOfRangeWarning": "peculiar.core",
    "at_objects": "peculiar.fields.objects",
    "available_models": "peculiar.inference.model_card",
    "load_model": "peculiar.inference.model_card",
    "query": "peculiar.workflows.query",
    "read_catalogue": "peculiar.catalogues",
    "read_fields": "peculiar.workflows.field_files",
    "read_sky_catalogue": "peculiar.catalogues",
    "read_sky_field": "peculiar.workflows.sky_field",
    "reconstruct": "peculiar.workflows.reconstruct",
    "write_fields": "peculiar.workflows.field_files",
    "write_objects": "peculiar.catalogues",
}

__all__ = [
    "PRESETS",
    "Box",
    "Catalogue",
    "Cosmology",
    "Field",
    "InputError",
    "OutOfRangeWarning",
    "at_objects",
    "available_models",
    "load_model",
    "query",
    "read_catalogue",
    "read_fields",
    "read_sky_catalogue",
    "read_sky_field",
    "reconstruct",
    "write_fields",
    "write_objects",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return _version()
    if name not in _HOMES:
        raise AttributeError(f"module 'peculiar' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("peculiar")
    except PackageNotFoundError:  # run from a source tree that is not installed
        return "0+unknown"
