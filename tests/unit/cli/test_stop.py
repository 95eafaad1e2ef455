import subprocess
import sys


def _run(code):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=200
    )


def test_a_signal_that_a_callback_swallows_comes_again():
    code = (
        "import os, signal, time, weakref\n"
        "from peculiar.cli.app import main\n"
        "main(False)\n"
        "class Thing: pass\n"
        "thing = Thing()\n"
        "link = weakref.ref(thing, lambda _: signal.raise_signal(signal.SIGTERM))\n"
        "del thing\n"
        "time.sleep(60)\n"
    )
    done = _run(code)
    assert done.returncode == 128 + 15
    assert done.stderr == ""


_AT_A_LINE = """
import asyncio, os, signal, sys, threading
import numpy as np, torch, xarray, zarr
from peculiar.cli import app
from peculiar.core import Box, Field
from peculiar.fields.files import write_fields

box = Box(10.0, 4)
fields = {"density": Field(torch.zeros(1, 4, 4, 4), box, names=("density",))}

@app.command("write")
def write(out: str) -> None:
    write_fields(out, fields)

def tracer(place):
    def look(frame, event, argument):
        if not frame.f_code.co_qualname.endswith(place):
            return None
        def line(frame, event, argument):
            if event == "line":
                sys.settrace(None)
                signal.raise_signal(signal.SIGINT)
        return line
    return look

for place in PLACES:
    child = os.fork()
    if child == 0:
        sys.settrace(tracer(place))
        app(["write", FOLDER + "/fields.zarr"])
    print(place, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), os.listdir(FOLDER), flush=True)
"""


def test_an_interrupt_while_an_event_loop_starts_is_quiet_and_leaves_nothing(tmp_path):
    places = (
        "BaseEventLoop.__init__",
        "BaseSelectorEventLoop._make_self_pipe",
        "Thread.start",
        "Condition._release_save",
        "run_coroutine_threadsafe",
    )
    done = _run(f"PLACES = {places}\nFOLDER = {str(tmp_path)!r}\n{_AT_A_LINE}")
    assert done.stderr == ""
    assert done.stdout.splitlines() == [f"{place} 130 []" for place in places]


def test_an_interrupt_while_the_program_is_loaded_is_quiet():
    done = _run(
        "import signal, sys\n"
        "class Finder:\n"
        "    def find_spec(name, *_):\n"
        "        if name == 'typer': signal.raise_signal(signal.SIGINT)\n"
        "sys.meta_path.insert(0, Finder)\n"
        "from peculiar.__main__ import main\n"
        "main()\n"
    )
    assert (done.returncode, done.stderr) == (-2, "")
