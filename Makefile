# `make dev` runs Parley on this machine, `make test` tests it, `make check URL=https://…` checks a deployment,
# `make bench` and `make instance` measure, `make soak` breaks it on purpose. `make quick` is the part of the tests for
# every change: lint, types, and the tests that start no process. Each installs what it needs into .venv.

PYTHON ?= $(shell for python in python3.12 python3.13 python3.14 python3; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null && echo $$python && break; done)
PORT ?= 3000
SECONDS ?= 120
SEED ?= 1

# Hundreds of processes that the tests start import the same modules, which are compiled once.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: dev test quick lint check bench instance soak clean

dev: .venv/ready-local
	@.venv/bin/python -m dev --port $(PORT) $(ARGS)

test: lint
	.venv/bin/python -m pytest $(ARGS)

quick: lint
	.venv/bin/python -m pytest --quick tests/unit tests/store tests/api tests/dev $(ARGS)

lint: .venv/ready-dev
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

check: .venv/ready-check
	@.venv/bin/python -m dev check "$(URL)" $(ARGS)

bench: .venv/ready-dev
	@.venv/bin/python -m dev bench $(URL) --json bench.json --plot bench.png $(ARGS)

instance: .venv/ready-dev
	@.venv/bin/python -m tests.instance $(ARGS)

soak: .venv/ready-dev
	@.venv/bin/python -m tests.soak --seconds $(SECONDS) --seed $(SEED)

# One set of requirements each, all in the same environment.
.venv/ready-%: requirements-%.txt | .venv/bin/pip
	.venv/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

.venv/ready-local: requirements.txt
.venv/ready-dev: requirements.txt requirements-local.txt requirements-check.txt

.venv/bin/pip:
	@test -n "$(PYTHON)" || { echo "Parley needs Python 3.12 or newer: install it, or say make PYTHON=/path/to/it"; exit 1; }
	$(PYTHON) -m venv .venv

clean:
	rm -rf .venv .hypothesis .mypy_cache .pytest_cache .ruff_cache pyproject.toml uv.lock
