# Everything a person types. `make help` lists it.
# Needs Go >= 1.26, Python >= 3.11 and make; all else is built or installed by these rules.

PYTHON ?= python3
STACK  ?= dev
VENV   := .venv
RUN    := $(VENV)/bin/python
STAMP  := $(VENV)/.installed-$(firstword $(shell sha256sum requirements.lock 2>/dev/null))

.DEFAULT_GOAL := help
.PHONY: help up down status load wake pulumi test lint unit engine local contract vllm bench tools venv policy-venv docs lock clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

up: venv tools ## Bring the dev environment up on this machine (STACK=dev): tools, cluster, pulumi up
	@$(RUN) -m local.environment up --stack $(STACK)

down: venv ## Destroy the environment and stop the cluster; nothing is left running
	@$(RUN) -m local.environment down --stack $(STACK)

status: venv ## Show the cluster's processes, the models and their replicas
	@$(RUN) -m local.environment status --stack $(STACK)

load: venv ## Send load and watch it scale, e.g. make load ARGS="--trace FILE --speed-up 5"
	@$(RUN) -m local.environment load-test --stack $(STACK) $(ARGS)

wake: venv ## Wake a model from zero again and again, e.g. make wake ARGS="--times 20"
	@$(RUN) -m local.environment load-test --stack $(STACK) wake $(if $(findstring --model,$(ARGS)),,--model chat) $(ARGS)

pulumi: venv ## Any Pulumi command on the stack, e.g. make pulumi ARGS="preview --diff"
	@$(RUN) -m local.environment pulumi --stack $(STACK) $(ARGS)

test: lint unit engine local ## Everything that CI checks: linters, types, all tests

lint: venv ## Linter and type checker
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy

unit: venv ## Tests without engine or cluster
	@$(VENV)/bin/pytest -m unit -n auto --dist worksteal tests/unit tests/contract

engine: venv tools policy-venv ## Tests with the real Pulumi engine
	@$(VENV)/bin/pytest -m engine -n auto --dist loadfile tests/engine

local: venv tools ## Tests on an embedded cluster of their own, end to end
	@$(VENV)/bin/pytest -m local tests/local

contract: venv ## Ask the real parsers of vLLM and the router (make vllm first, or VLLM_PYTHON=...; not in make test)
	@$(VENV)/bin/pytest -m contract -rs tests/contract

vllm: venv ## Install the pinned vLLM beside everything else, for make contract (10 GB, in build/contract)
	@$(PYTHON) -m venv build/contract
	@build/contract/bin/pip install --quiet --disable-pip-version-check \
		vllm==$$($(RUN) -c 'from components.versions import VLLM_ENGINE as image; print(image.rpartition(":v")[2])')

bench: venv tools ## Measure commands, start, deploy and preview (against flat programs, per cloud too); stores the figures in bench/
	@$(RUN) -m bench.commands; missed=$$?; $(RUN) -m bench $(ARGS); missed=$$(($$missed | $$?)); \
		$(RUN) -m bench.clouds; exit $$(($$missed | $$?))

tools: ## Build the command-line tools (once per user)
	@$(PYTHON) toolchain/build.py

venv: $(STAMP) ## Install the Python packages (exact versions, hashes checked)

$(STAMP): requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.x")'
	@echo "installing the Python packages into $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@rm -f $(VENV)/.installed-*
	@touch $@

# The SDK of policies needs older packages than the program: the pack has an environment of its own.
POLICY_VENV  := build/policy-venv
POLICY_STAMP := $(POLICY_VENV)/.installed-$(firstword $(shell sha256sum policy/requirements.lock 2>/dev/null))

policy-venv: $(POLICY_STAMP) ## Install the packages of the policy pack

$(POLICY_STAMP): policy/requirements.lock
	@echo "installing the packages of the policy pack into $(POLICY_VENV)"
	@$(PYTHON) -m venv $(POLICY_VENV)
	@$(POLICY_VENV)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r policy/requirements.lock
	@rm -f $(POLICY_VENV)/.installed-*
	@touch $@

docs: venv ## Write the generated parts of docs/ anew
	@$(RUN) -m stacks schema --markdown > docs/config.md
	@$(RUN) -m policy.reference > docs/policies.md
	@test ! -f ../shared/data/silicon/measured.csv || $(RUN) -m planner.fit

lock: venv ## Resolve the lock files anew (needs uv)
	@uv pip compile pyproject.toml --extra dev --generate-hashes --universal --python-version 3.11 \
		--no-emit-index-url --no-header --quiet -o requirements.lock
	@uv pip compile policy/requirements.in --generate-hashes --universal --python-version 3.11 \
		--no-emit-index-url --no-header --quiet -o policy/requirements.lock

clean: ## Remove what was built in this folder (the shared cache stays)
	@rm -rf build $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis
