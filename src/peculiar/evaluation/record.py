"""What `peculiar evaluate` writes, and how it is read again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BytesIO
from itertools import product
from pathlib import Path
from typing import Any, Literal
from zipfile import BadZipFile

import numpy as np
from pydantic import Field, model_validator

from peculiar.core import InputError
from peculiar.core.records import Record, checked, read_json
from peculiar.evaluation.scores import Score
from peculiar.fields.conditions import Task

SCHEMA = 1
CHECKSUM = "arrays_sha256"
"""Entry of scores.json: checksum of arrays.npz."""
OWN_CHECKSUM = "record_sha256"
"""Last entry of scores.json: checksum of all the others."""
Kind = Task | Literal["survey"]
"""What is evaluated: a task of networks, or that of surveys, which reconstruct in isolated cubes."""
_OLD_KINDS = {"tracers": "reconstruct", "displacement": "displace"}
"""What kinds were called in records of before."""
TRUTH = "truth"
"""Stands where a model's name does, for arrays of the truth."""


class _Score(Record):
    mean: float | None
    error: float | None = None


class _Result(Record):
    model: str
    scores: dict[str, _Score]


class _Provenance(Record):
    package: str
    version: str
    revision: str


class _Record(Record):
    """What scores.json of every evaluation holds."""

    kind: Kind
    settings: dict[str, Any]
    models: list[str] = Field(min_length=1)
    baselines: list[str]
    results: list[_Result] = Field(min_length=1)
    provenance: _Provenance


class _TracerSettings(Record):
    satellite_fraction: list[float] = Field(min_length=1)
    number_density: float = Field(gt=0)
    line_of_sight: Literal["x", "y", "z"]
    mass_weighted: list[str] = Field(default_factory=list)


class _TracerResult(_Result):
    satellite_fraction: float


class _Box(Record):
    size: float = Field(gt=0)
    cells: int = Field(ge=2)
    redshift: float = Field(gt=-1)


class _Tracers(_Record):
    """What it holds of reconstructions from tracers."""

    boxes: list[str] = Field(min_length=1)
    box: _Box
    slab_axis: Literal["x", "y", "z"]
    settings: _TracerSettings  # type: ignore[assignment]
    results: list[_TracerResult] = Field(min_length=1)  # type: ignore[assignment]
    baselines: list[str] = Field(min_length=1)

    @model_validator(mode="after")
    def _all_there(self) -> _Tracers:
        found = {(one.satellite_fraction, one.model) for one in self.results}
        models = {*self.models, *self.baselines, *self.settings.mass_weighted}
        named = product(self.settings.satellite_fraction, models)
        if missing := sorted(set(named) - found):
            raise ValueError(
                f"results must hold every model at every satellite fraction, got none for {missing[0]}"
            )
        return self


def fraction_name(fraction: float) -> str:
    """Name of a satellite fraction in array names."""
    return f"{fraction:g}"


@dataclass(frozen=True, eq=False)
class Measured:
    """What one prediction, or the truth, is measured by in one case.

    Attributes
    ----------
    scores : name -> number
    parts : part -> name -> number
        Scores of parts of a case, where a task judges some apart.
    rows : name -> array
        Added up over the cases of a box, kept for each box.
    sums : name -> array
        Added up over everything.
    once : name -> array
        Kept of the first case: what pictures show.
    shared : name -> array
        Kept once for all samples and models: wavenumbers, edges.
    """

    scores: Mapping[str, float] = field(default_factory=dict)
    parts: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    rows: Mapping[str, np.ndarray] = field(default_factory=dict)
    sums: Mapping[str, np.ndarray] = field(default_factory=dict)
    once: Mapping[str, np.ndarray] = field(default_factory=dict)
    shared: Mapping[str, np.ndarray] = field(default_factory=dict)


class Arrays(dict[str, np.ndarray]):
    """Arrays by sample, model and name; an empty sample or model is that of what all share."""

    @staticmethod
    def key(name: str, model: str = "", sample: str = "") -> str:
        """Return the name of an array in ``arrays.npz``."""
        return "/".join(part for part in (sample, model, name) if part)

    def of(self, name: str, model: str = "", *, sample: str = "") -> np.ndarray:
        """Return one array; KeyError if there is none."""
        return self[self.key(name, model, sample)]

    def has(self, name: str, model: str = "", *, sample: str = "") -> bool:
        """Whether there is such an array."""
        return self.key(name, model, sample) in self

    def below(self, name: str, model: str = "", *, sample: str = "") -> dict[str, np.ndarray]:
        """Return the arrays whose name begins with another and a stroke, by the rest of their names."""
        prefix = self.key(name, model, sample) + "/"
        return {key.removeprefix(prefix): values for key, values in self.items() if key.startswith(prefix)}


@dataclass(frozen=True, eq=False)
class Part:
    """The arrays of one model in one sample."""

    arrays: Arrays
    model: str
    sample: str = ""

    def of(self, name: str) -> np.ndarray:
        """Return one array; KeyError if there is none."""
        return self.arrays.of(name, self.model, sample=self.sample)

    def below(self, name: str) -> dict[str, np.ndarray]:
        """Return the arrays whose name begins with another and a stroke, by the rest of their names."""
        return self.arrays.below(name, self.model, sample=self.sample)


class Collected:
    """Gathers what is measured, case after case."""

    def __init__(self) -> None:
        self.scores: dict[tuple[str, str, str], list[Mapping[str, float]]] = {}
        """Scores of each case by sample, part and model."""
        self._rows: dict[str, dict[str, np.ndarray]] = {}
        self._sums: dict[str, np.ndarray] = {}
        self._once: dict[str, np.ndarray] = {}

    def add(self, measured: Measured, model: str = "", *, sample: str = "", box: str = "") -> None:
        """Add what one case gave; `box` tells cases of one box from those of the next."""
        for part, scores in {"": measured.scores, **measured.parts}.items():
            if scores:
                self.scores.setdefault((sample, part, model), []).append(scores)
        for name, values in measured.rows.items():
            boxes = self._rows.setdefault(Arrays.key(name, model, sample), {})
            boxes[box] = boxes[box] + values if box in boxes else np.asarray(values)
        for name, values in measured.sums.items():
            key = Arrays.key(name, model, sample)
            self._sums[key] = self._sums[key] + values if key in self._sums else np.asarray(values)
        for name, values in measured.once.items():
            self._once.setdefault(Arrays.key(name, model, sample), np.asarray(values))
        for name, values in measured.shared.items():
            self._once.setdefault(name, np.asarray(values))

    def arrays(self) -> Arrays:
        """Return every array, (box, ...) where boxes have rows of their own."""
        rows = {key: np.stack(list(boxes.values())) for key, boxes in self._rows.items()}
        return Arrays(rows | self._sums | self._once)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Scores and arrays of an evaluation.

    Parameters
    ----------
    record : dict
        The contents of ``scores.json``: kind, settings, boxes, models, results, provenance, and what the task adds.
    arrays : Arrays
        Spectra, multipoles and correlations have one row a box; joint counts are sums over boxes; slabs and volumes
        are of the first box.
    """

    record: dict[str, Any]
    arrays: Arrays

    @classmethod
    def open(cls, directory: str | Path) -> Evaluation:
        """Read a directory that `peculiar evaluate` wrote; InputError if it is none, or damaged."""
        directory = Path(directory)
        remedy = "give a whole directory from `peculiar evaluate`"
        scores, arrays = directory / "scores.json", directory / "arrays.npz"
        record = read_json(scores, what="evaluation", remedy=remedy)
        if record.get("schema") != SCHEMA:
            raise InputError(
                f"evaluation must have schema {SCHEMA}, got {record.get('schema')} in {directory}"
            )
        stated = record.pop(OWN_CHECKSUM, None)  # evaluations of the first versions have none
        own = _checksum(record)
        kind = record.get("kind", "tracers")  # records of tracers before there were others have none
        record["kind"] = _OLD_KINDS.get(str(kind), kind)
        schema = _Tracers if record["kind"] == "reconstruct" else _Record
        checked(schema, record, where=str(scores), remedy=remedy)
        if stated is not None and stated != own:
            raise InputError(
                f"evaluation must hold the record it was written with, got another {scores}: {remedy}"
            )
        if not arrays.is_file():
            raise InputError(f"evaluation must hold a file of arrays, got none in {directory}: {remedy}")
        try:
            content = arrays.read_bytes()
        except OSError as error:
            raise InputError(f"evaluation must hold arrays, got {arrays} ({error}): {remedy}") from None
        stated = record.get(CHECKSUM)
        if stated is not None and stated != hashlib.sha256(content).hexdigest():
            raise InputError(
                f"evaluation must hold the arrays it was written with, got another {arrays}: {remedy}"
            )
        try:
            with np.load(BytesIO(content)) as stored:
                held = Arrays({name: stored[name] for name in stored.files})
        except (ValueError, KeyError, EOFError, BadZipFile) as error:  # of evaluations without a checksum
            raise InputError(f"evaluation must hold whole arrays, got {arrays} ({error}): {remedy}") from None
        for entry in record["results"]:
            if "satellite_fraction" in entry:  # what samples of tracers were called before
                entry.setdefault("sample", fraction_name(entry["satellite_fraction"]))
        return cls(record, held)

    def save(self, directory: Path) -> None:
        """Write scores.json and arrays.npz into a new directory."""
        directory.mkdir(parents=True)
        np.savez_compressed(directory / "arrays.npz", **self.arrays)  # type: ignore[arg-type]
        checksum = hashlib.sha256((directory / "arrays.npz").read_bytes()).hexdigest()
        record = _without_nan(self.record | {CHECKSUM: checksum})
        text = json.dumps(record | {OWN_CHECKSUM: _checksum(record)}, indent=1, allow_nan=False)
        (directory / "scores.json").write_text(text + "\n", encoding="utf-8")
        provenance = json.dumps(self.record["provenance"], indent=1)
        (directory / "provenance.json").write_text(provenance + "\n", encoding="utf-8")

    @property
    def kind(self) -> str:
        """Name of the task."""
        return str(self.record["kind"])

    @property
    def networks(self) -> list[str]:
        """Names of the models that are no baselines."""
        return [name for name in self.record["models"] if name not in self.record["baselines"]]

    @property
    def models(self) -> list[str]:
        """Names of the models: networks first, then the baselines."""
        return [*self.networks, *self.record["baselines"]]

    def columns(self, *, sample: str = "", part: str = "") -> dict[str, Mapping[str, Score]]:
        """Return the scores of one part of one sample: model -> name -> score, networks first."""
        found = {
            entry["model"]: entry["scores"]
            for entry in self.record["results"]
            if entry.get("sample", "") == sample and entry.get("part", "") == part
        }
        return {name: found[name] for name in self.models if name in found}


def _checksum(record: Mapping[str, Any]) -> str:
    """Return the checksum of the JSON of a record."""
    return hashlib.sha256(json.dumps(record, allow_nan=False).encode()).hexdigest()


def _without_nan(value: Any) -> Any:
    """Replace NaN, which JSON does not have, by null."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
