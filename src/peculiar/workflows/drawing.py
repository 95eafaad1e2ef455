"""Draws of a reconstruction on their way to files, one after the other in the memory of one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from peculiar.core import Box, InputError, Reconstructor
from peculiar.fields.files import save_fields
from peculiar.inference.draws import draw_path, draws, require_draws, residuals_of
from peculiar.inference.object_draws import ObjectSums
from peculiar.inference.query_result import Unseen
from peculiar.inference.reconstruction import Reconstruction
from peculiar.workflows.field_files import FIELD_BYTES

DRAW_COLUMN = "v_los_draw_"


@dataclass(frozen=True)
class DrawOptions:
    """How many draws are written beside the fields; see `peculiar.draws`.

    Parameters
    ----------
    draws : int
        0 for none.
    seed : int, optional
        Of the draws; 0 where not given.

    Raises
    ------
    InputError
        If a number is out of range, or a seed is given without draws.
    """

    draws: int = 0
    seed: int | None = None

    def __post_init__(self) -> None:
        if self.draws != 0:
            require_draws(self.draws, seed=self._seed)
        elif self.seed is not None:
            raise InputError(
                f"seed must come with draws, got seed={self.seed!r} and draws=0: give draws=20, or leave seed out",
                command=f"--seed must come with --draws, got --seed {self.seed} alone: give --draws 20, or leave "
                "it out",
            )

    def __bool__(self) -> bool:
        return self.draws > 0

    @property
    def _seed(self) -> int:
        return 0 if self.seed is None else self.seed

    @property
    def columns(self) -> tuple[str, ...]:
        """Of tables of objects."""
        return tuple(f"{DRAW_COLUMN}{index:03d}" for index in range(self.draws))

    @property
    def settings(self) -> dict[str, int]:
        """For the provenance of what is written."""
        return {"draws": self.draws, "draw_seed": self._seed} if self else {}

    def space(self, mesh: Box) -> int:
        """Return the bytes that fields on a mesh take with their draws."""
        return FIELD_BYTES * (1 + self.draws) * mesh.cell_count

    def require_mean(self, amplitude: str) -> None:
        """Raise InputError where there can be none about velocities of such an amplitude."""
        if self and amplitude != "mean":
            raise InputError(
                f"draws must be about the posterior mean, got amplitude={amplitude!r}: leave it out",
                command=f"--draws must be about the posterior mean, got --amplitude {amplitude}: leave it out",
            )

    def require(self, reconstructor: Reconstructor) -> None:
        """Raise InputError where there can be none of a model's fields."""
        if self and residuals_of(reconstructor) is None:
            rule = "draws must be of a model that knows what it leaves"
            raise InputError(
                f"{rule}, got {reconstructor.name!r}: take 'general' or 'wiener'",
                command=f"{rule}, got {reconstructor.name!r}: give --model general or --model wiener",
            )

    def save(
        self,
        made: Reconstruction,
        directory: Path,
        *,
        positions: Float[np.ndarray, "n 3"] | None = None,
        unseen: Unseen = "keep",
    ) -> dict[str, Float[np.ndarray, " n"]]:
        """Write draws into a directory of fields, one after the other.

        Parameters
        ----------
        made : Reconstruction
            What they are about.
        directory : path
            zarr, of its fields.
        positions : (n, 3) [Mpc/h], optional
            Of objects that are asked for.
        unseen : "keep" or "nan"
            Whether they have draws where a survey saw nothing.

        Returns
        -------
        dict of (n,)
            `columns` of the objects [km/s].
        """
        if not self:
            return {}
        gathered = None if positions is None else ObjectSums(made, positions, seed=self._seed)
        for index, draw in enumerate(draws(made, self.draws, seed=self._seed)):
            save_fields(draw_path(directory, index), draw.items(), draw.attributes())
            if gathered is not None:
                gathered.add(draw)
        if gathered is None:
            return {}
        found = gathered.result()
        if unseen == "nan" and found.unseen is not None:
            found.v_los[:, found.unseen] = np.nan
        return dict(zip(self.columns, found.v_los, strict=True))
