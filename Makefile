# Needs Python 3.11 or newer and make; everything else goes into $(VENV).

PYTHON ?= $(shell for p in python3.11 python3 python; do $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV ?= .venv
BIN := $(VENV)/bin
WORKERS ?= 2

# Options of `make report`.
OUT ?= report
MEV_DATA ?=
LANES ?=

.PHONY: report test test-x64 test-x32 bench lint format clean

report: $(VENV)/.installed
	$(BIN)/jaxstake report --out $(OUT) $(if $(MEV_DATA),--mev-data $(MEV_DATA)) $(if $(LANES),--lanes $(LANES))

test: test-x64 test-x32

test-x64: $(VENV)/.installed-dev
	JAXSTAKE_TEST_X64=1 $(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile

test-x32: $(VENV)/.installed-dev
	JAXSTAKE_TEST_X64=0 $(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile

bench: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) report build dist .pytest_cache .ruff_cache .hypothesis

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "jaxstake needs Python 3.11 or newer"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[dev]"
	@touch $@ $(VENV)/.installed
