# Everything a newcomer types: `make search`, `make test`. Both set up what they need first.
.DEFAULT_GOAL := help
.PHONY: help setup search test renode lint bench docs clean

PY := .venv/bin/python
SEARCH := --max-ram 256k --max-latency 30ms

help:
	@echo "make search   search, train, quantise and verify a network on the virtual nucleo-l4r5 ($(SEARCH))"
	@echo "make test     ruff, mypy, pytest: CI's first job, which makes the docs too"
	@echo "make renode   the tests that run on Renode, alone, and how many they are: CI's other job"
	@echo "make bench    speed and memory, as ratios measured in one run"
	@echo "make docs     the pages under docs/ as a site in build/site; fails on a broken link"
	@echo "make setup    only the set-up that the others begin with"
	@echo "make clean    remove build/ (firmware, host libraries, generated speech); .venv and runs/ stay"

setup:
	@.ci/setup

search: setup
	.venv/bin/hil_nas search $(SEARCH)

lint: setup
	.venv/bin/ruff check .
	.venv/bin/mypy

test: lint
	OMP_NUM_THREADS=1 $(PY) -m pytest -q

renode: setup
	@.ci/renode

bench: setup
	@for bench in tests/bench_*.py; do echo "== $$bench"; $(PY) $$bench || exit 1; done

docs: setup
	@$(PY) -c 'import material, mkdocstrings' 2>/dev/null \
		|| $(PY) -m pip install -q --disable-pip-version-check -c .ci/constraints.txt -e '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build

clean:
	rm -rf build
