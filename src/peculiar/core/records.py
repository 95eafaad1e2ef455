"""Records that commands write and read again: one model for each kind, with errors that name file, key and value."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    TypeAdapter,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from pydantic_core import from_json

from peculiar.core.box import Sides
from peculiar.core.cosmology import Cosmology
from peculiar.core.errors import InputError

DAMAGED = (OSError, LookupError, ValueError, TypeError, AttributeError, RuntimeError)
"""What HDF5, zarr and their codecs raise for what is cut or damaged, by where the damage is."""


class Record(BaseModel):
    """What a file must hold: read only, numbers finite; entries beside those that are named are kept."""

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False, populate_by_name=True)


_STATED = ("Omega_m", "Omega_b", "h", "n_s", "sigma8")


def _whole(entries: Any, validate: ValidatorFunctionWrapHandler) -> Any:
    cosmology = validate(entries)
    if isinstance(entries, Mapping) and (missing := [name for name in _STATED if name not in entries]):
        raise ValueError(f"a stored cosmology must state {', '.join(_STATED)}, got no {', '.join(missing)}")
    return cosmology


StoredCosmology = Annotated[Cosmology, WrapValidator(_whole)]
"""A cosmology in a file: what every file states has no default there."""


def _sides(value: Any) -> Any:
    numbers = list(value) if isinstance(value, list | tuple) else [value]
    if len(numbers) not in (1, 3) or not all(
        isinstance(side, int | float) and not isinstance(side, bool) and 0 < side < math.inf
        for side in numbers
    ):
        raise ValueError(f"should be a side, or three sides, greater than 0, got {value!r}")
    return float(numbers[0]) if len(numbers) == 1 else tuple(map(float, numbers))


StoredSides = Annotated[float | Sides, BeforeValidator(_sides)]
"""The side of a cube in a file, or three sides [Mpc/h]."""
Model = TypeVar("Model")


def read_json(path: Path | str, *, what: str, remedy: str) -> dict[str, Any]:
    """Return the table in a JSON file.

    Raises
    ------
    InputError
        If the file cannot be read, is no JSON with finite numbers, or holds something else than a table.
    """
    if not Path(path).is_file():  # a pipe would never end
        raise InputError(f"{what} must be a file, got {path}: {remedy}")
    try:
        found = from_json(Path(path).read_bytes(), allow_inf_nan=False)
    except (OSError, ValueError) as error:
        raise InputError(f"{what} must be JSON, got {path} ({error}): {remedy}") from None
    if not isinstance(found, dict):
        raise InputError(f"{what} must hold names and values, got {type(found).__name__} in {path}: {remedy}")
    return found


def checksum(path: Path | str) -> str:
    """Return the sha256 of a file, as hexadecimal digits."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def checked(model: type[Model], entries: Mapping[str, Any], *, where: str, remedy: str = "") -> Model:
    """Return entries as a model of pydantic, or as a dataclass.

    Raises
    ------
    InputError
        If one is missing, wrong or unknown; its path, the rule and the value are told.
    """
    try:
        return TypeAdapter(model).validate_python(dict(entries))
    except ValidationError as error:
        first = error.errors()[0]
        path = ".".join(str(part) for part in first["loc"]) or "settings"
        got = "" if first["type"] in ("missing", "value_error") else f", got {shown(first['input'])}"
        message = first["msg"].removeprefix("Value error, ")
        raise InputError(
            f"{path} must be valid in {where}: {message}{got}{': ' * bool(remedy)}{remedy}"
        ) from None


def shown(value: object, *, most: int = 100) -> str:
    """Return a value as a message shows it, cut where it is long."""
    text = repr(value)
    return text if len(text) <= most else f"{text[:most]}..."
