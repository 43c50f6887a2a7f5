# The only commands that anyone has to know. `make demo` and `make test` set everything up by themselves.
#
#   make demo    poison, scan and clean synthetic traffic signs, with figures and a report (minutes)
#   make test    linters, types, import floors, all tests
#   make lint    the first three of these, seconds
#   make bench   the scan's acceptance table on the real data packs (hours)
#   make bench-scan  the scan against every attack, pack and rate, resumable, and its page (a day; KEEP=--keep counts older code)
#   make bench-inspect  the inspection of models over a zoo that it trains, resumable, and its page (two hours)
#   make bench-peers  the scan beside other libraries at their defaults, resumable (an hour)
#   make bench-knn  neighbours beside the matrix product that bounds them, other libraries, and a million rows (half an hour)
#   make bench-seal  sealing beside model-signing, proofs and diffs of large snapshots (half an hour)
#   make bench-fetch  fetching beside img2dataset, and what hashing costs (ten minutes)
#   make interop  signatures, descriptions and downloads beside other people's tools, both ways (minutes)
#   make fuzz    every parser for FUZZ_SECONDS each (60), FUZZ_JOBS at a time (16)
#   make docs    the web pages into site/
#   make clean   remove the environment and everything that was built
#
# PYTHON=python3.12 picks the interpreter. TORCH picks the build of PyTorch: pip's default may bring gigabytes of
# GPU libraries that nothing here needs; `make demo TORCH="torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu"`
# brings the CPU build. JOBS is how many tests run at a time; PYTEST_ARGS is passed on to pytest:
# `make pytest PYTEST_ARGS=tests/data`.

PYTHON ?= python3
TORCH ?= torch==2.13.0
PYTEST_ARGS ?=
JOBS ?= 2
FUZZ_SECONDS ?= 60
FUZZ_JOBS ?= 16
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -qq --no-input
STEP = @printf '==> %s\n'

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test lint pytest bench bench-scan bench-inspect bench-peers bench-knn bench-seal bench-fetch interop fuzz docs clean

help:
	@sed -n 's/^#   //p' $(firstword $(MAKEFILE_LIST))

demo: $(VENV)/.installed
	@rm -rf bezoar-demo
	@$(BIN)/bezoar demo --out bezoar-demo

test: lint pytest

lint: $(VENV)/.installed-dev
	$(STEP) 'ruff, mypy, import-linter'
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/lint-imports

# One BLAS thread each: the threads of two tests at a time would wait for each other.
pytest: $(VENV)/.installed-dev
	$(STEP) 'pytest'
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(JOBS) --dist worksteal $(PYTEST_ARGS)

bench: $(VENV)/.installed-dev
	@$(BIN)/python benchmarks/scan_accept.py

bench-scan: $(VENV)/.installed-dev
	@$(BIN)/bezoar bench scan $(KEEP) --page docs/benchmark.md

bench-inspect: $(VENV)/.installed-dev
	@$(BIN)/bezoar bench inspect --build-only
	@$(BIN)/python benchmarks/neural_cleanse.py
	@$(BIN)/bezoar bench inspect --repair 14 --page docs/benchmark_inspect.md

bench-peers: $(VENV)/.installed-dev
	@TORCH='$(TORCH)' OMP_NUM_THREADS=1 $(BIN)/python benchmarks/peers.py

bench-knn: $(VENV)/.installed-dev
	@OMP_NUM_THREADS=1 $(BIN)/python benchmarks/knn.py --repeats 3 --million

bench-seal: $(VENV)/.installed-dev
	@$(BIN)/python benchmarks/seal.py
	@$(BIN)/python benchmarks/proofs.py

bench-fetch: $(VENV)/.installed-dev
	@$(BIN)/python benchmarks/fetch.py

interop: $(VENV)/.installed-dev
	@$(BIN)/python tests/interop/run.py

fuzz: $(VENV)/.installed-dev
	@BEZOAR_FUZZ_SECONDS=$(FUZZ_SECONDS) OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(FUZZ_JOBS) --dist worksteal -k 'fuzz and not archives.py' tests/custody tests/acquire

docs: $(VENV)/.installed-docs
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	$(STEP) 'site/index.html'

clean:
	rm -rf $(VENV) site dist build bezoar-demo .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps depend on pyproject.toml: installed again only when the dependencies may have changed.
$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit("%s is Python %d.%d; Bezoar needs 3.11 or later: make PYTHON=python3.12 ..." % (sys.executable, *sys.version_info[:2]) if sys.version_info < (3, 11) else 0)'
	$(STEP) 'creating $(VENV)'
	@$(PYTHON) -m venv $(VENV) || { echo 'No virtual environment: on Debian and Ubuntu, apt-get install python3-venv' >&2; exit 1; }
	@touch $@

$(VENV)/.installed: $(VENV)/.created pyproject.toml
	$(STEP) 'installing PyTorch (a few minutes the first time)'
	@$(PIP) install $(TORCH)
	$(STEP) 'installing Bezoar'
	@$(PIP) install --editable '.[torch,onnx]'
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(STEP) 'installing the development tools'
	@$(BIN)/python -c 'import torch; print("torch==" + torch.__version__)' >$(VENV)/torch.txt # torchvision would bring another
	@$(PIP) install --constraint $(VENV)/torch.txt --editable '.[torch,onnx,dev]'
	@touch $@

$(VENV)/.installed-docs: $(VENV)/.created pyproject.toml
	$(STEP) 'installing MkDocs'
	@$(PIP) install --editable '.[docs]'
	@touch $@
