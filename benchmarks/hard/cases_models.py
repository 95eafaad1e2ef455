"""Cases of models of a user, and of trainings that go on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from changes import FILE_CHANGES
from material import TRAINING
from sandbox import Case
from shapes import file_case, json_cases, one_value

RECONSTRUCT = (
    "reconstruct halos.fits --box 40 --cells 8 --redshift 0.59 "
    "--model model/residual.safetensors --out out.zarr"
)


def card_cases() -> Iterator[Case]:
    """Models of a user: the card, the weights, the two together."""
    needs = ("halos.fits", "model")
    keys = {
        "schema_version": "number",
        "name": "value?",
        "weights_sha256": "value",
        "architecture": "value",
        "configuration": "value",
        "configuration.width": "number",
        "configuration.levels": "number",
        "configuration.inputs": "value",
        "configuration.input_scale": "value?",
        "normalisation": "value",
        "normalisation.density_floor": "number",
        "normalisation.velocity_factor": "number",
        "cosmology": "value",
        "cosmology.Omega_m": "number",
        "cosmology.h": "number",
        "redshift": "number",
        "redshift_range": "value",
        "cell_size": "number",
        "number_density": "number",
        "number_density_range": "value",
        "symmetry_average": "number?",
        "inputs": "value",
        "inputs.kind": "value?",
        "inputs.smoothing": "number?",
        "inputs.bias": "number?",
        "inputs.abundances": "value?",
        "density_transfer": "value",
        "density_transfer.k": "value",
        "density_transfer.k.0": "number?",
        "density_transfer.transfer.0": "number",
        "space": "value",
        "line_of_sight": "value",
        "satellite_fractions": "value?",
        "splits": "value?",
        "metrics": "value?",
        "metrics.loss": "number?",
        "seeds": "value?",
        "notes": "value?",
    }
    yield file_case("cards/as it is", RECONSTRUCT, needs, "model", lambda path: None, "right")
    yield from json_cases("cards/card", RECONSTRUCT, needs, "model/residual.json", keys)
    for file in ("json", "safetensors"):
        for change in FILE_CHANGES:
            yield file_case(
                f"cards/{file}/{change.name}",
                RECONSTRUCT,
                needs,
                f"model/residual.{file}",
                change.apply,
                "either" if file == "json" and change.name.startswith("bit") else "refused",
            )
    for name, edit in TENSOR_EDITS.items():
        yield file_case(f"cards/weights/{name}", RECONSTRUCT, needs, "model", _weights(edit), "refused")
    yield file_case("cards/header claims 2^60 bytes", RECONSTRUCT, needs, "model", _claims, "refused")


def _drop_first(tensors: dict[str, np.ndarray]) -> None:
    del tensors[next(iter(tensors))]


def _first(edit: Callable[[np.ndarray], np.ndarray]) -> Callable[[dict[str, np.ndarray]], None]:
    def apply(tensors: dict[str, np.ndarray]) -> None:
        name = next(name for name, values in tensors.items() if values.dtype.kind == "f" and values.size > 8)
        tensors[name] = edit(tensors[name])

    return apply


TENSOR_EDITS: dict[str, Callable[[dict[str, np.ndarray]], None]] = {
    "one nan": _first(one_value(np.nan)),
    "one inf": _first(one_value(np.inf)),
    "one tensor less": _drop_first,
    "one tensor more": lambda tensors: tensors.update(nonsense=np.ones(3, np.float32)),
    "another shape": _first(lambda x: x[..., None]),
    "a smaller one": _first(lambda x: np.ascontiguousarray(x[:-1])),
    "whole numbers": _first(lambda x: x.astype(np.int32)),
    "none": lambda tensors: tensors.clear(),
}


def _weights(edit: Callable[[dict[str, np.ndarray]], None]) -> Callable[[Path], None]:
    """Change tensors, and the checksum in the card with them."""

    def apply(directory: Path) -> None:
        import hashlib

        from safetensors.numpy import load_file, save_file

        path = directory / "residual.safetensors"
        tensors = load_file(path)
        edit(tensors)
        save_file(tensors, path)
        _sign(directory, hashlib.sha256(path.read_bytes()).hexdigest())

    return apply


def _claims(directory: Path) -> None:
    import hashlib

    path = directory / "residual.safetensors"
    path.write_bytes((2**60).to_bytes(8, "little") + path.read_bytes()[8:])
    _sign(directory, hashlib.sha256(path.read_bytes()).hexdigest())


def _sign(directory: Path, digest: str) -> None:
    card = directory / "residual.json"
    card.write_text(json.dumps(json.loads(card.read_text()) | {"weights_sha256": digest}))


def training_cases() -> Iterator[Case]:
    """A training that goes on: its record, metrics, checkpoint and meshes."""
    command = TRAINING + " --resume"
    needs, changes = ("run", "trained"), ("trained/*", "trained", "run/cache/*")
    keys = {
        "recipe": "value",
        "recipe.name": "value",
        "recipe.network": "value",
        "recipe.train": "value",
        "recipe.train.steps": "number",
        "recipe.data": "value",
        "profile": "value",
        "boxes": "value",
        "boxes.train": "value",
        "boxes.validation": "value",
        "boxes.test": "value?",
        "seed": "number?",
        "provenance": "value?",
    }
    yield file_case(
        "trainings/as it is", command, needs, "trained", lambda path: None, "right", changes=changes
    )
    yield from json_cases("trainings/record", command, needs, "trained/run.json", keys, changes=changes)
    for file in ("metrics.csv", "last.ckpt"):
        for change in FILE_CHANGES:
            free = file == "metrics.csv" or change.name == "missing" or change.expected == "either"
            yield file_case(
                f"trainings/{file}/{change.name}",
                command,
                needs,
                f"trained/{file}",
                change.apply,
                "either" if free else "refused",
                changes=changes,
                nan=file == "metrics.csv",
            )
    texts = {
        "without a header": "1,2,3,4\n",
        "another header": "a,b\n1,2\n",
        "words": "step,minutes,learning_rate,train_loss\nx,y,z,w\n",
        "more values than names": "step,minutes,learning_rate,train_loss\n1,2,3,4,5,6\n",
        "fewer values than names": "step,minutes,learning_rate,train_loss\n1,2\n",
        "NaN": "step,minutes,learning_rate,train_loss,loss\n2,1,1,nan,nan\n",
    }
    for name, text in texts.items():
        yield file_case(
            f"trainings/metrics/{name}",
            command,
            needs,
            "trained/metrics.csv",
            lambda path, text=text: path.write_text(text),  # type: ignore[misc]
            "either",
            changes=changes,
            nan=True,
        )
    again = TRAINING + " --force"
    for pattern in ("inputs", "targets"):
        for change in FILE_CHANGES:
            yield file_case(
                f"trainings/cached {pattern}/{change.name}",
                again,
                needs,
                "run/cache/box-00001",
                _matching(f"{pattern}-*.npy", change.apply),
                "either",
                changes=changes,
            )
        edits: dict[str, Callable[[np.ndarray], np.ndarray]] = {
            "nan": one_value(np.nan),
            "another shape": lambda x: x[:, :-1],
            "fewer channels": lambda x: x[:1],
            "whole numbers": lambda x: x.astype(np.int64),
            "objects": lambda x: np.array([{"a": 1}, "b"], dtype=object),
        }
        for name, edit in edits.items():

            def saved(path: Path, edit: Callable[[np.ndarray], np.ndarray] = edit) -> None:
                np.save(path, edit(np.load(path)), allow_pickle=True)

            yield file_case(
                f"trainings/cached {pattern}/{name}",
                again,
                needs,
                "run/cache/box-00001",
                _matching(f"{pattern}-*.npy", saved),
                "either",
                changes=changes,
            )


def _matching(pattern: str, change: Callable[[Path], None]) -> Callable[[Path], None]:
    def apply(directory: Path) -> None:
        change(next(directory.glob(pattern)))

    return apply
