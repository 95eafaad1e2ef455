"""`peculiar report`: one HTML file about a reconstruction, an evaluation, or both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from peculiar.core import InputError
from peculiar.core.output import atomic_output, check_output
from peculiar.figures import report as html
from peculiar.figures.report import Headline, Section, Table
from peculiar.figures.style import Plot
from peculiar.figures.volume import interactive
from peculiar.workflows.emulator_report import (
    emulation_headlines,
    emulation_sections,
    emulation_subject,
    is_emulation,
    plain_text,
)
from peculiar.workflows.evaluation import Evaluation
from peculiar.workflows.plots import draw, reconstructor_label, volume
from peculiar.workflows.scoreboard import (
    ROWS,
    SOURCE,
    Score,
    best_model,
    cell_text,
    published_text,
    true_text,
)
from peculiar.workflows.survey_report import is_reconstruction, reconstruction_sections
from peculiar.workflows.survey_scores_report import (
    is_survey_evaluation,
    survey_score_headlines,
    survey_score_sections,
    survey_score_subject,
)

GROUPS = {
    "One slab through the box": ("fig04", "fig05"),
    "Voxel by voxel": ("fig06", "fig07", "fig09"),
    "Scale by scale": ("fig10", "fig11", "fig12", "coherence"),
    "Along the line of sight": ("fig13", "fig14"),
}
FLOW_CAPTION = (
    "Drag to turn, scroll to zoom. Surfaces of equal density in grey; lines follow the velocity, brighter where "
    "matter moves faster. The buttons change between reconstruction and truth, the slider moves a slice through the "
    "density, and a click in the legend hides a part."
)


def report(
    runs: str | Path | Sequence[str | Path],
    *,
    out: str | Path,
    objects: str | Path | None = None,
    title: str | None = None,
    warnings: Sequence[str] = (),
    force: bool = False,
) -> Path:
    """Write a self-contained HTML report.

    Parameters
    ----------
    runs : path or paths
        Outputs of `peculiar reconstruct` (zarr) and directories of `peculiar evaluate`.
    out : path
        HTML file to write.
    objects : path, optional
        Objects table of the reconstruction: gives the positions and velocities of the objects.
    title : str, optional
    warnings : sequence of str
        To stand at the top, such as a catalogue outside the model card's range.
    force : bool
        Replace a report that is there.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    InputError
        If a run is neither kind of output, or the report would be larger than 15 MB.
    """
    paths = [Path(runs)] if isinstance(runs, str | Path) else [Path(run) for run in runs]
    target = check_output(out, overwrite=force, inputs=[*paths, objects])
    headlines: list[Headline] = []
    sections: list[Section] = []
    subjects = []
    reconstructs = False
    for path in paths:
        if (path / "scores.json").is_file():
            evaluation = Evaluation.open(path)
            if is_emulation(evaluation):
                headlines += emulation_headlines(evaluation)
                sections += emulation_sections(evaluation)
                subjects.append(emulation_subject(evaluation))
                continue
            reconstructs = True
            if is_survey_evaluation(evaluation):
                headlines += survey_score_headlines(evaluation)
                sections += survey_score_sections(evaluation)
                subjects.append(survey_score_subject(evaluation))
                continue
            headlines += evaluation_headlines(evaluation)
            sections += evaluation_sections(evaluation)
            subjects.append(_evaluated(evaluation))
        elif is_reconstruction(path):
            reconstructs = True
            own = reconstruction_sections(path, objects=None if objects is None else Path(objects))
            headlines += own.headlines
            sections += own.sections
            subjects.append(own.subject)
        else:
            raise InputError(
                f"run must be an output of peculiar reconstruct or peculiar evaluate, got {path}"
            )
    if title is None:
        title = (
            "How well velocities are recovered"
            if headlines and len(paths) == 1
            else "Reconstructed velocities"
        )
        title = title if reconstructs else "How well the emulators do"
    text = html.page(
        title,
        summary=" ".join(subjects),
        headlines=headlines,
        sections=sections,
        warnings=warnings,
    )
    with atomic_output(target, overwrite=force) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return target


def evaluation_headlines(evaluation: Evaluation) -> list[Headline]:
    """Return the first model's key numbers, beside the iterative FFT's and the paper's."""
    fraction, model = evaluation.fractions[0], evaluation.models[0]
    own = evaluation.scores(fraction, model)
    baseline_name = evaluation.record["baselines"][0]
    baseline = evaluation.scores(fraction, baseline_name)

    def tile(key: str, label: str, pattern: str, published: str = "") -> Headline | None:
        if key not in own or own[key]["mean"] is None:
            return None
        compared = ["on simulated boxes"]
        if model != baseline_name:
            compared.append(f"{baseline_name} {pattern.format(baseline[key]['mean'])}")
        if published:
            compared.append(f"{SOURCE} {published}")
        return Headline(pattern.format(own[key]["mean"]), label, "; ".join(compared))

    tiles = [
        tile("correlation_velocity", "correlation of each velocity component", "{:.3f}", "~0.9"),
        tile("rms_error_velocity", "rms error of a component", "{:.0f} km/s"),
        tile("misalignment_velocity", "mean 1 - cos φ of the direction", "{:.3f}", "0.01"),
        tile("slope_velocity", "slope of predicted on true velocity", "{:.3f}"),
        tile("density_r_0.1", "density r(k) at k = 0.1 h/Mpc", "{:.3f}"),
    ]
    return [found for found in tiles if found is not None]


def evaluation_sections(evaluation: Evaluation) -> list[Section]:
    """Return the sections about an evaluation: view, slabs, scoreboard, spectra, and what was done."""
    fraction = evaluation.fractions[0]
    plots = draw(evaluation, fraction)
    sections = [_view(evaluation, fraction, next(plot for plot in plots if plot.name == "flow"))]
    groups = iter(GROUPS.items())
    name, prefixes = next(groups)
    sections.append(_figures(name, plots, prefixes))
    tables = "".join(
        html.subheading(f"{100 * value:g} % satellites") + html.table(score_table(evaluation, value))
        for value in evaluation.fractions
    )
    sections.append(Section("Scoreboard", tables))
    sections += [_figures(name, plots, prefixes) for name, prefixes in groups]
    record = evaluation.record
    settings = [(key.replace("_", " "), plain_text(value)) for key, value in record["settings"].items()]
    boxes = [
        ("boxes", ", ".join(record["boxes"])),
        *((key, plain_text(value)) for key, value in record["box"].items()),
    ]
    sections.append(
        Section("How the scores were made", html.facts(settings + boxes) + html.record(record["provenance"]))
    )
    return sections


def score_table(evaluation: Evaluation, fraction: float) -> Table:
    """Return the score table at one satellite fraction, with the paper's figures in the last column."""
    columns: Mapping[str, Mapping[str, Score]] = {
        m: evaluation.scores(fraction, m) for m in evaluation.models
    }
    rows: list[tuple[str, list[str]]] = []
    best: dict[int, int] = {}
    for row in ROWS:
        if not any(row.key in scores for scores in columns.values()):
            continue
        winner = best_model(columns, row)
        if winner is not None:
            best[len(rows)] = 1 + list(columns).index(winner)
        models = [cell_text(scores, row) for scores in columns.values()]
        cells = [row.label, *models, true_text(next(iter(columns.values())), row), published_text(row)]
        rows.append((row.group, cells))
    boxes = len(evaluation.record["boxes"])
    note = (
        f"Means over {boxes} box{'es' if boxes > 1 else ''}"
        + (", the standard error of the mean in parentheses" if boxes > 1 else "")
        + f"; after ±, the standard deviation over voxels. Bold: closest to the ideal. Published: {SOURCE}, on its own "
        "simulations (boxes of 600 Mpc/h, without mass weighting), never the same data as ours."
    )
    names = [reconstructor_label(evaluation, model) for model in columns]
    return Table(["", *names, "truth", SOURCE], rows, best, note)


def _view(evaluation: Evaluation, fraction: float, still: Plot) -> Section:
    model = evaluation.models[0]
    volumes = {
        reconstructor_label(evaluation, model): volume(evaluation, fraction, model),
        "truth": volume(evaluation, fraction, None),
    }
    caption = f"The first box, {evaluation.record['box']['size']:g} Mpc/h. {FLOW_CAPTION}"
    picture = html.picture(still.figure, still.caption, alternative=still.title, vector=still.vector)
    body = html.view(interactive(volumes, name="evaluated"), caption, still=picture)
    return Section("The flow in three dimensions", body)


def _figures(title: str, plots: Sequence[Plot], prefixes: Sequence[str]) -> Section:
    shown = [plot for plot in plots if plot.name.startswith(tuple(prefixes))]
    body = html.gallery(
        [html.picture(p.figure, p.caption, alternative=p.title, vector=p.vector) for p in shown]
    )
    return Section(title, body)


def _evaluated(evaluation: Evaluation) -> str:
    settings, box = evaluation.record["settings"], evaluation.record["box"]
    boxes = len(evaluation.record["boxes"])
    names = ", ".join(reconstructor_label(evaluation, model) for model in evaluation.models)
    return (
        f"Reconstructions by {names} on {boxes} simulated box{'es' if boxes > 1 else ''} of {box['size']:g} Mpc/h "
        f"at z = {box['redshift']:g} with known truth, {settings['number_density']:g} tracers per (Mpc/h)³ in "
        f"redshift space, line of sight {settings['line_of_sight']}. Where nothing else is said, "
        f"{100 * evaluation.fractions[0]:g} % of the tracers are satellites."
    )
