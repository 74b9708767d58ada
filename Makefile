# macvfast: `make` lists what there is. Each target sets up what it needs, once, under .venv and target.
# Python's tools are pinned in constraints.txt, Rust's crates in Cargo.lock.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory
.PHONY: help build demo test test-served parity engines torture fuzz check bench bench-quick fmt docs guide wheel clean

VENV := .venv
BIN := $(VENV)/bin
DIST := dist
CHECKERS := import-linter mypy ruff
TESTERS := container-runtime-interface-api hypothesis prometheus-client pyroute2 pytest pytest-timeout
ENGINES := tests/parity/test_rows.py tests/parity/test_random.py tests/parity/test_mistakes.py tests/parity/test_plugin.py \
  tests/unit/test_docker_page.py -k 'engine_does_as or every_answer or docker_says or option_of_docker or ipam_driver'
# The Debians whose engines are run.
SUITES := bookworm trixie forky
RUST := $(shell find rust -name target -prune -o \( -type f -o -type d \) -print) Cargo.toml Cargo.lock
SAY := printf '==> %s\n'

# A toolchain that rustup put there counts even where the shell's profile does not name it.
export PATH := $(PATH):$(HOME)/.cargo/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt
# One setting for maturin and cargo alike, so that neither builds again what the other has built.
export PYO3_PYTHON := $(CURDIR)/$(BIN)/python
export PYO3_BUILD_EXTENSION_MODULE := 1

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

build: $(VENV)/.compiled  ## the command at .venv/bin/macvfast
	@$(SAY) 'built: $(BIN)/macvfast'

demo: build  ## the first example of the guide, on a real kernel, in namespaces of its own
	@tools/need demo
	@tests/acceptance/demo.sh

test: build $(VENV)/.tools  ## every test; those that need another kernel in a virtual machine
	@tools/need test
	@$(BIN)/python -m tests.vm.suite prepare
	@$(BIN)/python -m tests.probe
	@$(SAY) 'cargo test'
	@cargo test --quiet --locked --workspace --exclude macvfast-py
	@$(SAY) 'pytest'
	@$(BIN)/python -m pytest $(PYTEST_ARGS)
	@$(SAY) 'pytest in a virtual machine'
	@$(BIN)/python -m tests.vm.suite

test-served: build $(VENV)/.tools  ## the tests of commands once more, with a server that does them in each test bed
	@tools/need test
	@MACVFAST_TEST_SERVED=1 $(BIN)/python -m pytest $(or $(PYTEST_ARGS),tests/acceptance tests/guide)

parity: build $(VENV)/.tools  ## 10,000 random operations, the same by a real Docker Engine (PARITY_ARGS='--seed 7'), and of CNI by two releases
	@tools/need test
	@$(BIN)/python -m tests.parity $(PARITY_ARGS)
	@$(BIN)/python -m tests.parity --plugin --operations 1000
	@$(BIN)/python -m tests.cni $(CNI_ARGS)
	@MACVFAST_CNI=$$(tools/cni-plugins) $(BIN)/python -m tests.cni $(CNI_ARGS)

engines: build $(VENV)/.tools  ## real containers by the Docker Engines and Podmans of three Debians, whose roots it builds once (SUITES='trixie')
	@tools/need engines
	@tools/engine-roots $(SUITES)
	@$(SAY) 'the examples of tests/parity, and random operations'
	@for suite in $(filter-out bookworm,$(SUITES)); do $(SAY) "Docker Engine of $$suite"; \
	  MACVFAST_ENGINE=$$suite $(BIN)/python -m pytest $(ENGINES) $(PYTEST_ARGS); done
	@$(SAY) 'plugins of CNI, release 1.9.1'
	@MACVFAST_CNI=$$(tools/cni-plugins) $(BIN)/python -m pytest tests/acceptance/test_cni_reference.py $(PYTEST_ARGS)
	@$(SAY) 'containers of engines'
	@MACVFAST_ENGINES='$(SUITES)' $(BIN)/python -m pytest tests/engines $(PYTEST_ARGS)

torture: build $(VENV)/.tools  ## tests/torture in its long form: 1,000 kills and the like; MACVFAST_TORTURE_SEED=… to repeat one
	@tools/need test
	@MACVFAST_TORTURE=long $(BIN)/python -m pytest tests/torture --capture=no $(PYTEST_ARGS)

fuzz: build $(VENV)/.tools  ## 10,000 random command lines and the other random tests that need no kernel, as many times each
	@tools/need test
	@MACVFAST_TEST_PROFILE=long $(BIN)/python -m pytest tests/unit -m hypothesis --timeout=3600 $(PYTEST_ARGS)

check: build $(VENV)/.tools  ## format, lints, types, layers, stubs, generated docs: all of them, then which failed
	@tools/need check
	@failed=; try() { $(SAY) "$$1"; "$${@:2}" || failed+=", $$1"; }; \
	try 'cargo fmt' cargo fmt --all --check; \
	try 'cargo clippy' cargo clippy --quiet --locked --workspace --all-targets -- -D warnings; \
	try 'ruff check' $(BIN)/ruff check --quiet; \
	try 'ruff format' $(BIN)/ruff format --check --quiet; \
	try 'mypy' $(BIN)/mypy --no-error-summary; \
	try 'import-linter' $(BIN)/lint-imports --no-cache --no-logo; \
	try 'stubtest' $(BIN)/python -m mypy.stubtest --mypy-config-file pyproject.toml macvfast._core; \
	try 'generated docs' $(BIN)/python docs/generate.py --check; \
	try 'pictures' $(BIN)/python docs/pictures.py --check; \
	try 'figures' $(BIN)/python -m benches.report --check; \
	[[ -z $$failed ]] || { printf '==> check: failed: %s\n' "$${failed:2}" >&2; exit 1; }
	@$(SAY) 'check: all good'

bench: build $(VENV)/.bench  ## the figures of benches/README.md, in full; BENCH_ARGS='--only sandboxes' for some
	@tools/need bench
	@$(BIN)/python -m benches $(BENCH_ARGS)

bench-quick: build $(VENV)/.bench  ## the same at small counts: that every row still runs and ends as it should
	@tools/need bench
	@$(BIN)/python -m benches --quick $(BENCH_ARGS)

fmt: $(VENV)/.tools  ## format, and fix what can be fixed automatically
	@cargo fmt --all
	@$(BIN)/ruff check --fix --quiet
	@$(BIN)/ruff format --quiet

docs: build  ## write docs/errors.md and docs/cli.md, and draw the guide's pictures
	@$(BIN)/python docs/generate.py
	@$(BIN)/python docs/pictures.py

guide: build $(VENV)/.tools  ## type every example of docs/guide.md and README.md, and write down what it shows
	@tools/need test
	@$(BIN)/python -m tests.guide

wheel: $(VENV)/.made  ## the wheel with all that belongs to it, in dist/: the command, its man pages and completion
	@tools/need build
	@rm -f '$(DIST)'/macvfast-*.whl
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir '$(DIST)' .
	@$(SAY) "built: $$(echo '$(DIST)'/macvfast-*.whl)"

clean:  ## remove everything that make made
	rm -rf $(VENV) target dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	rm -f python/macvfast/_core*.so python/macvfast/macvfast-init
	find python tests docs benches -name __pycache__ -type d -exec rm -rf {} + 2>/dev/null || true

# Each stamp is touched last: what was cut short is done again.

$(VENV)/.made: constraints.txt
	@tools/need build
	@$(SAY) 'making $(VENV)'
	@rm -rf $(VENV)
	@"$$(tools/need python)" -m venv $(VENV)
	@$(BIN)/pip install --quiet maturin rich typer
	@# Of no use here, and its .pth file would slow down every start of the command.
	@$(BIN)/pip uninstall --quiet --yes setuptools 2>/dev/null
	@touch $@

$(VENV)/.tools: $(VENV)/.made
	@$(SAY) 'installing $(CHECKERS) $(TESTERS)'
	@$(BIN)/pip install --quiet $(CHECKERS) $(TESTERS)
	@touch $@

$(VENV)/.bench: $(VENV)/.made benches/requirements.txt
	@$(SAY) 'installing what the benchmarks need'
	@$(BIN)/pip install --quiet --requirement benches/requirements.txt
	@touch $@

$(VENV)/.built: $(VENV)/.made $(RUST) pyproject.toml tools/build_backend.py macvfast.data/scripts/macvfast-python
	@tools/need build
	@$(SAY) 'building the native part (about a minute the first time)'
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/pip install --no-deps --no-build-isolation --editable . \
	  --verbose >$(VENV)/build.log 2>&1 \
	  || { cat $(VENV)/build.log >&2; exit 1; }
	@touch $@

$(VENV)/.compiled: $(VENV)/.built tools/bytecode $(wildcard python/macvfast/*.py python/macvfast/*/*.py python/macvfast/*/*/*.py)
	@$(BIN)/python tools/bytecode
	@touch $@

# What the stamp speaks of may have been cleaned away behind its back.
ifeq ($(wildcard python/macvfast/_core*.so),)
$(VENV)/.built: FORCE
endif
FORCE:
