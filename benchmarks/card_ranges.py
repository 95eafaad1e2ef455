"""Write what training data span into the cards of the shipped models: densities, redshifts, cosmologies, selection.

    python benchmarks/card_ranges.py --boxes boxes --regions boxes-600

`--boxes` is a run for the networks of boxes, `--regions` one for those of surveys (docs/survey-networks.md); a few of
the training boxes do, and either alone leaves the other cards. Trainings write the same entries themselves.
"""

import argparse
import json
from pathlib import Path

from peculiar.inference.model_card import WEIGHTS, ModelCard
from peculiar.simulate.runs import open_run
from peculiar.training.recipe import load_recipe, recipe_names
from peculiar.workflows.training_range import training_range


def main() -> None:
    """Update the cards."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--boxes", type=Path)
    parser.add_argument("--regions", type=Path)
    given = parser.parse_args()
    for name in recipe_names():
        recipe = load_recipe(name, profile="cpu")
        data = recipe.data
        run = given.regions if data.cubes else given.boxes
        if recipe.task != "reconstruct" or run is None:
            continue
        found = training_range(open_run(run), data)
        path = WEIGHTS / f"{name}.json"
        text = path.read_text(encoding="utf-8")
        selection = found.pop("selection")
        card = json.loads(text) | found
        if selection is not None:
            card["selection"] = selection.model_dump()
        if data.cubes:
            low, high = found["number_density_range"]
            card["number_density"] = (low * high) ** 0.5
        ModelCard.model_validate(card)
        indent = text.index('"') - text.index("\n") - 1
        path.write_text(json.dumps(card, indent=indent) + "\n", encoding="utf-8")
        print(name, found, selection)


if __name__ == "__main__":
    main()
