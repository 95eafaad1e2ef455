"""Run the tutorials and keep their texts and figures: python benchmarks/tutorials.py [NAME ...].

Needs the extras dev and docs. Progress bars and warnings, which hold paths of this machine, are left out.
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat
from nbclient import NotebookClient

TUTORIALS = Path(__file__).resolve().parents[1] / "docs" / "tutorials"


def is_shown(output: nbformat.NotebookNode) -> bool:
    return output.get("name") == "stdout" or "image/png" in output.get("data", {})


def execute(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    with TemporaryDirectory() as directory:
        resources = {"metadata": {"path": directory}}
        NotebookClient(notebook, timeout=600, resources=resources, record_timing=False).execute()
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if is_shown(output)]
    nbformat.write(notebook, path)


if __name__ == "__main__":
    for name in sys.argv[1:] or ("box", "survey", "train"):
        execute(TUTORIALS / f"{name}.ipynb")
