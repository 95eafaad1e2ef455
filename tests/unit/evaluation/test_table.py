"""One table for Markdown and HTML: what stands in a cell, which one is best, what stands beside."""

import math

import pytest

from peculiar.evaluation.scores import alone, average, pooled
from peculiar.evaluation.table import Row, cell_text, markdown, score_table
from peculiar.figures import report as html

ROWS = (
    Row("error", "|v - v_t| [km/s]", decimals=1, target=0.0),
    Row(
        "speed", "|v| [km/s]", decimals=0, spread="speed_std", true="speed_true", true_spread="speed_true_std"
    ),
    Row("missing", "never measured"),
)
COLUMNS = {
    "a": {"error": average([3.0, 5.0]), "speed": alone(300.4), "speed_std": alone(120.0),
          "speed_true": alone(310.0), "speed_true_std": alone(130.0)},
    "b": {"error": average([2.0, 2.5])},
}  # fmt: skip


@pytest.fixture
def table():
    beside = {"published": {"error": "1.7 (sec. 3)"}}
    return score_table(ROWS, COLUMNS, title="Scores", note="Of two boxes.", truth=True, beside=beside)


def test_rows_without_scores_are_left_out_and_the_best_is_marked(table):
    assert table.columns == ["", "a", "b", "truth", "published"]
    assert [cells for _, cells in table.rows] == [
        ["|v - v_t| [km/s]", "4.0 (1.0)", "2.2 (0.2)", "", "1.7 (sec. 3)"],
        ["|v| [km/s]", "300 ± 120", "–", "310 ± 130", ""],
    ]
    assert table.best == {0: 2}


def test_markdown_escapes_strokes_and_html_does_not(table):
    lines = markdown(table).splitlines()
    assert lines[0] == "## Scores"
    assert lines[4] == "| \\|v - v_t\\| [km/s] | 4.0 (1.0) | **2.2 (0.2)** |  | 1.7 (sec. 3) |"
    assert lines[-1] == "Of two boxes."
    page = html.table(table)
    assert "<h3>Scores</h3>" in page
    assert "<th>|v - v_t| [km/s]</th>" in page
    assert '<td class="best">2.2 (0.2)</td>' in page


def test_no_number_is_a_dash_and_minus_zero_is_zero():
    row = Row("error", "error", decimals=2)
    assert cell_text({"error": alone(math.nan)}, row) == "–"
    assert cell_text({"error": alone(-0.001)}, row) == "0.00"


def test_pooled_scores_have_the_jackknifes_error():
    values = [1.0, 3.0, 8.0]
    score = pooled(lambda boxes: sum(values[i] for i in boxes) / len(boxes), 3)
    mean = average(values)
    assert score["mean"] == pytest.approx(mean["mean"])
    assert score["error"] == pytest.approx(mean["error"])  # the jackknife of a mean is its standard error
    assert score["boxes"] == values
    assert math.isnan(pooled(lambda boxes: 1.0, 1)["error"])
