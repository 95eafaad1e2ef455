"""Whether what a command wrote is finite."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

import numpy as np


def not_finite(path: Path, *, apart: Collection[str] = ()) -> str:
    """Return the name of what is NaN or infinite in a file, apart from some columns; empty if nothing is."""
    if path.suffix == ".zarray":
        return ""
    if path.name == ".zgroup":
        return _first(path.parent.name, _zarr(path.parent))
    reader = READERS.get(path.suffix)
    if reader is None or not path.is_file():
        return ""
    found = {key: values for key, values in reader(path).items() if key.rpartition("/")[2] not in apart}
    return _first(path.name, found)


def _first(name: str, arrays: dict[str, np.ndarray]) -> str:
    for key, values in arrays.items():
        if values.dtype.kind in "fc" and not np.isfinite(values).all():
            return f"{name}: {key}, {int((~np.isfinite(values)).sum())} of {values.size}"
    return ""


def _zarr(path: Path) -> dict[str, np.ndarray]:
    import zarr

    return {name: np.asarray(array[:]) for name, array in zarr.open_group(path, mode="r").arrays()}


def _hdf5(path: Path) -> dict[str, np.ndarray]:
    import h5py

    found: dict[str, np.ndarray] = {}

    def visit(name: str, node: object) -> None:
        if isinstance(node, h5py.Dataset):
            columns = node.dtype.names
            if columns:
                found.update({f"{name}/{column}": node[column] for column in columns})
            else:
                found[name] = np.asarray(node[()])

    with h5py.File(path) as file:
        file.visititems(visit)
    return found


def _table(path: Path) -> dict[str, np.ndarray]:
    from peculiar.catalogues import read_table

    table = read_table(path)
    return {
        name: np.ma.filled(np.ma.asarray(table[name]), 0)
        for name in table.colnames
        if table[name].dtype.kind in "fc"
    }


def _npz(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as stored:
        return {name: stored[name] for name in stored.files}


def _npy(path: Path) -> dict[str, np.ndarray]:
    return {"array": np.load(path)}


def _safetensors(path: Path) -> dict[str, np.ndarray]:
    from safetensors.numpy import load_file

    return load_file(path)


def _json(path: Path) -> dict[str, np.ndarray]:
    bad: list[float] = []

    def note(text: str) -> float:
        bad.append(float(text.replace("Infinity", "inf")))
        return bad[-1]

    json.loads(path.read_text(), parse_constant=note)
    return {"value": np.array(bad)} if bad else {}


READERS = {
    ".h5": _hdf5,
    ".hdf5": _hdf5,
    ".fits": _table,
    ".csv": _table,
    ".ecsv": _table,
    ".parquet": _table,
    ".npz": _npz,
    ".npy": _npy,
    ".safetensors": _safetensors,
    ".json": _json,
}
