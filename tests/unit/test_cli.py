import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import peculiar
from peculiar.cli import app
from peculiar.cli.app import numbers, pairs, ranges

LAZY = ("torch", "numpy", "xarray", "astropy", "lightning", "camb", "numba", "matplotlib", "plotly", "dask")


def python(code):
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=os.environ
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.split()


def test_help_imports_nothing_heavy():
    code = (
        "import sys\n"
        "from peculiar.cli import app\n"
        "try:\n    app(['--help'])\nexcept SystemExit:\n    pass\n"
        f"print('LOADED', *[name for name in {LAZY!r} if name in sys.modules])"
    )
    assert python(code)[-1] == "LOADED"


def test_public_names_are_lazy_and_all_there():
    assert python(f"import sys, peculiar\nprint(*[name for name in {LAZY!r} if name in sys.modules])") == []
    for name in peculiar.__all__:
        assert getattr(peculiar, name) is not None
    assert set(peculiar.__all__) <= set(dir(peculiar))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = peculiar.nonsense


def test_version_and_models():
    result = CliRunner().invoke(app, ["--version"])
    assert result.output.strip() == f"peculiar {peculiar.__version__}"
    result = CliRunner().invoke(app, ["models"])
    assert result.exit_code == 0, result.output
    assert [line.split()[0] for line in result.stdout.splitlines()][:3] == ["linear", "iterative", "wiener"]


def test_usage_errors_exit_with_2():
    assert CliRunner().invoke(app, ["reconstruct"]).exit_code == 2
    assert CliRunner().invoke(app, ["nonsense"]).exit_code == 2


def test_errors_that_are_not_the_users_keep_their_traceback(monkeypatch):
    def fail(task):
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr("peculiar.inference.model_card.available_models", fail)
    result = CliRunner().invoke(app, ["models"])
    assert result.exit_code == 1
    assert isinstance(result.exception, RuntimeError)


def test_the_reconstruct_command_names_the_contract():
    text = CliRunner().invoke(app, ["reconstruct", "--help"], env={"COLUMNS": "200"}).output
    for option in (
        "--box",
        "--los",
        "--out",
        "--model",
        "--at-objects",
        "--space",
        "--sky",
        "--mask",
        "--force",
    ):
        assert option in text


def test_ranges_of_seeds():
    assert ranges("--seeds", "1-3, 7") == [1, 2, 3, 7]
    for text in ("", "1-", "3-1", "a", "1,,2", "-1"):
        with pytest.raises(peculiar.InputError, match="--seeds must be numbers and ranges"):
            ranges("--seeds", text)


def test_numbers_and_pairs():
    assert numbers("--origin", "1,-2.5,3e1", 3) == (1.0, -2.5, 30.0)
    assert numbers("--origin", None, 3) is None
    with pytest.raises(peculiar.InputError, match="--origin must be 3 numbers"):
        numbers("--origin", "1,2,z", 3)
    assert pairs("--column", ["x=X", "mass=M=200"]) == {"x": "X", "mass": "M=200"}
    assert pairs("--column", None) == {}
    with pytest.raises(peculiar.InputError, match="--column must be NAME=VALUE"):
        pairs("--column", ["=X"])


def test_every_command_shows_its_help():
    for command in app.registered_commands:
        result = CliRunner().invoke(app, [command.callback.__name__, "--help"])
        assert result.exit_code == 0
        assert command.callback.__doc__.strip() in " ".join(result.output.split())


def test_help_texts_hold_no_markup():
    """Words in brackets that begin with a lower-case letter, such as units, would vanish from the printed help."""
    sources = (Path(peculiar.__file__).parent / "cli").glob("*.py")
    texts = [text for path in sources for text in re.findall(r'help="([^"]*)"', path.read_text())]
    assert len(texts) > 50
    assert [text for text in texts if re.search(r"\[[a-z#/@]", text)] == []
