# `make demo` and `make test` set up .venv themselves; nothing has to be installed by hand.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# what each stamp installs
EXTRAS_demo := jax,cli,data
EXTRAS_test := all,test
EXTRAS_dev := all,test,docs,dev

.PHONY: help demo test test-slow test-nightly quick bench docs lint format types contracts clean

help:
	@echo "make demo        install, draw the quick dynamics figure, rank and complete real digit images"
	@echo "make test        install what tests need, and run them (test-slow: the slow ones, test-nightly: the rest)"
	@echo "make quick       a part of the tests that touches everything, in a minute or so"
	@echo "make bench       speed against the peers, one thread; writes benchmarks/RESULTS.md"
	@echo "make docs        the documentation site, into site/"
	@echo "make lint types contracts    ruff, mypy, import-linter"

demo: $(VENV)/.demo
	$(BIN)/tnrank demo

test: $(VENV)/.test
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow and not nightly"

test-slow: $(VENV)/.test
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "slow and not nightly"

test-nightly: $(VENV)/.test
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "nightly or hypothesis" --hypothesis-profile thorough

quick: $(VENV)/.test
	$(BIN)/python -m pytest -n 2 --dist loadfile -m quick

bench: $(VENV)/.test
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks

docs: $(VENV)/.dev
	$(BIN)/python -m mkdocs build --strict

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(VENV)/.dev
	$(BIN)/mypy

contracts: $(VENV)/.dev
	$(BIN)/lint-imports

clean:
	rm -rf build dist site .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache

# One stamp a set of extras: pip runs again only when pyproject.toml or constraints.txt has changed.
$(VENV)/.%: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing tnrank[$(EXTRAS_$*)] into $(VENV)"
	@$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[$(EXTRAS_$*)]"
	@touch $@

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
