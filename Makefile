# One virtual environment, .venv, made on first use and again when pyproject.toml or constraints.txt change.
#
#   make demo                   duplicates in a sample collection whose right answer is known
#   make demo PHOTOS=folder     duplicates in a folder of yours; nothing is written into it
#   make test | lint | types    what has to pass before a commit
#   make test-faults            faults and hostile input, the long form; ten minutes of it are the API
#   make screenshots            the pictures of the page in the README; needs Chromium
#   make bench                  side-by-side measurements; needs data, see benchmarks/data.py
#   make pretrained             train the encoder that ships with hashae; needs data too
#   make clean                  remove what was made here, but for .venv

PYTHON ?= python3
PYTEST_ARGS ?=
WORKERS ?= 2
export PHOTOS

BIN := .venv/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test test-faults lint types screenshots bench pretrained clean
.DELETE_ON_ERROR:

# A stamp is newer than what it was made from exactly if the environment is up to date.
.venv/base.stamp: pyproject.toml constraints.txt
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'hashae needs Python 3.11 for development; run: make PYTHON=python3.11')"
	$(PYTHON) -m venv .venv
	@touch $@

# scikit-learn brings the pictures of the sample collection.
.venv/demo.stamp: .venv/base.stamp
	@echo "installing hashae into .venv"
	$(PIP_INSTALL) -e '.[serve]' scikit-learn
	@touch $@

# torch first and by itself: another package's range could bring another build of it.
.venv/dev.stamp: .venv/base.stamp
	@echo "installing torch into .venv (once; it is large)"
	$(PIP_INSTALL) torch==2.13.0
	@echo "installing hashae and the development tools into .venv"
	$(PIP_INSTALL) -e '.[dev]'
	@touch $@ .venv/demo.stamp

.venv/bench.stamp: .venv/dev.stamp
	$(PIP_INSTALL) imagehash pybktree usearch duckdb
	@touch $@

demo: .venv/demo.stamp
	@BIN=$(BIN) sh benchmarks/demo.sh

# -P keeps the folders indexer/, db/ and cli/ of this checkout off the import path: tests see what a user sees.
# Two processes of tests, each file in one of them, in the order of their names: files with few tests take longest.
# WORKERS=0 runs all in one, for a debugger.
test: .venv/dev.stamp
	$(BIN)/python -P -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

# The short forms are part of `make test`; the long ones take some minutes.
test-faults: .venv/dev.stamp
	$(BIN)/python -P -m pytest -m "long or not long" tests/faults tests/integration/test_openapi.py $(PYTEST_ARGS)

lint: .venv/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/dev.stamp
	$(BIN)/python tests/typing_view.py
	$(BIN)/mypy

screenshots: .venv/dev.stamp
	$(BIN)/python benchmarks/screenshots.py

bench: .venv/bench.stamp
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/ingest.py
	$(BIN)/python benchmarks/planted.py
	$(BIN)/python benchmarks/search.py
	$(BIN)/python benchmarks/duplicates.py

# The shipped encoder, from photos-train.zip only; about an hour.
pretrained: .venv/dev.stamp
	$(BIN)/python benchmarks/pretrain.py

clean:
	rm -rf build dist demo *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage .coverage.*
	find benchmarks cli db hashae indexer tests -name __pycache__ -type d -prune -exec rm -rf {} +
