"""Cubes that are observed anew in every step of a training, so that no two steps see the same."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from peculiar.core.catalogue import Catalogue
from peculiar.fields.symmetry import symmetries
from peculiar.simulate.mocks import SimulatedBox
from peculiar.simulate.regions import box_tracers
from peculiar.training.cache import MakeInputs
from peculiar.training.dataset import Pair
from peculiar.training.survey_cubes import SurveyVariant, cube_targets, observe_cube


@dataclass(frozen=True, eq=False)
class FreshCubes:
    """All cubes of one box in one variant: the box is turned at random, and observed at a random place.

    The box's objects and fields stay in memory: 60 bytes for each object and 16 for each cell.

    Parameters
    ----------
    simulated : SimulatedBox
    variant : SurveyVariant
    make_inputs : callable
        From a catalogue, cells and a cosmology to input channels.
    expected : slice, optional
        As in `peculiar.training.survey_cubes.cached_cubes`.
    """

    simulated: SimulatedBox
    variant: SurveyVariant
    make_inputs: MakeInputs
    expected: slice | None = None
    periodic = False

    @property
    def cells(self) -> int:
        """Cells along a side of a cube, with its margin."""
        return self.variant.mesh

    @cached_property
    def _tracers(self) -> Catalogue:
        return box_tracers(self.simulated, self.variant.tracers(), seed=self.simulated.seed)

    def draw(self, random: np.random.Generator, size: int) -> Pair:
        """Observe a cube and cut a smaller one out of it; size 0 takes all.

        Returns
        -------
        inputs, targets : float32 tensors (channel, size, size, size).
        """
        elements = symmetries()
        mock = observe_cube(
            self.simulated,
            self.variant,
            number=int(random.integers(2**31)),
            tracers=self._tracers,
            places="random",
            turn=elements[random.integers(len(elements))],
        )
        inputs = self.make_inputs(mock.catalogue, self.cells, self.simulated.cosmology)
        targets = cube_targets(self.simulated, mock, None if self.expected is None else inputs[self.expected])
        size = size or self.cells
        x, y, z = (slice(start, start + size) for start in random.integers(self.cells - size + 1, size=3))
        return inputs[:, x, y, z].float(), targets[:, x, y, z].float()
