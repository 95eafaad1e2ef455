"""Commands that are killed and run again, a sample of `benchmarks/hard/kills.py`."""

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "hard" / "kills.py"


def test_killed_runs_end_the_same():
    cases = ("simulate-pairs", "train", "reconstruct")
    options = [part for name in cases for part in ("--case", name)]
    command = [sys.executable, SCRIPT, "--sample", "3", "--seed", "1", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 of 3 the same" in done.stdout
