# `make evolve` and `make test` need Python 3.11 or newer and nothing else.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RECORDERS := $(addprefix experiments/benchmarks/,record_table.py record_long.py proxy.py rung_ranking.py warm_weights.py racing.py fronts.py)
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
PYTEST := $(BIN)/python -m pytest
SPREAD := --numprocesses auto --dist loadfile --no-loadscope-reorder  # in the order of tests/conftest.py

.PHONY: help evolve smoke test test-slow kill check gpu types oracles bench clean

help:
	@echo "make evolve   run the default search (population 64); options in ARGS=\"--generations 3\""
	@echo "make smoke    run the smallest whole search, under a minute"
	@echo "make test     run the tests             make test-slow  run the long ones"
	@echo "make kill     kill the driver of a race fifty times; the run must end as if nothing had happened"
	@echo "make check    lint, import contracts, tests"
	@echo "make gpu      run the tests and the benchmarks that need a GPU; writes docs/gpu-*.md"
	@echo "make types    pyright (fetches node on its first run)"
	@echo "make oracles  compare scans with flash-linear-attention's naive functions (fetches them)"
	@echo "make bench    run the benchmarks in experiments/benchmarks, but for those that train for hours"

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "star needs Python 3.11 or newer: name one, as in  make PYTHON=python3.12 evolve" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.star: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "installing pinned dependencies into $(VENV), once; this takes some minutes"
	$(PIP) --editable .
	@touch $@

$(VENV)/.star-dev: $(VENV)/.star
	$(PIP) --editable ".[dev,hf]"
	@touch $@

evolve: $(VENV)/.star
	$(BIN)/star evolve --population 64 $(ARGS)

smoke: $(VENV)/.star
	$(BIN)/star evolve --config experiments/smoke.toml $(ARGS)

test: $(VENV)/.star-dev
	$(PYTEST) $(SPREAD) $(ARGS)

test-slow: $(VENV)/.star-dev
	$(PYTEST) -m slow $(ARGS)

check: $(VENV)/.star-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache
	$(PYTEST) $(SPREAD) $(ARGS)

gpu: $(VENV)/.star-dev
	$(PYTEST) -m gpu $(ARGS)
	$(BIN)/python experiments/benchmarks/cuda_graphs.py --device cuda --out docs/gpu-graphs.md
	$(BIN)/python experiments/benchmarks/gpu_workers.py --device cuda --out docs/gpu-workers.md

types: $(VENV)/.star-dev
	$(BIN)/pyright

kill: $(VENV)/.star-dev
	$(PYTEST) -m slow -k fifty tests/run/test_kill.py $(ARGS)

oracles: $(VENV)/.star-dev
	$(PIP) --no-deps --target $(VENV)/oracles --upgrade fla-core==0.6.0 einops==0.8.1
	$(BIN)/python experiments/oracles/fla.py $(VENV)/oracles

$(VENV)/.star-bench: $(VENV)/.star-dev
	$(PIP) --editable ".[dev,hf,bench]"
	@touch $@

bench: $(VENV)/.star-bench
	@for script in $(filter-out $(RECORDERS),$(wildcard experiments/benchmarks/*.py)); do echo "== $$script"; $(BIN)/python $$script || exit 1; done

clean:
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .import_linter_cache .hypothesis
