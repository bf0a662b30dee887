# `make demo` and `make test` set everything up by themselves, once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test check slow-tests clean

demo: $(VENV)/.installed
	$(BIN)/muscle demo

test: check
	$(BIN)/pytest -m "not slow"

check: $(VENV)/.installed
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

# Minutes of training and kills at every stage.
slow-tests: $(VENV)/.installed
	$(BIN)/pytest -m slow

# Redone when the dependencies change; the project itself is installed editable.
$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[train,dev]'
	touch $@

clean:
	rm -rf $(VENV) muscle-demo
