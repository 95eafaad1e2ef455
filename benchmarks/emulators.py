"""Tables of the emulators for the docs: those of He et al. 2019 and Wu et al. 2021, and what `emulate` costs.

    peculiar evaluate RUN --out EVALUATION --model displacement --model he2019        (one RUN a cosmology)
    python benchmarks/emulators.py scores EVALUATION [EVALUATION ...] --docs docs/results/emulators.md
    python benchmarks/emulators.py speed --docs docs/emulators.md
    peculiar evaluate RUN --out EVALUATION --model flow --model wu2021 --boxes 1001-1002 --tune-on 501-502
    python benchmarks/emulators.py flows EVALUATION --docs docs/results/emulators.md

`scores` fills what stands between `<!-- he2019: begin -->` and `<!-- he2019: end -->` of a page, with
`--marker few-steps` what stands between `<!-- few-steps: begin -->` and its end: how each emulator's
displacement error compares with that of 2LPT in every cosmology, then every score. Evaluations of the same pairs by
other models are put together. `speed` takes the processor time of 2LPT, emulators and particle-mesh runs of one box
after each other, and fills `<!-- speed: begin -->`. `flows` fills `<!-- wu2021: begin -->`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from reproduction import replace_between

from peculiar.core import PRESETS, Box, InputError
from peculiar.evaluation.displacements.rows import PUBLISHED
from peculiar.evaluation.displacements.task import MESH_STEPS, DisplacementTask, steps_text
from peculiar.evaluation.page import scores_page
from peculiar.evaluation.record import Arrays, Evaluation
from peculiar.evaluation.table import markdown
from peculiar.simulate.bullfrog import bullfrog
from peculiar.simulate.initial import linear_density
from peculiar.simulate.lagrangian import lagrangian_fields
from peculiar.simulate.lpt import displacements
from peculiar.simulate.particle_mesh import Steps, evolve
from peculiar.workflows.emulate import emulate

ORDER = tuple(PUBLISHED)
GOAL = {"test phase": 0.28}
"""Ratio to reach with weights trained on a CPU; in the other cosmologies the paper's own."""


def ratio_table(records: Sequence[Mapping[str, Any]]) -> str:
    """Lines of a table: columns are cosmologies and epochs, rows the errors over 2LPT's, in both definitions."""
    scores = [{entry["model"]: entry["scores"] for entry in record["results"]} for record in records]
    keys = ("relative_error", "mean_error_ratio")

    def text(found: Mapping[str, Any] | None, ending: str) -> str:
        return "" if found is None else " / ".join(f"{found[key + ending]['mean']:.3f}" for key in keys)

    variants = [record["variant"] for record in records]
    published = [PUBLISHED.get(variant) for variant in variants]
    papers = [
        one["D3M"]["relative_error"] / one["2LPT"]["relative_error"] if one else None for one in published
    ]
    goals = [GOAL.get(variant, paper) for variant, paper in zip(variants, papers, strict=True)]
    methods = dict.fromkeys(name for record in records for name in record["models"] if name != "2LPT")
    rows = {
        "pairs": [str(len(record["pairs"])) for record in records],
        "2LPT's own error": [text(one["2LPT"], "") for one in scores],
        **{name: [text(one.get(name), "_to_2lpt") for one in scores] for name in methods},
        "D3M, published": ["" if paper is None else f"{paper:.2f}" for paper in papers],
        "to reach, CPU": ["" if goal is None else f"{goal:.2f}" for goal in goals],
    }
    return "\n".join(
        [
            f"| | {' | '.join(variants)} |",
            "| --- |" + " ---: |" * len(variants),
            *(f"| {name} | {' | '.join(cells)} |" for name, cells in rows.items()),
        ]
    )


def merged(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Put evaluations of the same pairs by different models together, networks first.

    Raises
    ------
    InputError
        If evaluations of one cosmology are of different pairs.
    """
    together: dict[str, dict[str, Any]] = {}
    for record in records:
        variant = record["variant"]
        known = together.setdefault(variant, {**record, "results": [], "baselines": []})
        if known["pairs"] != record["pairs"]:
            raise InputError(
                f"evaluations of {variant} must be of the same pairs, got {len(record['pairs'])} others"
            )
        names = {entry["model"] for entry in known["results"]}
        known["results"] += [entry for entry in record["results"] if entry["model"] not in names]
        known["baselines"] = list(dict.fromkeys([*known["baselines"], *record["baselines"]]))
    for record in together.values():
        names = [entry["model"] for entry in record["results"]]
        networks = [name for name in names if name not in record["baselines"]]
        record["models"] = [*networks, *(name for name in names if name in record["baselines"])]
    return list(together.values())


def scores_text(records: Sequence[dict[str, Any]]) -> str:
    """Return both tables of several evaluations, cosmologies in the paper's order."""
    ordered = sorted(
        merged(records),
        key=lambda one: ORDER.index(one["variant"]) if one["variant"] in ORDER else len(ORDER),
    )
    return "\n".join(
        [
            "Errors of the displacement over 2LPT's, on held-out pairs of the same phases: by the mean of |error| / "
            "|displacement|, then by mean |error| over mean |displacement|.",
            "",
            ratio_table(ordered),
            "",
            "Every score:",
            "",
            *(
                markdown(table).replace("## ", "### ", 1)
                for one in ordered
                for table in DisplacementTask.tables(Evaluation(one, Arrays()))
            ),
        ]
    ).strip()


def speed_text(particles: int, *, separation: float) -> str:
    """Time 2LPT, emulators and particle-mesh runs of one box."""
    box = Box(particles * separation, particles)
    cosmology = PRESETS["he2019"]
    modes = linear_density(box, cosmology, seed=1)
    jobs: dict[str, Callable[[], object]] = {
        "2LPT": lambda: displacements(modes, box),
        "2LPT and one force evaluation": lambda: lagrangian_fields(modes, box, cosmology, redshift=0.0),
        **{
            f"`emulate --steps {count}`": lambda count=count: emulate(
                box, seed=1, steps=count, cosmology=cosmology, redshift=0.0
            )
            for count in (0, 1, 3, 5)
        },
        **{
            f"BullFrog, {steps_text(count)}": lambda count=count: bullfrog(
                *displacements(modes, box), box, cosmology, redshift=0.0, steps=Steps(count)
            )
            for count in MESH_STEPS
        },
        **{
            f"particle mesh, {steps_text(count)}": lambda count=count: evolve(
                modes[None], box, cosmology, redshift=0.0, steps=Steps(count)
            )
            for count in (*MESH_STEPS, 20)
        },
    }
    emulate(
        Box(16 * separation, 16), seed=1, steps=1, cosmology=cosmology, redshift=0.0
    )  # compiles the kernels
    lines = [f"| {particles}^3 particles | seconds of a core |", "| --- | ---: |"]
    for name, job in jobs.items():
        began = time.process_time()
        job()
        lines.append(f"| {name} | {time.process_time() - began:.2f} |")
    return "\n".join(lines)


def main() -> None:
    """Print a table; with --docs, write it into pages."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    scores = commands.add_parser("scores", help="tables of evaluations")
    scores.add_argument("evaluations", type=Path, nargs="+", help="outputs of `peculiar evaluate` on pairs")
    scores.add_argument("--marker", default="he2019", help="what of a page to fill")
    flows = commands.add_parser("flows", help="tables of an evaluation of density-to-velocity models")
    flows.add_argument("evaluation", type=Path, help="output of `peculiar evaluate`")
    speed = commands.add_parser("speed", help="times of one box")
    speed.add_argument("--particles", type=int, default=64, help="along a side")
    speed.add_argument("--separation", type=float, default=4.0, help="of the particles [Mpc/h]")
    for one in (scores, flows, speed):
        one.add_argument("--docs", type=Path, action="append", default=[], help="page to fill")
    options = parser.parse_args()
    try:
        if options.command == "scores":
            records = [Evaluation.open(path).record for path in options.evaluations]
            marker, text = options.marker, scores_text(records)
        elif options.command == "flows":
            _, text = scores_page(Evaluation.open(options.evaluation)).split("\n", 1)
            marker, text = "wu2021", text.replace("\n## ", "\n### ").strip()
        else:
            marker = "speed"
            text = speed_text(options.particles, separation=options.separation)
        for page in options.docs:
            replace_between(page, {marker: text})
    except InputError as error:
        parser.error(str(error))
    print(text)


if __name__ == "__main__":
    main()
