"""Checkpoints of a training: whole or not there, and tensors and plain values only."""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from peculiar.core.errors import InputError
from peculiar.core.extras import extra
from peculiar.core.output import atomic_output

with extra("train"):
    from lightning.pytorch.plugins.io import TorchCheckpointIO

CHECKPOINT = "last.ckpt"


def save_checkpoint(state: dict[str, Any], path: Path | str) -> None:
    """Write a checkpoint; the one before stays until this one is whole."""
    # In memory first: the writer of torch does not survive a full disk.
    image = io.BytesIO()
    torch.save(state, image)
    with atomic_output(path, overwrite=True) as temporary:
        temporary.write_bytes(image.getbuffer())


def load_checkpoint(
    path: Path | str, *, holds: tuple[str, ...], device: torch.device | str = "cpu"
) -> dict[str, Any]:
    """Read a checkpoint; nothing in it is run, whoever wrote it.

    Parameters
    ----------
    path : path
    holds : tuple of str
        Entries that it must have.
    device : torch.device or str
        Where its tensors go.

    Raises
    ------
    InputError
        If it is no checkpoint, is damaged, lacks an entry, or holds other than tensors and plain values.
    """
    if not Path(path).is_file():
        raise _refused(path, "no file")
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except (OSError, EOFError, RuntimeError, ValueError, LookupError, pickle.UnpicklingError) as error:
        raise _refused(path, str(error).split("\n")[0] or "an end too early") from None
    if not isinstance(state, dict) or not state.keys() >= set(holds):
        raise _refused(path, "other entries")
    return state


@contextmanager
def restoring(path: Path | str) -> Iterator[None]:
    """Refuse, with an InputError, a checkpoint of another network, which the block fails to load."""
    try:
        yield
    except (RuntimeError, TypeError, ValueError, LookupError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"checkpoint must be of this network, got {path} ({reason}): give --force to start again"
        ) from None


def _refused(path: Path | str, reason: str) -> InputError:
    return InputError(
        f"checkpoint must be whole and hold tensors and plain values only, got {path} ({reason}): give --force to "
        "start again"
    )


class WholeCheckpoints(TorchCheckpointIO):
    """How lightning writes and reads them; its own way passes through TMPDIR, from where a rename may not lead."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Path | str, storage_options: Any | None = None
    ) -> None:
        """Write a checkpoint."""
        save_checkpoint(checkpoint, path)

    def load_checkpoint(
        self, path: Path | str, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a checkpoint."""
        return load_checkpoint(path, holds=(), device="cpu")
