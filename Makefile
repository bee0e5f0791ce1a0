# `make help` lists the targets. Everything runs in .venv, which is made when it is missing.

PYTHON ?= $(shell for p in python3 python3.11 python3.12 python3.13 python3.14; do \
	$$p -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV   ?= .venv
PY      = $(VENV)/bin/python
STAMP   = $(VENV)/.installed
SOURCES = gadgetron gadgets readers_writers
OUT    ?= demo-output
TESTS  ?= tests
PYTEST_FLAGS ?=

.DEFAULT_GOAL := help
.PHONY: help venv install demo test test-fast check format integration reliability bench packages ci clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

venv: $(PY) ## make the virtual environment .venv

$(PY):
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed, with its venv module: make PYTHON=/path/to/python3.11 …"; exit 1; }
	$(PYTHON) -m venv $(VENV)

install: $(STAMP) ## install the checkout into .venv, editable, with what tests and checks need

$(STAMP): setup.cfg setup.py pyproject.toml $(wildcard gadgetron/*/*.c) | $(PY)
	$(PY) -m pip install --quiet --editable ".[pictures,test,dev]"
	@touch $@

demo: $(STAMP) ## reconstruct a phantom through the daemon (or SCAN=file.h5 CONFIG=name.xml)
	@$(PY) -m gadgetron.cli.demo --output "$(OUT)" $(if $(SCAN),--scan "$(SCAN)") $(if $(CONFIG),--config "$(CONFIG)")

test: $(STAMP) ## everything a commit must pass (10 minutes at most); TESTS=folder for a part
	$(PY) -m pytest $(TESTS) $(PYTEST_FLAGS)

test-fast: $(STAMP) ## the tests that take no time (less than a minute)
	$(PY) -m pytest $(TESTS) -m "not slow" $(PYTEST_FLAGS)

check: $(STAMP) ## format, lint, types, import laws, and the scan for forbidden constructs
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy
	$(PY) -m tests.source_scan $(SOURCES) benchmarks
	$(VENV)/bin/lint-imports

format: $(STAMP) ## put the code into the project's format
	$(PY) -m ruff format .
	$(PY) -m ruff check --fix .

integration: $(STAMP) ## whole reconstructions with foreign modules, compared with the same without them
	PYTHON="$(abspath $(PY))" tests/integration/run_tests tests/integration/cases/*.cfg

reliability: $(STAMP) ## the reliability tests with their full counts (hours)
	RELIABILITY=full $(PY) -m pytest tests/reliability -o faulthandler_timeout=3600 $(PYTEST_FLAGS)

bench: $(STAMP) ## speed next to plain NumPy, as a table
	$(PY) -m benchmarks

packages: $(STAMP) ## build wheel and sdist; reconstruct from another folder with wheel, sdist and editable install
	$(PY) -m tests.install_smoke

ci: check test packages ## what .ci/run runs

clean: ## remove what the targets made
	rm -rf $(VENV) build dist *.egg-info gadgetron/*/*.so $(OUT) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
