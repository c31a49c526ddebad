# Everything runs inside .venv, under the exact pins of constraints.txt.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
# Beside each other, one more than there are cores, for some wait; four at most, which take a gigabyte each.
PYTEST ?= --numprocesses $$(( $$(getconf _NPROCESSORS_ONLN) + 1 )) --maxprocesses 4 --dist worksteal

# Compiled afterwards, on all cores: not at all would be slow where nobody may write bytecode later, as in many containers.
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile

.PHONY: setup demo test lint check serve clean

setup: $(STAMP)

# torch first and pinned exactly: a range would let the resolver replace it with a CUDA build.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) "$$(grep '^torch==' constraints.txt)"
	$(INSTALL) -c constraints.txt -e ".[worker,hosted,dev]"
	$(BIN)/python -m compileall -qq -j 0 $(VENV)/lib || true  # libraries ship files for other versions of Python, too
	touch $(STAMP)

demo: setup
	$(BIN)/lyra-mcp demo

test: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(PYTEST)  # threads that wait for each other would take every core

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Everything CI does.
check: lint test

serve: setup
	$(BIN)/lyra-mcp serve

clean:
	rm -rf $(VENV)
