# make run    start the app with everything it needs
# make test   run the tests            make test-all   the long ones too
# make check  lint, types, bundle      make help       every target
.DEFAULT_GOAL := help
SHELL := /bin/bash

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
PORT ?= 8501
# Whoever reaches a local app is its admin: open it to a network only behind a login.
ADDRESS ?= localhost
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
PYTEST := $(BIN)/python -m pytest

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 23

run: $(VENV)/.app ## set up and start the app on http://localhost:8501 (PORT=…)
	$(BIN)/streamlit run app.py --server.address $(ADDRESS) --server.port $(PORT)

test: $(VENV)/.dev browser ## set up and run the tests
	$(PYTEST) -m "not slow" -n 2 --dist loadfile --no-loadscope-reorder

test-slow: $(VENV)/.dev browser ## only the tests that take minutes
	$(PYTEST) -m slow

test-all: test test-slow ## every test

check: $(VENV)/.dev bundle ## ruff, mypy, import-linter, the deployment bundle
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bundle: $(VENV)/.dev ## check the deployment bundle (BUNDLE_SCHEMA=file asks the CLI's own schema too)
	$(BIN)/python -m tools.bundle

permissions: $(VENV)/.dev ## renew the table of permissions in docs/deploy.md
	$(BIN)/python -m tools.bundle --write-permissions

format: $(VENV)/.dev ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

finish-deploy: $(VENV)/.dev ## after a deploy: give what a bundle can't, look whether the app works (APP=name ARGS=--dry-run)
	$(BIN)/python -m tools.deploy --app "$(APP)" $(ARGS)

run-cluster: $(VENV)/.dev ## the app in cluster mode, with a Databricks workspace on this machine (PORT=…)
	@$(BIN)/python -m tests.support.workspace --app --port $(PORT)

workspace: $(VENV)/.dev ## only that workspace, and how to point an app at it
	@$(BIN)/python -m tests.support.workspace

browser: $(VENV)/.dev ## find Chromium for the browser tests, or install it
	@$(BIN)/python -m tests.support.chromium

bench: $(VENV)/.dev ## measure accuracy, intervals and cost; takes hours (ARGS="--subsets M3-yearly")
	$(BIN)/python -m benchmarks all $(ARGS)

lock: $(VENV)/.dev ## compile requirements/*.in into pinned lists (ARGS=--upgrade moves versions)
	ARGS="$(ARGS)" requirements/lock.sh

clean: ## remove the virtual environment and caches; your data in .finance_forecast stays
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

$(BIN)/python:
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null || \
	  { echo "Python 3.11 is needed; found '$$($(PYTHON) --version 2>&1)'. Set it with: make PYTHON=/path/to/python3.11 …" >&2; exit 1; }
	"$(PYTHON)" -m venv $(VENV)

$(VENV)/.app: requirements.txt requirements/training.txt | $(BIN)/python
	@echo "Installing the app and its forecasting libraries (about a minute, once) …"
	$(PIP) -r requirements.txt -r requirements/training.txt
	@touch $@

$(VENV)/.dev: requirements/dev.txt $(VENV)/.app
	@echo "Installing the test tools …"
	$(PIP) -r requirements/dev.txt
	@touch $@

.PHONY: help run test test-slow test-all check format bundle permissions finish-deploy run-cluster workspace browser bench lock clean
