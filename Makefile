# Each target makes .venv by itself and installs what it needs; only `git`, `make` and Python 3.11 or
# later have to be there. A torch that is in .venv already is used and never replaced.

PYTHON ?= python3
WORKERS ?= 3  # that run tests: most of them wait for processes
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help venv demo check lint types test fmt bench clean
MAKEFLAGS += --no-print-directory

help:
	@echo 'make demo    train examples/digits.py through `scheduler run`, then show `scheduler status`'
	@echo 'make check   lint, types and all tests: what a change has to pass'
	@echo 'make fmt     format the code'
	@echo 'make bench   run the measurements in bench/'
	@echo 'make clean   remove .venv, build/ and caches'

venv: $(BIN)/python

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo 'Python 3.11 or later is needed; name one with: make PYTHON=python3.12 ...'; exit 1; }
	@echo "making $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }
	@$(PIP) install -qq --upgrade pip

$(VENV)/demo-installed: pyproject.toml | $(BIN)/python
	@echo 'installing scheduler and scikit-learn (for its digits) into $(VENV)'
	@$(PIP) install -qq --editable . 'scikit-learn>=1.4'
	@touch $@

$(VENV)/check-installed: pyproject.toml | $(BIN)/python
	@echo 'installing scheduler and its development tools into $(VENV); this takes a minute or two'
	@$(PIP) install -qq --editable '.[dev]'
	@touch $@

# A state folder of its own, so that the runs of whoever tries this stay as they are, and no GPU, so
# that it is the same on every machine.
demo: export SCHEDULER_STATE_DIR := $(CURDIR)/build/demo-state
demo: export SCHEDULER_SYSFS_ROOT := $(CURDIR)/build/no-cards
demo: export HIP_VISIBLE_DEVICES := -1
demo: export CUDA_VISIBLE_DEVICES := -1
demo: $(VENV)/demo-installed
	@mkdir -p build/no-cards
	@echo '$$ scheduler run --device host examples/digits.py'
	@$(BIN)/scheduler run --device host examples/digits.py
	@echo
	@echo '$$ scheduler status'
	@$(BIN)/scheduler status

check: lint types test

lint: $(VENV)/check-installed
	@echo 'ruff check'
	@$(BIN)/ruff check .
	@echo 'ruff format --check'
	@$(BIN)/ruff format --check .

types: $(VENV)/check-installed
	@echo 'mypy'
	@$(BIN)/mypy

test: $(VENV)/check-installed
	@$(BIN)/python -c 'import torch; print("tests with torch", torch.__version__)' 2>/dev/null || \
	    echo 'torch is not in $(VENV): the tests that need it are skipped (README, "Tests")'
	@echo 'pytest'
	@$(BIN)/python -m pytest -n $(WORKERS)

fmt: $(VENV)/check-installed
	@$(BIN)/ruff check --fix-only .
	@$(BIN)/ruff format .

bench: $(VENV)/check-installed
	@for script in $$(grep -l __main__ bench/*.py); do \
	    echo "== $$script"; $(BIN)/python "$$script" || exit 1; \
	done

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
