"""The part of a report that is about emulators and painters of halos: their scores and figures."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from peculiar.figures import report as html
from peculiar.figures.report import Headline, Section, Table
from peculiar.workflows.evaluation import Evaluation
from peculiar.workflows.figures import evaluation_plots
from peculiar.workflows.scoreboard import Score
from peculiar.workflows.scoreboard_displacement import SOURCE as HE
from peculiar.workflows.scoreboard_displacement import displacement_markdown, published_value
from peculiar.workflows.scoreboard_flow import LINEAR, flow_markdown
from peculiar.workflows.scoreboard_flow import SOURCE as WU
from peculiar.workflows.scoreboard_paint import BIASED, LOCAL, paint_markdown
from peculiar.workflows.scoreboard_paint import SOURCE as RAMANAH

TITLES = {
    "displacement": "Emulated N-body displacements",
    "flow": "Velocity of a density",
    "paint": "Painted halos",
}


def is_emulation(evaluation: Evaluation) -> bool:
    """Whether emulators or painters were evaluated, and not reconstructions of tracers."""
    return evaluation.record.get("kind") in TITLES


def emulation_headlines(evaluation: Evaluation) -> list[Headline]:
    """Return the first network's key numbers, beside perturbation theory's and the paper's."""
    record = evaluation.record
    first = record["results"][0].get("sample")  # of painters: all their halos together
    columns: dict[str, Mapping[str, Score]] = {
        entry["model"]: entry["scores"] for entry in record["results"] if entry.get("sample") == first
    }
    model = evaluation.models[0]
    own = columns[model]
    if record["kind"] == "paint":
        return [
            _compared(columns, model, BIASED, "r_mean_0.4", "r(k) of the mean field at k = 0.4 h/Mpc"),
            _compared(
                columns, model, LOCAL, "power_ratio_0.1_0.2", "P / P_true of the halos, 0.1 < k < 0.2 h/Mpc"
            ),
            _compared(columns, model, LOCAL, "variance_ratio_1", "variance of counts / true"),
        ]
    if record["kind"] == "displacement":
        paper = published_value(record["variant"], "D3M", "relative_error_to_2lpt")
        return [
            Headline(
                f"{own['relative_error_to_2lpt']['mean']:.3f}",
                f"mean relative error over 2LPT's, {model} network",
                "" if paper is None else f"{HE} {paper:.2f}",
            ),
            _compared(columns, model, "2LPT", "relative_error", "mean relative error of the displacement"),
            _compared(columns, model, "2LPT", "r_density_0.5", "density r(k) at k = 0.5 h/Mpc"),
        ]
    return [
        _compared(columns, model, LINEAR, "correlation_velocity", "correlation of each velocity component"),
        _compared(columns, model, LINEAR, "ratio_speed_0.6", "P / P_true of the speed at k = 0.6 h/Mpc"),
        _compared(
            columns, model, LINEAR, "ratio_momentum_0.6", "P / P_true of the momentum at k = 0.6 h/Mpc"
        ),
    ]


def emulation_sections(evaluation: Evaluation) -> list[Section]:
    """Return the sections about an evaluation of emulators: scoreboard, figures, and what was done."""
    record = evaluation.record
    if record["kind"] == "displacement":
        text = displacement_markdown([record])
    else:
        text = (flow_markdown if record["kind"] == "flow" else paint_markdown)(record)
    pictures = [
        html.picture(plot.figure, plot.caption, alternative=plot.title, vector=plot.vector)
        for plot in evaluation_plots(evaluation)
    ]
    settings = [(key.replace("_", " "), plain_text(value)) for key, value in record["settings"].items()]
    title = TITLES[record["kind"]]
    return [
        Section(f"{title}: scoreboard", "".join(html.table(table) for table in tables(text))),
        Section(f"{title}: figures", html.gallery(pictures)),
        Section(f"{title}: how it was made", html.facts(settings) + html.record(record["provenance"])),
    ]


def emulation_subject(evaluation: Evaluation) -> str:
    """Return a sentence that says what was evaluated."""
    record = evaluation.record
    networks = ", ".join(name for name in evaluation.models if name not in record["baselines"])
    if record["kind"] == "displacement":
        return (
            f"Displacements by {networks or 'perturbation theory'} for {len(record['pairs'])} particle-mesh runs "
            f"({record['variant']}), as in {HE}."
        )
    box = record["box"]
    if record["kind"] == "paint":
        return (
            f"Halos by {networks} on {len(record['boxes'])} boxes of {box['size']:g} Mpc/h at "
            f"z = {box['redshift']:g}, as in {RAMANAH}."
        )
    return (
        f"Velocity and momentum by {networks or 'linear theory'} from the true density of {len(record['boxes'])} boxes "
        f"of {box['size']:g} Mpc/h at z = {box['redshift']:g}, as in {WU}."
    )


def tables(markdown: str) -> list[Table]:
    """Return the tables of a page that `evaluate` writes; **bold** cells are the best ones."""
    found: list[Table] = []
    rows: list[list[str]] = []
    for line in [*markdown.splitlines(), ""]:
        if line.startswith("|"):
            cells = re.split(r"(?<!\\)\|", line)[1:-1]
            rows.append([cell.strip().replace("\\|", "|") for cell in cells])
        elif rows:
            heading, _, *body = rows
            bold = {
                number: cells.index(cell)
                for number, cells in enumerate(body)
                for cell in cells
                if cell.startswith("**")
            }
            plain = [("", [cell.replace("**", "") for cell in cells]) for cells in body]
            found.append(Table(heading, plain, bold))
            rows = []
    return found


def _compared(
    columns: Mapping[str, Mapping[str, Score]], model: str, baseline: str, key: str, label: str
) -> Headline:
    own, other = (columns[name][key]["mean"] for name in (model, baseline))
    return Headline(f"{own:.3f}", f"{label}, {model} network", f"{baseline} {other:.3f}")


def plain_text(value: Any) -> str:
    """Return a setting of a record as a report shows it: numbers short, lists with commas."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(plain_text(item) for item in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
