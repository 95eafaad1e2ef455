"""Write the scores of `peculiar evaluate` on held-out boxes into the cards of the shipped models.

    python benchmarks/card_metrics.py runs/evaluation

Entries are named test_SCORE_satellitesFRACTION; a card's other metrics stay.
"""

import json
import sys
from pathlib import Path

from peculiar.inference.model_card import WEIGHTS, available_models
from peculiar.workflows.evaluation import Evaluation
from peculiar.workflows.scoreboard import HEADLINE


def main(directory: str) -> None:
    """Update the cards of the models that the evaluation holds."""
    evaluation = Evaluation.open(directory)
    for name in available_models():
        if name not in evaluation.models:
            continue
        path = Path(WEIGHTS) / f"{name}.json"
        card = json.loads(path.read_text(encoding="utf-8"))
        for fraction in evaluation.fractions:
            scores = evaluation.scores(fraction, name)
            card["metrics"] |= {
                f"test_{key}_satellites{fraction:g}": round(float(scores[key]["mean"]), 5) for key in HEADLINE
            }
        path.write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
        print(path)


if __name__ == "__main__":
    main(*sys.argv[1:])
