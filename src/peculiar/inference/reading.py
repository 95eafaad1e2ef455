"""The shipped reader of velocities at objects, for the fields that it learned to read."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from jaxtyping import Float

from peculiar.fields.objects import ReadArrays, Reader
from peculiar.inference.card_range import are_near
from peculiar.inference.model_card import ReaderCard, find_model, load_model, read_card
from peculiar.models.reader import KINDS

READER = "reader"
_OBJECTS_AT_ONCE = 50_000  # bounds the temporaries to some 60 MB


def reader_of(model: str, *, cell_size: float) -> Reader | None:
    """Return what reads velocities at objects off a model's fields, or None where the mean along the sight line does.

    Parameters
    ----------
    model : str
        By which the fields were made.
    cell_size : float [Mpc/h]
    """
    card = _card()
    if model not in card.models or not are_near(cell_size, card.cell_size_range):
        return None
    network = _network()

    def read(profile: Float[np.ndarray, "n place 2"], told: Float[np.ndarray, "n 2"]) -> ReadArrays:
        known = np.column_stack([told, np.full(len(told), KINDS[model])])
        found = np.empty((4, len(told)))
        for start in range(0, len(told), _OBJECTS_AT_ONCE):
            rows = slice(start, start + _OBJECTS_AT_ONCE)
            with torch.inference_mode():
                some = (torch.from_numpy(np.asarray(one[rows], dtype=np.float32)) for one in (profile, known))
                host, rest, own, variance = network(*some)
            found[:, rows] = torch.stack([host, rest.sqrt(), own, variance.sqrt()]).numpy()
        return found[0], found[1], found[2], found[3]

    return read


@cache
def _card() -> ReaderCard:
    card = read_card(find_model(READER))
    assert isinstance(card, ReaderCard)
    return card


@cache
def _network() -> torch.nn.Module:
    return load_model(READER)[0]
