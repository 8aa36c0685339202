# `make demo` runs the main job, `make test` the tests; each sets up what it needs in .venv first.
SHELL := /bin/sh
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
# A process for each core, but for memory's sake no more than eight; each file in one of them, which keeps its fixtures.
SPREAD := -n auto --maxprocesses 8 --dist loadfile

.PHONY: demo test check slow fuzz browser extras format clean

demo: $(READY)
	$(BIN)/basewright build examples/contract-clauses.toml

test: $(READY)
	$(BIN)/python -m pytest $(SPREAD)

slow: $(READY)
	$(BIN)/python -m pytest -m slow

fuzz: $(READY)
	$(BIN)/python -m tests.fuzz 1000000 --processes 2

browser: $(READY)
	$(BIN)/python -m pip install --disable-pip-version-check -q -c constraints.txt -e '.[browser]'
	$(BIN)/python -m pytest -m browser

check: $(READY)
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/mypy
	$(BIN)/lint-imports

extras: $(READY)
	$(BIN)/python -m pip install --disable-pip-version-check -q -c constraints.txt -e '.[gguf,lm-eval,qlora]'

format: $(READY)
	$(BIN)/ruff format src tests benchmarks
	$(BIN)/ruff check --fix src tests benchmarks

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Basewright needs Python 3.11 or newer; set PYTHON=python3.12, for instance" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check -q torch==2.13.0
	$(BIN)/python -m pip install --disable-pip-version-check -q -c constraints.txt -e '.[dev]'
	touch $(READY)

clean:
	rm -rf .venv runs build dist
