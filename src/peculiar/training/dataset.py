"""Training pairs: crops of cached meshes, drawn by (seed, step) alone, made ahead in a thread."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch.utils.data import Dataset, IterableDataset

from peculiar.core.errors import InputError
from peculiar.fields.symmetry import apply_symmetry, symmetries

Pair = tuple[torch.Tensor, torch.Tensor]


Vectors = Sequence[Sequence[int]]


class TrainingPair(Protocol):
    """One box as a network sees it."""

    @property
    def cells(self) -> int:
        """Cells along a side."""
        ...

    @property
    def velocity_factor(self) -> float:
        """A H f of the box [km/s per Mpc/h]."""
        ...

    @property
    def periodic(self) -> bool:
        """Whether opposite faces are one."""
        ...

    def crop(self, corner: Sequence[int], size: int) -> Pair:
        """Cut a cube out of the meshes; size 0 takes the whole mesh, rolled by the corner where it is periodic."""
        ...


@runtime_checkable
class FreshPair(Protocol):
    """One box of which every crop is made anew, turned already."""

    @property
    def cells(self) -> int:
        """Cells along a side."""
        ...

    @property
    def periodic(self) -> bool:
        """Whether opposite faces are one."""
        ...

    def draw(self, random: np.random.Generator, size: int) -> Pair:
        """Make a cube; size 0 is a whole mesh."""
        ...


@dataclass(frozen=True)
class MeshPair:
    """One box as a network sees it: files of inputs and targets, float16.

    Parameters
    ----------
    inputs : path
        .npy file of shape (channel, n, n, n).
    targets : tuple of path
        The same of the targets, whose channels follow one another.
    velocity_factor : float
        a H f of the box [km/s per Mpc/h].
    label : str
        Name in messages.
    periodic : bool
        Whether opposite faces are one; a region cut out of a larger box has nothing beyond its faces.
    """

    inputs: Path
    targets: tuple[Path, ...]
    velocity_factor: float
    label: str = ""
    periodic: bool = True

    @property
    def cells(self) -> int:
        """Cells along a side."""
        return int(np.load(self.inputs, mmap_mode="r").shape[-1])

    def crop(self, corner: Sequence[int], size: int) -> Pair:
        """Cut a cube out of the meshes; size 0 takes the whole mesh, rolled by the corner where it is periodic.

        Returns
        -------
        inputs, targets : float32 tensors (channel, size, size, size).

        Raises
        ------
        InputError
            If the cube reaches beyond the faces of meshes that are not periodic.
        """
        last = self.cells - (size or self.cells)
        if not self.periodic and not all(0 <= start <= last for start in corner):
            raise InputError(
                f"corner must lie in 0 to {last} for {size or self.cells} cells of {self.label or 'a box'} that does "
                f"not wrap, got {tuple(corner)}"
            )
        targets = torch.cat([_cut(path, corner, size) for path in self.targets])
        return _cut(self.inputs, corner, size), targets


def _cut(path: Path, corner: Sequence[int], size: int) -> torch.Tensor:
    mesh = np.load(path, mmap_mode="r")
    n = mesh.shape[-1]
    x, y, z = ((np.arange(size or n) + start) % n for start in corner)
    # Whole z rows are read first: the file lies on disk (or in the page cache) in that order.
    cube = torch.from_numpy(mesh[:, x[:, None], y[None, :]][..., z].astype(np.float32))
    if not torch.isfinite(cube).all():
        raise InputError(
            f"meshes for training must be finite, got NaN or infinity in {path}: remove the file"
        )
    return cube


class Crops(IterableDataset[Pair]):
    """Batches of turned crops, the same for the same (seed, step, rank) whatever came before.

    Parameters
    ----------
    pairs : sequence of TrainingPair or FreshPair
        Where crops come from, with equal chance; their meshes may differ.
    crop : int
        Cells along a side; 0 for whole boxes (rolled by a random shift where they are periodic).
    batch_size, steps, seed : int
    vectors, target_vectors : sequence of (i, j, k)
        Channels of inputs and of targets that are vectors.
    line_of_sight : "x", "y", "z" or None
        Axis that the symmetries keep; None for all 48.
    start : int
        First step, for a run that goes on.
    rank, world : int
        This process among several.
    """

    def __init__(
        self,
        pairs: Sequence[TrainingPair | FreshPair],
        *,
        crop: int,
        batch_size: int,
        steps: int,
        seed: int,
        vectors: Vectors = (),
        target_vectors: Vectors = (),
        line_of_sight: str | None = None,
        start: int = 0,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        if not pairs:
            raise InputError("pairs must hold at least one box, got none: simulate boxes first")
        sides = [pair.cells for pair in pairs]
        if crop > min(sides):
            raise InputError(f"crop must be at most the mesh of the boxes ({min(sides)} cells), got {crop}")
        # Whole boxes stand in one batch with others of their mesh.
        self.alike = {n: [p for p, side in zip(pairs, sides, strict=True) if side == n] for n in set(sides)}
        self.pairs, self.crop, self.batch_size = tuple(pairs), crop, batch_size
        self.steps, self.seed, self.start = steps, seed, start
        self.vectors, self.target_vectors = vectors, target_vectors
        self.elements = symmetries(line_of_sight)
        self.rank, self.world = rank, world

    def __len__(self) -> int:
        """All steps, those before `start` included."""
        return self.steps

    def batch(self, step: int) -> Pair:
        """Return the batch of one step: inputs (batch, channel, x, y, z) and targets (batch, channel, x, y, z)."""
        random = np.random.default_rng([self.seed, step, self.rank])
        drawn: list[Pair] = []
        among: Sequence[TrainingPair | FreshPair] = self.pairs
        for _ in range(self.batch_size):
            pair = among[int(random.integers(len(among)))]
            cells = pair.cells
            among = self.pairs if self.crop else self.alike[cells]
            if isinstance(pair, FreshPair):
                drawn.append(pair.draw(random, self.crop))
                continue
            corners = cells if pair.periodic else cells - (self.crop or cells) + 1
            corner = random.integers(corners, size=3).tolist()
            element = self.elements[random.integers(len(self.elements))]
            inputs, targets = pair.crop(corner, self.crop)
            drawn.append(
                (
                    apply_symmetry(inputs, element, vectors=self.vectors),
                    apply_symmetry(targets, element, vectors=self.target_vectors),
                )
            )
        return torch.stack([x for x, _ in drawn]), torch.stack([y for _, y in drawn])

    def __iter__(self) -> Iterator[Pair]:
        """Yield the batches from `start` on, two of them made ahead in a thread."""
        ahead: queue.Queue[Pair | BaseException | None] = queue.Queue(maxsize=2)
        stop = threading.Event()

        def put(item: Pair | BaseException | None) -> None:
            while not stop.is_set():
                try:
                    ahead.put(item, timeout=0.2)
                    return
                except queue.Full:
                    continue

        def produce() -> None:
            try:
                for step in range(self.start, self.steps):
                    if stop.is_set():
                        return
                    put(self.batch(step))
                put(None)
            except BaseException as error:  # raised again where the batches are used
                put(error)

        thread = threading.Thread(target=produce, name="peculiar-crops", daemon=True)
        thread.start()
        try:
            while (item := ahead.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            stop.set()
            thread.join()


class WholeBoxes(Dataset[tuple[torch.Tensor, torch.Tensor, float, bool]]):
    """Whole boxes, one at a time, with the factor that turns Mpc/h into km/s, and whether they are periodic."""

    def __init__(self, pairs: Sequence[TrainingPair]) -> None:
        self.pairs = tuple(pairs)

    def __len__(self) -> int:
        """Return the number of boxes."""
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor, float, bool]:
        """Return inputs (channel, n, n, n), targets (channel, n, n, n), a H f, and whether opposite faces are one."""
        pair = self.pairs[index]
        return *pair.crop((0, 0, 0), 0), pair.velocity_factor, pair.periodic
