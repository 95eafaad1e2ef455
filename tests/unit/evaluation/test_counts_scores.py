import numpy as np
import pytest

from peculiar.evaluation.counts.measure import ANGLES
from peculiar.evaluation.counts.pooled import pooled_scores
from peculiar.evaluation.counts.rows import BIASED, GOALS, ROWS, Goal, goals_reached
from peculiar.evaluation.record import Arrays

K = np.array([np.nan, 0.04, 0.07, 0.12, 0.17, 0.22, 0.27, 0.32, 0.37, 0.42])


def arrays(ratio: np.ndarray, loss: float) -> Arrays:
    """Two boxes: a model with a power ratio at each k and 1 - r^2 = loss, and biased 2LPT with 0.2."""
    true = np.array([[100.0], [300.0]]) * np.ones(len(K))
    triangles = np.ones((2, len(ANGLES)))
    found = {"k": K, "modes": np.full(len(K), 50.0), "s/truth/power": true}
    for name, lost in (("model", loss), (BIASED, 0.2)):
        found |= {
            f"s/{name}/power": true * ratio,
            f"s/{name}/draws/power": true[:, None] * ratio * np.array([0.9, 1.1])[:, None],
            f"s/{name}/mean/power": true,
            f"s/{name}/mean/cross": true * np.sqrt(1 - lost),
        }
        for sides in ("large", "small"):
            found[f"s/{name}/bispectrum/{sides}"] = 1.2 * triangles
            found[f"s/truth/bispectrum/{sides}"] = triangles
    return Arrays(found)


def test_the_band_that_is_furthest_off_decides():
    ratio = np.array([1, 1.0, 1.02, 0.94, 1.01, 1.0, 1.03, 1.2, 1.1, 3.0])
    scores = pooled_scores(arrays(ratio, 0.1), "model", "s")
    assert scores["power_deviation_0.3"]["mean"] == pytest.approx(0.06)
    assert scores["power_deviation_0.4"]["mean"] == pytest.approx(0.2)
    assert scores["power_ratio_0_0.1"]["mean"] == pytest.approx(1.01)
    assert scores["stochasticity_ratio"]["mean"] == pytest.approx(0.5)
    assert scores["bispectrum_small_max"]["mean"] == pytest.approx(0.2)
    assert scores["power_deviation_0.3"]["error"] == pytest.approx(0)
    # The band at 0.12 decides. Two draws of 0.94 -+ 0.094 in each box, one of them thrice as bright.
    scatter = 0.94 * np.sqrt(2) * 0.1 * np.sqrt(1.5) * np.sqrt(1 + 9) / 4
    assert scores["power_noise_0.3"]["mean"] == pytest.approx(scatter)


def test_boxes_are_averaged_first_and_errors_are_the_jackknifes():
    made = arrays(np.ones(len(K)), 0.1)
    made["s/model/power"] = made["s/truth/power"] * np.array([[1.3], [0.9]])
    score = pooled_scores(made, "model", "s")["power_deviation_0.3"]
    assert score["mean"] == pytest.approx(0)  # 130 + 270 of 100 + 300
    assert score["boxes"] == pytest.approx([0.3, 0.1])
    assert score["error"] == pytest.approx(0.1)


def test_wavenumbers_and_angles_beyond_the_mesh_have_no_score():
    made = arrays(np.ones(len(K)), 0.1)
    made["k"] = K + 0.25
    made["s/model/bispectrum/small"][:] = np.nan
    scores = pooled_scores(made, "model", "s")
    assert "stochasticity_ratio" not in scores
    assert "power_ratio_0_0.1" not in scores
    assert "bispectrum_small_max" not in scores
    assert "bispectrum_large_max" in scores


@pytest.mark.parametrize(
    ("kind", "bound", "good", "bad"),
    [("most", 0.1, 0.1, 0.2), ("least", 0.85, 0.9, 0.8), ("off", 0.05, 0.96, 1.2)],
)
def test_goals(kind, bound, good, bad):
    goal = Goal("score", bound, kind)
    assert goal.reached(good)
    assert not goal.reached(bad)
    assert not goal.reached(float("nan"))


def test_the_mass_range_that_is_furthest_off_is_named():
    def row(model, sample, **scores):
        return {"model": model, "sample": sample, "scores": {k: {"mean": v} for k, v in scores.items()}}

    results = [
        row("model", "all", variance_ratio_1=1.04, r_mean_0_1=0.0, **{"r_mean_0.1": 0.95}),
        row("model", "light", variance_ratio_1=0.90),
        row(BIASED, "all", **{"r_mean_0.1": 0.9}),
    ]
    found = goals_reached(results, "model", ["all", "light"])
    assert found["variance_ratio_1"] == {
        "value": 0.90,
        "goal": "1 ± 0.05",
        "sample": "light",
        "reached": False,
    }
    assert found["r_mean_0.1"]["reached"]


def test_every_goal_has_a_row():
    assert {goal.score for goal in GOALS} <= {row.key for row in ROWS}
