# Two commands: `make demo` races real frameworks on this machine, `make test` tests every layer.
# Each sets up what it needs in .venv first; `make PYTHON=python3.12 setup` picks another Python.

PYTHON ?= python3
BIN := .venv/bin
SWEEP ?= sweeps/quick.yaml
PYTEST := $(BIN)/python -m pytest
# A file's tests share fixtures; the pure tests, which come last, fill the workers evenly.
PARALLEL := --numprocesses=auto --maxprocesses=4 --dist=loadfile --no-loadscope-reorder
SERIAL = -m "$(1)" $$(grep -rl --include='test_*.py' mark.serial tests)

# Tests start thousands of processes: each would compile all modules again.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test test-full test-all test-fast lint format docs gpu-check setup locks clean

demo: setup  ## a sweep of torch and tensorflow on this machine, then its grid
	$(BIN)/velodrome run $(SWEEP) --results results

test: setup  ## every layer once, in numpy, torch and tensorflow
	$(PYTEST) --durations=15 $(PARALLEL) -m "not full and not serial"
	$(PYTEST) --durations=5 $(call SERIAL,not full and serial)

test-full: setup  ## what `make test` leaves out: every framework, fleets of hosts, browsers, many nights
	$(PYTEST) --durations=15 $(PARALLEL) -m "full and not serial"
	$(PYTEST) --durations=15 $(call SERIAL,full and serial)

test-all: test
	$(MAKE) test-full

test-fast: setup  ## the tests that need no framework and no patience
	$(PYTEST) $(PARALLEL) -m "not slow and not framework and not serial"
	$(PYTEST) $(call SERIAL,not slow and not framework and serial)

lint: setup  ## format, lint, types, layers, adapters/ for Python 3.6
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/vermin --quiet --no-tips -t=3.6- --violations adapters

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: setup  ## pages that are generated from the code
	$(BIN)/python -m velodrome.scheduler.results.schema_page > docs/schema.md
	$(BIN)/python -m velodrome.scheduler.cli_page > docs/cli.md
	$(BIN)/python -m velodrome.scheduler.peaks_page > docs/peaks.md

# Without setup: machines with a GPU are often offline, and this needs but a few packages, no Ray.
GPU_CHECK_PYTHON ?= $(shell test -x $(BIN)/python && echo $(BIN)/python || echo $(PYTHON))

gpu-check:  ## at most 8 minutes on a GPU: does what we measure there hold? (docs/gpu.md)
	PYTHONPATH=src $(GPU_CHECK_PYTHON) -m velodrome.scheduler.gpu_check run $(GPU_CHECK_OPTIONS)

setup: .venv/ready

.venv/ready: requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Velodrome needs Python 3.11 or newer: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 2; }
	@echo "setup: making .venv and installing about 60 locked packages into it (1 to 2 minutes)"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

locks: setup  ## lock the newest versions that pyproject.toml allows, with hashes and no index
	$(BIN)/uv pip compile --quiet --upgrade pyproject.toml --universal --python-version 3.11 \
		--generate-hashes --no-header --no-annotate -o requirements/run.txt
	$(BIN)/uv pip compile --quiet --upgrade pyproject.toml --extra dev --universal --python-version 3.11 \
		--generate-hashes --no-header --no-annotate -c requirements/run.txt -o requirements/dev.txt
	$(BIN)/uv pip compile --quiet --upgrade pyproject.toml --extra jobs --universal --python-version 3.11 \
		--generate-hashes --no-header --no-annotate -c requirements/run.txt -o requirements/jobs.txt \
		$$(sed -n 's/^\([a-z0-9._-]*\)==.*/--no-emit-package \1/p' requirements/run.txt)

clean:  ## what was made here; environments of frameworks stay in the user's cache
	rm -rf .venv build dist *.egg-info src/*.egg-info .pytest_cache .mypy_cache .ruff_cache
