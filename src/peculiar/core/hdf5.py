"""HDF5 files that are whole: every error of the disk counts, and every array is read back."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Shaped

from peculiar.core.errors import InputError
from peculiar.core.records import DAMAGED

if TYPE_CHECKING:
    import h5py

CHECKSUM = "sha256"
"""Attribute of an array: of its bytes, as they were in memory."""
_MOST = 1 << 24  # bytes that are read at once


class _Disk:
    """A file for HDF5 that keeps the first error of the disk.

    HDF5 writes late, while it closes arrays and files; h5py has nobody to tell then, and leaves a file that opens with
    other values, or crashes. So HDF5 is told that all went well, and the error is raised when the file is closed.
    """

    def __init__(self, path: Path) -> None:
        self.file = path.open("x+b", buffering=0)
        self.error: OSError | None = None
        self.seek, self.tell = self.file.seek, self.file.tell
        self.read, self.readinto = self.file.read, self.file.readinto

    def write(self, data: memoryview) -> int:
        left = memoryview(data)
        try:
            while len(left) and self.error is None:
                left = left[self.file.write(left) :]
        except OSError as error:
            self.error = error
        return len(data)

    def truncate(self, size: int) -> int:
        try:
            self.file.truncate(size)
        except OSError as error:
            self.error = self.error or error
        return size

    def flush(self) -> None:
        """Nothing waits in memory."""

    def close(self) -> None:
        try:
            os.fsync(self.file.fileno())
            self.file.close()
        except OSError as error:
            self.error = self.error or error


@contextmanager
def new_hdf5(path: Path | str) -> Iterator[h5py.File]:
    """Open a new HDF5 file to write; when the block ends, it is on the disk as it was meant to be.

    Raises
    ------
    OSError
        If the disk is full, or fails otherwise, however late.
    InputError
        If an array of `add_array` comes back other than it was.
    """
    import h5py

    disk = _Disk(Path(path))
    try:
        with h5py.File(disk, "w") as file:
            yield file
    except Exception as error:
        if disk.error is not None:
            raise disk.error from error
        raise
    finally:
        disk.close()
    if disk.error is not None:
        raise disk.error
    if not is_whole(path):
        raise InputError(f"Output must be read back as it was written, got another {path}: check the disk")


def add_array(
    file: h5py.Group, name: str, data: Shaped[np.ndarray, "..."], *, dtype: Any = None, **attributes: Any
) -> h5py.Dataset:
    """Write an array with attributes; its checksum is among them, but of text of any length."""
    written = file.create_dataset(name, data=data, dtype=dtype)
    if written.dtype.kind != "O":
        attributes |= {CHECKSUM: _checksum(np.asarray(data, written.dtype))}
    written.attrs.update(attributes)
    return written


def is_whole(path: Path | str) -> bool:
    """Whether an HDF5 file opens and every array can be read and has its checksum, where it has one."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            damaged: list[str] = []

            def look(name: str, item: Any) -> None:
                if isinstance(item, h5py.Dataset) and not _reads_back(item):
                    damaged.append(name)

            file.visititems(look)
    except DAMAGED:
        return False
    return not damaged


def _reads_back(array: h5py.Dataset) -> bool:
    """Whether an array can be read, some rows at a time, and has its checksum, where it has one."""
    found = hashlib.sha256()
    for block in _blocks(array):
        if CHECKSUM in array.attrs:
            found.update(np.ascontiguousarray(block).data)
    return array.attrs.get(CHECKSUM) in (None, found.hexdigest())


def _blocks(array: h5py.Dataset) -> Iterator[Any]:
    """Yield an array in parts of whole chunks."""
    if not array.shape:
        yield array[()]
        return
    together = array.chunks[0] if array.chunks else 1
    rows = together * max(1, _MOST * len(array) // max(array.nbytes, 1) // together)
    for start in range(0, len(array), rows):
        yield array[start : start + rows]


def is_as_written(array: h5py.Dataset, values: Any) -> bool:
    """Whether the values that were read of an array have its checksum, where it has one."""
    stored = array.attrs.get(CHECKSUM)
    return stored is None or _checksum(values) == stored


def _checksum(data: Any) -> str:
    return hashlib.sha256(np.ascontiguousarray(data).data).hexdigest()
