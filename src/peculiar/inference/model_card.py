"""Model cards: what a network was trained on, beside its weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import torch
from pydantic import Field, ValidationError, model_validator
from torch.overrides import TorchFunctionMode

from peculiar.core import Cosmology, InputError
from peculiar.core.output import atomic_output
from peculiar.core.records import checksum, read_json
from peculiar.fields.conditions import Task
from peculiar.inference.card_values import (
    CosmologyEntries,
    Densities,
    DensityTransfer,
    ErrorFactor,
    Fields,
    FrozenValues,
    Residuals,
    Selection,
    VectorTransfer,
    Velocities,
)
from peculiar.linear.density_inputs import DensityInputs
from peculiar.linear.inputs import TracerInputs
from peculiar.models.count_calibration import CountCalibration
from peculiar.models.painter import EXPECTED
from peculiar.simulate.lagrangian import LagrangianInputs
from peculiar.simulate.mass_function import MassFunction
from peculiar.simulate.matter import Dynamics
from peculiar.simulate.populate import HaloProperties

SCHEMA_VERSION = 1
DEFAULT_MODEL = "general"
"""Of boxes and surveys."""
SPECIALIST = "residual"
"""Takes the default's place in complete boxes like those that it was trained on, where no masses rank tracers."""
WEIGHTS = Path(__file__).resolve().parent.parent / "weights"


class _Card(FrozenValues):
    schema_version: Literal[1] = 1
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    package_version: str
    weights_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    architecture: str
    configuration: dict[str, Any]
    cosmology: CosmologyEntries
    redshift: float = Field(gt=-1)
    redshift_range: tuple[float, float]
    cell_size: float = Field(gt=0)
    cell_size_range: tuple[float, float]
    velocity_definition: str
    symmetry_average: int = Field(default=1, ge=1, le=48)
    metrics: dict[str, float]
    seeds: dict[str, int]
    notes: str = ""

    @model_validator(mode="before")
    @classmethod
    def _one_value(cls, entries: Any) -> Any:
        """A card of boxes of one redshift or one cell size may leave its range out."""
        ranges = {f"{name}_range": entries.get(name) for name in ("redshift", "cell_size")}
        return {name: (value, value) for name, value in ranges.items() if value is not None} | entries

    @model_validator(mode="after")
    def _channels(self) -> Self:
        seen = self.configuration.get("inputs")
        known = getattr(self, "inputs", None)
        if seen is not None and known is not None and tuple(seen) != tuple(known.names):
            raise ValueError(f"configuration.inputs must be those of inputs, {', '.join(known.names)}")
        return self

    @property
    def training_cosmology(self) -> Cosmology:
        """The cosmology of the training simulations."""
        return Cosmology(**self.cosmology)


class ModelCard(_Card):
    """What a network from tracers to fields needs to be used and judged; JSON beside its safetensors file.

    Lengths in Mpc/h, number densities in (h/Mpc)^3, velocities in km/s. Ranges are the least and greatest value of the
    training catalogues; `selection` stands where all of them see one place of a survey.
    """

    inputs: Annotated[TracerInputs, Field(discriminator="kind")]
    normalisation: Fields
    number_density: float = Field(ge=0)
    number_density_range: tuple[float, float]
    cosmology_range: dict[str, tuple[float, float]]
    selection: Selection | None = None
    tracer: str
    space: Literal["redshift", "real"]
    line_of_sight: Literal["z", "any"]
    satellite_fractions: tuple[float, ...]
    smoothing: float = Field(ge=0)
    periodic_training: bool
    density_transfer: DensityTransfer
    splits: dict[str, tuple[int, ...]]
    tables: dict[str, str] = Field(default_factory=dict, description="checksums of what makes its inputs")
    error_factor: ErrorFactor | None = Field(None, description="of the errors that it tells")
    residuals: Residuals | None = Field(None, description="what is left of validation boxes, for draws")


class EmulatorCard(_Card):
    """What an emulator needs: from Lagrangian displacements, or from a density to its flow.

    `cell_size` is the particles' separation or the mesh's cell [Mpc/h]; `splits` are ranges of seeds, as "1-3000".
    `transfers` of "velocity" and "momentum" are those of the task "flow".
    """

    task: Literal["displace", "flow"]
    normalisation: Velocities
    inputs: Annotated[LagrangianInputs | DensityInputs, Field(discriminator="kind")]
    cosmology_range: dict[str, tuple[float, float]]
    transfers: dict[str, VectorTransfer] = Field(default_factory=dict)
    splits: dict[str, str]


class PainterCard(_Card):
    """What a painter of halos needs to be used and judged: from a density to counts in bins of mass.

    `cell_size` is that of the mesh [Mpc/h], `particles_per_cell` those along a side of a cell, moved by `dynamics`;
    `mass_edges` [Msun/h] and the bins of `halos` go from light to massive; `halos` has velocities at `cosmology` and
    `redshift`; `conditions` and `mass_function` tell of others; `splits` are ranges of seeds, as "1-20".
    """

    task: Literal["paint"]
    normalisation: Densities
    mass_edges: tuple[float, ...] = Field(min_length=2)
    conditions: tuple[str, ...] = ()
    mass_function: MassFunction | None = None
    halos: HaloProperties
    calibration: CountCalibration | None = None
    number_density: float = Field(gt=0, description="of all bins together [(h/Mpc)^3]")
    particles_per_cell: int = Field(default=2, ge=1)
    dynamics: Dynamics = "second order"
    cosmology_range: dict[str, tuple[float, float]]
    splits: dict[str, str]

    @model_validator(mode="after")
    def _usable(self) -> PainterCard:
        if any(b <= a for a, b in pairwise(self.mass_edges)):
            raise ValueError("mass_edges must rise")
        bins = len(self.mass_edges) - 1
        nodes = self.halos.mass_quantiles if self.calibration is None else self.calibration.log_mean
        if {len(self.halos.mass_quantiles), len(nodes)} != {bins}:
            raise ValueError("halos and calibration must have one entry for each bin of mass_edges")
        inputs = [
            "log_density",
            *(f"{EXPECTED}{i}" for i in range(bins) if self.mass_function),
            *self.conditions,
        ]
        if list(self.configuration.get("inputs", inputs[:1])) != inputs:
            raise ValueError(f"configuration.inputs must be {', '.join(inputs)}")
        return self


class ReaderCard(_Card):
    """What a reader of velocities at objects needs to be used and judged: from fields along sight lines.

    `models` are those whose fields it learned to read; `splits` are ranges of seeds.
    """

    task: Literal["read"]
    models: tuple[str, ...]
    number_density_range: tuple[float, float]
    cosmology_range: dict[str, tuple[float, float]]
    splits: dict[str, str]


AnyCard = ModelCard | EmulatorCard | PainterCard | ReaderCard


def task_of(card: AnyCard) -> Task | Literal["read"]:
    """Return what a model is for."""
    return "reconstruct" if isinstance(card, ModelCard) else card.task


def _card_class(entries: Mapping[str, Any]) -> type[AnyCard]:
    others: dict[str, type[AnyCard]] = {"": ModelCard, "paint": PainterCard, "read": ReaderCard}
    return others.get(str(entries.get("task", "")), EmulatorCard)


def _require_finite(state: Mapping[str, torch.Tensor], what: str) -> None:
    bad = sum(int((~torch.isfinite(values)).sum()) for values in state.values())
    if bad:
        raise InputError(
            f"Model weights must be finite, got {bad} that are not {what}: train again with a smaller train.lr, on "
            "data without NaN"
        )


def read_card(path: Path | str) -> AnyCard:
    """Read a model card.

    Raises
    ------
    InputError
        If the file is missing, no JSON, of another schema version, or has missing or unknown entries.
    """
    path = Path(path)
    entries = read_json(
        path, what="Model card", remedy="put the .json beside its .safetensors, or fetch it again"
    )
    version = entries.get("schema_version")
    if version != SCHEMA_VERSION:
        raise InputError(
            f"Model card must have schema_version {SCHEMA_VERSION}, got {version} in {path}: train it again, or use "
            "the version of peculiar that wrote it"
        )
    try:
        return _card_class(entries).model_validate(entries)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the card"
        raise InputError(
            f"Model card must be valid, got {error.error_count()} faults in {path} (first: {where}: {first['msg']}): "
            "fetch or train it again"
        ) from None


def save_model(module: torch.nn.Module, directory: Path | str, **entries: Any) -> AnyCard:
    """Write a network's weights and card, NAME.safetensors and NAME.json, each whole, and return the card.

    Earlier ones of that name are replaced.

    Parameters
    ----------
    module : torch.nn.Module
        Its state is written in its own precision.
    directory : path
        Where they go.
    **entries
        The entries of `ModelCard`, or with `task` those of its card, but `weights_sha256`, which is taken from the
        file, and `tables`, which the inputs say.

    Raises
    ------
    InputError
        If a weight or a number of the card is NaN or infinite; nothing is written then.
    """
    from safetensors.torch import save

    directory = Path(directory)
    weights = directory / f"{entries['name']}.safetensors"
    state = {key: value.detach().cpu().contiguous() for key, value in module.state_dict().items()}
    _require_finite(state, f"in {entries['name']!r} after training")
    # A NaN would become null in the file.
    if bad := [name for name, value in entries["metrics"].items() if not math.isfinite(value)]:
        raise InputError(
            f"metrics must be finite, got others for {', '.join(bad)}: look at the validation boxes"
        )
    # One entry: several would be written in any order, and equal weights would get different checksums.
    with (
        atomic_output(weights, overwrite=True) as new,
        atomic_output(weights.with_suffix(".json"), overwrite=True) as new_card,
    ):
        new.write_bytes(save(state, metadata={"name": str(entries["name"])}))
        card = _card_class(entries)(**entries, weights_sha256=checksum(new))
        if isinstance(card, ModelCard):
            card = card.model_copy(update={"tables": card.inputs.tables})
        new_card.write_text(card.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return card


def available_models(task: Task | Literal["read"] | None = "reconstruct") -> list[str]:
    """Return the names of the shipped models: those of a task, or all."""
    shipped = sorted(path for path in WEIGHTS.glob("*.json") if path.with_suffix(".safetensors").exists())
    return [path.stem for path in shipped if task is None or task_of(read_card(path)) == task]


def _refuse_other_tensors(module: torch.nn.Module, weights: Path) -> None:
    from safetensors import safe_open

    with safe_open(weights, "pt") as file:
        found = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
        for name, value in module.state_dict().items():
            shape = tuple(found[name].get_shape()) if name in found else None
            if shape != tuple(value.shape):
                raise RuntimeError(
                    f"{name} has shape {tuple(value.shape)} in the card, {shape} in the weights"
                )
            if value.is_floating_point() and "F" not in (kind := found[name].get_dtype()):
                raise RuntimeError(f"{name} has floating-point numbers in the card, {kind} in the weights")


def _refuse_other_tables(card: ModelCard, path: Path) -> None:
    for name, found in card.inputs.tables.items():
        trained = card.tables.get(name, "")
        if found == trained:
            continue
        inside = getattr(card.inputs, name) != "package"
        remedy = (
            "fetch the card again, or train it again"
            if inside
            else "install the version of peculiar that it was trained with, or train it again "
            f"(inputs.{name} = 'fitted' keeps the table in the card)"
        )
        raise InputError(
            f"table {name!r} of model {card.name!r} must be that of its training with sha256 {trained[:12] or 'none'}"
            f"..., got {found[:12]}... {f'in {path}' if inside else 'in the package'}: {remedy}"
        )


def parameter_count(weights: Path | str) -> int:
    """Return the number of trained weights in a .safetensors file; statistics of batch norm are none."""
    from safetensors.torch import load_file

    values = load_file(weights).items()
    return sum(value.numel() for key, value in values if "running_" not in key and "num_batches" not in key)


def find_model(name_or_path: Path | str) -> Path:
    """Return the card's path of a shipped model's name, or of a .json or .safetensors file.

    Raises
    ------
    InputError
        If there is no such model.
    """
    text = str(name_or_path)
    path = Path(text).expanduser()
    if path.suffix in (".json", ".safetensors"):
        if not path.is_file():
            raise InputError(
                f"Model must exist, got no file {path}: give the path of a .safetensors file or its card"
            )
        return path.with_suffix(".json")
    shipped = available_models(None)
    if text not in shipped:
        raise InputError(
            f"Model must be one of {', '.join(shipped) or '(none shipped)'}, or a .safetensors file, got "
            f"{text!r}: see `peculiar models`"
        )
    return WEIGHTS / f"{text}.json"


class _NothingDrawn(TorchFunctionMode):
    """Leaves out normal deviates: drawn on the meta device they would import torch's compiler, which takes 2 s."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = kwargs or {}
        if func in (torch.Tensor.normal_, torch.nn.init.normal_):
            return args[0] if args else given["tensor"]
        return func(*args, **given)


def load_model(name_or_path: Path | str) -> tuple[torch.nn.Module, AnyCard]:
    """Return a network in evaluation mode, on the CPU, and its card.

    Parameters
    ----------
    name_or_path : str or path
        A name from `available_models`, or a .safetensors or .json file; the other must lie beside it.

    Raises
    ------
    InputError
        If a file is missing, the weights are damaged or do not fit the architecture, a table that the inputs are made
        with is another than in training, or the card is of another schema version.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from peculiar.models import build

    card_path = find_model(name_or_path)
    card = read_card(card_path)
    if isinstance(card, ModelCard):
        _refuse_other_tables(card, card_path)
    weights = card_path.with_suffix(".safetensors")
    if not weights.is_file():
        raise InputError(f"Model weights must lie beside the card, got no {weights}: fetch both files")
    found = checksum(weights)
    if found != card.weights_sha256:
        raise InputError(
            f"Model weights must have the card's sha256 {card.weights_sha256[:12]}..., got {found[:12]}... for "
            f"{weights}: the file is damaged or belongs to another card, fetch both again"
        )
    try:
        with torch.device("meta"), _NothingDrawn():  # takes no memory, whatever a card claims
            _refuse_other_tensors(build(card.architecture, card.configuration), weights)
        module = build(card.architecture, card.configuration)
        state = load_file(weights)
        module.load_state_dict(state)
    except (SafetensorError, RuntimeError, TypeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"Model weights must fit {card.architecture!r}, got {weights} ({reason})") from None
    _require_finite(state, f"in {weights}")
    return module.eval(), card
