import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

import peculiar
from peculiar.cli import app

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
    def fail():
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
