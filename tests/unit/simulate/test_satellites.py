"""Satellites: exact numbers, real members, mass function, seeds and errors."""

from dataclasses import replace

import numpy as np
import pytest

from peculiar.core.errors import InputError
from peculiar.simulate.halos import Halos
from peculiar.simulate.satellites import Galaxies, Members, draw_satellites, sample_members

SIZE = 100.0
PARTICLE_MASS = 1e10


@pytest.fixture(scope="module")
def snapshot() -> tuple[Halos, np.ndarray, np.ndarray]:
    """800 halos of power-law mass, their particles shuffled; the first lies across three edges."""
    rng = np.random.default_rng(0)
    counts = np.sort(np.minimum(12 * (1 + rng.pareto(1.0, 800)), 4000))[::-1].astype(np.int32)
    centres = rng.uniform(0.0, SIZE, (800, 3))
    centres[0] = [0.01, 99.99, 0.0]
    bulk = rng.normal(0.0, 300.0, (800, 3)).astype(np.float32)
    host = np.repeat(np.arange(800), counts)
    positions = np.mod(centres[host] + rng.normal(0.0, 0.3, (len(host), 3)), SIZE).astype(np.float32)
    velocities = (bulk[host] + rng.normal(0.0, 400.0, (len(host), 3))).astype(np.float32)
    place = rng.permutation(len(host))
    shuffled = np.argsort(place)
    halos = Halos(
        positions=centres.astype(np.float32),
        velocities=bulk,
        masses=counts * PARTICLE_MASS,
        counts=counts,
        members=place.astype(np.int64),
        offsets=np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]),
    )
    return halos, positions[shuffled], velocities[shuffled]


@pytest.fixture(scope="module")
def members(snapshot) -> Members:
    halos, positions, velocities = snapshot
    return sample_members(halos, positions, velocities, box_size=SIZE, seed=1)


def draw(snapshot, members, **settings) -> Galaxies:
    defaults = {"box_size": SIZE, "fraction": 0.3, "number": 600, "seed": 2}
    return draw_satellites(snapshot[0].without_members(), members, **defaults | settings)


def arrays_equal(one, two) -> bool:
    return all(np.array_equal(getattr(one, name), getattr(two, name)) for name in one.__dataclass_fields__)


def test_sample_holds_members_of_each_halo_once(snapshot, members):
    halos, positions, velocities = snapshot
    ratio = np.floor(halos.masses / halos.masses.min())
    expected = np.minimum(np.clip(ratio, 4, 512), halos.counts)
    assert np.array_equal(np.bincount(members.host, minlength=len(halos)), expected)
    assert members.displacements.dtype == members.velocities.dtype == np.float16
    for i in (0, 400, 799):
        rows = members.host == i
        own = halos.members[halos.offsets[i] : halos.offsets[i + 1]]
        speed = halos.velocities[i] + members.velocities[rows].astype(float)
        gap = np.linalg.norm(speed[:, None] - velocities[own], axis=-1)
        found = gap.argmin(axis=1)
        assert gap.min(axis=1).max() < 2.0
        assert len(np.unique(found)) == rows.sum()
        offset = positions[own[found]] - halos.positions[i] - members.displacements[rows].astype(float)
        assert np.abs(offset - SIZE * np.rint(offset / SIZE)).max() < 2e-3
    assert np.abs(members.displacements).max() < 3.0


def test_sample_is_bounded_and_seeded(snapshot):
    halos, positions, velocities = snapshot

    def sample(**settings):
        return sample_members(halos, positions, velocities, box_size=SIZE, **{"seed": 1} | settings)

    assert np.bincount(sample(fewest=2, most=5).host).max() == 5
    assert np.bincount(sample(fewest=2, per_mass=0.0).host).tolist() == [2] * 800
    assert np.array_equal(np.bincount(sample(fewest=9999, most=9999).host), halos.counts)
    assert arrays_equal(sample(), sample())
    assert not arrays_equal(sample(), sample(seed=3))


@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.35])
@pytest.mark.parametrize("number", [3, 601, 800])
def test_number_and_fraction_are_exact(snapshot, members, fraction, number):
    galaxies = draw(snapshot, members, fraction=fraction, number=number)
    assert len(galaxies) == number
    assert galaxies.is_satellite.sum() == round(fraction * number)
    assert (np.diff(galaxies.masses) <= 0).all()
    assert galaxies.positions.dtype == galaxies.velocities.dtype == np.float32
    assert galaxies.positions.min() >= 0.0
    assert galaxies.positions.max() < SIZE


def test_centrals_are_the_most_massive_halos(snapshot, members):
    halos = snapshot[0]
    galaxies = draw(snapshot, members)
    central = ~galaxies.is_satellite
    assert galaxies.host[central].tolist() == list(range(420))
    np.testing.assert_array_equal(galaxies.masses[central], halos.masses[:420])
    np.testing.assert_array_equal(galaxies.positions[central], halos.positions[:420])
    np.testing.assert_array_equal(galaxies.velocities[central], halos.velocities[:420])


def test_satellites_lie_in_their_hosts_below_their_masses(snapshot, members):
    halos = snapshot[0]
    galaxies = draw(snapshot, members)
    satellite = galaxies.is_satellite
    host = galaxies.host[satellite]
    assert host.max() < 420
    assert (galaxies.masses[satellite] <= halos.masses[host]).all()
    assert (galaxies.masses[satellite] >= halos.masses[419]).all()
    offset = galaxies.positions[satellite] - halos.positions[host]
    offset -= SIZE * np.rint(offset / SIZE)
    relative = galaxies.velocities[satellite] - halos.velocities[host]
    assert 0.25 < offset.std() < 0.35
    assert 350.0 < relative.std() < 450.0
    assert len(np.unique(relative, axis=0)) == len(host)


def test_hosts_are_drawn_by_mass_to_the_alpha(snapshot):
    halos, positions, velocities = snapshot
    full = sample_members(halos, positions, velocities, box_size=SIZE, seed=1, fewest=9999, most=9999)
    draws = [
        draw((halos,), full, fraction=0.2, number=500, seed=s, alpha=a) for a in (0.5, 1.0) for s in range(60)
    ]
    for alpha, group in zip((0.5, 1.0), (draws[:60], draws[60:]), strict=True):
        hosts = np.concatenate([g.host[g.is_satellite] for g in group])
        expected = halos.masses[:400] ** alpha / np.sum(halos.masses[:400] ** alpha) * len(hosts)
        bins = np.array([0, 3, 10, 40, 150])
        got = np.add.reduceat(np.bincount(hosts, minlength=400), bins)
        want = np.add.reduceat(expected, bins)
        assert (np.abs(got - want) < 5.0 * np.sqrt(want)).all()


def test_subhalo_masses_follow_the_published_slope(snapshot):
    halos = snapshot[0]
    two = replace(
        halos.without_members(),
        positions=halos.positions[:2],
        velocities=halos.velocities[:2],
        masses=np.array([1e14, 1e12]),
        counts=np.array([20000, 200], np.int32),
        offsets=np.zeros(3, np.int64),
    )
    host = np.zeros(20000, np.int32)
    members = Members(np.zeros((20000, 3), np.float16), np.zeros((20000, 3), np.float16), host)
    # 19998 satellites and the 2 centrals; every satellite lives in the first halo, 100 times the threshold.
    galaxies = draw_satellites(two, members, box_size=SIZE, fraction=0.9999, number=20000, seed=0)
    mu = galaxies.masses[galaxies.is_satellite] / 1e14
    for threshold in (0.02, 0.05, 0.2):
        above = (threshold**-0.9 - 1.0) / (0.01**-0.9 - 1.0)
        assert abs((mu > threshold).mean() - above) < 5.0 * np.sqrt(above / len(mu))
    assert mu.min() >= 0.01
    assert mu.max() <= 1.0


def test_full_hosts_pass_satellites_on(snapshot, members):
    few = sample_members(*snapshot, box_size=SIZE, seed=1, fewest=1, per_mass=0.0)
    galaxies = draw(snapshot, few, fraction=0.49, number=600)
    assert galaxies.is_satellite.sum() == 294
    assert np.bincount(galaxies.host[galaxies.is_satellite]).max() == 1


def test_seed_fixes_the_catalogue(snapshot, members):
    assert arrays_equal(draw(snapshot, members), draw(snapshot, members))
    assert not arrays_equal(draw(snapshot, members), draw(snapshot, members, seed=3))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"box_size": 0.0}, "box_size must be > 0 Mpc/h, got 0.0"),
        ({"fraction": 1.0}, r"fraction must be in \[0, 1\), got 1.0"),
        ({"fraction": -0.1}, r"fraction must be in \[0, 1\), got -0.1"),
        ({"fraction": float("nan")}, r"fraction must be in \[0, 1\), got nan"),
        ({"number": 0}, "number must be >= 1, got 0"),
        ({"number": 5000}, "number must leave 1 to 800 centrals"),
        ({"number": 1, "fraction": 0.9}, "number must leave 1 to 800 centrals"),
        ({"fraction": 0.999}, "fraction must ask for at most the"),
        ({"alpha": float("inf")}, "alpha must be finite, got inf"),
    ],
)
def test_bad_draws_are_named(snapshot, members, change, message):
    with pytest.raises(InputError, match=message):
        draw(snapshot, members, **({"number": 20000} if change == {"fraction": 0.999} else {}) | change)


def test_how_much_lower_a_density_must_be_is_told(snapshot, members):
    for number, fraction, words in ((1600, 0.0, "at most 0.5 of what it is"), (1, 0.9, "larger")):
        with pytest.raises(InputError) as found:
            draw(snapshot, members, number=number, fraction=fraction)
        assert found.value.command.endswith(f"change --satellites, or make --number-density {words}")


def test_too_many_satellites_are_told_by_the_option(snapshot, members):
    with pytest.raises(InputError) as found:
        draw(snapshot, members, number=20000, fraction=0.999)
    assert found.value.command.startswith("--satellites must ask for at most the")


def test_members_of_other_halos_are_refused(snapshot, members):
    foreign = replace(members, host=members.host + np.int32(1))
    with pytest.raises(InputError, match="members must be sampled from these 800 halos, got host 800"):
        draw(snapshot, foreign)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"box_size": -1.0}, "box_size must be > 0 Mpc/h, got -1.0"),
        ({"fewest": 0}, "fewest must be >= 1 and <= most, got 0 and 512"),
        ({"fewest": 9, "most": 8}, "fewest must be >= 1 and <= most, got 9 and 8"),
        ({"per_mass": -1.0}, "per_mass must be >= 0, got -1.0"),
    ],
)
def test_bad_samples_are_named(snapshot, change, message):
    with pytest.raises(InputError, match=message):
        sample_members(*snapshot, **{"box_size": SIZE, "seed": 0} | change)


def test_sampling_needs_the_members_and_their_particles(snapshot):
    halos, positions, velocities = snapshot
    with pytest.raises(InputError, match="halos must carry their"):
        sample_members(halos.without_members(), positions, velocities, box_size=SIZE, seed=0)
    with pytest.raises(InputError, match="positions must be the particles the halos were found in, got 100"):
        sample_members(halos, positions[:100], velocities[:100], box_size=SIZE, seed=0)
    with pytest.raises(InputError, match="velocities must be one per position"):
        sample_members(halos, positions, velocities[:100], box_size=SIZE, seed=0)
    with pytest.raises(InputError, match="positions must be finite Mpc/h, got 1 rows"):
        sample_members(
            halos,
            np.where(np.arange(len(positions))[:, None] == 5, np.nan, positions),
            velocities,
            box_size=SIZE,
            seed=0,
        )
