"""Recipes: everything that a training run depends on, as data."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue, model_validator

from peculiar.core.errors import InputError
from peculiar.core.records import checked, shown
from peculiar.fields.conditions import Task
from peculiar.linear.density_inputs import DensityInputs
from peculiar.linear.inputs import InputSpec, TracerInputs
from peculiar.linear.survey_inputs import SURROUNDINGS
from peculiar.simulate.lagrangian import LagrangianInputs
from peculiar.simulate.mocks import VelocityRule
from peculiar.training.counts import CountInputs
from peculiar.training.settings import Frozen, LossSettings, TrainSettings
from peculiar.training.survey_cubes import SurveyVariant, beside
from peculiar.training.variants import Variant

DEEPEST = 8
"""Tables in one another that a setting may name."""
RECIPES = Path(__file__).resolve().parent.parent / "recipes"


class NetworkSettings(Frozen):
    """A registered network and its settings (see `peculiar.models`)."""

    architecture: str
    settings: dict[str, JsonValue] = Field(default_factory=dict)
    start: str | None = Field(None, description="model whose weights training begins with, see `start_from`")
    channels: dict[str, tuple[str, ...]] = Field(
        default_factory=dict, description="of `start`: input channels that stand for others of its own"
    )


_LOSSES: dict[Task, tuple[str, ...]] = {
    "reconstruct": ("components", "likelihood", "published", "velocity"),
    "displace": ("displacement",),
    "flow": ("flow",),
    "paint": ("counts", "adversarial"),
}
_NETWORKS = {
    "likelihood": "general",
    "published": "xiao2024",
    "velocity": "wang2024",
    "counts": "painter",
    "adversarial": "ramanah2019",
}
"""Losses that belong to one network, and it to them."""
_WITHOUT_A_CRITIC = {"frozen_norm": 1.0, "devices": "auto", "strategy": "auto"}
"""Settings of training that a network and its critic, on one device and without batch norm, cannot follow."""


class DataSettings(Frozen):
    """Which boxes of each run are used for what, by their seeds (first and last), and how they are observed."""

    train: tuple[int, int] = (1, 500)
    validation: tuple[int, int] = (501, 1000)
    test: tuple[int, int] = (1001, 1500)
    boxes: int | None = Field(
        None, gt=0, description="number of training boxes of each run; all that are there if not given"
    )
    validation_boxes: int | None = Field(None, gt=0)
    variants: tuple[Variant, ...] = Field(default=(Variant(),), min_length=1)
    cubes: tuple[SurveyVariant, ...] = Field((), description="for inputs of surveys, in place of variants")
    fresh: bool = Field(
        False,
        description="whether every training step observes a cube anew, at a random place and turn of a box; the "
        "number of `cubes` is then of validation alone",
    )
    unseen: Literal["true", "expected"] = Field(
        "true",
        description="flow that matter unseen by cubes causes in their targets: the true one, or the inputs'",
    )
    symmetries: Literal["all", "line of sight"] = "all"
    velocity: VelocityRule = Field("neighbours", description="of density-to-velocity networks")
    cosmologies: Literal["base", "all"] = Field(
        "all", description="of pairs: those of a run's own cosmology, or the varied ones too"
    )

    @model_validator(mode="after")
    def _disjoint(self) -> DataSettings:
        ranges = sorted((self.train, self.validation, self.test))
        if any(first > last for first, last in ranges):
            raise ValueError("seed ranges must be [first, last] with first <= last")
        if any(a[1] >= b[0] for a, b in pairwise(ranges)):
            raise ValueError("seed ranges of train, validation and test must not overlap")
        return self


class CardSettings(Frozen):
    """What the model card says beside what training knows."""

    tracer: str = "friends-of-friends halos with satellites, ranked by mass"
    symmetry_average: int = Field(1, ge=1, le=48, description="symmetries of the cube averaged in use")
    notes: str = ""


class Recipe(Frozen):
    """A training run."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    network: NetworkSettings
    inputs: Annotated[
        TracerInputs | LagrangianInputs | DensityInputs | CountInputs, Field(discriminator="kind")
    ]
    loss: LossSettings
    data: DataSettings = DataSettings()
    train: TrainSettings
    card: CardSettings = CardSettings()

    @model_validator(mode="after")
    def _consistent(self) -> Recipe:
        if self.data.symmetries == "line of sight" and any(
            v.line_of_sight != "z" for v in self.data.variants
        ):
            raise ValueError("data.symmetries 'line of sight' needs data.variants with line_of_sight z")
        fitted = isinstance(self.inputs, InputSpec) and self.inputs.wiener == "fitted"
        if fitted and not any(variant.ranked for variant in self.data.variants):
            raise ValueError("inputs.wiener 'fitted' needs data.variants with masses (ranked)")
        if self.data.unseen == "expected" and f"{SURROUNDINGS}_x" not in self.inputs.names:
            raise ValueError(
                f"data.unseen 'expected' needs inputs of kind 'survey', got {self.inputs.kind!r}"
            )
        if getattr(self.inputs, "isolated", False) != bool(self.data.cubes):
            raise ValueError(f"data.cubes belong to inputs of surveys, got inputs {self.inputs.kind!r}")
        if self.data.fresh and not self.data.cubes:
            raise ValueError("data.fresh belongs to data.cubes, got none")
        for kind, architecture in _NETWORKS.items():
            if (self.loss.kind == kind) != (self.network.architecture == architecture):
                raise ValueError(
                    f"loss.kind {kind!r} and network.architecture {architecture!r} belong together"
                )
        if self.loss.kind not in _LOSSES[self.task]:
            raise ValueError(
                f"loss.kind must be {' or '.join(_LOSSES[self.task])} for inputs {self.inputs.kind!r}"
            )
        if self.loss.kind == "adversarial":
            for name, neutral in _WITHOUT_A_CRITIC.items():
                if getattr(self.train, name) != neutral:
                    raise ValueError(f"train.{name} must be {neutral!r} with loss.kind 'adversarial'")
        return self

    @property
    def task(self) -> Task:
        """What the network is for; its inputs decide."""
        return self.inputs.task

    @property
    def line_of_sight(self) -> str | None:
        """Axis that the augmentation keeps; None for all 48 symmetries."""
        return "z" if self.data.symmetries == "line of sight" else None


def recipe_names() -> list[str]:
    """Return the recipes that come with the package."""
    return sorted(path.stem for path in RECIPES.glob("*.toml"))


def load_recipe(recipe: str | Path, *, profile: str, changes: Sequence[str] = ()) -> Recipe:
    """Read a recipe, with one of its profiles and with single settings changed.

    A recipe with a `base` is laid over that recipe of the package, profiles too.

    Parameters
    ----------
    recipe : str or path
        A name from `recipe_names`, or a TOML file.
    profile : str
        A table of ``[profiles]``, laid over the recipe.
    changes : sequence of str
        ``train.lr=1e-4``; the value is TOML, or a bare word.

    Raises
    ------
    InputError
        If the file, the profile or a key does not exist, or a value is out of its range; the path of the key is told.
    """
    path, tables = _path(recipe), _read(recipe)
    profiles = tables.pop("profiles", {})
    if not isinstance(profiles, dict) or not isinstance(profiles.get(profile, {}), dict):
        raise InputError(f"profiles must be tables in {path.name}, got {shown(profiles)}")
    if profile not in profiles:
        raise InputError(f"profile must be one of {', '.join(profiles)}, got {shown(profile)}")
    tables = _located(_merged(tables, profiles[profile]), path.parent)
    for change in changes:
        tables = _merged(tables, parse_change(change))
    return checked(Recipe, tables, where=path.name)


def _path(recipe: str | Path) -> Path:
    return Path(recipe) if str(recipe).endswith(".toml") else RECIPES / f"{recipe}.toml"


def _read(recipe: str | Path) -> dict[str, Any]:
    """Return the tables of a recipe, laid over those of its base."""
    path, known = _path(recipe), ", ".join(recipe_names())
    if path.exists() and not path.is_file():
        raise InputError(f"recipe must be a file, got {shown(str(recipe))}")
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"recipe must be one of {known} or a .toml file, got {str(recipe)!r}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"recipe must be a TOML file, got {shown(str(recipe))} ({error})") from None
    if "base" not in tables:
        return tables
    base = tables.pop("base")
    if base not in recipe_names():
        raise InputError(f"base must be one of {known} in {path.name}, got {shown(base)}")
    return _merged(_read(base), tables)


def _located(tables: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Surveys that a recipe names by their files stand beside it."""
    data = tables.get("data")
    if not isinstance(data, dict) or not isinstance(data.get("cubes"), list):
        return tables
    return _merged(tables, {"data": {"cubes": beside(data["cubes"], folder)}})


def parse_change(change: str) -> dict[str, Any]:
    """Turn ``a.b=value`` into nested tables.

    Examples
    --------
    >>> parse_change("train.lr=1e-4")
    {'train': {'lr': 0.0001}}
    """
    key, equals, text = change.partition("=")
    parts = [part.strip() for part in key.split(".")]
    if not equals or not all(parts) or len(parts) > DEEPEST:
        raise InputError(f"setting must be KEY=VALUE such as train.lr=1e-4, got {shown(change)}")
    try:
        (value,) = tomllib.loads(f"value = {text}").values()
    except (ValueError, RecursionError):  # no TOML, or more than one setting
        value = text.strip()
    for part in reversed(parts):
        value = {part: value}
    return dict(value)


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for key, value in over.items():
        both = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
        result[key] = _merged(result[key], value) if both else value
    return result
