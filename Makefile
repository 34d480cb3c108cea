SHELL := /bin/bash
.DEFAULT_GOAL := help
# Containers often set it; then every process of the server compiles every module again.
unexport PYTHONDONTWRITEBYTECODE
.PHONY: help install install-dev run test test-fast test-fresh lint benchmark docs constraints clean

# A file's tests share servers and browsers, so a file stays in one process, and so do all files that share the
# cluster: see `FileScheduling` in tests/conftest.py. (pytest-xdist's `loadgroup` does
# nothing with pytest 9.2: it names groups in a field that pytest does not read any more.)
PYTEST := .venv/bin/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

help:  ## Say what there is to make
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | while IFS=$$'\t' read -r target words; do \
		printf '  make %-12s %s\n' "$$target" "$$words"; done

install:  ## Install what the server needs into .venv
	@scripts/install

install-dev:
	@scripts/install --dev

run: install  ## Start the server, on http://127.0.0.1:8000 unless HOST and PORT say otherwise
	@exec .venv/bin/python manage.py serve

test: install-dev  ## Check the code and run all tests, embedded and on PostgreSQL
	@scripts/install-test-tools
	@scripts/test $(PYTEST)

test-fast: install-dev  ## Run the tests that start no process, in about a minute
	@scripts/install-test-tools
	@.venv/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m 'not slow'

test-fresh:  ## Install, run and test a clone on an empty Debian, in some minutes
	@scripts/test-fresh

lint: install-dev  ## Check style, types and dead code
	@scripts/lint

benchmark: install-dev  ## Measure how fast streams are
	@.venv/bin/python -m benchmarks.stream

docs:  ## Build the documentation into var/docs/html
	@scripts/build-docs

constraints:  ## Write constraints.txt anew after a change of requirements
	@scripts/make-constraints

clean:  ## Remove .venv and all caches; var/, which holds your data, stays
	@rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis staticfiles
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
