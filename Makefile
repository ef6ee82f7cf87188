# `make dev` runs Parley on this machine, `make test` tests it, `make check URL=https://…` checks a deployment,
# `make bench` measures, `make soak` breaks it on purpose. Each makes the environment that it needs.

PYTHON ?= $(shell for python in python3.12 python3.13 python3.14 python3; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null && echo $$python && break; done)
PORT ?= 3000
SECONDS ?= 120
SEED ?= 1
READY := .venv/ready

.PHONY: dev test lint check bench soak clean

dev: $(READY)
	@.venv/bin/python -m dev --port $(PORT)

test: lint
	.venv/bin/python -m pytest $(ARGS)

lint: $(READY)
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

check: $(READY)
	@.venv/bin/python -m dev check "$(URL)"

bench: $(READY)
	@.venv/bin/python -m dev bench $(URL) --json bench.json --plot bench.png $(ARGS)

soak: $(READY)
	@.venv/bin/python -m dev soak --seconds $(SECONDS) --seed $(SEED)

$(READY): requirements.txt requirements-dev.txt
	@test -n "$(PYTHON)" || { echo "Parley needs Python 3.12 or newer: install it, or say make PYTHON=/path/to/it"; exit 1; }
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

clean:
	rm -rf .venv .hypothesis .mypy_cache .pytest_cache .ruff_cache pyproject.toml uv.lock
