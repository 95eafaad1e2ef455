"""Groups of galaxies in redshift space: friends of friends with two linking lengths, and what each group is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import numpy as np
from jaxtyping import Bool, Float, Int
from pydantic import ConfigDict

from peculiar.catalogues.selection import RadialSelection
from peculiar.core import InputError
from peculiar.core.cosmology import SPEED_OF_LIGHT

_SHELL_RATIO = (
    1.25  # of linking lengths within a shell: pairs are searched with the largest, and most are linked
)


@dataclass(frozen=True)
class Linking:
    """Linking lengths, in units of the mean separation n(r)^(-1/3) of the galaxies at their distance.

    Parameters
    ----------
    perpendicular, parallel : float
        Across and along the line of sight. 0.14 and 0.75 are those of Berlind et al. (2006, ApJS 167, 1), chosen so
        that the multiplicity of groups of ten and more comes out right in mocks of SDSS.
    largest : float [comoving Mpc/h]
        The perpendicular length grows no further, nor the parallel one in proportion (Eke et al. 2004, MNRAS 348,
        866, take the same limit of 2 Mpc/h): where a survey is sparse, friends would be strangers.

    Raises
    ------
    InputError
        If a length is not positive.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")  # survey files are checked with it

    perpendicular: float = 0.14
    parallel: float = 0.75
    largest: float = 2.0

    def __post_init__(self) -> None:
        for name in ("perpendicular", "parallel", "largest"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise InputError(f"linking length {name} must be > 0, got {getattr(self, name)}")

    def separation(self, density: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        """Return the mean separation [Mpc/h] that the lengths are in units of, at number densities [(h/Mpc)^3]."""
        with np.errstate(divide="ignore"):
            wanted = np.asarray(density, dtype=np.float64) ** (-1 / 3)
        return np.minimum(wanted, self.largest / self.perpendicular)


@dataclass(frozen=True, eq=False)
class Groups:
    """Groups of galaxies; galaxies without friends are groups of one.

    Attributes
    ----------
    group : (n,)
        Each galaxy's group, 0 to m - 1; groups are in order of decreasing number of members.
    members : (m,)
    positions : (m, 3) [comoving Mpc/h]
        Centre: the mean direction and mean distance of the members.
    redshifts : (m,)
        Mean of the members.
    dispersions : (m,) [km/s]
        Velocity dispersion along the line of sight, at the group; NaN for a group of one.
    luminosities : (m,) or None
        Sum over the members.
    """

    group: Int[np.ndarray, " n"]
    members: Int[np.ndarray, " m"]
    positions: Float[np.ndarray, "m 3"]
    redshifts: Float[np.ndarray, " m"]
    dispersions: Float[np.ndarray, " m"]
    luminosities: Float[np.ndarray, " m"] | None = None

    def __len__(self) -> int:
        return len(self.members)

    @property
    def mass_proxy(self) -> Float[np.ndarray, " m"]:
        """What groups are ranked by: total luminosity where it is known, else the number of members."""
        return self.members.astype(np.float64) if self.luminosities is None else self.luminosities

    def collapsed(
        self, positions: Float[np.ndarray, "n 3"], *, observer: tuple[float, float, float] = (0.0, 0.0, 0.0)
    ) -> Float[np.ndarray, "n 3"]:
        """Return the galaxies' positions with each at its group's distance, in its own direction.

        Fingers of God are gone, the size of groups across the line of sight is kept.
        """
        separation = np.asarray(positions, dtype=np.float64) - np.asarray(observer)
        own = np.linalg.norm(separation, axis=1)
        common = np.linalg.norm(self.positions - np.asarray(observer), axis=1)[self.group]
        return np.asarray(observer) + separation * (common / np.maximum(own, 1e-10))[:, None]


def find_groups(
    positions: Float[np.ndarray, "n 3"],
    redshifts: Float[np.ndarray, " n"],
    *,
    n_of_r: RadialSelection,
    linking: Linking = Linking(),
    luminosities: Float[np.ndarray, " n"] | None = None,
    observer: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> Groups:
    """Find groups by friends of friends in redshift space (Huchra & Geller 1982, ApJ 257, 423).

    Two galaxies are friends where both their separation across the line of sight, (r_1 + r_2) sin(theta / 2), and that
    along it, abs(r_1 - r_2), are at most the linking lengths at their mean distance (Berlind et al. 2006). Groups are
    what friendships connect. The geometry is that of directions from the observer: nothing wraps around, and ra = 0 is
    a place like others.

    Parameters
    ----------
    positions : (n, 3) [comoving Mpc/h]
        In redshift space.
    redshifts : (n,)
    n_of_r : RadialSelection
        Mean density of the galaxies, which sets their mean separation.
    linking : Linking
    luminosities : (n,), optional
        In any unit; they are summed.
    observer : (3,) [Mpc/h]

    Returns
    -------
    Groups

    Raises
    ------
    InputError
        If a galaxy lies where `n_of_r` is 0, or shapes disagree.
    """
    positions, redshifts = np.asarray(positions, np.float64), np.asarray(redshifts, np.float64)
    if redshifts.shape != (len(positions),) or len(positions) == 0:
        raise InputError(
            f"redshifts must be one for each of the galaxies, got {redshifts.shape} for {len(positions)}"
        )
    separation = positions - np.asarray(observer)
    distance = np.linalg.norm(separation, axis=1)
    density = n_of_r.at(distance)
    if not (density > 0).all():
        raise InputError(
            f"galaxies must lie where n(r) > 0, {n_of_r.distances[0]:.4g} to {n_of_r.distances[-1]:.4g} Mpc/h, got "
            f"{int((density <= 0).sum())} of {len(density)} elsewhere: leave them out"
        )
    direction = separation / np.maximum(distance, 1e-10)[:, None]
    pairs = _friends(direction, distance, n_of_r, linking)
    return _groups(direction, distance, redshifts, luminosities, pairs, observer)


def _friends(
    direction: Float[np.ndarray, "n 3"],
    distance: Float[np.ndarray, " n"],
    n_of_r: RadialSelection,
    linking: Linking,
) -> Int[np.ndarray, "pair 2"]:
    """Return the pairs of friends, each once."""
    from scipy.spatial import cKDTree

    found = []
    for low, high in _shells(distance, n_of_r, linking):
        between = np.linspace(low, high, 65)
        largest = float(linking.separation(n_of_r.at(between)).max())
        # Both of a pair lie within half the parallel length of their mean distance, which lies in the shell.
        reach = linking.parallel * largest / 2
        near = np.flatnonzero((distance >= low - reach) & (distance <= high + reach))
        if len(near) < 2:
            continue
        tree = cKDTree(direction[near] * distance[near, None])
        radius = largest * math.hypot(linking.perpendicular, linking.parallel)
        pairs = near[tree.query_pairs(radius * (1 + 1e-6), output_type="ndarray")]
        first, second = pairs.T
        mean = (distance[first] + distance[second]) / 2
        length = linking.separation(n_of_r.at(mean))
        # The chord of two unit vectors is 2 sin(theta / 2).
        across = mean * np.linalg.norm(direction[first] - direction[second], axis=1)
        along = np.abs(distance[first] - distance[second])
        inside = (mean >= low) & ((mean < high) | (high >= distance.max()))
        linked = inside & (across <= linking.perpendicular * length) & (along <= linking.parallel * length)
        found.append(pairs[linked])
    return np.concatenate(found) if found else np.empty((0, 2), dtype=np.int64)


def _shells(
    distance: Float[np.ndarray, " n"], n_of_r: RadialSelection, linking: Linking
) -> list[tuple[float, float]]:
    """Cut the range of distances where the linking length changes by a quarter: one search radius serves each shell."""
    low, high = float(distance.min()), float(distance.max())
    grid = np.linspace(low, high, 2049)
    level = np.log(linking.separation(n_of_r.at(grid))) / math.log(_SHELL_RATIO)
    cuts = np.flatnonzero(np.diff(np.floor(level - level.min() + 0.5)) != 0)
    edges = [low, *grid[cuts + 1].tolist(), high]
    return [(a, b) for a, b in pairwise(edges) if b > a] or [(low, high)]


def _groups(
    direction: Float[np.ndarray, "n 3"],
    distance: Float[np.ndarray, " n"],
    redshifts: Float[np.ndarray, " n"],
    luminosities: Float[np.ndarray, " n"] | None,
    pairs: Int[np.ndarray, "pair 2"],
    observer: tuple[float, float, float],
) -> Groups:
    """Connect friends, number the groups by size, and sum up their members."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    n = len(distance)
    graph = coo_matrix((np.ones(len(pairs), dtype=np.int8), pairs.T), shape=(n, n))
    count, label = connected_components(graph, directed=False)
    size = np.bincount(label, minlength=count)
    rank = np.empty(count, dtype=np.int64)
    rank[np.argsort(-size, kind="stable")] = np.arange(count)
    group = rank[label]
    members = np.bincount(group, minlength=count)

    def total(values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " m"]:
        return np.bincount(group, weights=values, minlength=count)

    centre = np.stack([total(direction[:, axis]) for axis in range(3)], axis=1)
    centre /= np.linalg.norm(centre, axis=1, keepdims=True)
    mean = total(redshifts) / members
    velocity = SPEED_OF_LIGHT * (redshifts - mean[group]) / (1 + mean[group])
    return Groups(
        group=group,
        members=members,
        positions=np.asarray(observer) + centre * (total(distance) / members)[:, None],
        redshifts=mean,
        dispersions=gapper(velocity, group, members),
        luminosities=None if luminosities is None else total(np.asarray(luminosities, np.float64)),
    )


def gapper(
    velocities: Float[np.ndarray, " n"], group: Int[np.ndarray, " n"], members: Int[np.ndarray, " m"]
) -> Float[np.ndarray, " m"]:
    """Return the dispersion of each group by the gapper, which few members and outliers hurt little.

    sigma = sqrt(pi) / (N (N - 1)) sum_i i (N - i) g_i over the gaps g_i of the ordered velocities (Beers, Flynn &
    Gebhardt 1990, AJ 100, 32). NaN for groups of one.
    """
    order = np.lexsort((velocities, group))
    ordered, owner = velocities[order], group[order]
    starts = np.cumsum(members) - members
    place = np.arange(len(ordered)) - starts[owner]  # 0 to N - 1 within the group
    same: Bool[np.ndarray, " gap"] = owner[1:] == owner[:-1]
    number = members[owner[1:]]
    weight = np.where(same, place[1:] * (number - place[1:]), 0)
    total = np.bincount(owner[1:], weights=weight * np.diff(ordered) * same, minlength=len(members))
    several = members > 1
    return np.where(
        several, math.sqrt(math.pi) * total / np.where(several, members * (members - 1.0), 1.0), np.nan
    )
