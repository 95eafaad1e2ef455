"""Write the scores of `peculiar evaluate` on held-out boxes into the cards of the shipped models.

    python benchmarks/card_metrics.py runs/evaluation

Entries are named test_SCORE_satellitesFRACTION, or test_SCORE for painters, whose scores are those of all their halos;
a card's other metrics stay.
"""

import json
import sys
from pathlib import Path

from peculiar.evaluation.record import Evaluation, fraction_name
from peculiar.evaluation.tracers.plots import fractions_of
from peculiar.evaluation.tracers.rows import HEADLINE
from peculiar.inference.model_card import WEIGHTS, available_models

PAINTED = ("number_ratio", "power_deviation_0.3", "power_deviation_0.4", "variance_ratio_1") + tuple(
    f"r_mean_{k}" for k in (0.1, 0.3, 0.4)
)


def reconstructor_metrics(evaluation: Evaluation, model: str) -> dict[str, float]:
    """Return the headline scores at each fraction of satellites."""
    return {
        f"test_{key}_satellites{fraction:g}": evaluation.columns(sample=fraction_name(fraction))[model][key][
            "mean"
        ]
        for fraction in fractions_of(evaluation)
        for key in HEADLINE
    }


def painter_metrics(evaluation: Evaluation, model: str) -> dict[str, float]:
    """Return scores of the first range of masses that the painter is measured on: all its halos."""
    scores = next(row["scores"] for row in evaluation.record["results"] if row["model"] == model)
    return {f"test_{key}": scores[key]["mean"] for key in PAINTED}


def main(directory: str) -> None:
    """Update the cards of the models that the evaluation holds."""
    evaluation = Evaluation.open(directory)
    metrics = painter_metrics if evaluation.kind == "paint" else reconstructor_metrics
    for name in available_models(None):
        if name not in evaluation.record["models"]:
            continue
        path = Path(WEIGHTS) / f"{name}.json"
        card = json.loads(path.read_text(encoding="utf-8"))
        card["metrics"] |= {key: round(float(value), 5) for key, value in metrics(evaluation, name).items()}
        path.write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
        print(path)


if __name__ == "__main__":
    main(*sys.argv[1:])
