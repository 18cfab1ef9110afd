# make smoke   the whole workflow on embedded data, in minutes
# make test    the tests
# Both set up .venv from the pinned lock first. `make help` lists the rest.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
INSTALLED := $(VENV)/.installed
CORES ?= $(shell nproc 2>/dev/null || sysctl -n hw.ncpu)
SMOKE := workflow/configs/smoke.yaml

# Commands come from .venv, and so do those that Snakemake's rules start.
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

.PHONY: help install smoke test chaos gpu dist docs lint format lock clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(INSTALLED) ## .venv with the pinned versions and nino itself

$(INSTALLED): envs/requirements.lock pyproject.toml envs/install.sh
	@envs/install.sh $(VENV) && touch $@

smoke: $(INSTALLED) ## the whole workflow on embedded data: results/smoke/
	@python workflow/smoke.py $(SMOKE) $(CORES)

test: $(INSTALLED) ## the tests
	@python -m pytest -n $(CORES) --dist loadgroup

gpu: ## everything that a GPU must show, in ten minutes: results/gpu/ (needs no .venv, see docs/gpu.md)
	@python3 -m benchmarks.gpu $(GPU)

chaos: $(INSTALLED) ## kills, full disks, damage: twenty minutes of faults; benchmarks/results/chaos.md
	@python -m benchmarks.chaos --out benchmarks/results/chaos.md

dist: .venv-release/.installed ## wheel and sdist for the package index, checked: dist/
	@rm -rf dist
	@.venv-release/bin/python -m build --no-isolation >/dev/null
	@.venv-release/bin/python -m twine check --strict dist/*

docs: .venv-docs/.installed ## the documentation site, guides and a page a module: site/index.html
	@.venv-docs/bin/sphinx-build --quiet --fail-on-warning --keep-going -b html -d .doctrees docs site
	@echo "docs: site/index.html"

.venv-%/.installed: envs/%.lock
	@python3 -m venv --clear $(@D)
	@$(@D)/bin/python -m pip install -qq --disable-pip-version-check --requirement $<
	@touch $@

lint: $(INSTALLED) ## style, types and the workflow's lint
	ruff check .
	ruff format --check .
	mypy
	snakefmt --check Snakefile workflow nino/workflow
	snakemake --lint

format: $(INSTALLED) ## rewrite Python and Snakemake files in the common style
	ruff check --fix .
	ruff format .
	snakefmt Snakefile workflow nino/workflow

lock: ## resolve the newest allowed versions and pin them in envs/
	python3 envs/lock.py

clean: ## remove .venv and everything that can be made again (results/smoke too)
	rm -rf $(VENV) .venv-docs .venv-release dist .doctrees site .snakemake
	git clean -fdXq results
