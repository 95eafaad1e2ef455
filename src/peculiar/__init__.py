"""From a galaxy or halo catalogue in redshift space to the real-space density, velocity and momentum of dark matter.

Examples
--------
>>> import peculiar
>>> halos = peculiar.read_catalogue("halos.h5", box=peculiar.Box(size=300.0), redshift=0.59)  # doctest: +SKIP
>>> fields = peculiar.reconstruct(halos)  # density, velocity, momentum  # doctest: +SKIP
>>> objects = peculiar.at_objects(halos, fields, cosmology=peculiar.PRESETS["xiao2024"])  # doctest: +SKIP
>>> objects.v_los  # km/s, (n,), at the objects' real-space positions  # doctest: +SKIP

What every command does is here under one name: that of the command, with ``_file`` where a function without it takes
and returns values (`reconstruct_file` reads a catalogue and writes the fields, `reconstruct` makes them of one).
Four have another, because rooms of the package or values have theirs: `simulate_run`, `draw_figures`, `make_mocks` and
`find_groups_file`; `available_models` gives the names of `peculiar models`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from peculiar.catalogues import (
        Survey,
        find_groups,
        load_survey,
        read_catalogue,
        read_sky_catalogue,
        read_survey,
        write_catalogue,
        write_objects,
    )
    from peculiar.catalogues.distances import read_distances
    from peculiar.catalogues.superclusters import read_superclusters
    from peculiar.catalogues.survey import resolve_survey
    from peculiar.core import PRESETS, Box, Catalogue, Cosmology, Field, InputError, OutOfRangeWarning
    from peculiar.core.cosmologies import parse_cosmology
    from peculiar.fields.files import read_fields, write_fields
    from peculiar.fields.objects import at_objects
    from peculiar.inference.draws import draws
    from peculiar.inference.model_card import available_models, load_model
    from peculiar.inference.painted_boxes import PaintedSettings
    from peculiar.inference.reconstruction import Reconstruction
    from peculiar.simulate.boxes import BoxSettings
    from peculiar.simulate.matter import MatterFields
    from peculiar.simulate.mocks import SimulatedBox
    from peculiar.simulate.pairs import PairSettings
    from peculiar.workflows.bao import BaoOptions
    from peculiar.workflows.catalogue_options import CatalogueOptions
    from peculiar.workflows.cite import Reference, cite
    from peculiar.workflows.compare import CompareOptions, compare, compare_fields, compare_file
    from peculiar.workflows.demo import demo
    from peculiar.workflows.drawing import DrawOptions
    from peculiar.workflows.emulate import emulate, emulate_file
    from peculiar.workflows.evaluate import evaluate
    from peculiar.workflows.figures import draw_figures
    from peculiar.workflows.flow import flow, flow_file
    from peculiar.workflows.groups import find_groups_file
    from peculiar.workflows.mock import make_mocks
    from peculiar.workflows.mock_settings import MockSettings
    from peculiar.workflows.paint import PaintOptions, paint, paint_file, paint_files
    from peculiar.workflows.query import query, query_file
    from peculiar.workflows.reconstruct import reconstruct
    from peculiar.workflows.reconstruct_file import reconstruct_file
    from peculiar.workflows.report import report
    from peculiar.workflows.simulate import simulate_run
    from peculiar.workflows.superclusters import superclusters_in
    from peculiar.workflows.train import train
    from peculiar.workflows.tune import tune

# torch takes seconds to import, and `peculiar --help` needs none of it.
_ROOMS = {
    "peculiar.catalogues": (
        "Survey",
        "find_groups",
        "load_survey",
        "read_catalogue",
        "read_sky_catalogue",
        "read_survey",
        "write_catalogue",
        "write_objects",
    ),
    "peculiar.catalogues.distances": ("read_distances",),
    "peculiar.catalogues.superclusters": ("read_superclusters",),
    "peculiar.catalogues.survey": ("resolve_survey",),
    "peculiar.core": (
        "PRESETS",
        "Box",
        "Catalogue",
        "Cosmology",
        "Field",
        "InputError",
        "OutOfRangeWarning",
    ),
    "peculiar.core.cosmologies": ("parse_cosmology",),
    "peculiar.fields.files": (
        "read_fields",
        "write_fields",
    ),
    "peculiar.fields.objects": ("at_objects",),
    "peculiar.inference.draws": ("draws",),
    "peculiar.inference.model_card": (
        "available_models",
        "load_model",
    ),
    "peculiar.inference.painted_boxes": ("PaintedSettings",),
    "peculiar.inference.reconstruction": ("Reconstruction",),
    "peculiar.simulate.boxes": ("BoxSettings",),
    "peculiar.simulate.matter": ("MatterFields",),
    "peculiar.simulate.mocks": ("SimulatedBox",),
    "peculiar.simulate.pairs": ("PairSettings",),
    "peculiar.workflows.bao": ("BaoOptions",),
    "peculiar.workflows.catalogue_options": ("CatalogueOptions",),
    "peculiar.workflows.cite": (
        "Reference",
        "cite",
    ),
    "peculiar.workflows.compare": (
        "CompareOptions",
        "compare",
        "compare_fields",
        "compare_file",
    ),
    "peculiar.workflows.demo": ("demo",),
    "peculiar.workflows.drawing": ("DrawOptions",),
    "peculiar.workflows.emulate": (
        "emulate",
        "emulate_file",
    ),
    "peculiar.workflows.evaluate": ("evaluate",),
    "peculiar.workflows.figures": ("draw_figures",),
    "peculiar.workflows.flow": (
        "flow",
        "flow_file",
    ),
    "peculiar.workflows.groups": ("find_groups_file",),
    "peculiar.workflows.mock": ("make_mocks",),
    "peculiar.workflows.mock_settings": ("MockSettings",),
    "peculiar.workflows.paint": (
        "PaintOptions",
        "paint",
        "paint_file",
        "paint_files",
    ),
    "peculiar.workflows.query": (
        "query",
        "query_file",
    ),
    "peculiar.workflows.reconstruct": ("reconstruct",),
    "peculiar.workflows.reconstruct_file": ("reconstruct_file",),
    "peculiar.workflows.report": ("report",),
    "peculiar.workflows.simulate": ("simulate_run",),
    "peculiar.workflows.superclusters": ("superclusters_in",),
    "peculiar.workflows.train": ("train",),
    "peculiar.workflows.tune": ("tune",),
}
_HOMES = {name: room for room, names in _ROOMS.items() for name in names}

__all__ = [
    "PRESETS",
    "BaoOptions",
    "Box",
    "BoxSettings",
    "Catalogue",
    "CatalogueOptions",
    "CompareOptions",
    "Cosmology",
    "DrawOptions",
    "Field",
    "InputError",
    "MatterFields",
    "MockSettings",
    "OutOfRangeWarning",
    "PaintOptions",
    "PaintedSettings",
    "PairSettings",
    "Reconstruction",
    "Reference",
    "SimulatedBox",
    "Survey",
    "at_objects",
    "available_models",
    "cite",
    "compare",
    "compare_fields",
    "compare_file",
    "demo",
    "draw_figures",
    "draws",
    "emulate",
    "emulate_file",
    "evaluate",
    "find_groups",
    "find_groups_file",
    "flow",
    "flow_file",
    "load_model",
    "load_survey",
    "make_mocks",
    "paint",
    "paint_file",
    "paint_files",
    "parse_cosmology",
    "query",
    "query_file",
    "read_catalogue",
    "read_distances",
    "read_fields",
    "read_sky_catalogue",
    "read_superclusters",
    "read_survey",
    "reconstruct",
    "reconstruct_file",
    "report",
    "resolve_survey",
    "simulate_run",
    "superclusters_in",
    "train",
    "tune",
    "write_catalogue",
    "write_fields",
    "write_objects",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":  # as `package_version`, whose room takes seconds to import
        from importlib.metadata import distributions

        return next((found.version for found in distributions(name="peculiar")), "0+unknown")
    if name not in _HOMES:
        raise AttributeError(f"module 'peculiar' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
