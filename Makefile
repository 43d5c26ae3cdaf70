PYTHON ?= python3
BIN := .venv/bin
SOURCES := stylecolor datamodules lightning_modules training evaluation hydra_plugins benchmarks examples tests train.py evaluate.py

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow test-oldest coverage check format bench bench-train bench-data bench-references bench-matching bench-colorize bench-video bench-studio docs lock clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-16s %s\n", $$1, $$2}'

setup: .venv/installed  ## make .venv and install everything, pinned (about 6 GB, of which most is CUDA)

.venv/installed: constraints.txt pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --require-hashes --requirement constraints.txt
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

demo: setup  ## train the three stages on the sample data and colorize unseen pictures (6 minutes at most on 2 cores)
	$(BIN)/python -m examples.demo

test: setup  ## run the tests (13 minutes on 2 quiet cores, 18 to 25 on busy ones)
	$(BIN)/pytest

test-slow: setup  ## run the tests that take longer
	$(BIN)/pytest -m slow

test-oldest:  ## run the tests with the oldest versions that pyproject.toml allows, in .venv-oldest
	$(PYTHON) -m venv .venv-oldest
	.venv-oldest/bin/pip install --quiet uv
	.venv-oldest/bin/uv pip compile --quiet --resolution lowest-direct --extra train --extra dev --extra export --extra launchers --extra studio pyproject.toml --output-file .venv-oldest/oldest.txt
	.venv-oldest/bin/uv pip install --quiet --python .venv-oldest/bin/python --requirement .venv-oldest/oldest.txt
	.venv-oldest/bin/pip install --quiet --no-deps --no-build-isolation --editable .
	.venv-oldest/bin/pytest

coverage: setup  ## run the tests and say which lines they leave out
	$(BIN)/pytest --cov --cov-report=term-missing:skip-covered

check: setup  ## format, lint, types, import contracts
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

format: setup  ## put the sources into the house's format
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)

bench: bench-train bench-data bench-references bench-matching bench-colorize bench-video bench-studio  ## run all benchmarks; ROOT=DIR takes the pictures of a COCO directory

bench-train: setup  ## pictures per second of train.py's loop against the bare step (10 minutes at most)
	$(BIN)/python -m benchmarks.train $(if $(ROOT),--root $(ROOT))

bench-data: setup  ## pictures per second of the data path, waiting, and setup and memory at COCO's full size (10 minutes)
	$(BIN)/python -m benchmarks.data $(if $(ROOT),--root $(ROOT))

bench-references: setup  ## nearest palettes of as many pictures as COCO has (1 minute)
	$(BIN)/python -m benchmarks.references

bench-matching: setup  ## what AdaIN and WCT cost, over whole pictures and region by region (2 minutes)
	$(BIN)/python -m benchmarks.matching

bench-colorize: setup  ## what colorizing costs, and what the fast form changes; CHECKPOINT=FILE takes trained networks (10 minutes)
	$(BIN)/python -m benchmarks.colorize $(if $(ROOT),--root $(ROOT)) $(if $(CHECKPOINT),--checkpoint $(CHECKPOINT))

bench-video: setup  ## how steady the colours of films are (3 minutes)
	$(BIN)/python -m benchmarks.video $(CHECKPOINT)

bench-studio: setup  ## how quickly the studio's page is there and answers, and what it carries; CHECKPOINT=FILE (5 minutes; needs Chromium)
	$(BIN)/python -m benchmarks.studio $(CHECKPOINT)

docs: setup  ## build the documentation into build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

lock: setup  ## resolve constraints.txt anew
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile --universal --generate-hashes --no-header --python-version 3.11 --extra train --extra dev --extra export --extra launchers --extra studio pyproject.toml --output-file constraints.txt

clean:  ## remove what tools left, but neither .venv nor outputs
	rm -rf build dist .pytest_cache .ruff_cache .coverage .import_linter_cache
	find . -name __pycache__ -not -path './.venv*' -prune -exec rm -rf {} +
