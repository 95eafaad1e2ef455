"""What `peculiar evaluate` writes, and how it is read again."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from io import BytesIO
from itertools import product
from pathlib import Path
from typing import Any, Literal
from zipfile import BadZipFile

import numpy as np
from pydantic import Field, model_validator

from peculiar.core import InputError
from peculiar.core.records import Record, checked, read_json
from peculiar.workflows.provenance import checksum

SCHEMA = 1
ARRAYS = "arrays_sha256"
"""Entry of scores.json: checksum of arrays.npz."""


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

    kind: Literal["tracers", "displacement", "flow", "paint", "survey"] = "tracers"
    settings: dict[str, Any]
    models: list[str] = Field(min_length=1)
    baselines: list[str]
    results: list[_Result] = Field(min_length=1)
    provenance: _Provenance


class _TracerSettings(Record):
    satellite_fraction: list[float] = Field(min_length=1)
    number_density: float = Field(gt=0)
    line_of_sight: Literal["x", "y", "z"]


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
        named = product(self.settings.satellite_fraction, {*self.models, *self.baselines})
        if missing := sorted(set(named) - found):
            raise ValueError(
                f"results must hold every model at every satellite fraction, got none for {missing[0]}"
            )
        return self


def fraction_name(fraction: float) -> str:
    """Name of a satellite fraction in array names."""
    return f"{fraction:g}"


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Scores and arrays of an evaluation.

    Parameters
    ----------
    record : dict
        The contents of ``scores.json``: settings, boxes, models, results, provenance.
    arrays : name -> array
        "k", "edges/NAME", "separation"; "truth/..." of the true fields; "FRACTION/tracers/..." of the catalogues;
        "FRACTION/MODEL/..." of the reconstructions. Spectra, multipoles and correlations have one row a box; joint
        counts are sums over boxes; slabs and volumes are of the first box.
    """

    record: dict[str, Any]
    arrays: dict[str, np.ndarray]

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
        kind = _Tracers if record.get("kind", "tracers") == "tracers" else _Record
        checked(kind, record, where=str(scores), remedy=remedy)
        try:
            content = arrays.read_bytes()
        except OSError as error:
            raise InputError(f"evaluation must hold arrays, got {arrays} ({error}): {remedy}") from None
        stated = record.get(ARRAYS)
        if stated is not None and stated != hashlib.sha256(content).hexdigest():
            raise InputError(
                f"evaluation must hold the arrays it was written with, got another {arrays}: {remedy}"
            )
        try:
            with np.load(BytesIO(content)) as stored:
                return cls(record, {name: stored[name] for name in stored.files})
        except (ValueError, KeyError, EOFError, BadZipFile) as error:  # of evaluations without a checksum
            raise InputError(f"evaluation must hold whole arrays, got {arrays} ({error}): {remedy}") from None

    def save(self, directory: Path) -> None:
        """Write scores.json and arrays.npz into a new directory."""
        directory.mkdir(parents=True)
        np.savez_compressed(directory / "arrays.npz", **self.arrays)  # type: ignore[arg-type]
        record = self.record | {ARRAYS: checksum(directory / "arrays.npz")}
        text = json.dumps(_without_nan(record), indent=1, allow_nan=False)
        (directory / "scores.json").write_text(text + "\n", encoding="utf-8")
        provenance = json.dumps(self.record["provenance"], indent=1)
        (directory / "provenance.json").write_text(provenance + "\n", encoding="utf-8")

    @property
    def models(self) -> list[str]:
        """Names of the reconstructors: networks first, then the baselines."""
        baselines = self.record["baselines"]
        return [*(name for name in self.record["models"] if name not in baselines), *baselines]

    @property
    def fractions(self) -> list[float]:
        """Satellite fractions that were evaluated."""
        return [float(value) for value in self.record["settings"]["satellite_fraction"]]

    def scores(self, fraction: float, model: str) -> dict[str, dict[str, Any]]:
        """Scores of one model at one satellite fraction: name -> {"mean", "error", "boxes"}."""
        for entry in self.record["results"]:
            if entry["satellite_fraction"] == fraction and entry["model"] == model:
                return dict(entry["scores"])
        raise InputError(f"evaluation must hold the model, got {model!r} at {fraction}: it has {self.models}")

    def of(self, fraction: float, model: str, name: str) -> np.ndarray:
        """Return the array "FRACTION/MODEL/NAME"."""
        return self.arrays[f"{fraction_name(fraction)}/{model}/{name}"]


def _without_nan(value: Any) -> Any:
    """Replace NaN, which JSON does not have, by null."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
