"""Learning curves of the shipped networks, as figures and a table for the docs.

    python benchmarks/learning.py --docs docs/results/learning.md

draws each ``docs/results/learning/NAME.csv``, the ``metrics.csv`` of a training, as ``NAME.png`` beside it, and fills
what stands between `<!-- learning: begin -->` and `<!-- learning: end -->`: how long each shipped network was trained,
by its card, and where its curve was kept what validation found on the way.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from reproduction import replace_between

from peculiar.figures.style import save
from peculiar.figures.training import training_curves
from peculiar.training.report import read_metrics

WEIGHTS = Path(__file__).parents[1] / "src" / "peculiar" / "weights"
JUDGED = {
    "ratio_to_2lpt": "error over 2LPT's",
    "ratio_to_start": "error over that of what is corrected",
    "velocity_ratio": "variance of the velocity's error over the Wiener filter's",
    "momentum_correlation": "correlation of the momentum",
    "velocity_correlation": "correlation of the velocity",
    "velocity_rms": "rms error of the velocity [km/s]",
}
"""Columns of validation in the order in which they speak for a network, and in words."""


def curve_text(metrics: Path) -> str:
    """Say what a quantity of validation was after half of the steps, three quarters and all."""
    columns = read_metrics(metrics)
    name = next(name for name in JUDGED if name in columns)
    steps = columns["step"]
    values = np.interp(steps[-1] * np.array([0.5, 0.75, 1.0]), steps, columns[name])
    return f"{JUDGED[name]}: {', '.join(f'{value:.3f}' for value in values)}"


def table(folder: Path) -> str:
    """Return the lines of the table."""
    lines = [
        "| network | steps | minutes of a core | on validation after a half, three quarters, all |",
        "| --- | ---: | ---: | --- |",
    ]
    for path in sorted(WEIGHTS.glob("*.safetensors")):
        found = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))["metrics"]
        kept = folder / f"{path.stem}.csv"
        text = f"{curve_text(kept)} ([figure](learning/{path.stem}.png))" if kept.exists() else "not kept"
        lines.append(f"| `{path.stem}` | {found['steps']:,.0f} | {found['minutes']:.0f} | {text} |")
    return "\n".join(lines)


def main() -> None:
    """Draw the curves and print the table; with --docs, write it into a page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--docs", type=Path, help="page to fill")
    options = parser.parse_args()
    folder = Path(__file__).parents[1] / "docs" / "results" / "learning"
    for metrics in sorted(folder.glob("*.csv")):
        save(training_curves(read_metrics(metrics)), metrics.with_suffix(""), formats=("png",))
    text = table(folder)
    if options.docs:
        replace_between(options.docs, {"learning": text})
    print(text)


if __name__ == "__main__":
    main()
