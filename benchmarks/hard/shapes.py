"""Cases that share one shape: a file changed in one way, a command, what must come of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from changes import FILE_CHANGES, JSON_TEXTS, NUMBER_VALUES, OTHER_VALUES, json_value, write_text
from sandbox import Case, Expected


def file_case(
    name: str,
    command: str,
    needs: tuple[str, ...],
    path: str,
    change: Callable[[Path], None],
    expected: Expected,
    *,
    changes: tuple[str, ...] = (),
    nan: bool = False,
) -> Case:
    words = tuple(command.split())
    return Case(name, words, needs, lambda directory: change(directory / path), expected, nan, changes)


def json_cases(
    place: str,
    command: str,
    needs: tuple[str, ...],
    path: str,
    keys: dict[str, str],
    *,
    changes: tuple[str, ...] = (),
    nan: bool = False,
) -> Iterator[Case]:
    """Keys of a JSON file with other values; a key's text says what it holds and whether it is read.

    "number" and "value" are read: nothing but the right kind will do. "number?" and "value?" may be left out or unread.
    """
    for key, kind in keys.items():
        for value in NUMBER_VALUES if kind.startswith("number") else OTHER_VALUES:
            expected: Expected = "either" if kind.endswith("?") or value == "0" else "refused"
            yield file_case(
                f"{place}/{key} {value}",
                command,
                needs,
                path,
                json_value(key, value),
                expected,
                changes=changes,
                nan=nan,
            )
    for name, text in JSON_TEXTS.items():

        def change(file: Path, text: str | None = text) -> None:
            write_text(file, text)

        yield file_case(f"{place}/{name}", command, needs, path, change, "refused", changes=changes, nan=nan)


def file_cases(
    place: str,
    command: str,
    needs: tuple[str, ...],
    path: str,
    *,
    changes: tuple[str, ...] = (),
    nan: bool = False,
    missing: Expected = "refused",
) -> Iterator[Case]:
    """A file damaged in every way; `missing` says what must come of it when it is not there."""
    for change in FILE_CHANGES:
        yield file_case(
            f"{place}/{change.name}",
            command,
            needs,
            path,
            change.apply,
            missing if change.name == "missing" else change.expected,
            changes=changes,
            nan=nan,
        )


def one_value(value: float) -> Callable[[np.ndarray], np.ndarray]:
    def edit(values: np.ndarray) -> np.ndarray:
        values.flat[values.size // 2] = value
        return values

    return edit
