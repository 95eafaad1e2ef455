"""What reconstructions of tracers are judged on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from peculiar.core import Catalogue, Field
from peculiar.evaluation.record import fraction_name
from peculiar.simulate.mocks import SimulatedBox


@dataclass(frozen=True, eq=False)
class TracerCase:
    """A simulated box with its tracers at one satellite fraction, as observed and in real space."""

    simulated: SimulatedBox
    fraction: float
    observed: Catalogue
    real: Catalogue
    truth: Mapping[str, Field]
    first: bool  # fraction of its box

    @property
    def sample(self) -> str:
        """Name of the fraction."""
        return fraction_name(self.fraction)

    @property
    def box(self) -> str:
        """File of the box."""
        return self.simulated.path.name
