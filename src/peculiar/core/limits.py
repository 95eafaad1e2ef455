"""What work may be asked for, checked before it starts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, get_args

import torch

from peculiar.core.errors import InputError

Device = Literal["auto", "cpu", "cuda"]
_SEED_END = 2**32


def require_seeds(seeds: Sequence[int], *, name: str = "seeds") -> None:
    """Refuse seeds that are not distinct whole numbers below 2^32, the range of every generator here.

    Raises
    ------
    InputError
        With the name, and the seed that is wrong.
    """
    if not seeds or len(set(seeds)) != len(seeds):
        raise InputError(f"{name} must be distinct, at least one, got {len(seeds)} of them: name each once")
    for seed in (min(seeds), max(seeds)):
        if not 0 <= seed < _SEED_END:
            raise InputError(f"{name} must lie in 0 to {_SEED_END - 1}, got {seed}: choose a smaller number")


def require_redshift(redshift: float | None, *, below: float = math.inf) -> None:
    """Refuse a redshift that is not finite, below 0 or as high as the start of a run; None is none given."""
    if redshift is not None and not 0 <= redshift < below:
        limit = "" if below == math.inf else f" and below {below:.4g}, where particles start"
        raise InputError(f"redshift must be >= 0{limit}, got {redshift:g}: choose a later time")


def require_density(number_density: float | None) -> None:
    """Refuse a number density that is not finite and above 0; None is none given."""
    if number_density is not None and not 0 < number_density < math.inf:
        raise InputError(f"number_density must be > 0 (h/Mpc)^3 and finite, got {number_density:g}")


def choose_device(device: Device) -> Literal["cpu", "cuda"]:
    """Return the device to compute on: "cpu" or "cuda"; "auto" is a GPU where torch sees one.

    Raises
    ------
    InputError
        If it is another, or torch sees no GPU.
    """
    seen = torch.cuda.is_available()
    if device not in get_args(Device) or (device == "cuda" and not seen):
        raise InputError(
            f"device must be auto, cpu, or cuda where torch sees a GPU ({'one' if seen else 'none'} is seen), "
            f"got {device!r}: leave it out"
        )
    return "cuda" if seen and device != "cpu" else "cpu"


def computes_bf16(device: torch.device | str) -> bool:
    """Return whether a device has bf16 instructions: emulated, convolutions take up to 80 times those of float32."""
    kind = torch.device(device).type
    if kind == "cuda":
        return torch.cuda.is_bf16_supported()
    return kind == "cpu" and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())  # oneDNN's own test
