"""Compare `peculiar.statistics` with independent public codes: same fields, same bins; agreement and speed.

The codes need an interpreter of their own, for their NumPy is older (gcc and the GSL library must be there):

    python -m venv codes
    codes/bin/pip install "numpy<2" "cython<3" "setuptools<70" wheel scipy pyfftw h5py hdf5plugin
    codes/bin/pip install --no-build-isolation Pylians Corrfunc sarabande Triumvirate scikit-learn
    OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 python benchmarks/statistics/compare.py --codes codes/bin/python \
        --docs docs/results/statistics.md

Prints Markdown tables; --docs also writes them between `<!-- comparison: begin -->` and `<!-- comparison: end -->` of a
page. Times are the best of three processor times, on one thread each.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from cases import Case, other_cases, point_cases, pylians_cases
from inputs import Inputs, make_inputs
from reference import CODES, best

START, END = "<!-- comparison: begin -->", "<!-- comparison: end -->"
AGREEMENT = 1e-3
"""Statistics of one definition must agree this well, relative to what the table names."""


def run_codes(
    python: str, arrays: dict[str, np.ndarray], codes: Sequence[str]
) -> tuple[dict[str, np.ndarray], dict[str, dict[str, object]]]:
    """Results and times of the other codes, from their own interpreter."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "in.npz", Path(folder) / "out.npz"
        np.savez(source, **arrays)
        script = Path(__file__).with_name("reference.py")
        command = [python, str(script), str(source), str(target), *codes]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return dict(np.load(target)), json.loads(target.with_suffix(".json").read_text())


def row(case: Case, found: np.ndarray, seconds: float) -> tuple[str, float]:
    """Line of a table, and the largest difference."""
    theirs = case.theirs(found)
    ours, own_seconds = best(case.ours)
    if ours.shape != theirs.shape:
        raise ValueError(f"{case.key} must have one shape on both sides, got {ours.shape} and {theirs.shape}")
    difference = float(np.nanmax(np.abs(ours - theirs) / case.scale(theirs)))
    ratio = seconds / own_seconds
    cells = (case.label, case.key.split(":")[0], f"{100 * difference:.1g} %", case.relative_to)
    return f"| {' | '.join(cells)} | {own_seconds:.3f} | {seconds:.3f} | {ratio:.2g} |", difference


def tables(data: Inputs, found: dict[str, np.ndarray], record: dict[str, dict[str, object]]) -> str:
    """Markdown of all comparisons: first those of one definition, then the others with the reason."""
    head = [
        "| statistic | code | largest difference | relative to | peculiar [s] | code [s] | ratio |",
        "| --- | --- | ---: | --- | ---: | ---: | ---: |",
    ]
    same, other, notes = list(head), list(head), []
    for case in [*pylians_cases(data), *point_cases(data), *other_cases(data)]:
        if case.key not in found:
            continue
        code, task = case.key.split(": ")
        line, difference = row(case, found[case.key], record[code]["times"][task])  # type: ignore[index]
        print(line)
        if not case.note and not difference < AGREEMENT:
            raise ValueError(f"{case.label} must agree with {code} to {AGREEMENT:g}, got {difference:.2g}")
        (other if case.note else same).append(line)
        if case.note and case.note not in notes:
            notes.append(case.note)
    versions = "; ".join(str(entry["version"]) for entry in record.values() if "version" in entry)
    missing = "".join(
        f" Not installed: {code} ({entry['missing']})."
        for code, entry in record.items()
        if "missing" in entry
    )
    box = data.box
    return "\n".join(
        [
            f"Fields of {box.mesh}^3 cells in a box of {box.size:g} Mpc/h, {len(data.points)} points; one thread on "
            "both sides, processor time, best of three runs, painting and transforms included. The largest difference "
            f"is over all bins, for the T-web over all cells. {versions}.{missing}",
            "",
            *same,
            "",
            "Where definitions differ:",
            "",
            *other,
            "",
            *(f"- {note}" for note in notes),
        ]
    )


def main() -> None:
    """Print the tables; with --docs, write them into a page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--codes", required=True, help="Python that has the other codes")
    parser.add_argument("--only", nargs="*", default=list(CODES), choices=list(CODES))
    parser.add_argument("--cells", type=int, default=128)
    parser.add_argument("--size", type=float, default=300.0, help="of the box [Mpc/h]")
    parser.add_argument("--docs", type=Path, help="page to fill")
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = make_inputs(options.cells, options.size)
    text = tables(data, *run_codes(options.codes, data.arrays, options.only))
    print(text)
    if options.docs:
        replace_between(options.docs, START, END, text)


def replace_between(page: Path, start: str, end: str, part: str) -> None:
    """Replace what stands between two markers of a page."""
    before, rest = page.read_text(encoding="utf-8").split(start, 1)
    page.write_text(f"{before}{start}\n\n{part}\n\n{end}{rest.split(end, 1)[1]}", encoding="utf-8")


if __name__ == "__main__":
    main()
