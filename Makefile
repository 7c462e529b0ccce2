# `make run` serves the whole product on http://127.0.0.1:8000; `make test` runs every test.
# Both need Python 3.11 or newer and nothing else: each sets up what it uses in .venv.

PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --require-hashes --no-deps

.DEFAULT_GOAL := help
.PHONY: help run test faults corpus fuzz lint types imports check bench costs simulate requirements clean

help:  ## what there is
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/'

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Filewire needs Python 3.11 or newer (set PYTHON=/path/to/python)"; exit 1; }
	@$(PYTHON) -m venv $(VENV)

$(VENV)/embedded: requirements/embedded.txt | $(BIN)/python
	@echo "installing what Filewire needs into $(VENV) (once)"
	@$(PIP) -r requirements/embedded.txt
	@touch $@

$(VENV)/dev: requirements/dev.txt | $(BIN)/python
	@echo "installing what Filewire and its tests need into $(VENV) (once)"
	@$(PIP) -r requirements/dev.txt
	@touch $@ $(VENV)/embedded

run: $(VENV)/embedded  ## serve everything on http://127.0.0.1:8000
	@exec $(BIN)/python manage.py serve

test: $(VENV)/dev  ## every test, on PostgreSQL and on SQLite
	@exec $(BIN)/python -m tests

faults: $(VENV)/dev  ## what holds while parts are killed, stopped, emptied and filled (minutes)
	@exec $(BIN)/python -m tests.faults

lint: $(VENV)/dev  ## style
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: $(VENV)/dev  ## strict types
	@$(BIN)/mypy

imports: $(VENV)/dev  ## the direction of imports
	@$(BIN)/lint-imports

check: lint types imports test  ## all of the above

bench: $(VENV)/dev $(VENV)/bench $(VENV)/peers/installed  ## BENCH="--only lists": what it takes, beside its peers (needs wrk)
	@exec $(BIN)/python -m tests.load.measure $(BENCH)

$(VENV)/bench: requirements/bench.txt | $(VENV)/dev
	@$(PIP) -r requirements/bench.txt
	@touch $@

$(VENV)/peers/installed: requirements/peers.txt | $(BIN)/python
	@$(BIN)/python -m venv $(VENV)/peers
	@$(VENV)/peers/bin/python -m pip --disable-pip-version-check install --quiet --require-hashes --no-deps \
	  -r requirements/peers.txt
	@touch $@

costs: $(VENV)/dev  ## what one of each thing costs on this machine, for `manage.py capacity` (minutes; Linux)
	@exec $(BIN)/python -m tests.load.costs $(COSTS)

simulate: $(VENV)/dev  ## the real service beside its simulation, then a thousand workers (minutes; Linux)
	@exec $(BIN)/python -m tests.load.simulate --write $(SIMULATE)

corpus: $(VENV)/dev  ## DIR=folder: every file of it through a running service, and what became of each
	@exec $(BIN)/python -m tests.load.corpus "$(DIR)"

fuzz: $(VENV)/dev  ## SECONDS=600 DIR=folder: mutants of files, each in a child of its own
	@exec $(BIN)/python -m tests.load.fuzz --seconds $(or $(SECONDS),600) $(if $(DIR),--folder "$(DIR)")

requirements: $(VENV)/dev  ## compile requirements/*.in into pinned *.txt
	@for name in base production embedded dev bench peers; do \
	  $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	    requirements/$$name.in --output-file requirements/$$name.txt || exit 1; done

clean:  ## forget the environment and the data
	rm -rf $(VENV) var
