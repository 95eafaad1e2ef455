"""Cases of fields in zarr, as queried, compared, reported, painted and given a flow."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from changes import FILE_CHANGES, JSON_TEXTS, NUMBER_VALUES, OTHER_VALUES, json_value, write_text
from sandbox import Case, Expected
from shapes import file_case, one_value


def _attributes(key: str, value: str) -> Callable[[Path], None]:
    """Change an attribute of a zarr group, where it stands by itself and in the consolidated copy."""

    def apply(path: Path) -> None:
        json_value(key, value)(path / ".zattrs")
        whole = json.loads((path / ".zmetadata").read_text())
        whole["metadata"][".zattrs"] = json.loads((path / ".zattrs").read_text())
        (path / ".zmetadata").write_text(json.dumps(whole))

    return apply


def _values(name: str, edit: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    def apply(path: Path) -> None:
        import zarr

        array = zarr.open_array(path / name, mode="r+")
        array[:] = edit(np.asarray(array[:]))

    return apply


def field_cases() -> Iterator[Case]:
    """Fields, as queried, compared, reported, painted and given a flow."""
    sky = {
        "query": ("query field.zarr --ra 10,20 --dec 20,10 --z 0.01,0.012", ("field.zarr",)),
        "compare": (
            "compare distances.fits --field field.zarr --frame cmb --out out --bootstraps 10",
            ("field.zarr", "distances.fits"),
        ),
        "report": ("report field.zarr --out out.html", ("field.zarr",)),
    }
    keys = {
        "box_size": "number",
        "box_origin": "value",
        "periodic": "value",
        "redshift": "number?",
        "line_of_sight": "value?",
        "observer": "value?",
        "cosmology": "value?",
        "catalogue_space": "value?",
        "objects": "number?",
        "provenance": "value?",
    }
    for name, (command, needs) in sky.items():
        place = f"fields/{name}"
        yield file_case(
            f"{place}/as it is", command, needs, "field.zarr", lambda path: None, "right", nan=True
        )
        for key, kind in keys.items():
            for value in NUMBER_VALUES if kind.startswith("number") else OTHER_VALUES:
                expected: Expected = "either" if kind.endswith("?") else "refused"
                yield file_case(
                    f"{place}/{key} {value}",
                    command,
                    needs,
                    "field.zarr",
                    _attributes(key, value),
                    expected,
                    nan=True,
                )
        yield from _store_cases(place, command, needs, "field.zarr")
    paint = "paint --density density.zarr --seed 1 --out out.fits"
    for name, command in {"paint": paint, "flow": "flow density.zarr --out out.zarr"}.items():
        place, needs = f"fields/{name}", ("density.zarr",)
        yield file_case(f"{place}/as it is", command, needs, "density.zarr", lambda path: None, "right")
        for key in ("box_size", "box_origin", "periodic"):
            for value in NUMBER_VALUES if key == "box_size" else OTHER_VALUES:
                change = _attributes(key, value)
                yield file_case(f"{place}/{key} {value}", command, needs, "density.zarr", change, "refused")
        yield from _store_cases(place, command, needs, "density.zarr")
    for unit in ("m/s", "km/h", "", "nonsense"):

        def change_unit(path: Path, unit: str = unit) -> None:
            for file, keys in ((".zmetadata", ("metadata", "velocity/.zattrs")), ("velocity/.zattrs", ())):
                whole = json.loads((path / file).read_text())
                place = whole
                for key in keys:
                    place = place[key]
                place["units"] = unit
                (path / file).write_text(json.dumps(whole))

        yield file_case(
            f"fields/paint/velocity in {unit or 'nothing'}",
            paint,
            ("density.zarr",),
            "density.zarr",
            change_unit,
            "refused",
        )


def _store_cases(place: str, command: str, needs: tuple[str, ...], store: str) -> Iterator[Case]:
    def removed(name: str) -> Callable[[Path], None]:
        def apply(path: Path) -> None:
            target = path / name
            shutil.rmtree(target) if target.is_dir() else target.unlink()

        return apply

    def inner(name: str, change: Callable[[Path], None]) -> Callable[[Path], None]:
        return lambda path: change(path / name)

    chunk = {"density": "0.0.0", "velocity": "0.0.0.0"}
    for change in FILE_CHANGES[:8]:
        if change.name == "missing":
            yield file_case(f"{place}/missing", command, needs, store, change.apply, "refused", nan=True)
        for name, number in chunk.items():
            expected = "either" if change.name == "without its end" else change.expected
            yield file_case(
                f"{place}/chunk of {name} {change.name}",
                command,
                needs,
                store,
                inner(f"{name}/{number}", change.apply),
                expected,
                nan=True,
            )
    for name in (".zmetadata", ".zattrs", ".zgroup", "density/.zarray", "velocity/.zattrs", "x"):
        expected = "refused" if name in (".zmetadata",) else "either"
        yield file_case(f"{place}/without {name}", command, needs, store, removed(name), "either", nan=True)
    for name, text in JSON_TEXTS.items():

        def change_text(path: Path, text: str | None = text) -> None:
            write_text(path, text)

        yield file_case(
            f"{place}/metadata {name}",
            command,
            needs,
            store,
            inner(".zmetadata", change_text),
            "refused",
            nan=True,
        )
    for name in chunk:
        for label, value in (("nan", np.nan), ("inf", np.inf)):
            yield file_case(
                f"{place}/{name} {label}",
                command,
                needs,
                store,
                _values(name, one_value(value)),
                "refused",
                nan=True,
            )
        yield file_case(
            f"{place}/{name} all nan",
            command,
            needs,
            store,
            _values(name, lambda x: x * np.nan),
            "refused",
            nan=True,
        )
        yield file_case(
            f"{place}/without {name}", command, needs, store, _without_array(name), "either", nan=True
        )
    yield file_case(
        f"{place}/velocity huge",
        command,
        needs,
        store,
        _values("velocity", lambda x: x * 1e30),
        "either",
        nan=True,
    )
    yield file_case(
        f"{place}/density below -1",
        command,
        needs,
        store,
        _values("density", lambda x: x - 5),
        "either",
        nan=True,
    )


def _without_array(name: str) -> Callable[[Path], None]:
    def apply(path: Path) -> None:
        shutil.rmtree(path / name)
        whole = json.loads((path / ".zmetadata").read_text())
        whole["metadata"] = {
            key: value for key, value in whole["metadata"].items() if not key.startswith(f"{name}/")
        }
        (path / ".zmetadata").write_text(json.dumps(whole))

    return apply
