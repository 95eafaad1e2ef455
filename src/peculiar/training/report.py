"""What training tells while it runs: lines with an estimate of the time left, and metrics.csv."""

from __future__ import annotations

import csv
import os
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from peculiar.core.errors import InputError
from peculiar.core.extras import extra
from peculiar.core.output import atomic_output

with extra("train"):
    from lightning.pytorch.callbacks import Callback

COLUMNS = ("step", "minutes", "learning_rate", "train_loss")
"""First columns of the CSV file; what validation measures comes after them."""


class Metrics:
    """Rows of a CSV file, written as they come.

    Parameters
    ----------
    path : path
        Rows beyond `start` (of a run that was interrupted) are removed.
    start : int
        Steps done before.
    """

    def __init__(self, path: Path, *, start: int) -> None:
        self.path = path
        rows: list[dict[str, Any]] = _read_rows(path) if start else []
        self._write([row for row in rows if float(row["step"]) <= start])

    def append(self, row: dict[str, Any]) -> None:
        """Add a row; "step" is among its columns."""
        self._write([*self.rows, row])

    def _write(self, rows: list[dict[str, Any]]) -> None:
        self.rows = rows
        with atomic_output(self.path, overwrite=True) as temporary, temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0] if rows else COLUMNS)
            writer.writeheader()
            writer.writerows(rows)


def read_metrics(path: Path) -> dict[str, Float[np.ndarray, " row"]]:
    """Return the columns of a CSV file that `Metrics` wrote; NaN where there is no value."""
    rows = _read_rows(path)
    return {name: np.array([float(row[name] or "nan") for row in rows]) for name in (rows[0] if rows else ())}


def _read_rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of such a file, none if it is not there; InputError if it is another file."""
    if not os.path.lexists(path):
        return []
    if not path.is_file():
        raise InputError(f"metrics must be a file, got {path}: remove it")
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file, restval="")
            whole = "step" in (reader.fieldnames or ())
            rows = list(reader)
        whole = whole and all(row["step"] for row in rows)
        whole = whole and not any(None in row for row in rows)
        for row in rows:
            for text in row.values():
                float(text or "nan")
    except (OSError, ValueError, TypeError, csv.Error) as error:
        raise InputError(f"metrics must be a CSV table of numbers, got {path} ({error}): remove it") from None
    if not whole:
        raise InputError(f"metrics must be a CSV table with a step in each row, got {path}: remove it")
    return rows


class Report(Callback):
    """Announce progress every half minute and every validation, and append each validation to a CSV file.

    Parameters
    ----------
    path : path
        The CSV file; rows beyond `start` (of a run that was interrupted) are removed.
    steps, start : int
        All steps, and those done before.
    announce : callable
        Takes a line.
    every : float
        Seconds between lines.
    """

    def __init__(
        self, path: Path, *, steps: int, start: int, announce: Callable[[str], None], every: float = 30.0
    ) -> None:
        self.metrics = Metrics(path, start=start)
        self.steps, self.start, self.announce, self.every = steps, start, announce, every
        self.total, self.count = torch.zeros(()), 0
        self.last = self.began = time.monotonic()

    def state_dict(self) -> dict[str, Any]:
        """Keep the losses since the last row with the checkpoint."""
        return {"total": self.total, "count": self.count}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the losses since the last row."""
        rows = self.metrics.rows
        if not (rows and int(rows[-1]["step"]) == self.start):
            self.total, self.count = state_dict["total"], state_dict["count"]

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Start the clock."""
        self.last = self.began = time.monotonic()

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, *args: Any) -> None:
        """Announce the step, now and then."""
        self.total = self.total + outputs["loss"].detach().cpu()
        self.count += 1
        now = time.monotonic()
        if trainer.is_global_zero and now - self.last >= self.every:
            self.last = now
            left = timedelta(seconds=round(self._seconds_left(trainer.global_step, pl_module)))
            self.announce(
                f"step {trainer.global_step} of {self.steps}: loss {float(self.total) / self.count:.4g}, "
                f"about {left} left"
            )

    def _seconds_left(self, step: int, pl_module: Any) -> float:
        pace = (time.monotonic() - self.began) / max(step - self.start, 1)
        left = pace * (self.steps - step)
        limit = pl_module.settings.max_minutes
        return left if limit is None else max(min(left, 60 * limit - pl_module.seconds), 0.0)

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Announce the validation and keep it."""
        if trainer.state.fn != "fit" or not trainer.is_global_zero:
            return
        values = {name: float(value) for name, value in trainer.callback_metrics.items()}
        measured = {name: value for name, value in values.items() if name not in COLUMNS}
        row = {
            "step": trainer.global_step,
            "minutes": round(pl_module.seconds / 60, 3),
            "learning_rate": trainer.optimizers[0].param_groups[0]["lr"],
            "train_loss": float(self.total) / max(self.count, 1),
            **measured,
        }
        self.total, self.count = torch.zeros(()), 0
        self.metrics.append(row)
        found = ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in measured.items())
        self.announce(f"step {trainer.global_step} of {self.steps}: {found}")
