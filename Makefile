# make demo   reconstruct the SDSS DR7 sample and a simulated box, and write a report
# make test   lint, format, types, import contract, tests
# make lint   the checks without the tests
# make docs   build the documentation into site/
# make weights  make every shipped network from nothing, simulations included: some 21 hours; MODEL=he2019 makes one,
#               PROFILE=gpu on a GPU (runs/weights)
#
# A bare Python >= 3.11 is enough: every target makes .venv first when it is missing or out of date.
# Another interpreter:  make PYTHON=python3.12 test
# A CUDA build of torch:  make TORCH_INDEX=https://download.pytorch.org/whl/cu128 demo

PYTHON ?= python3
VENV ?= .venv
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
PYTEST_WORKERS ?= 2
MODEL ?= all
PROFILE ?= cpu
TORCH_PIN = $(shell grep -E '^torch==' constraints.txt)

BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip --disable-pip-version-check
INSTALLED = $(VENV)/.installed

# Two pytest workers share two cores: more threads per worker only wait for each other.
ONE_THREAD = OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 NUMBA_NUM_THREADS=1

.DEFAULT_GOAL = help
.PHONY: help demo test lint docs weights clean

help:
	@sed -n 's/^# //p;/^$$/q' Makefile

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v < (3, 14) else "peculiar needs Python 3.11 to 3.13, and $(PYTHON) is %d.%d: name another with  make PYTHON=python3.11" % v)'
	@echo "Installing into $(VENV): a few minutes, once"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@# torch first and by itself: a plain requirement would fetch the CUDA libraries (several GB) on Linux.
	@$(BIN)/python -c 'import torch, sys; sys.exit(torch.__version__.split("+")[0] != "$(TORCH_PIN)".split("==")[1])' 2>/dev/null \
	  || $(PIP) install -qq --no-deps --retries 1 --index-url $(TORCH_INDEX) "$(TORCH_PIN)" \
	  || $(PIP) install -qq --no-deps "$(TORCH_PIN)"
	@$(PIP) install -qq -c constraints.txt -e ".[dev]"
	@touch $@

demo: $(INSTALLED)
	$(BIN)/peculiar demo --out runs/demo

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint
	$(ONE_THREAD) $(BIN)/python -m pytest -n $(PYTEST_WORKERS) --dist loadfile

docs: $(INSTALLED)
	@$(BIN)/python -c 'import material, mkdocs_jupyter, mkdocstrings' 2>/dev/null || $(PIP) install -qq -c constraints.txt -e ".[dev,docs]"
	$(BIN)/mkdocs build --strict --site-dir site

weights: $(INSTALLED)
	$(BIN)/python benchmarks/weights.py $(MODEL) --profile $(PROFILE)

clean:
	rm -rf site .cache build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
