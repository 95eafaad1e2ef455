"""Processes made by fork, which have none of their parent's threads."""

from __future__ import annotations

import torch


def compute_alone() -> None:
    """Let torch compute in one thread: in the child of a fork it would wait for ever for threads of its parent."""
    torch.set_num_threads(1)
