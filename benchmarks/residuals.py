"""What a model leaves of density and velocity in boxes that it did not learn from: the table that draws are made of.

    python benchmarks/residuals.py general runs/dense runs/wide --seeds 501 502

Each run has several redshifts. Of every box samples are drawn that differ in density, satellites and what is known of
masses; those of one cell size are put in order of the error that was expected, and the mean of each group is a row of
`peculiar.inference.residuals.Residuals`. The table goes into the card of the model (of a classical one into a file of
the package). The power of the log density, and how it goes together with the velocity, are found by drawing: until what
is drawn of the density has the power that was left of it.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from peculiar.core import Box, Catalogue, OutOfRangeWarning
from peculiar.core.output import atomic_output
from peculiar.fields.fourier import inverse_k_squared, k_squared, to_fourier, to_real, wavevectors
from peculiar.fields.objects import ERROR
from peculiar.inference.card_values import ResidualRow, Residuals
from peculiar.inference.draws import LEAST_DENSITY, residuals_path
from peculiar.inference.model_card import ModelCard, find_model, read_card
from peculiar.inference.residuals import UnitResiduals, drawn_density, on_modes
from peculiar.linear.reliability import linear_error
from peculiar.linear.spectra import Shells
from peculiar.simulate.mocks import SimulatedBox
from peculiar.simulate.runs import open_run, run_epochs
from peculiar.training.variants import chosen
from peculiar.workflows.reconstruct import CLASSICAL, make_reconstructor

EDGES = np.array([0.015, 0.045, 0.08, 0.12, 0.17, 0.24, 0.33, 0.46, 0.64, 0.9, 1.3])
LOG_DENSITY = (-1.5, -0.75, 0.0, 0.75, 1.5)
LARGEST_SCATTER = 1.2
LARGE = slice(1, 7)  # shells whose cross power is met
FASTER = 1.5  # than one to one: what is drawn changes less than the power of its logarithm
ROUNDS, EACH = 6, 1  # of drawing, and draws in each
GROUPS = 3  # of samples with one size of cells
SAMPLES = (  # (h/Mpc)^3, satellites, masses, thinned
    (3e-3, 0.0, True, False),
    (1e-3, 0.2, True, False),
    (5e-4, 0.0, True, False),
    (3e-4, 0.2, True, False),
    (1e-4, 0.2, True, False),
    (3e-3, 0.2, False, False),
    (1e-3, 0.0, False, True),
    (3e-4, 0.0, False, True),
)


def samples(box: SimulatedBox, *, step: int) -> Iterator[Catalogue]:
    """Yield some of `SAMPLES` of a box: those that it holds, and of these every second from a step on."""
    volume = box.box.volume
    held = [one for one in SAMPLES if 1000 <= one[0] * volume <= len(box.halos)]
    for density, satellites, masses, thinned in held[step % 2 :: 2]:
        top = min(4e-3, len(box.halos) / volume)
        catalogue = box.catalogue(top if thinned else density, satellite_fraction=satellites, seed=7)
        if thinned:
            rows = np.random.default_rng(3).permutation(len(catalogue))[: round(density * volume)]
            catalogue = chosen(catalogue, rows)
        yield catalogue if masses else catalogue.replace(masses=None)


class Left:
    """What is left of a sample: answer and truth, velocities over a H f [Mpc/h], densities as 1 + delta."""

    def __init__(
        self,
        box: Box,
        *,
        density: torch.Tensor,
        velocity: torch.Tensor,
        told: torch.Tensor | None,
        level: float,
        true_density: torch.Tensor,
        true_velocity: torch.Tensor,
    ) -> None:
        self.box, self.shells = box, Shells.of(box, EDGES)
        self.k = tuple(np.sqrt(EDGES[1:] * EDGES[:-1]).tolist())
        self.waves, self.k2 = wavevectors(box, odd=True), k_squared(box, odd=True)
        self.density, self.truth = density, true_density
        modes, true = to_fourier(density), to_fourier(true_density)
        slope_density = self.filled((self.mean(modes, true) / self.mean(modes, modes)).clip(0))
        self.mean_density = self.sloped(density - 1, slope_density).add(1).clamp(min=LEAST_DENSITY)
        self.mean_density /= self.mean_density.mean()
        modes, true = to_fourier(velocity), to_fourier(true_velocity)
        slope_velocity = self.filled((self.means(modes, true) / self.means(modes, modes)).clip(0))
        left = true_velocity - self.sloped(velocity, slope_velocity)
        error = float(left.square().mean().sqrt())
        shape = torch.full(density.shape, error) if told is None else told * (error / level)
        unit = to_fourier(left / shape)
        self.convergence = self.converging(unit)
        power = self.mean(self.convergence, self.convergence)
        potential = self.convergence * inverse_k_squared(box, odd=True).sqrt()
        along = self.mean(potential, potential)
        rotation = np.maximum((self.means(unit, unit) - along) / 2, 1e-3 * along)
        of_rotation = rotation * self.shells.mean(self.k2.expand(self.convergence.shape))
        self.row: dict[str, Any] = {
            "level": level,
            "error": error,
            "cell_size": box.cell_size,
            "slope_density": slope_density,
            "slope_velocity": slope_velocity,
            "convergence": self.filled(np.maximum(power - of_rotation, 1e-3 * power)),
            "rotation": self.filled(rotation),
            "scatter": self._scatter(),
        }
        self._fit()

    def mean(self, a: torch.Tensor, b: torch.Tensor) -> np.ndarray:
        """Return the cross power in shells [(Mpc/h)^3 times the units]."""
        return self.shells.mean((a * b.conj()).real) * self.box.cell_size**3 / self.box.cell_count

    def means(self, a: torch.Tensor, b: torch.Tensor) -> np.ndarray:
        """Return the sum over components."""
        return sum(self.mean(one, other) for one, other in zip(a, b, strict=True))

    def filled(self, values: np.ndarray) -> tuple[float, ...]:
        """Give shells without modes the values of their neighbours."""
        index, some = np.arange(len(values)), self.shells.modes > 0
        return tuple(np.interp(index, index[some], values[some]).tolist())

    def sloped(self, mesh: torch.Tensor, slope: Sequence[float]) -> torch.Tensor:
        """Return a mesh with its modes times a slope."""
        return to_real(to_fourier(mesh) * on_modes(self.k, tuple(slope), self.box), self.box.shape)

    def converging(self, velocity: torch.Tensor) -> torch.Tensor:
        """Return minus the divergence of a velocity in Fourier space."""
        return -sum(1j * k * one for k, one in zip(self.waves, velocity, strict=True))

    def _scatter(self) -> tuple[float, ...]:
        """Return the scatter of log density that gives 1 + delta its variance, in bins of the answer."""
        middles = np.add(LOG_DENSITY[1:], LOG_DENSITY[:-1]) / 2
        index = torch.from_numpy(np.digitize(self.mean_density.log().numpy(), middles))
        values = np.full(len(LOG_DENSITY), np.nan)
        for one in range(len(values)):
            inside = index == one
            if int(inside.sum()) > 50:
                mean = self.mean_density[inside]
                variance = (self.truth[inside] - mean).square().mean() / mean.square().mean()
                values[one] = float(variance.log1p().sqrt())
        some = np.isfinite(values)
        found = np.interp(LOG_DENSITY, np.array(LOG_DENSITY)[some], values[some])
        return tuple(np.minimum(found, LARGEST_SCATTER).tolist())

    def _fit(self) -> None:
        left = to_fourier(self.truth - self.mean_density)
        wanted = np.array(self.filled(self.mean(left, left)))
        together = np.array(self.filled(self.mean(left, self.convergence)))
        flow = np.array(self.filled(self.mean(self.convergence, self.convergence)))
        density, strength = wanted.copy(), 1 / float((self.truth - self.mean_density).std())
        for _ in range(ROUNDS):
            # Of unit variance on the mesh, so that rows can be averaged.
            self.row |= {"density": tuple(density.tolist()), "coherence": (0.0,) * len(density)}
            unit = UnitResiduals.of(self.table, self.table.rows[0], self.box)
            density = self.filled(self.shells.mean(unit.density.square()) * self.box.cell_size**3)
            # A lognormal field goes together with a Gaussian one as its logarithm does, to a factor.
            coherence = np.clip(strength * together / np.sqrt(np.multiply(density, flow)), -0.99, 0.99)
            self.row |= {"density": density, "coherence": tuple(coherence.tolist())}
            auto, cross = self._drawn()
            density = np.array(density) * (wanted / auto) ** FASTER
            modes = self.shells.modes[LARGE]
            strength *= float((together[LARGE] * modes).sum() / (cross[LARGE] * modes).sum())

    @property
    def table(self) -> Residuals:
        """The table of this sample alone."""
        return Residuals(k=self.k, log_density=LOG_DENSITY, rows=(ResidualRow(**self.row),))

    def _drawn(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the power of what is drawn of the density, and its cross power with the convergence."""
        table = self.table
        unit = UnitResiduals.of(table, table.rows[0], self.box)
        random = torch.Generator().manual_seed(1)
        auto, cross = np.zeros((2, len(self.k)))
        for _ in range(EACH):
            flow, gaussian = unit.draw(random)
            drawn = drawn_density(self.mean_density, gaussian, table, table.rows[0])
            modes = to_fourier(drawn - self.mean_density)
            auto += self.filled(self.mean(modes, modes))
            cross += self.filled(self.mean(modes, self.converging(to_fourier(flow))))
        return auto / EACH, cross / EACH


def left_of(model: str, box: SimulatedBox, catalogue: Catalogue) -> Left:
    """Reconstruct a sample and return what is left of it."""
    reconstructor, _ = make_reconstructor(model)
    cells, factor = box.box.mesh, box.cosmology.velocity_factor(box.redshift)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OutOfRangeWarning)
        fields = reconstructor.reconstruct(catalogue, cells=cells, cosmology=box.cosmology)
    told = fields[ERROR].data[0] / factor if ERROR in fields else None
    if told is None:
        level = float(linear_error(catalogue, cells=cells, cosmology=box.cosmology)[0])
    else:
        level = float(told.square().mean().sqrt())
    return Left(
        box.box,
        density=1 + fields.get("density_least_squares", fields["density"]).data[0],
        velocity=fields["velocity"].data / factor,
        told=told,
        level=level,
        true_density=1 + box.density.data[0],
        true_velocity=box.velocity.data / factor,
    )


def grouped(rows: Sequence[dict[str, Any]]) -> list[ResidualRow]:
    """Return the means of groups of rows with one size of cells and like levels."""
    found = []
    for cell_size in sorted({row["cell_size"] for row in rows}):
        alike = sorted((row for row in rows if row["cell_size"] == cell_size), key=lambda row: row["level"])
        for some in np.array_split(np.arange(len(alike)), min(GROUPS, len(alike))):
            found.append(
                ResidualRow(
                    **{
                        name: np.round(np.mean([alike[i][name] for i in some], axis=0), 5).tolist()
                        for name in ResidualRow.model_fields
                    }
                )
            )
    return found


def write(model: str, table: Residuals) -> Path:
    """Put a table into the card of a model, or into the file of a classical one."""
    if model in CLASSICAL:
        path, text = residuals_path(model), table.model_dump_json()
    else:
        path = find_model(model)
        card = read_card(path)
        assert isinstance(card, ModelCard)
        text = card.model_copy(update={"residuals": table}).model_dump_json(indent=1)
    with atomic_output(path, overwrite=True) as new:
        new.write_text(text + "\n", encoding="utf-8")
    return path


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model")
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument(
        "--seeds", type=int, nargs="+", required=True, help="that the model did not learn from"
    )
    parser.add_argument("--rows", type=Path, help="rows of single samples, kept from call to call")
    given = parser.parse_args()
    kept = json.loads(given.rows.read_text()) if given.rows and given.rows.exists() else {}
    step = 0
    for run in given.runs:
        for path in [one for epoch in run_epochs(run) for one in open_run(epoch)]:
            box = SimulatedBox.open(path)
            if box.seed not in given.seeds:
                continue
            for number, catalogue in enumerate(samples(box, step=step)):
                name = f"{path}, {number}"
                if name not in kept:
                    kept[name] = left_of(given.model, box, catalogue).row
                row = kept[name]
                print(
                    f"{name}: {len(catalogue)} objects, error {row['error']:.2f} of {row['level']:.2f} Mpc/h",
                    flush=True,
                )
                if given.rows:
                    given.rows.write_text(json.dumps(kept))
            step += 1
    k = tuple(np.sqrt(EDGES[1:] * EDGES[:-1]).round(5).tolist())
    print(
        write(given.model, Residuals(k=k, log_density=LOG_DENSITY, rows=tuple(grouped(list(kept.values())))))
    )


if __name__ == "__main__":
    main()
