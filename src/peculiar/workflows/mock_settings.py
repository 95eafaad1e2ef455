"""What mocks are made of: patterns of redshift space, objects, and their numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from peculiar.core import InputError
from peculiar.core.limits import require_density, require_seeds

Pattern = Literal["survey", "axis", "centre", "random"]
PATTERNS: tuple[Pattern, ...] = ("survey", "axis", "centre", "random")
CUBE = 300.0  # Mpc/h, of Wang et al. 2024
SATELLITES = 0.25
"""Share of satellites in a sample chosen by mass, where none is given."""


@dataclass(frozen=True)
class MockSettings:
    """What is observed, and how.

    Parameters
    ----------
    pattern : "survey", "axis", "centre" or "random"
        A survey on the sky; or a cube with the three patterns of redshift space of Wang et al. (2024, section 3): along
        z, radial from its centre, radial from a random observer in the box.
    choice : "massive" or "random"
        The most massive objects, or halos at random.
    number_density : float, optional
        Largest n(r) of a survey, its own where not given; density of a cube [(h/Mpc)^3], all halos where not given.
    satellites : float, optional
        Share of satellites among "massive" objects; 0.25 where not given.
    least_mass : float
        Of halos chosen at "random" [Msun/h].
    masses : bool
        Whether catalogues have a column "mass" that readers use.
    cube : float, optional
        Side of a cube [Mpc/h]; 300 where not given.
    seed : int
        Of places, observers and objects; the boxes' seeds are mixed with it.
    light_cone : bool
        A survey of a run of several epochs: at each distance it sees the nearest epoch, and the box repeats.
    randoms : float, optional
        Random points of a survey, times the mean number of its objects; 10 on a light cone, else 0, where not given.

    Raises
    ------
    InputError
        If a setting is out of range, or belongs to another pattern or choice.
    """

    pattern: Pattern = "survey"
    choice: Literal["massive", "random"] = "massive"
    number_density: float | None = None
    satellites: float | None = None
    least_mass: float = 0.0
    masses: bool = False
    cube: float | None = None
    seed: int = 0
    light_cone: bool = False
    randoms: float | None = None

    def __post_init__(self) -> None:
        if self.pattern not in PATTERNS:
            raise InputError(f"pattern must be one of {', '.join(PATTERNS)}, got {self.pattern!r}")
        if self.choice not in ("massive", "random"):
            raise InputError(f"choice must be massive or random, got {self.choice!r}")
        require_density(self.number_density)
        if self.choice == "massive" and self.least_mass:
            raise InputError(
                "least mass must not be given for massive objects, which the number density limits, got "
                f"{self.least_mass:g}: choose halos at random (--choice random)"
            )
        if self.choice == "random" and self.satellites:
            raise InputError(
                f"satellites must not be given for halos at random, got {self.satellites:g}: give --choice massive"
            )
        require_seeds([self.seed], name="seed")
        if not 0 <= self.satellite_fraction < 1 or not self.least_mass >= 0:
            raise InputError(
                "satellites must lie in [0, 1) and least mass be >= 0, got "
                f"{self.satellite_fraction:g} and {self.least_mass:g}"
            )
        if self.pattern == "survey" and self.cube is not None:
            raise InputError(f"cube must not be given for a survey, got {self.cube:g}: give --pattern axis")
        if self.pattern != "survey" and self.choice == "massive" and self.number_density is None:
            raise InputError("massive objects in a cube need --number-density, got none")
        if self.pattern != "survey" and (self.light_cone or self.randoms is not None):
            raise InputError(
                f"light cone and randoms must not be given for a cube, got pattern {self.pattern}: observe a survey"
            )
        if not 0 <= self.random_share < math.inf:
            raise InputError(
                f"randoms must be >= 0 times the objects, got {self.random_share:g}: 10 are usual"
            )

    @property
    def satellite_fraction(self) -> float:
        """The share of satellites, whether given or not."""
        if self.satellites is not None:
            return self.satellites
        return SATELLITES if self.choice == "massive" else 0.0

    @property
    def random_share(self) -> float:
        """Random points times objects, whether given or not."""
        return float(10 * self.light_cone) if self.randoms is None else self.randoms
