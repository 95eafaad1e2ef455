import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import peculiar
from peculiar.cli import app
from peculiar.cli.app import _show_warning, numbers, pairs, ranges

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


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["reconstruct"], "Missing argument 'catalogue': see `peculiar reconstruct --help`"),
        (["emulate", "--out", "p.h5"], "Missing option '--seed': see `peculiar emulate --help`"),
        (["nonsense"], "No such command 'nonsense'"),
        (["demo", "--nonsense"], "No such option: --nonsense"),
        (
            ["demo", "--device", "gpu"],
            "Invalid value for '--device': 'gpu' is not one of 'auto', 'cpu', 'cuda'",
        ),
        (
            ["emulate", "--seed", "one", "--out", "p.h5"],
            "Invalid value for '--seed': ",
        ),
        *(
            (
                [*command, "--box", "100,100,50"],
                "Invalid value for '--box': must be one number [Mpc/h], as the box is a cube, got '100,100,50': see ",
            )
            for command in (("emulate", "--seed", "1"), ("paint", "--seed", "1"), ("simulate", "run"))
        ),
    ],
)
def test_usage_errors_are_one_line_and_exit_with_2(arguments, words):
    done = CliRunner().invoke(app, arguments, prog_name="peculiar")
    assert done.exit_code == 2
    (line,) = done.stderr.splitlines()
    assert line.lower().startswith(f"peculiar: error: {words.lower()}")


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


@pytest.mark.parametrize("text", ["1-1000000000", "0-999998,1000000-1000001", "1-" + "9" * 18])
def test_a_range_of_a_billion_is_never_made(text):
    with pytest.raises(peculiar.InputError, match="--seeds must name at most 1000000 numbers"):
        ranges("--seeds", text)


def test_digits_without_end_are_no_number():
    with pytest.raises(peculiar.InputError, match="--seeds must be numbers"):
        ranges("--seeds", "9" * 5000)


def test_numbers_and_pairs():
    assert numbers("--origin", "1,-2.5,3e1", 3) == (1.0, -2.5, 30.0)
    assert numbers("--origin", None, 3) is None
    assert numbers("--satellites", "0.25", 1) == (0.25,)
    for text in ("1,2,z", "1,2", "1,2,nan", "1,2,inf"):
        with pytest.raises(peculiar.InputError, match="--origin must be 3 numbers .*, all finite"):
            numbers("--origin", text, 3)
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


@pytest.mark.parametrize(
    "arguments",
    [
        ["query", "field.zarr", "--ra", "", "--dec", "1", "--z", "0.1"],
        ["reconstruct", "halos.fits", "--box", "10", "--out", "out.zarr", "--model", ""],
        ["reconstruct", "halos.fits", "--box", "10", "--out="],
        ["simulate", "", "--seeds", "1"],
    ],
)
def test_empty_arguments_are_refused(arguments):
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert "peculiar: error: arguments must not be empty, got '' after" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def _one_line(*arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 2, result.output
    (line,) = result.stderr.splitlines()
    return line


def test_a_seed_without_draws_is_refused_before_the_catalogue_is_looked_for():
    line = _one_line("reconstruct", "none.fits", "--box", 10, "--out", "out.zarr", "--seed", 0)
    assert "--seed must come with --draws, got --seed 0 alone: give --draws 20, or leave it out" in line


def test_names_that_are_too_long_and_links_to_themselves(tmp_path):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    long = tmp_path / ("a" * 300)
    for name in (long, tmp_path / "loop"):
        assert _one_line("reconstruct", name, "--box", 10, "--out", tmp_path / "out.zarr")
        assert _one_line("simulate", name, "--seeds", 1, "--particles", 16, "--cells", 8, "--box", 20)
        assert _one_line("query", name, "--ra", 1, "--dec", 1, "--z", 0.1)
    assert _one_line("reconstruct", tmp_path, "--box", 10, "--out", f"{long}.zarr")
    assert [path.name for path in tmp_path.iterdir()] == ["loop"]


def test_what_a_locale_cannot_show_is_shown_by_number():
    code = "import sys, typer\nfrom peculiar.cli.app import main\nmain(False)\ntyper.echo('\\u03b4 = 1')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "latin-1"},
        capture_output=True,
        check=True,
    )
    assert done.stdout.split() == [b"\\u03b4", b"=", b"1"]


def test_a_warning_is_told_once(capsys):
    told = set()
    for number in (1, 1, 2):
        _show_warning(told, UserWarning(f"bias is of {number}\n objects"), UserWarning)
    assert (
        capsys.readouterr().err
        == "peculiar: warning: bias is of 1 objects\npeculiar: warning: bias is of 2 objects\n"
    )
