# On a fresh machine with Python 3.11 to 3.13 and make: `make demo`, `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
DEMO_DATA := data/demo_city
DEMO_WORK := work_dirs/demo
DEMO_MODEL := $(DEMO_WORK)/train/iter_300.pth
# Two test processes with one thread each use two cores without getting in each other's way.
TEST_PROCESSES ?= 2
MINIMUM := .venv-minimum

.PHONY: help install demo explore test test-minimum lint format clean

help:
	@echo "make demo    install, paint the demo city, train, test clean and in bad weather, write a report"
	@echo "make explore a local page: click where the demo's model looks (makes the demo first)"
	@echo "make test    install and run the tests"
	@echo "make test-minimum  the core tests with the lowest versions that requirements.txt names"
	@echo "make lint    install and run the style and type checks"
	@echo "make format  let ruff rewrite the code in the house style"
	@echo "make clean   remove the environment and what the demo made"

install: $(INSTALLED)

$(INSTALLED): requirements.txt requirements-dev.txt requirements-pinned.txt pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 13) else "Python 3.11 to 3.13 is needed, this is %d.%d: make PYTHON=python3.11 ..." % v)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	@echo "installing (torch is about 5 GB; a few minutes) ..."
	$(BIN)/python -m pip install --quiet -r requirements.txt -r requirements-dev.txt -c requirements-pinned.txt
	@$(BIN)/python -m pip install --quiet --no-deps --editable . 2> $(VENV)/editable.log || { cat $(VENV)/editable.log; exit 1; }
	@touch $@

demo: $(INSTALLED)
	@$(BIN)/python tools/demo.py --data $(DEMO_DATA) --work-dir $(DEMO_WORK)

explore: $(INSTALLED)
	@test -f $(DEMO_MODEL) || $(BIN)/python tools/demo.py --data $(DEMO_DATA) --work-dir $(DEMO_WORK)
	@$(BIN)/python tools/explore.py configs/fan_tapadl_demo.py $(DEMO_MODEL) $(DEMO_DATA)/leftImg8bit/val

test: $(INSTALLED)
	OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(BIN)/python -m pytest -n $(TEST_PROCESSES)

# Every lower bound as the version itself, in an environment of its own.
test-minimum:
	$(PYTHON) -m venv $(MINIMUM)
	sed -E '/^#/d; s/,.*//; s/>=/==/' requirements.txt > $(MINIMUM)/requirements.txt
	@echo "installing (torch is about 5 GB; a few minutes) ..."
	$(MINIMUM)/bin/python -m pip install --quiet -r $(MINIMUM)/requirements.txt pytest pytest-timeout
	OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 PYTHONPATH=. $(MINIMUM)/bin/python -m pytest \
		tests/layers tests/models tests/evaluation tests/robustness tests/tools/test_train_test.py

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) $(MINIMUM) $(DEMO_DATA) $(DEMO_WORK)
