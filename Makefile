# On a fresh machine with Python 3.10 to 3.12 and make: `make demo`, `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
DEMO_DATA := data/demo_city
DEMO_WORK := work_dirs/demo
# Two test processes with one thread each use two cores without getting in each other's way.
TEST_PROCESSES ?= 2

.PHONY: help install demo test lint format clean

help:
	@echo "make demo    install, paint the demo city, train, test clean and in bad weather, write a report"
	@echo "make test    install and run the tests"
	@echo "make lint    install and run the style and type checks"
	@echo "make format  let ruff rewrite the code in the house style"
	@echo "make clean   remove the environment and what the demo made"

install: $(INSTALLED)

$(INSTALLED): requirements.txt requirements-dev.txt requirements-pinned.txt pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 10) <= v <= (3, 12) else "Python 3.10 to 3.12 is needed, this is %d.%d: make PYTHON=python3.11 ..." % v)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	@echo "installing (torch is about 5 GB; a few minutes) ..."
	$(BIN)/python -m pip install --quiet -r requirements.txt -r requirements-dev.txt -c requirements-pinned.txt
	@$(BIN)/python -m pip install --quiet --no-deps --editable . 2> $(VENV)/editable.log || { cat $(VENV)/editable.log; exit 1; }
	@touch $@

demo: $(INSTALLED)
	@$(BIN)/python tools/demo.py --data $(DEMO_DATA) --work-dir $(DEMO_WORK)

test: $(INSTALLED)
	OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(BIN)/python -m pytest -n $(TEST_PROCESSES)

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) $(DEMO_DATA) $(DEMO_WORK)
