# `make demo` and `make test` set everything up by themselves, once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# A worker a core, one thread each: the models are tiny, and threads of several workers would wait for each other. A worker holds
# torch, about 1 GB.
WORKERS := --numprocesses logical --maxprocesses 8 --dist worksteal
ONE_THREAD := OMP_NUM_THREADS=1 POLARS_MAX_THREADS=1

# The variable: no notice of the theme's own plans on every build. Never --quiet: what is not shown is not counted, so that
# --strict would let everything pass.
MKDOCS := NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

.PHONY: demo test check docs search slow-tests coverage clean

demo: $(VENV)/.installed
	$(BIN)/muscle demo

test: check
	$(ONE_THREAD) $(BIN)/pytest -m "not slow" $(WORKERS) --durations=20

check: $(VENV)/.installed
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(MKDOCS)

# The documentation as a site, in site/; a link that leads nowhere fails. `.venv/bin/mkdocs serve` shows it while you write.
docs: $(VENV)/.installed
	$(MKDOCS)

# Minutes of training and kills at every stage.
slow-tests: $(VENV)/.installed
	$(BIN)/pytest -m slow --durations=20

# The property tests with new random examples, ten times as many.
search: $(VENV)/.installed
	HYPOTHESIS_PROFILE=search $(ONE_THREAD) $(BIN)/pytest $(WORKERS) $$(grep -rl "from hypothesis" tests --include="test_*.py")

# Which lines and branches the tests of `make test` run; what they start in processes of their own is not counted.
coverage: $(VENV)/.installed
	$(ONE_THREAD) $(BIN)/pytest -m "not slow" $(WORKERS) --cov --cov-report=term

# Redone when the dependencies change; the project itself is installed editable.
$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[train,dev,docs]'
	touch $@

clean:
	rm -rf $(VENV) muscle-demo site .coverage
