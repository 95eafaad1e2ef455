"""Errors of the difference of two fields in `peculiar compare`, against their scatter over mocks, for docs/compare.md.

    python benchmarks/block_errors.py --mocks 100

Each mock is a linear flow with 2500 objects of 0.04 to 0.08 mag within 140 Mpc/h. The two fields are that flow and 0.6
of another one each, so that they err as coherently as flows do, and are equally good on average.
"""

from __future__ import annotations

import argparse

import numpy as np
from distances import look

from peculiar.core import PRESETS, Box, Field
from peculiar.core.cosmology import SPEED_OF_LIGHT
from peculiar.fields.calculus import displacement
from peculiar.fields.smooth import gaussian
from peculiar.simulate.distances import DistanceMockSettings, mock_distances
from peculiar.simulate.initial import linear_field
from peculiar.statistics.distances import DistanceSample, shell_correlation
from peculiar.statistics.resampling import Resampling, sky_blocks
from peculiar.statistics.velocity_fit import fit_velocities, radial_velocities

COSMOLOGY = PRESETS["xiao2024"]
BOX = Box(320.0, 32)
OBSERVER = (160.0, 160.0, 160.0)
SETTINGS = DistanceMockSettings(
    count=2500, observer=OBSERVER, modulus_error=(0.04, 0.08), sigma_v=150.0, cz_range=(1500.0, 14000.0)
)
SETS = 200


def flow(seed: int) -> tuple[Field, Field]:
    """Return velocity and overdensity, smoothed with 7 Mpc/h."""
    density = Field(linear_field(BOX, COSMOLOGY, seed=seed, redshift=0.0)[None], BOX, names=("density",))
    density = gaussian(density, 7.0)
    data = COSMOLOGY.velocity_factor(0.0) * displacement(density.data[0], BOX)
    return Field(data, BOX, names=("x", "y", "z"), unit="km/s", kind="vector"), density


def differences(seed: int) -> tuple[float, ...]:
    """Return the difference of r of two fields, its errors by blocks and by objects, and those of ln likelihood."""
    truth, density = flow(seed)
    mock = mock_distances(truth, density, SETTINGS, cosmology=COSMOLOGY, seed=seed)
    sample = DistanceSample(mock.directions, mock.redshift, mock.modulus, mock.modulus_error)
    cz = SPEED_OF_LIGHT * mock.redshift
    groups = (sky_blocks(mock.directions), np.arange(len(cz)))
    likelihoods, shells = [], []
    for wrong in (seed + 1000, seed + 2000):
        error, _ = flow(wrong)
        field = truth.replace(data=truth.data + 0.6 * error.data)
        sight = look(mock, field, density, observer=OBSERVER, cosmology=COSMOLOGY)
        fit = fit_velocities(sample, sight, external=False, bootstraps=0)
        velocities = radial_velocities(sample, sight, fit, cosmology=COSMOLOGY)
        edges = np.array([cz.min(), cz.max() + 1])
        likelihoods.append(fit.log_likelihoods)
        shells.append(
            [
                shell_correlation(
                    velocities, cz, edges=edges, sigma_v=fit.sigma_v, blocks=blocks, bootstraps=SETS
                )
                for blocks in groups
            ]
        )
    each = likelihoods[0] - likelihoods[1]
    r = [a.correlation[0] - b.correlation[0] for a, b in zip(*shells, strict=True)]
    r_errors = [(a.samples - b.samples).std() for a, b in zip(*shells, strict=True)]
    errors = [Resampling.draw(blocks, sets=SETS, seed=0).error_of_sum(each) for blocks in groups]
    return r[0], *r_errors, float(each.sum()), *errors


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mocks", type=int, default=100)
    found = np.array([differences(seed) for seed in range(parser.parse_args().mocks)])
    for name, part, digits in (("r", found[:, :3], 4), ("ln likelihood", found[:, 3:], 1)):
        print(
            f"{name}: scatter over mocks {part[:, 0].std():.{digits}f}, mean error by blocks "
            f"{part[:, 1].mean():.{digits}f}, by objects {part[:, 2].mean():.{digits}f}"
        )
