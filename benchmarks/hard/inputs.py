"""Malformed and odd inputs, well over a thousand, each right or refused in one line before any work.

    python benchmarks/hard/inputs.py --workers 2 --out report        every case
    python benchmarks/hard/inputs.py --only 'cards/*'                those of a place
    python benchmarks/hard/inputs.py --sample 100                    a hundred of all, always the same

Right inputs are made once by the package itself; each case copies some, changes them in one way and runs one command
in a forked child with limits of time and memory. "right" is exit 0 with finite outputs and inputs as they were,
"refused" exit 2 with one line, nothing written and little time spent. All else is a defect: a traceback, an input that
was accepted or refused wrongly, files left behind, NaN in an output, another exit code, a kill by time or memory. The
exit code is 1 if there is one. --out gets report.json and report.md.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import multiprocessing
import os
import sys
import tempfile
import time
import warnings
from collections import Counter, defaultdict
from collections.abc import Sequence
from fnmatch import fnmatch
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import numpy as np
from cases_evaluations import evaluation_cases
from cases_fields import field_cases
from cases_models import card_cases, training_cases
from cases_options import option_cases
from cases_runs import pair_cases, run_cases
from cases_settings import cosmology_cases, recipe_cases
from cases_surveys import mask_cases, survey_cases
from cases_tables import table_cases
from material import MAKERS, make, prepare_root
from sandbox import ACCEPTED, Case, Outcome, run_case

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
KINDS = (
    table_cases,
    option_cases,
    recipe_cases,
    cosmology_cases,
    survey_cases,
    mask_cases,
    run_cases,
    pair_cases,
    field_cases,
    card_cases,
    training_cases,
    evaluation_cases,
)
LIBRARIES = (
    "camb",
    "h5py",
    "healpy",
    "matplotlib.pyplot",
    "optuna",
    "plotly.graph_objects",
    "pyarrow.parquet",
    "zarr",
)
_cases: Sequence[Case] = ()


def all_cases() -> list[Case]:
    """Return every case in a fixed order; names are unique."""
    cases = [case for kind in KINDS for case in kind()]
    if repeated := [name for name, count in Counter(case.name for case in cases).items() if count > 1]:
        raise ValueError(f"names of cases must be unique, got {repeated[:5]} twice")
    return cases


def choose(cases: Sequence[Case], *, only: Sequence[str], sample: int | None, seed: int) -> list[Case]:
    """Return the cases that match a pattern, or a fixed sample of them."""
    found = [case for case in cases if not only or any(fnmatch(case.name, pattern) for pattern in only)]
    if sample is None or sample >= len(found):
        return found
    chosen = np.random.default_rng(seed).choice(len(found), sample, replace=False)
    return [found[index] for index in sorted(chosen)]


def warm() -> None:
    """Import and compile in the server what nearly every child needs."""
    import peculiar.workflows

    own = (f"peculiar.workflows.{module.name}" for module in iter_modules(peculiar.workflows.__path__))
    for name in (*LIBRARIES, *own):
        import_module(name)

    with tempfile.TemporaryDirectory() as place:
        from material import halos, peculiar, write

        write(halos(), Path(place) / "halos.fits")
        peculiar(
            f"reconstruct {place}/halos.fits --box 40 --cells 8 --redshift 0.5 --model iterative --out {place}/box.zarr"
        )


def run(cases: Sequence[Case], *, workers: int) -> list[Outcome]:
    """Run cases, telling how far it is."""
    global _cases
    _cases = cases
    outcomes: list[Outcome] = []
    start = last = time.monotonic()
    with multiprocessing.get_context("fork").Pool(workers) as pool:
        for outcome in pool.imap(_run_one, range(len(cases))):
            outcomes.append(outcome)
            if outcome.verdict not in ACCEPTED:
                print(f"{outcome.verdict:16} {outcome.name}: {outcome.detail[:200]}", flush=True)
            now = time.monotonic()
            if now - last > 15:
                last = now
                left = (now - start) / len(outcomes) * (len(cases) - len(outcomes))
                print(
                    f"{len(outcomes)} of {len(cases)} cases, about {left / 60:.0f} min left",
                    file=sys.stderr,
                    flush=True,
                )
    return outcomes


def _run_one(number: int) -> Outcome:
    return run_case(_cases[number])


def summary(outcomes: Sequence[Outcome]) -> str:
    """Return the report: a table of counts by place, and defects by cause."""
    kinds = sorted({one.verdict for one in outcomes}, key=lambda kind: (kind not in ACCEPTED, kind))
    places: dict[str, Counter[str]] = defaultdict(Counter)
    for one in outcomes:
        places[one.name.split("/")[0]][one.verdict] += 1
    lines = [f"| place | cases | {' | '.join(kinds)} |", f"|---{'|---' * (len(kinds) + 1)}|"]
    for place, counts in [*places.items(), ("all", Counter(one.verdict for one in outcomes))]:
        cells = [str(counts[kind]) for kind in kinds]
        lines.append(f"| {place} | {counts.total()} | {' | '.join(cells)} |")
    groups: dict[tuple[str, str], list[Outcome]] = defaultdict(list)
    for one in outcomes:
        if one.verdict not in ACCEPTED:
            cause = one.detail if one.verdict in ("traceback", "time", "memory", "killed") else ""
            groups[one.verdict, cause or one.name.rpartition("/")[0]].append(one)
    for (verdict, cause), found in sorted(groups.items(), key=lambda item: (item[0][0], -len(item[1]))):
        lines += ["", f"**{verdict}**, {len(found)}: {cause}", ""]
        lines += [f"- `{one.name}` {one.detail[:160]}" for one in found[:12]]
        lines += [f"- and {len(found) - 12} more"] if len(found) > 12 else []
    return "\n".join(lines) + "\n"


def main() -> int:
    if not ONE_THREAD.items() <= os.environ.items():  # a child of a process with threads may hang
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | ONE_THREAD)
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", default=(), metavar="PATTERN", help="names, as 'cards/*'")
    parser.add_argument("--sample", type=int, help="so many of the cases, chosen by --seed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--out", type=Path, help="directory for report.json and report.md")
    parser.add_argument(
        "--material", type=Path, help="directory that keeps the right inputs for the next time"
    )
    parser.add_argument("--list", action="store_true", help="print the names and stop")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as place:
        prepare_root(options.material or Path(place))
        cases = choose(all_cases(), only=options.only, sample=options.sample, seed=options.seed)
        if options.list:
            print("\n".join(case.name for case in cases))
            return 0
        warm()
        make({name for case in cases for name in case.needs} & set(MAKERS))
        outcomes = run(cases, workers=options.workers)
    text = summary(outcomes)
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "report.md").write_text(text)
        rows = [dataclasses.asdict(one) for one in outcomes]
        (options.out / "report.json").write_text(json.dumps(rows, indent=1))
    defects = sum(one.verdict not in ACCEPTED for one in outcomes)
    print(text.split("\n\n")[0])
    print(f"{len(outcomes)} cases, {defects} defects")
    return int(defects > 0)


if __name__ == "__main__":
    sys.exit(main())
