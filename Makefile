# make run | test | lint | bench | checkpoints DATA=folder      Each does all of its own set-up.
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	command -v $$python >/dev/null && $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' && echo $$python && break; \
	done)
BIN := .venv/bin

.DEFAULT_GOAL := run
.PHONY: run test lint bench checkpoints chromium clean

run: .venv/.run
	@$(BIN)/python -m dashboard $(ARGS)

test: lint chromium
	@$(BIN)/python -m pytest -n 2 --dist loadfile $(ARGS)

lint: .venv/.dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy

bench: .venv/.dev chromium
	@set -e; for script in benchmarks/[a-z]*.py; do echo "== $$script"; $(BIN)/python "$$script"; done

checkpoints: .venv/.run
	@test -n "$(DATA)" || { echo "Say where the data sets are: make checkpoints DATA=folder"; exit 2; }
	@$(BIN)/python -m cnnviz.recipes --data "$(DATA)"

# Where Chromium cannot be installed the browser tests say so; everything else still runs.
chromium: .venv/.dev
	@$(BIN)/python -m tests.browser.chromium || true

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis test-results

# The stamps make a second call start at once; a changed requirements file is installed again.
.venv/.run: requirements.txt | .venv/bin/python
	@echo "Installing what running needs (a few minutes the first time) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

.venv/.dev: requirements-dev.txt .venv/.run
	@echo "Installing what testing adds ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "cnnviz needs Python 3.11 or newer, and none was found; install one, or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11"; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "cnnviz needs Python 3.11 or newer; $(PYTHON) is %d.%d." % sys.version_info[:2])'
	@$(PYTHON) -m venv .venv
