"""Samples of cubes: how they are observed, as data."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from peculiar.core.errors import InputError
from peculiar.core.records import checked
from peculiar.training.settings import Frozen
from peculiar.training.survey_cubes import SurveyVariant, beside

SAMPLES = Path(__file__).with_name("samples.toml")
"""Those that come with the package."""


class _Samples(Frozen):
    samples: tuple[SurveyVariant, ...] = Field(min_length=1)


def read_samples(path: Path = SAMPLES) -> dict[str, SurveyVariant]:
    """Read samples by their names; surveys that they name are taken from the folder of the file.

    Raises
    ------
    InputError
        If the file is no TOML, a key or value is wrong, or two samples have one name.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"samples must be a TOML file, got {path} ({error})") from None
    found = tables.get("samples")
    if isinstance(found, list):
        tables["samples"] = beside(found, path.parent)
    samples = checked(_Samples, tables, where=path.name).samples
    if len({sample.name for sample in samples}) < len(samples):
        raise InputError(f"samples must have names of their own, got one twice in {path}")
    return {sample.name: sample for sample in samples}


def choose_samples(names: Sequence[str] | None) -> dict[str, SurveyVariant]:
    """Return samples of the package by name, those of files (.toml), or all of the package without names.

    Raises
    ------
    InputError
        If there is no such sample, or a file is wrong.
    """
    known = read_samples()
    chosen: dict[str, SurveyVariant] = {} if names else known
    for name in names or ():
        if name.endswith(".toml"):
            chosen |= read_samples(Path(name))
        elif name in known:
            chosen[name] = known[name]
        else:
            rule = f"must be of {', '.join(known)}, or a .toml file, got {name!r}"
            raise InputError(f"samples {rule}", command=f"--sample {rule}")
    return chosen
