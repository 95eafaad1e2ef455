"""The part of a report that is about velocities in isolated cubes: tables of every sample, figures of the first."""

from __future__ import annotations

from collections.abc import Mapping

from peculiar.figures import report as html
from peculiar.figures.report import Headline, Section
from peculiar.workflows.emulator_report import plain_text, tables
from peculiar.workflows.evaluation import Evaluation
from peculiar.workflows.measure_survey import EVERYWHERE
from peculiar.workflows.plots_survey import of_sample, transfer_plots
from peculiar.workflows.scoreboard_survey import (
    GOALS,
    ITERATIVE,
    PARTS,
    PUBLISHED,
    SOURCE,
    score_columns,
    score_lines,
)

_TILES = {
    "slope": ("fitting slope of predicted on true velocity", "{:.2f}"),
    "within_residual": ("of voxels within 200 km/s of the truth", "{:.1%}"),
    "cosine": ("mean cosine of the angle to the truth", "{:.2f}"),
    "coherence": ("average coherence", "{:.2f}"),
    "outside_share": ("of the squared error comes from outside the cube", "{:.0%}"),
}


def is_survey_evaluation(evaluation: Evaluation) -> bool:
    """Whether velocities in isolated cubes were evaluated."""
    return evaluation.record.get("kind") == "survey"


def survey_score_headlines(evaluation: Evaluation) -> list[Headline]:
    """Return the first model's key numbers in the first sample, beside the iterative FFT's and the paper's."""
    sample = evaluation.record["samples"][0]
    columns = score_columns(evaluation.record, sample, EVERYWHERE)
    model, own = next(iter(columns.items()))
    published: Mapping[str, str] = next(iter(PUBLISHED.get(sample, {}).values()), {})
    tiles = []
    for key, (label, pattern) in _TILES.items():
        beside = [f"{model}, {sample}"]
        if model != ITERATIVE:
            beside.append(f"{ITERATIVE} {pattern.format(columns[ITERATIVE][key]['mean'])}")
        if key in published:
            beside.append(f"{SOURCE} {pattern.format(float(published[key]))}")
        if key in GOALS.get(sample, {}):
            beside.append(f"goal {pattern.format(float(GOALS[sample][key]))}")
        tiles.append(Headline(pattern.format(own[key]["mean"]), label, "; ".join(beside)))
    return tiles


def survey_score_sections(evaluation: Evaluation) -> list[Section]:
    """Return the sections: tables of all samples, figures of the first one and of transfers, and what was done."""
    record = evaluation.record
    body = []
    for sample in record["samples"]:
        for part, title in PARTS.items():
            if score_columns(record, sample, part):
                text = "\n".join(score_lines(record, sample, part))
                body += [html.subheading(f"{sample}, {title}"), *(html.table(one) for one in tables(text))]
    pictures = [
        html.picture(plot.figure, plot.caption, alternative=plot.title, vector=plot.vector)
        for plot in (*of_sample(evaluation, record["samples"][0]), *transfer_plots(evaluation))
    ]
    settings = [(key.replace("_", " "), plain_text(value)) for key, value in record["settings"].items()]
    return [
        Section("Isolated cubes: scoreboard", "".join(body)),
        Section("Isolated cubes: figures", html.gallery(pictures)),
        Section("Isolated cubes: how it was made", html.facts(settings) + html.record(record["provenance"])),
    ]


def survey_score_subject(evaluation: Evaluation) -> str:
    """Return a sentence that says what was evaluated."""
    record = evaluation.record
    cubes, box = record["cubes"], record["box"]
    networks = ", ".join(name for name in evaluation.models if name not in record["baselines"])
    return (
        f"Velocities by {networks or 'classical reconstructions'} in {cubes['number']} isolated cubes of "
        f"{cubes['size']:g} Mpc/h from simulated boxes of {box['size']:g} Mpc/h at z = {box['redshift']:g}, observed "
        f"as {', '.join(record['samples'])}; as in {SOURCE}."
    )
