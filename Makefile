# `make help` lists what can be done. Everything runs in .venv, from the versions in constraints.txt.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PEERS := .venv-bench
LOG ?=
EVENTS ?= 20000
SEED ?= 7
APPROVE ?=

# Without bytecode every process compiles every package again, which triples the start.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup run dev check format test bench upgrade clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## make .venv with exactly the versions of constraints.txt

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; name one: make setup PYTHON=python3.12"; exit 1; }
	@echo "setting up $(VENV), once; this takes a minute or two"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@PIP_CONSTRAINT=$(CURDIR)/constraints.txt $(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@$(BIN)/python -m compileall -q -j 0 $(VENV)/lib guard lake registry ingest runtime synthesis governance dashboard dagster_project app >/dev/null || true
	@$(BIN)/python -c 'from lake.transform import ensure_manifest; ensure_manifest()'
	@touch $@

run: setup ## run the whole loop; APPROVE=1 goes on to publication; LOG=path imports your event log instead
	@$(if $(LOG),$(BIN)/rwcm backfill "$(LOG)",$(BIN)/rwcm run --events $(EVENTS) --seed $(SEED) $(if $(APPROVE),--approve))

dev: setup ## start the Dagster UI on http://127.0.0.1:3000
	@home=$$($(BIN)/python -m dagster_project.instance) && DAGSTER_HOME=$$home $(BIN)/dagster dev -h 127.0.0.1 -p 3000

check: setup ## lint, types, SQL, import arrows
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/sqlfluff lint --disable-progress-bar dbt_project/models
	$(BIN)/lint-imports

format: setup ## format Python and SQL
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/sqlfluff fix --disable-progress-bar dbt_project/models

test: check ## check, then run every test
	$(BIN)/python -m pytest -n 2

bench: setup $(PEERS)/.installed ## print speed as ratios against a limit, in one run
	$(BIN)/python -m benchmarks
	$(BIN)/python -m benchmarks.ingestion
	$(BIN)/python -m benchmarks.scale
	$(BIN)/python -m benchmarks.registry
	$(BIN)/python -m benchmarks.effects
	$(BIN)/python -m benchmarks.replay

$(PEERS)/.installed: benchmarks/constraints.txt
	@test -x $(PEERS)/bin/python || $(PYTHON) -m venv $(PEERS)
	@PIP_CONSTRAINT=$(CURDIR)/benchmarks/constraints.txt $(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check 'dlt[filesystem,deltalake]' orjson
	@touch $@

upgrade: ## renew constraints.txt from the ranges of pyproject.toml
	rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -e '.[dev]'
	(sed '/^[^#]/,$$d' constraints.txt; $(BIN)/python -m pip freeze --exclude-editable) > constraints.new
	mv constraints.new constraints.txt

clean: ## delete .venv and caches; state in var/ stays
	rm -rf $(VENV) $(PEERS) .pytest_cache .mypy_cache .ruff_cache dbt_project/target
