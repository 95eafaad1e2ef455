"""Cases of evaluations, as reported and drawn."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from sandbox import Case
from shapes import file_case, file_cases, json_cases


def evaluation_cases() -> Iterator[Case]:
    """Evaluations, as reported and drawn."""
    keys = {
        "schema": "number",
        "boxes": "value",
        "settings": "value",
        "settings.satellite_fraction": "value",
        "settings.satellite_fraction.0": "number",
        "settings.number_density": "number",
        "settings.line_of_sight": "value?",
        "models": "value",
        "baselines": "value",
        "box": "value",
        "box.size": "number",
        "box.cells": "number",
        "box.redshift": "number",
        "slab_axis": "value",
        "results": "value",
        "results.0": "value",
        "results.0.model": "value",
        "results.0.satellite_fraction": "number",
        "results.0.scores": "value",
        "results.0.scores.correlation_velocity": "value",
        "results.0.scores.correlation_velocity.mean": "number?",
        "baseline_settings": "value?",
        "provenance": "value",
        "kind": "value?",
    }
    commands = {"report": "report evaluation --out out.html", "figures": "figures evaluation --out out"}
    for name, command in commands.items():
        needs = ("evaluation",)
        place = f"evaluations/{name}"
        yield file_case(f"{place}/as it is", command, needs, "evaluation", lambda path: None, "right")
        chosen = {key: kind for key, kind in keys.items() if key != "kind"}
        yield from json_cases(place, command, needs, "evaluation/scores.json", chosen)
        yield file_case(f"{place}/kind nonsense", command, needs, "evaluation/scores.json", _kind, "refused")
        yield from file_cases(f"{place}/arrays", command, needs, "evaluation/arrays.npz")
        arrays: dict[str, Callable[[dict[str, np.ndarray]], None]] = {
            "no arrays": lambda found: found.clear(),
            "no k": lambda found: found.pop("k"),
            "k of words": lambda found: found.update(k=np.array(["far"])),
            "k shorter": lambda found: found.update(k=found["k"][:2]),
            "k nan": lambda found: found.update(k=found["k"] * np.nan),
            "first array empty": lambda found: found.update({next(iter(found)): np.zeros(0)}),
            "objects": lambda found: found.update(k=np.array([{}, []], dtype=object)),
            "all nan": lambda found: found.update(
                {key: np.asarray(values) * np.nan for key, values in found.items()}
            ),
        }
        for label, edit in arrays.items():
            yield file_case(
                f"{place}/{label}",
                command,
                needs,
                "evaluation/arrays.npz",
                _arrays(edit),
                "either" if "nan" in label else "refused",
            )


def _kind(path: Path) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | {"kind": "nonsense"}))


def _arrays(edit: Callable[[dict[str, np.ndarray]], object]) -> Callable[[Path], None]:
    def apply(path: Path) -> None:
        with np.load(path) as stored:
            found = {name: stored[name] for name in stored.files}
        edit(found)
        np.savez(path, **found)  # type: ignore[arg-type]

    return apply
