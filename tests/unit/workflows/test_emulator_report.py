from peculiar.workflows.emulator_report import tables

PAGE = """# Title

| | network | theory |
| --- | ---: | ---: |
| \\|v\\| [km/s] | **1.5** | 2 |
| r | 0.9 | |

Text.

| a | b |
| --- | --- |
| c | d |
"""


def test_tables_of_a_page():
    first, second = tables(PAGE)
    assert first.columns == ["", "network", "theory"]
    assert first.rows == [("", ["|v| [km/s]", "1.5", "2"]), ("", ["r", "0.9", ""])]
    assert first.best == {0: 1}
    assert second.rows == [("", ["c", "d"])]
    assert tables("no table") == []
