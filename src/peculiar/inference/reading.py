"""The shipped reader of velocities at objects, for the fields that it learned to read."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from peculiar.core import Field, InputError, InputWarning
from peculiar.fields.objects import ERROR, LOCAL_ERROR, ReadArrays, Reader
from peculiar.inference.card_range import are_near
from peculiar.inference.model_card import (
    ModelCard,
    ReaderCard,
    available_models,
    find_model,
    load_model,
    read_card,
)
from peculiar.models.reader import KINDS

READER = "reader"
_OBJECTS_AT_ONCE = 50_000  # bounds the temporaries to some 60 MB


def reader_of(model: str, *, cell_size: float) -> Reader | None:
    """Return what reads velocities at objects off a model's fields, or None where the mean along the sight line does.

    Only errors that models tell themselves are read: of others the reader learned what it errs by in all, of which the
    shot noise that linear theory knows is a part.

    Parameters
    ----------
    model : str
        By which the fields were made.
    cell_size : float [Mpc/h]
    """
    card = _card()
    if model not in card.models or not are_near(cell_size, card.cell_size_range):
        return None
    network, own = _network(), _tells_errors(model)

    def read(profile: Float[np.ndarray, "n place 2"], told: Float[np.ndarray, "n 2"]) -> ReadArrays:
        error, cell = told.T
        known = np.column_stack(
            [error if own else np.full_like(error, np.nan), cell, np.full(len(told), KINDS[model])]
        )
        found = np.empty((4, len(told)))
        for start in range(0, len(told), _OBJECTS_AT_ONCE):
            rows = slice(start, start + _OBJECTS_AT_ONCE)
            with torch.inference_mode():
                some = (torch.from_numpy(np.asarray(one[rows], dtype=np.float32)) for one in (profile, known))
                host, rest, own_velocity, variance = network(*some)
            found[:, rows] = torch.stack([host, rest, own_velocity, variance]).numpy()
        if not own:
            found[1] = np.maximum(found[1] - np.nan_to_num(error) ** 2, 0)
        return found[0], np.sqrt(found[1]), found[2], np.sqrt(found[3])

    return read


def warn_untold_error(
    fields: Mapping[str, Field], attributes: Mapping[str, Any], *, path: Path | str
) -> None:
    """Warn of fields in a file that are read at objects with an error that was not yet written.

    Parameters
    ----------
    fields : mapping
        Of the file, on one box.
    attributes : mapping
        Of the file: "model", and "velocity_amplitude", for only a "mean" is read.
    path : path
        Of the file.
    """
    if ERROR not in fields or LOCAL_ERROR in fields:
        return
    model, box = str(attributes.get("model", "")), fields[ERROR].box
    if box.periodic or attributes.get("velocity_amplitude", "mean") != "mean":
        return
    if reader_of(model, cell_size=box.cell_size) is None:
        return
    warnings.warn(
        f"fields of {path} must hold {LOCAL_ERROR!r} beside {ERROR!r}, got none, as earlier versions wrote them: "
        "velocities and errors at objects are read without it and are not those of today; reconstruct anew",
        InputWarning,
        stacklevel=3,
    )


def require_assessable(fields: Mapping[str, Field], attributes: Mapping[str, Any], *, model: str) -> None:
    """Refuse fields that errors or another amplitude cannot be had of.

    Parameters
    ----------
    fields : mapping
    attributes : mapping
        Of the reconstruction or its file: "velocity_amplitude".
    model : str

    Raises
    ------
    InputError
        If the velocity was divided by the known fraction already, or the model's own error is lost.
    """
    amplitude = attributes.get("velocity_amplitude", "mean")
    if amplitude != "mean":
        raise InputError(
            f"amplitude of the fields must be 'mean' for with_errors, got {amplitude!r}: take the reconstruction that "
            "they were made of, or reconstruct anew"
        )
    if ERROR in fields and LOCAL_ERROR not in fields and _tells_errors(model):
        raise InputError(
            f"fields of {model!r} must hold {LOCAL_ERROR!r} for with_errors, got none, as earlier versions wrote them: "
            "reconstruct anew"
        )


def _tells_errors(model: str) -> bool:
    if model not in available_models():
        return False  # classical, or not of the package
    card = read_card(find_model(model))
    return isinstance(card, ModelCard) and card.error_factor is not None


@cache
def _card() -> ReaderCard:
    card = read_card(find_model(READER))
    assert isinstance(card, ReaderCard)
    return card


@cache
def _network() -> torch.nn.Module:
    return load_model(READER)[0]
