# Everything a fresh machine needs: Python 3.11 to 3.14 with venv, and make. `make help` lists the targets.

# The first Python on the path that is new enough and can make environments.
PYTHON ?= $(shell for python in python3 python3.11 python3.12 python3.13 python3.14; do \
	$$python -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 15))' \
	>/dev/null 2>&1 && echo $$python && break; done)

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
ARGS ?=
# Tests run in as many processes, each with private servers of its own: on 2 cores three, because many wait for
# what servers do. `make test WORKERS=0` runs them in one.
WORKERS ?= 3

.DEFAULT_GOAL := help
.PHONY: help venv demo test bench lint soak lock clean

help: ## list the targets
	@awk -F ":.*## " '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

venv: $(STAMP) ## make .venv with everything the other targets need, versions and hashes from requirements.lock

$(STAMP): requirements.lock pyproject.toml
	@if [ -z "$(PYTHON)" ]; then \
		echo "make: no Python 3.11 to 3.14 with venv was found; install one (Debian: apt-get install" \
			"python3 python3-venv) or name it: make PYTHON=/path/to/python3.12" >&2; exit 1; fi
	@echo "setting up $(VENV) with $(PYTHON): one to three minutes, once"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(STAMP)

demo: $(STAMP) ## the main job on private servers: database to stored result, three ways, side by side
	@$(BIN)/ngb demo $(ARGS)

test: $(STAMP) ## all tests but the long ones, under 10 minutes on 2 cores
	@$(BIN)/python -m pytest -m "not soak" -n $(WORKERS) --dist loadfile $(ARGS)

bench: $(STAMP) ## the benchmark cases: rivals and this package in one run, equality first
	@$(BIN)/ngb bench $(ARGS)

lint: $(STAMP) ## style, types and the import contract
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

soak: $(STAMP) ## the tests that run for minutes
	@$(BIN)/python -m pytest -m soak $(ARGS)

lock: ## choose the versions in requirements.lock anew (needs uv)
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
		--extra demo --extra mlx --group dev pyproject.toml -o requirements.lock

clean: ## remove .venv and what the tools cache
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
