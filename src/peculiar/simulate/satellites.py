"""Galaxy-like catalogues from halos: centrals by abundance, satellites on member particles.

A satellite takes the position and velocity of a random particle of its host, so its velocity dispersion
inside the halo (the finger of God) is the simulation's own. Only the halos and a bounded sample of their
members are needed, so the particles need not be kept.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from peculiar.core.errors import InputError
from peculiar.simulate.halos import Halos, particle_array, wrap

# Slope of the subhalo mass function, dN/dm ~ m**-1.9 (Springel et al. 2008, MNRAS 391, 1685; also Gao et al.
# 2004, MNRAS 355, 819).
SUBHALO_SLOPE = -1.9


@dataclass(frozen=True)
class Members:
    """A bounded random sample of the member particles of halos, 16 bytes each.

    Attributes
    ----------
    displacements : (m, 3) float16
        Position minus the centre of mass of the halo, in Mpc/h, across the periodic edge where needed.
    velocities : (m, 3) float16
        Velocity minus the bulk velocity of the halo, in km/s. Half precision keeps 0.05 per cent of both.
    host : (m,) int32
        Index of the halo, ascending.
    """

    displacements: NDArray[np.float16]
    velocities: NDArray[np.float16]
    host: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.host)


@dataclass(frozen=True)
class Galaxies:
    """Centrals and satellites of one periodic box, the highest mass first.

    Attributes
    ----------
    positions : (n, 3) float32
        Mpc/h, in [0, box size).
    velocities : (n, 3) float32
        Peculiar velocities in km/s.
    masses : (n,) float64
        The property to rank by, in Msun/h: the halo mass of a central, the subhalo mass of a satellite.
    is_satellite : (n,) bool
    host : (n,) int32
        Index of the halo that a galaxy lives in.
    """

    positions: NDArray[np.float32]
    velocities: NDArray[np.float32]
    masses: NDArray[np.float64]
    is_satellite: NDArray[np.bool_]
    host: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.masses)


def sample_members(
    halos: Halos,
    positions: ArrayLike,
    velocities: ArrayLike,
    *,
    box_size: float,
    seed: int,
    fewest: int = 4,
    per_mass: float = 1.0,
    most: int = 512,
) -> Members:
    """Random member particles of every halo, enough to draw satellites without the particles later.

    A halo of mass M keeps ``max(fewest, per_mass * M / M_min)`` of its members, `most` at most (all, if it
    has fewer); M_min is the smallest halo mass. The defaults leave room for satellite fractions up to 0.35
    with hosts weighted by mass, at five to ten members per halo.

    Parameters
    ----------
    halos : Halos
        With their members, as `friends_of_friends` returns them.
    positions, velocities : (n, 3)
        The particles the halos were found in, Mpc/h and km/s.
    box_size : float
        Mpc/h.
    seed : int
        Same seed, same sample.
    fewest, most : int
        Bounds on the members kept per halo.
    per_mass : float
        Members kept per smallest halo mass.

    Raises
    ------
    InputError
        When the halos carry no members, the particles are not theirs, or a parameter is out of range.
    """
    size = _box_size(box_size)
    x = particle_array(positions, "positions", "Mpc/h")
    v = particle_array(velocities, "velocities", "km/s")
    if len(x) != len(v):
        raise InputError(
            f"velocities must be one per position, got {len(v)} for {len(x)} positions: pass matching arrays"
        )
    if not 1 <= fewest <= most:
        raise InputError(f"fewest must be >= 1 and <= most, got {fewest} and {most}: 4 and 512 are usual")
    if not (np.isfinite(per_mass) and per_mass >= 0):
        raise InputError(f"per_mass must be >= 0, got {per_mass}: 1 is usual")
    if len(halos.members) != int(halos.counts.sum(dtype=np.int64)):
        raise InputError(
            f"halos must carry their {halos.counts.sum(dtype=np.int64)} members, got {len(halos.members)}: "
            "sample before without_members()"
        )
    if len(halos.members) and int(halos.members.max()) >= len(x):
        raise InputError(
            f"positions must be the particles the halos were found in, got {len(x)} with member "
            f"{halos.members.max()} asked for: pass the same snapshot"
        )
    if len(halos) == 0:
        return Members(np.empty((0, 3), np.float16), np.empty((0, 3), np.float16), np.empty(0, np.int32))

    share = np.floor(per_mass * halos.masses / halos.masses.min())
    wanted = np.minimum(np.clip(share, fewest, most), halos.counts).astype(np.int64)
    owner = np.repeat(np.arange(len(halos), dtype=np.int32), halos.counts)
    rows = _choose(owner, wanted, np.random.default_rng(seed))
    host = owner[rows]
    chosen = halos.members[rows]
    offset = x[chosen].astype(np.float64) - halos.positions[host]
    offset -= size * np.rint(offset / size)
    relative = v[chosen] - halos.velocities[host]
    return Members(offset.astype(np.float16), relative.astype(np.float16), host)


def count_galaxies(halos: Halos, members: Members, *, fraction: float, number: int) -> tuple[int, int]:
    """Return how many of a number of galaxies are centrals and satellites, where halos and members suffice for them.

    Parameters, errors : as in `draw_satellites`
    """
    if not 0.0 <= fraction < 1.0:
        raise InputError(f"fraction must be in [0, 1), got {fraction}: galaxy samples have 0 to 0.35")
    if number < 1:
        raise InputError(f"number must be >= 1, got {number}: ask for at least one galaxy")
    satellites = round(fraction * number)
    centrals = number - satellites
    if not 1 <= centrals <= len(halos):
        problem = f"number must leave 1 to {len(halos)} centrals (one per halo), got {number} with {centrals}"
        raise InputError(
            f"{problem}: change number or fraction, or find smaller halos",
            command=f"{problem}: change --satellites, or make --number-density "
            + (f"at most {len(halos) / centrals:.3g} of what it is" if centrals else "larger"),
        )
    if len(members) and int(members.host[-1]) >= len(halos):
        raise InputError(
            f"members must be sampled from these {len(halos)} halos, got host {members.host[-1]}: "
            "pass the halos they came from"
        )
    room = int(np.count_nonzero(members.host < centrals))
    if room < satellites:
        rule = f"must ask for at most the {room} members that the box holds of these halos, got"
        raise InputError(
            f"fraction {rule} {fraction} ({satellites} satellites): lower it or store more in sample_members",
            command=f"--satellites {rule} {fraction:g} ({satellites} satellites): lower it",
        )
    return centrals, satellites


def draw_satellites(
    halos: Halos,
    members: Members,
    *,
    box_size: float,
    fraction: float,
    number: int,
    seed: int,
    alpha: float = 1.0,
) -> Galaxies:
    """Catalogue of exactly `number` galaxies, ``round(fraction * number)`` of them satellites.

    The centrals are the most massive halos. Satellites are shared among those halos with probability
    proportional to ``(M / M_min)**alpha``, the power law of satellite numbers (Kravtsov et al. 2004, ApJ 609,
    35), never more than the stored members of a host: what does not fit is drawn again among the other hosts.
    A satellite takes a member's position and velocity, each member once, and a mass from dN/dm ~ m**-1.9
    (Springel et al. 2008) between the least massive central and its host, so that ranks mean the same for both.

    Parameters
    ----------
    halos : Halos
        Their member lists are not used.
    members : Members
        From `sample_members` of the same halos.
    box_size : float
        Mpc/h.
    fraction : float
        Of satellites, in [0, 1).
    number : int
        Of galaxies, >= 1.
    seed : int
        Same seed, same catalogue.
    alpha : float
        Slope of the number of satellites with host mass.

    Returns
    -------
    Galaxies
        Descending in mass; at equal mass centrals come first, then in halo order.

    Raises
    ------
    InputError
        When a parameter is out of range, or the halos or their stored members are too few.
    """
    size = _box_size(box_size)
    if not np.isfinite(alpha):
        raise InputError(f"alpha must be finite, got {alpha}: 1 is usual")
    centrals, satellites = count_galaxies(halos, members, fraction=fraction, number=number)
    rng = np.random.default_rng(seed)
    masses = halos.masses[:centrals]
    room = np.bincount(members.host, minlength=len(halos))[:centrals]
    wanted = _share_out(satellites, (masses / masses[-1]) ** alpha, room, rng)
    rows = _choose(members.host[: room.sum()], wanted, rng)
    host = members.host[rows]
    positions = halos.positions[host].astype(np.float64) + members.displacements[rows]
    velocities = halos.velocities[host] + members.velocities[rows].astype(np.float32)
    satellite_masses = _subhalo_masses(masses[host], masses[-1], rng)

    mass = np.concatenate([masses, satellite_masses])
    rank = np.argsort(-mass, kind="stable")
    return Galaxies(
        positions=np.concatenate([halos.positions[:centrals], wrap(positions, size)])[rank],
        velocities=np.concatenate([halos.velocities[:centrals], velocities])[rank],
        masses=mass[rank],
        is_satellite=rank >= centrals,
        host=np.concatenate([np.arange(centrals, dtype=np.int32), host])[rank],
    )


def _box_size(value: float) -> float:
    if not (np.isfinite(value) and value > 0):
        raise InputError(f"box_size must be > 0 Mpc/h, got {value}: give the side of the periodic box")
    return float(value)


def _share_out(
    total: int, weights: NDArray[np.float64], room: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Multinomial draw of `total` among hosts by weight, never above the room of each; room suffices."""
    given = np.zeros(len(weights), np.int64)
    # Every round fills the hosts that overflowed, so a few rounds end it, and each places at least one.
    while (left := total - int(given.sum())) > 0:
        open_weights = np.where(given < room, weights, 0.0)
        given = np.minimum(given + rng.multinomial(left, open_weights / open_weights.sum()), room)
    return given


def _choose(
    owner: NDArray[np.int32], wanted: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Rows of `owner` (ascending), ``wanted[i]`` random ones of owner i without repetition, by owner."""
    rows = np.flatnonzero(wanted[owner] > 0)
    kept = owner[rows]
    order = np.lexsort((rng.random(len(rows)), kept))
    place = np.arange(len(rows)) - np.searchsorted(kept, kept)
    return rows[order[place < wanted[kept]]]


def _subhalo_masses(
    hosts: NDArray[np.float64], least: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """One mass per host from m**SUBHALO_SLOPE between `least` and the host's mass, by the inverse CDF."""
    power = SUBHALO_SLOPE + 1.0
    lower = (least / hosts) ** power
    u = rng.random(len(hosts))
    # u = 0 is the host's own mass in exact arithmetic; rounding must not lift it above.
    return np.clip(hosts * (1.0 + u * (lower - 1.0)) ** (1.0 / power), least, hosts)
