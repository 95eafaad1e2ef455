"""Displacement emulators against particle-mesh runs, with 2LPT and cheap runs beside: Table 1 of He et al. 2019."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from peculiar.core import Cosmology, InputError
from peculiar.evaluation.displacements.measure import (
    Mesh,
    PairTruth,
    Prediction,
    measure_displacement,
    sheet,
    spectrum_scores,
    three_point_bins,
    three_point_score,
)
from peculiar.evaluation.displacements.plots import displacement_plots
from peculiar.evaluation.displacements.rows import (
    NETWORK,
    ROWS,
    SOURCE,
    THEORY,
    published_columns,
    published_value,
    variant_name,
)
from peculiar.evaluation.protocol import Task
from peculiar.evaluation.record import TRUTH, Arrays, Collected, Evaluation, Measured
from peculiar.evaluation.scores import Score, alone, average
from peculiar.evaluation.table import score_table
from peculiar.figures.report import Headline, Table
from peculiar.figures.style import Plot
from peculiar.inference.emulator import DisplacementEmulator
from peculiar.simulate.box_files import refuse_broken
from peculiar.simulate.bullfrog import bullfrog
from peculiar.simulate.initial import linear_density
from peculiar.simulate.lpt import displacement_of, displacements
from peculiar.simulate.pairs import DisplacementPair
from peculiar.simulate.particle_mesh import Particles, Steps, evolve

Method = Callable[[DisplacementPair], tuple[Mesh, Mesh]]

MESH_STEPS = (1, 3, 5, 8)
"""Of particle-mesh runs that stand beside: what else the same computing time buys."""
AVERAGED = 4
"""Symmetries of the cube that the first network is also averaged over."""
RATIOS = ("relative_error", "mean_error_ratio", "rms_error_ratio")
"""Scores that are also taken over 2LPT's."""


@dataclass(frozen=True, eq=False)
class PairCase:
    """A pair and its truth."""

    box: str
    pair: DisplacementPair
    truth: PairTruth
    sample: str = ""


class DisplacementTask(Task[PairCase]):
    """Emulate pairs and compare with their particle-mesh displacements.

    Parameters
    ----------
    paths : sequence of path
        Pairs of one cosmology.
    emulators : sequence of DisplacementEmulator
        At least one. Baselines always run beside them: Zel'dovich, 2LPT, and particle-mesh runs of few steps.
    cosmology : Cosmology
        Of the pairs.
    settings : mapping
        Where the pairs and the emulators come from, for the record.
    mesh_steps : sequence of int
        Steps of those particle-mesh runs, by FastPM and by `bullfrog`: what else the same computing time buys.
    three_point : int
        Pairs of which the three-point correlation is measured; 0 for none. The paper took ten.

    Raises
    ------
    InputError
        If there are no pairs or no emulator, or a pair has another cosmology.
    """

    kind = "displace"
    source = SOURCE
    title = "Emulated N-body displacements"
    unit = "displacements"

    def __init__(
        self,
        paths: Sequence[Path],
        emulators: Sequence[DisplacementEmulator],
        *,
        cosmology: Cosmology,
        settings: Mapping[str, Any],
        mesh_steps: Sequence[int] = MESH_STEPS,
        three_point: int = 10,
    ) -> None:
        if not emulators:
            raise InputError(
                "models must name at least one emulator, got none: the package has none for pairs"
            )
        if not paths:
            raise InputError("paths must hold at least one pair, got none")
        other = [path.name for path in paths if DisplacementPair.open(path).cosmology != cosmology]
        if other:
            raise InputError(
                f"pairs must have the run's cosmology, got {len(other)} varied ones (first {other[0]}): name others by "
                "their seeds, or simulate a run without --varied"
            )
        refuse_broken(paths)
        self.paths = list(paths)
        self.variant = variant_name(cosmology, DisplacementPair.open(paths[0]).redshift)
        self.three_point = min(three_point, len(paths))
        self.methods = _methods(emulators, mesh_steps)
        self.models = list(self.methods)
        self.networks = list(_networks(emulators))
        self.baselines = self.models[self.models.index("Zel'dovich") :]
        self.settings = {
            "models": self.networks, "mesh_steps": list(mesh_steps), "three_point": self.three_point, **settings
        }  # fmt: skip

    @property
    def inputs(self) -> list[Path]:
        """The record of the run: there may be thousands of pairs."""
        return [self.paths[0].parent / "run.json"]

    @property
    def steps(self) -> int:
        """Every method on every pair."""
        return len(self.paths) * len(self.methods)

    def cases(self, path: Path) -> Iterator[PairCase]:
        """Open the pair."""
        pair = DisplacementPair.open(path)
        three_point = path in self.paths[: self.three_point]
        yield PairCase(path.name, pair, PairTruth.of(pair, three_point=three_point))

    def truth(self, case: PairCase) -> dict[tuple[str, str], Measured]:
        """The true three-point multipoles, and a sheet of particles."""
        found = case.truth.three_point
        return {
            ("", TRUTH): Measured(
                rows={} if found is None else {"zeta": found.multipoles},
                once={"sheet": sheet(case.truth.displacement)},
                shared={
                    "size": np.array(case.truth.box.side),
                    **({} if found is None else three_point_bins(found)),
                },
            )
        }

    def contestants(self, case: PairCase) -> Mapping[str, Callable[[], Prediction]]:
        """Networks, perturbation theory, short particle-mesh runs."""
        # A CPU is shared with other programs; what a GPU does is not the processor's time.
        clock = time.perf_counter if torch.cuda.is_available() else time.process_time

        def timed(method: Method) -> Prediction:
            began = clock()
            displacement, velocity = method(case.pair)
            seconds = clock() - began
            return Prediction(displacement.cpu(), velocity.cpu(), seconds)

        return {name: partial(timed, method) for name, method in self.methods.items()}

    def measure(self, case: PairCase, name: str, prediction: Prediction) -> Measured:
        """Measure a prediction against the pair's truth."""
        return measure_displacement(prediction, case.truth)

    def pool(
        self, arrays: Arrays, collected: Collected, model: str, sample: str, part: str
    ) -> dict[str, Score]:
        """Ratios to 2LPT's errors, and scores of the mean spectra and multipoles."""
        own, theory = (collected.scores[sample, part, name] for name in (model, THEORY))
        scores = {
            f"{key}_to_2lpt": average([a[key] / b[key] for a, b in zip(own, theory, strict=True)])
            for key in RATIOS
        }
        scores["largest_error"] = alone(max(one["largest_relative_error"] for one in own))
        scores |= spectrum_scores(arrays, model)
        if arrays.has("zeta", TRUTH):
            scores["three_point_residual"] = three_point_score(arrays, model)
        return scores

    def record(self, arrays: Arrays, results: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """The cosmology's name, and the pairs."""
        return {"variant": self.variant, "pairs": [path.name for path in self.paths]}

    @classmethod
    def introduction(cls, evaluation: Evaluation) -> str:
        """What was evaluated, and how the table is to be read."""
        return (
            "# Displacements of particles\n\n"
            "Means over pairs, their standard error in parentheses. The closest to the ideal is bold. Published "
            f"figures are of {SOURCE}, on its own simulations, where 2LPT is half as far off: compare the ratios to "
            "2LPT's."
        )

    @classmethod
    def tables(cls, evaluation: Evaluation) -> list[Table]:
        """Table 1 of the paper, for the cosmology of the run."""
        record = evaluation.record
        variant, pairs = record["variant"], len(record["pairs"])
        averaged = record["settings"]["three_point"]
        residual = f"; the three-point residual is of the multipoles averaged over {averaged}"
        note = f"{pairs} pair{'s' if pairs > 1 else ''}, means{residual if averaged else ''}."
        columns = evaluation.columns()
        ordered = {name: columns[name] for name in record["models"]}
        beside = published_columns(variant)
        return [score_table(ROWS, ordered, title=variant, note=note, beside=beside)]

    @classmethod
    def plots(cls, evaluation: Evaluation) -> list[Plot]:
        """Draw figures 2 and 3 of the paper."""
        return displacement_plots(evaluation)

    @classmethod
    def headlines(cls, evaluation: Evaluation) -> list[Headline]:
        """The error over 2LPT's beside the paper's, the error itself, and the density's correlation."""
        columns = evaluation.columns()
        model = next(iter(columns))
        paper = published_value(evaluation.record["variant"], NETWORK, "relative_error_to_2lpt")
        return [
            Headline(
                f"{columns[model]['relative_error_to_2lpt']['mean']:.3f}",
                f"mean relative error over 2LPT's, {model} network",
                "" if paper is None else f"{SOURCE} {paper:.2f}",
            ),
            cls.compared(evaluation, THEORY, "relative_error", "mean relative error of the displacement"),
            cls.compared(evaluation, THEORY, "r_density_0.5", "density r(k) at k = 0.5 h/Mpc"),
        ]

    @classmethod
    def subject(cls, evaluation: Evaluation) -> str:
        """Say what was evaluated."""
        record = evaluation.record
        return (
            f"Displacements by {', '.join(evaluation.networks) or 'perturbation theory'} for {len(record['pairs'])} "
            f"particle-mesh runs ({record['variant']}), as in {SOURCE}."
        )


def _networks(emulators: Sequence[DisplacementEmulator]) -> dict[str, tuple[DisplacementEmulator, int]]:
    """Emulators with the steps of the particle mesh that they correct, most first, by name."""
    return {
        one.card.name if len(one.steps) == 1 else f"{one.card.name}, {steps_text(steps)}": (one, steps)
        for one in emulators
        for steps in reversed(one.steps)
    }


def _methods(emulators: Sequence[DisplacementEmulator], mesh_steps: Sequence[int]) -> dict[str, Method]:
    """Everything that is compared, by name: networks, perturbation theory, short particle-mesh runs."""

    def network(emulator: DisplacementEmulator, steps: int, symmetries: int | None = None) -> Method:
        def method(pair: DisplacementPair) -> tuple[Mesh, Mesh]:
            theory = pair.theory(steps)
            found = emulator.emulate(
                theory, pair.box, pair.cosmology, redshift=pair.redshift, symmetries=symmetries
            )
            return found["displacement"], found.get("velocity", theory.moving * pair.velocity_factor)

        return method

    def mesh(steps: int) -> Method:
        def method(pair: DisplacementPair) -> tuple[Mesh, Mesh]:
            modes = linear_density(pair.box, pair.cosmology, seed=pair.seed)[None]
            return _moved(
                evolve(modes, pair.box, pair.cosmology, redshift=pair.redshift, steps=Steps(count=steps)),
                pair,
            )

        return method

    def frog(steps: int) -> Method:
        def method(pair: DisplacementPair) -> tuple[Mesh, Mesh]:
            psi = displacements(linear_density(pair.box, pair.cosmology, seed=pair.seed), pair.box)
            return _moved(
                bullfrog(*psi, pair.box, pair.cosmology, redshift=pair.redshift, steps=Steps(count=steps)),
                pair,
            )

        return method

    networks = _networks(emulators)
    first = next(iter(networks))
    return {
        **{name: network(*one) for name, one in networks.items()},
        f"{first}, {AVERAGED} symmetries": network(*networks[first], AVERAGED),
        "Zel'dovich": _zeldovich,
        THEORY: _second_order,
        **{f"particle mesh, {steps_text(steps)}": mesh(steps) for steps in mesh_steps},
        **{f"BullFrog, {steps_text(steps)}": frog(steps) for steps in mesh_steps},
    }


def steps_text(steps: int) -> str:
    """Return a number of steps in words."""
    return "1 step" if steps == 1 else f"{steps} steps"


def _moved(particles: Particles, pair: DisplacementPair) -> tuple[Mesh, Mesh]:
    displacement = displacement_of(particles.positions[0], pair.box)
    return displacement, particles.velocities[0].T.reshape(displacement.shape)


def _zeldovich(pair: DisplacementPair) -> tuple[Mesh, Mesh]:
    first = pair.theory().zeldovich
    return first, pair.velocity_factor * first


def _second_order(pair: DisplacementPair) -> tuple[Mesh, Mesh]:
    theory = pair.theory()
    return theory.moved, theory.moving * pair.velocity_factor
