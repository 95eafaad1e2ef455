import pytest

from peculiar.core.errors import InputError
from peculiar.training.recipe import load_recipe
from peculiar.training.tune import search


@pytest.mark.parametrize("architecture", ["residual", "xiao2024"])
def test_search_finds_the_least_loss_and_goes_on(tmp_path, architecture):
    seen = []

    def objective(changes, number):
        recipe = load_recipe(architecture, profile="smoke", changes=changes)
        seen.append((number, recipe.train.lr, tuple(changes)))
        return abs(recipe.train.lr - 1e-3)

    values = {
        "seed": 1,
        "storage": tmp_path / "study.journal",
        "architecture": architecture,
        "largest_boxes": 4,
    }
    search(objective, trials=3, **values)
    best, loss = search(objective, trials=6, **values)
    assert [number for number, *_ in seen] == list(range(6))
    assert loss == pytest.approx(min(abs(rate - 1e-3) for _, rate, _ in seen))
    assert tuple(best) in [changes for *_, changes in seen]
    keys = {change.partition("=")[0] for change in best}
    assert {"train.lr", "network.settings.dropout", "data.boxes", "train.batch_size"} < keys


def test_bad_searches_are_refused(tmp_path):
    values = {"seed": 1, "storage": tmp_path / "s.journal", "largest_boxes": 4}
    with pytest.raises(InputError, match="trials"):
        search(lambda changes, number: 0.0, trials=0, architecture="residual", **values)
    with pytest.raises(InputError, match="architecture"):
        search(lambda changes, number: 0.0, trials=1, architecture="other", **values)
