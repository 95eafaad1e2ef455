"""What `peculiar evaluate` writes, and how it is read again."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from peculiar.core import InputError

SCHEMA = 1


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
        """Read a directory that `peculiar evaluate` wrote; InputError if it is none."""
        directory = Path(directory)
        try:
            record = json.loads((directory / "scores.json").read_text(encoding="utf-8"))
            with np.load(directory / "arrays.npz") as stored:
                arrays = {name: stored[name] for name in stored.files}
        except (OSError, ValueError) as error:
            raise InputError(
                f"evaluation must be a directory from `peculiar evaluate`, got {directory} ({error})"
            ) from None
        if record.get("schema") != SCHEMA:
            raise InputError(
                f"evaluation must have schema {SCHEMA}, got {record.get('schema')} in {directory}"
            )
        return cls(record, arrays)

    def save(self, directory: Path) -> None:
        """Write scores.json and arrays.npz into a new directory."""
        directory.mkdir(parents=True)
        text = json.dumps(_without_nan(self.record), indent=1, allow_nan=False)
        (directory / "scores.json").write_text(text + "\n", encoding="utf-8")
        # provenance.json marks the directory as ours: only such directories are replaced.
        provenance = json.dumps(self.record["provenance"], indent=1)
        (directory / "provenance.json").write_text(provenance + "\n", encoding="utf-8")
        np.savez_compressed(directory / "arrays.npz", **self.arrays)  # type: ignore[arg-type]

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
