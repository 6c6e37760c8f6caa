# The two commands of the README are `make demo` and `make test`; each sets up what it needs.
.DEFAULT_GOAL := help
SHELL := /bin/bash

VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
export DAGSTER_HOME ?= $(CURDIR)/.dagster_home
export GEO_ASSETS_DATA ?= $(CURDIR)/data
export DAGSTER_DISABLE_TELEMETRY := yes
PORT ?= 3000
ACCEPTANCE := geo_assets_tests/acceptance geo_assets_tests/storage/chips/test_store_killed.py

.PHONY: help demo test acceptance dev bench lint format clean
help: ## Show this list
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 20

$(VENV)/.ready: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; set PYTHON=..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

$(DAGSTER_HOME)/dagster.yaml: dagster.yaml | $(VENV)/.ready
	@$(BIN)/geo-assets home

demo: $(VENV)/.ready $(DAGSTER_HOME)/dagster.yaml ## Run the demo campaign twice and show how it heals
	$(BIN)/geo-assets demo

test: $(VENV)/.ready ## Run the tests
	$(BIN)/python -m pytest -m 'not slow' -n auto --dist loadgroup --no-loadscope-reorder

acceptance: $(VENV)/.ready ## Run the acceptance lists in full: all kills, all real data
	$(BIN)/python -m pytest $(ACCEPTANCE) --full

dev: $(VENV)/.ready $(DAGSTER_HOME)/dagster.yaml ## Open the Dagster UI on 127.0.0.1:$(PORT)
	$(BIN)/dagster dev -h 127.0.0.1 -p $(PORT) -w workspace.yaml

bench: $(VENV)/.ready ## Measure ours, the old way and the best peer side by side
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	$(BIN)/python -m geo_assets_tests.benchmarks
	$(BIN)/python -m geo_assets_tests.benchmarks.kmeans_scaling

lint: $(VENV)/.ready ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.ready ## Format the code
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

clean: ## Remove the results, the Dagster home and the caches; keeps the virtual environment
	rm -rf data build .dagster_home .pytest_cache .mypy_cache .ruff_cache .hypothesis
