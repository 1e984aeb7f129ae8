PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# FAISS=gpu installs faiss-gpu in place of faiss-cpu (never both).
FAISS ?= cpu
PYTEST = $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

.PHONY: repro test test-slow gpu-check lint bench faults clean help

help:
	@echo "make repro   install into .venv and run the pipeline on the params in params.yaml"
	@echo "make test    the same environment with the test extras, then the quick tests"
	@echo "make test-slow   the others: whole pipelines, killed trainings, several processes"
	@echo "make lint    ruff"
	@echo "make gpu-check   on a machine with a GPU: everything on CUDA beside the CPU, as a table"
	@echo "make bench   mining beside what else one would call, on this checkout's sampler"
	@echo "make faults  kill -9, a full disk, damaged files and the like, on a small project: a table"
	@echo "make clean   remove .venv (models, data and the DVC cache stay)"

repro: $(VENV)/.installed-$(FAISS)
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/dvc repro
	@$(BIN)/sepp summary

test: $(VENV)/.test-$(FAISS)
	$(PYTEST) -m "not slow"

test-slow: $(VENV)/.test-$(FAISS)
	$(PYTEST) -m slow

gpu-check: $(VENV)/.test-$(FAISS)
	$(BIN)/python -m pytest tests/gpu --table gpu-check.md

lint: $(VENV)/.test-$(FAISS)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

bench: $(VENV)/.installed-$(FAISS)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[bench]"
	$(BIN)/python benchmarks/mine.py

faults: $(VENV)/.test-$(FAISS)
	$(BIN)/python -m tests.faults

$(VENV)/.installed-$(FAISS): setup.cfg setup.py pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "Python 3.10 or later is needed: make PYTHON=python3.11"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@rm -f $(VENV)/.installed-* $(VENV)/.test-*
	@$(BIN)/python -m pip uninstall --quiet -y faiss-cpu faiss-gpu 2>/dev/null || true
	SEPP_FAISS=$(FAISS) $(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	touch $@

$(VENV)/.test-$(FAISS): $(VENV)/.installed-$(FAISS)
	SEPP_FAISS=$(FAISS) $(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[test]"
	touch $@

clean:
	rm -rf $(VENV)
