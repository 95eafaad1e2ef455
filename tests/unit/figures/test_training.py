import numpy as np
import pytest

from peculiar.core import InputError
from peculiar.figures.training import training_curves

STEPS = {"step": np.array([1.0, 2.0, 3.0]), "minutes": np.arange(3.0), "learning_rate": np.ones(3)}


def titles(figure):
    return [axes.get_title() for axes in figure.axes]


def test_validation_stands_beside_training():
    figure = training_curves(
        STEPS
        | {"train_loss": np.array([100.0, 10.0, 1.0]), "loss": np.array([90.0, np.nan, 2.0])}
        | {"wasserstein": -np.ones(3), "validation_wasserstein": np.ones(3), "velocity_rms": np.ones(3)}
    )
    assert titles(figure) == ["loss", "wasserstein", "velocity rms"]
    assert [len(axes.lines) for axes in figure.axes] == [2, 2, 1]
    assert [axes.get_yscale() for axes in figure.axes] == ["log", "linear", "linear"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["training", "validation"]


def test_a_single_row_is_seen():
    figure = training_curves({"step": np.array([5.0]), "loss": np.array([1.0])})
    assert figure.axes[0].lines[0].get_marker() == "o"


@pytest.mark.parametrize("metrics", [STEPS, {"step": np.array([]), "loss": np.array([])}])
def test_nothing_to_draw_is_refused(metrics):
    with pytest.raises(InputError, match="steps and values"):
        training_curves(metrics)
