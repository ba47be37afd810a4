# `make help` lists the targets. Each does the set-up it needs, once.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup test test-onedl demo lint format clean

PYTHON ?= python3
# The torch to install, as pip understands it: make setup TORCH=torch==2.14.1
TORCH ?= torch==2.13.0
VENV ?= .venv
ONEDL_VENV ?= .venv-onedl
PYTEST_ARGS ?=

BIN := $(VENV)/bin
SOURCES := setup.py setup.cfg pyproject.toml constraints.txt $(wildcard ops/kernels/* ops/binding/*)
# One file a torch: another TORCH sets the environment up anew.
STAMP := $(VENV)/.setup-$(subst /,_,$(TORCH))
ONEDL_STAMP := $(ONEDL_VENV)/.setup-$(subst /,_,$(TORCH))
CXX_FILES := $(shell git ls-files 'ops/*.h' 'ops/*.cpp' 'ops/*.cu' 'ops/*.cuh' 2>/dev/null)

# $(call environment,DIRECTORY): a virtual environment with the build tools and torch
define environment
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "ddf_seg needs Python 3.10 or newer; name one: make $@ PYTHON=python3.11" >&2; exit 1; }
	@test -x $(1)/bin/python || $(PYTHON) -m venv $(1) || \
	  { rm -rf $(1); echo "no virtual environment: install python3-venv (apt install python3-venv)" >&2; exit 1; }
	@echo "== $(1): build tools and $(TORCH)"
	$(1)/bin/pip install --disable-pip-version-check -q -c constraints.txt 'setuptools<82' wheel
	$(1)/bin/pip install --disable-pip-version-check -q -c constraints.txt '$(TORCH)'
endef

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(STAMP)  ## make .venv with everything (TORCH=torch==… chooses the torch)

$(STAMP): $(SOURCES)
	$(call environment,$(VENV))
	@echo "== $(VENV): ddf_seg, compiled, and OpenMMLab"
	$(BIN)/pip install --disable-pip-version-check -q -c constraints.txt --no-build-isolation \
	  -e '.[mmseg,demo,visualization,dev]'
	@rm -f $(VENV)/.setup-* && touch $@

test: $(STAMP)  ## run the tests (PYTEST_ARGS='-k …' for some of them)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 $(PYTEST_ARGS)

$(ONEDL_STAMP): $(SOURCES)
	$(call environment,$(ONEDL_VENV))
	@echo "== $(ONEDL_VENV): the forks; built apart from torch, or onedl-mmcv compiles for a quarter of an hour"
	$(ONEDL_VENV)/bin/pip install --disable-pip-version-check -q -c constraints.txt \
	  onedl-mmengine==0.10.12 onedl-mmcv==2.3.6 onedl-mmsegmentation==1.4.2
	$(ONEDL_VENV)/bin/pip install --disable-pip-version-check -q -c constraints.txt \
	  --no-build-isolation -e '.[onedl,demo,visualization,dev]'
	@rm -f $(ONEDL_VENV)/.setup-* && touch $@

test-onedl: $(ONEDL_STAMP)  ## run the tests on the maintained forks, in .venv-onedl
	OMP_NUM_THREADS=1 $(ONEDL_VENV)/bin/python -m pytest -n 2 $(PYTEST_ARGS)

DEMO := work_dirs/ddf_demo
DEMO_WEIGHTS := $(DEMO)/iter_350.pth

$(DEMO_WEIGHTS): | $(STAMP)
	$(BIN)/python tools/dataset_converters/synthetic_scenes.py --out data/demo
	$(BIN)/python tools/train.py configs/ddf_demo.py --work-dir $(DEMO) --resume

demo: $(DEMO_WEIGHTS)  ## draw road scenes, train on them, print the score, write pictures
	$(BIN)/python tools/test.py configs/ddf_demo.py $(DEMO_WEIGHTS) --work-dir $(DEMO)
	$(BIN)/python tools/predict.py configs/ddf_demo.py $(DEMO_WEIGHTS) \
	  data/demo/leftImg8bit/val --out-dir $(DEMO)/predictions
	@echo "The network is $(DEMO_WEIGHTS), its mIoU stands above, its pictures lie in $(DEMO)/predictions"

lint: $(STAMP)  ## ruff (lint, format), mypy, clang-format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	@$(if $(CXX_FILES),$(BIN)/clang-format --dry-run --Werror $(CXX_FILES))

format: $(STAMP)  ## let ruff and clang-format write
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	@$(if $(CXX_FILES),$(BIN)/clang-format -i $(CXX_FILES))

clean:  ## remove environments and build outputs (not data, not runs)
	rm -rf $(VENV) $(ONEDL_VENV) build *.egg-info ddf_seg/*.so
