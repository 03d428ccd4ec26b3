# `make` lists what can be done. Every recipe begins with `setup`, which does nothing when nothing changed.

SHELL := /bin/sh
.DEFAULT_GOAL := help

# Compiled tests and modules start in half the time, whatever the surroundings say.
export PYTHONDONTWRITEBYTECODE :=

BOOTSTRAP := sh sandbox/tools/bootstrap.sh
BIN := .venv/bin
STACK ?= dev
SEED ?= 0
SAMPLE ?= 150
PLUGINS ?= $(RUNNER_PLATFORM_PLUGINS)

.PHONY: help setup up down test check mutants format preview tools clean distclean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: ## Make .venv what uv.lock says
	@$(BOOTSTRAP)

up: setup ## Start the sandbox, deploy foundation, dev and prod into it, and prove who gets in
	@RUNNER_PLATFORM_PLUGINS='$(PLUGINS)' $(BIN)/python -m runner_platform_sandbox.up

down: setup ## End everything that the sandbox started; its state stays on disk
	@$(BIN)/runner-platform sandbox stop

check: setup ## Format, lint, types and unit tests: no network, no engine
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest -n auto --dist worksteal --cov --ignore=tests/platform --ignore=sandbox/tests/running

test: check tools ## Everything, with a sandbox of its own: minutes
	$(BIN)/pytest -n 4 --dist loadfile -m 'sandbox or processes or thorough'

mutants: setup ## Change the core in SAMPLE places, and see whether the tests notice: make mutants SEED=7
	$(BIN)/python -m tests.mutants --seed "$(SEED)" --sample "$(SAMPLE)"

format: setup ## Format the code and mend what the linter can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

preview: setup ## What would change in the sandbox: make preview STACK=prod
	@variables=$$($(BIN)/runner-platform sandbox env) && eval "$$variables" && \
	if [ "$(STACK)" = foundation ]; then cd foundation; fi && pulumi preview --stack $(STACK)

tools: setup ## Build the sandbox's tools that PATH and the cache do not have
	@$(BIN)/python -m runner_platform_sandbox.tools ensure

clean: ## Remove reports and the caches of the checks
	rm -rf reports mutants .coverage .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -path ./.venv -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean ## Also remove .venv and the tools that were built, for every clone
	@$(BOOTSTRAP) clean
	rm -rf .venv
