"""The command line and Python: the same commands, with the same defaults."""

import dataclasses
import inspect
from typing import Literal, get_args, get_origin

import pytest
import typer

import peculiar
from peculiar.catalogues.frames import RedshiftFrame
from peculiar.catalogues.groups import Linking
from peculiar.catalogues.survey import GroupUse, RadialKind
from peculiar.cli import app
from peculiar.core.catalogue import LineOfSight
from peculiar.core.field import Space
from peculiar.evaluation.flows.task import FlowTask
from peculiar.evaluation.tracers.task import TracerTask
from peculiar.linear.reliability import Amplitude
from peculiar.simulate.mocks import VelocityRule
from peculiar.simulate.particle_mesh import Steps
from peculiar.workflows.mock_settings import CUBE, SATELLITES, Pattern

COMMANDS = typer.main.get_command(app).commands
SURVEY = (peculiar.Survey, peculiar.resolve_survey)
COLUMNS = {"column": "columns"}
CREW = {"scheduler": "workers"}
# What does as a command does, where its settings are, options by other names, and options of the command line alone.
FACE = {
    "cite": ((peculiar.cite,), {}, {"bibtex"}),
    "compare": (
        (peculiar.compare_file, peculiar.CompareOptions),
        COLUMNS | {"cz": "cz_range"},
        {"json"},
    ),
    "demo": ((peculiar.demo,), {}, set()),
    "emulate": ((peculiar.emulate_file,), {"box": "size"}, set()),
    "evaluate": (
        (peculiar.evaluate, TracerTask, FlowTask),
        CREW
        | {
            "boxes": "seeds",
            "model": "models",
            "sample": "samples",
            "satellites": "satellite_fraction",
            "los": "line_of_sight",
        },
        set(),
    ),
    "figures": ((peculiar.draw_figures,), {}, set()),
    "flow": ((peculiar.flow_file,), {}, set()),
    "groups": ((peculiar.find_groups_file, *SURVEY), COLUMNS | {"galaxies": "source"}, {"survey"}),
    "mock": (
        (peculiar.make_mocks, peculiar.MockSettings, *SURVEY),
        COLUMNS | CREW | {"sky": "galaxies"},
        set(),
    ),
    "models": ((peculiar.available_models,), {}, set()),
    "paint": ((peculiar.paint_files, peculiar.PaintOptions), CREW | {"box": "size"}, set()),
    "query": (
        (peculiar.query_file,),
        COLUMNS,
        {"ra", "dec", "z", "json", "catalogue", "out"},
    ),
    "reconstruct": (
        (
            peculiar.reconstruct_file,
            peculiar.CatalogueOptions,
            peculiar.BaoOptions,
            peculiar.DrawOptions,
            *SURVEY,
        ),
        COLUMNS
        | CREW
        | {"catalogue": "source", "box": "box_size", "los": "line_of_sight", "at_objects": "objects"},
        {"sky"},
    ),
    "report": ((peculiar.report,), {}, set()),
    "simulate": (
        (peculiar.simulate_run, peculiar.BoxSettings, peculiar.PairSettings, peculiar.PaintedSettings),
        CREW | {"box": "size"},
        {"kind"},
    ),
    "train": ((peculiar.train,), {"change": "changes"}, set()),
    "tune": ((peculiar.tune,), {"change": "changes"}, set()),
}
NOTHING = (None, (), {}, [], False)


def plain(value):
    """Return a default as one that the other side would have."""
    return None if value in NOTHING else value


def texts(value):
    """Return the ways in which a help text may print a default."""
    if isinstance(value, Steps | Linking):
        value = value.count if isinstance(value, Steps) else (value.perpendicular, value.parallel)
    values = value if isinstance(value, tuple) else (value,)
    found = {",".join(f"{item:g}" if isinstance(item, float | int) else str(item) for item in values)}
    return found | {f"{value:.0e}".replace("e-0", "e-")} if isinstance(value, float) else found


def parameter(sources, name):
    """Return a setting's default in Python: of the first source that has one, for None leaves it to the next."""
    defaults = [default(source, name) for source in sources if name in inspect.signature(source).parameters]
    assert defaults, f"{name} is an option without a setting in Python"
    return next((value for value in defaults if value is not None), None)


def default(source, name):
    """Return the default of a function's, dataclass's or model's parameter."""
    if hasattr(source, "model_fields"):
        return source.model_fields[name].get_default(call_default_factory=True)
    if dataclasses.is_dataclass(source):
        (field,) = (field for field in dataclasses.fields(source) if field.name == name)
        if field.default_factory is not dataclasses.MISSING:
            return field.default_factory()
    return inspect.signature(source).parameters[name].default


def test_every_command_is_a_function_of_the_package():
    assert set(FACE) == set(COMMANDS)
    public = [getattr(peculiar, name) for name in peculiar.__all__]
    for command, (sources, _, _) in FACE.items():
        assert sources[0] in public, command


@pytest.mark.parametrize("command", COMMANDS)
def test_defaults_are_those_of_python(command):
    sources, renamed, alone = FACE[command]
    for option in COMMANDS[command].params:
        if option.name in alone or option.name == "help" or command == "models":
            continue
        default = parameter(sources, renamed.get(option.name, option.name))
        if option.required or default is inspect.Parameter.empty:
            assert option.required, option.name
            assert default is inspect.Parameter.empty, option.name
            continue
        given = plain(option.default)
        if isinstance(default, peculiar.Cosmology):
            given = peculiar.parse_cosmology(given)
        if given is None and plain(default) is not None:
            assert isinstance(option.show_default, str), option.name
            words = option.show_default.replace(" ", ",").split(",")
            assert any(set(text.split(",")) <= set(words) for text in texts(default)), option.name
        else:
            assert str(given) == str(plain(default)), option.name


def words(annotation):
    """Return the words of a Literal, alone or in a union or annotated; none of another type."""
    if get_origin(annotation) is Literal:
        return set(get_args(annotation))
    return {word for part in get_args(annotation) if get_origin(part) for word in words(part)}


def test_choices_are_those_of_python():
    chosen = {
        "amplitude": Amplitude,
        "frame": RedshiftFrame,
        "groups": GroupUse,
        "pattern": Pattern,
        "space": Space,
        "velocity": VelocityRule,
    }
    special = {("reconstruct", "los"): LineOfSight, ("mock", "radial"): RadialKind}
    found = set()
    for command in app.registered_commands:
        for name, option in inspect.signature(command.callback, eval_str=True).parameters.items():
            known = special.get((command.callback.__name__, name), chosen.get(name))
            if known is not None and (given := words(option.annotation)):
                assert given == set(get_args(known)), (command.callback.__name__, name)
                found.add(name)
    assert found == {*chosen, "los", "radial"}


def test_shown_defaults_of_mocks():
    shown = {option.name: option.show_default for option in COMMANDS["mock"].params}
    assert shown["satellites"] == f"{SATELLITES:g}"
    assert shown["cube"] == f"{CUBE:g}"
