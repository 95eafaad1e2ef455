"""A fixed sample of benchmarks/hard/inputs.py: each is right, or refused in one line with nothing left."""

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "hard" / "inputs.py"
PLACES = ("recipes/text*", "surveys/*", "fields/query/*", "runs/record/*")


def test_malformed_inputs_are_right_or_refused():
    command = [sys.executable, str(SCRIPT), "--sample", "40", "--only", *PLACES]
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "40 cases, 0 defects" in result.stdout
