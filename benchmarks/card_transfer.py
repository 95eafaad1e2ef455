"""Measure T(k) of shipped networks of boxes on their validation boxes, as training does, and write it into their cards.

    peculiar simulate boxes --seeds 501-502
    python benchmarks/card_transfer.py boxes xiao2024 xiao2024-mass

What training writes of new weights is written of those that are there. `--dry` prints it.
"""

import argparse
import json
from itertools import product
from pathlib import Path

from peculiar.inference.model_card import WEIGHTS, ModelCard
from peculiar.inference.reconstructor import NeuralReconstructor
from peculiar.simulate.runs import open_run
from peculiar.training.recipe import load_recipe
from peculiar.workflows.cards import measure_transfer
from peculiar.workflows.training_data import tracer_pairs


def main() -> None:
    """Update the cards."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="that has the validation boxes of the cards")
    parser.add_argument("models", nargs="+")
    parser.add_argument("--dry", action="store_true", help="print, and write nothing")
    given = parser.parse_args()
    for name in given.models:
        network, recipe = NeuralReconstructor.load(name), load_recipe(name, profile="cpu")
        boxes = open_run(given.run, network.card.splits["validation"])
        pairs = tracer_pairs(recipe, network.card.inputs, boxes)
        observed = list(product(boxes, enumerate(recipe.data.variants)))
        found = measure_transfer(network, pairs, observed).model_dump()
        print(name, {key: found[key] for key in ("beta", "transfer")})
        if not given.dry:
            path = WEIGHTS / f"{name}.json"
            text = path.read_text(encoding="utf-8")
            card = json.loads(text) | {"density_transfer": found}
            ModelCard.model_validate(card)
            indent = text.index('"') - text.index("\n") - 1
            path.write_text(json.dumps(card, indent=indent) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
