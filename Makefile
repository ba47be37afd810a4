# `make help` lists the targets. Each does the set-up it needs, once.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup test setup-onedl test-onedl test-integrations cuda-check gpu-check demo lint format docs wheel check-wheel check-installed sanitize compile-elsewhere compile-oldest clean

PYTHON ?= python3
# The torch to install, as pip understands it: make setup TORCH=torch==2.14.1
TORCH ?= torch==2.13.0
VENV ?= .venv
ONEDL_VENV ?= .venv-onedl
# Brings the torch along that it fits: smp and timm import no other pair
TORCHVISION ?= torchvision==0.29.1
HOSTS_VENV ?= .venv-hosts
# A build of torch for CUDA, for `make cuda-check`
CUDA_TORCH ?= torch==2.14.1
CUDA_VENV ?= .venv-cuda
PYTEST_ARGS ?=
# Each worker gets a run of files, so that what a file sets up is set up once.
WORKERS := -n 2 --dist worksteal

BIN := $(VENV)/bin
# Tests that compile the CUDA kernels for the CPU: tests/test_ops/test_cuda_….py
EMULATED := emulation gain norm softmax
SOURCES := setup.py setup.cfg pyproject.toml constraints.txt $(wildcard ops/kernels/* ops/kernels/*/* ops/binding/*)
# One file a torch: another TORCH sets the environment up anew.
STAMP := $(VENV)/.setup-$(subst /,_,$(TORCH))
ONEDL_STAMP := $(ONEDL_VENV)/.setup-$(subst /,_,$(TORCH))
CXX_FILES := $(shell git ls-files 'ops/*.h' 'ops/*.cpp' 'ops/*.cu' 'ops/*.cuh' 'examples/*.cpp' 2>/dev/null)

# $(call environment,DIRECTORY[,TORCH]): a virtual environment with the build tools and torch
define environment
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "ddf_seg needs Python 3.10 or newer; name one: make $@ PYTHON=python3.11" >&2; exit 1; }
	@test -x $(1)/bin/python || $(PYTHON) -m venv $(1) || \
	  { rm -rf $(1); echo "no virtual environment: install python3-venv (apt install python3-venv)" >&2; exit 1; }
	@echo "== $(1): build tools and $(or $(2),$(TORCH))"
	$(1)/bin/pip install --disable-pip-version-check -q -c constraints.txt 'setuptools<82' wheel
	$(1)/bin/pip install --disable-pip-version-check -q -c constraints.txt '$(or $(2),$(TORCH))'
endef

help:  ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 17

setup: $(STAMP)  ## make .venv with everything (TORCH=torch==… chooses the torch)

$(STAMP): $(SOURCES)
	$(call environment,$(VENV))
	@echo "== $(VENV): ddf_seg, compiled, and OpenMMLab"
	$(BIN)/pip install --disable-pip-version-check -q -c constraints.txt --no-build-isolation \
	  -e '.[mmseg,demo,visualization,demo-app,nuimages,onnx,openvino,int8,dev]'
	@rm -f $(VENV)/.setup-* && touch $@

test: $(STAMP)  ## run the tests (PYTEST_ARGS='-k …' for some of them)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(WORKERS) $(PYTEST_ARGS)

# The files of .venv, by hard links where the disk has them; pip replaces files, and edits none.
$(ONEDL_STAMP): $(STAMP)
	@echo "== $(ONEDL_VENV): as $(VENV), with the forks; built apart from torch, or onedl-mmcv compiles for a quarter of an hour"
	rm -rf $(ONEDL_VENV) && $(BIN)/python -m venv --without-pip $(ONEDL_VENV)
	cp -al $(VENV)/lib $(ONEDL_VENV) 2>/dev/null || cp -a $(VENV)/lib $(ONEDL_VENV)
	$(ONEDL_VENV)/bin/python -m pip uninstall -q -y mmengine mmcv-lite mmsegmentation
	$(ONEDL_VENV)/bin/python -m pip install --disable-pip-version-check -q -c constraints.txt \
	  onedl-mmengine==0.10.12 onedl-mmcv==2.3.6 onedl-mmsegmentation==1.4.2
	touch $@

setup-onedl: $(ONEDL_STAMP)

test-onedl: $(ONEDL_STAMP)  ## run the tests on the maintained forks, in .venv-onedl
	OMP_NUM_THREADS=1 $(ONEDL_VENV)/bin/python -m pytest $(WORKERS) $(PYTEST_ARGS)

# $(call extras,NAMES): what extras of setup.cfg ask for
extras = $$($(BIN)/python -c "import configparser as c; f = c.ConfigParser(); f.read('setup.cfg'); \
  print(*(f['options.extras_require'][name] for name in '$(1)'.split()))")

HOSTS_STAMP := $(HOSTS_VENV)/.setup-$(TORCHVISION)

$(HOSTS_STAMP): setup.cfg constraints.txt | $(STAMP)
	$(call environment,$(HOSTS_VENV),$(TORCHVISION))
	@echo "== $(HOSTS_VENV): segmentation_models.pytorch with timm, and OpenMMLab"
	@$(HOSTS_VENV)/bin/pip install --disable-pip-version-check -q -c constraints.txt \
	  $(call extras,mmseg smp demo) pytest hypothesis
	@rm -f $(HOSTS_VENV)/.setup-* && touch $@

# ddf_seg itself is this folder's, as .venv compiled it: it serves every torch.
test-integrations: $(HOSTS_STAMP)  ## run the tests with smp and timm, in .venv-hosts (CUDA's torch, 6 GB)
	OMP_NUM_THREADS=1 $(HOSTS_VENV)/bin/python -m pytest tests/test_integrations \
	  tests/test_models/test_timm_backbone.py $(PYTEST_ARGS)

CUDA_STAMP := $(CUDA_VENV)/.setup-$(subst /,_,$(CUDA_TORCH))

# cuobjdump and nvdisasm come as packages; nvcc is the machine's (or CUDA_HOME's).
$(CUDA_STAMP): $(SOURCES)
	$(call environment,$(CUDA_VENV),$(CUDA_TORCH))
	$(CUDA_VENV)/bin/pip install --disable-pip-version-check -q nvidia-cuda-cuobjdump nvidia-cuda-nvdisasm
	@echo "== $(CUDA_VENV): ddf_seg with its CUDA kernels, for every architecture"
	FORCE_CUDA=1 $(CUDA_VENV)/bin/pip install --disable-pip-version-check -c constraints.txt \
	  --no-build-isolation -e . pytest pytest-xdist hypothesis prettytable
	@rm -f $(CUDA_VENV)/.setup-* && touch $@

cuda-check: $(STAMP) $(CUDA_STAMP)  ## check the CUDA kernels without a GPU (needs nvcc)
	@echo "== the kernels themselves, run on the CPU by emulation"
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m 'slow or not slow' $(EMULATED:%=tests/test_ops/test_cuda_%.py)
	@echo "== what nvcc makes of them on every architecture, and their machine code"
	$(CUDA_VENV)/bin/python dev/cuda_report.py
	@echo "== the operators' tests in $(CUDA_VENV): CPU, CUDA and Meta kernels side by side"
	OMP_NUM_THREADS=1 $(CUDA_VENV)/bin/python -m pytest -n 2 tests/test_ops \
	  $(EMULATED:%=--ignore=tests/test_ops/test_cuda_%.py)

# In the environment that is active, or GPU_PYTHON's; nothing is downloaded.
GPU_PYTHON ?= $(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON))

gpu-check:  ## check everything on a GPU in under 9 minutes (needs nvcc; OUT=… names the folder)
	PYTHONPATH="$(CURDIR)$${PYTHONPATH:+:$$PYTHONPATH}" $(GPU_PYTHON) dev/gpu_check.py

DEMO := work_dirs/ddf_demo
DEMO_WEIGHTS := $(DEMO)/iter_350.pth
DEMO_SCENE := data/demo/leftImg8bit/val/synthetic/synthetic_000003_000000_leftImg8bit.png

$(DEMO_WEIGHTS): | $(STAMP)
	$(BIN)/python tools/dataset_converters/synthetic_scenes.py --out data/demo
	$(BIN)/python tools/train.py configs/ddf_demo.py --work-dir $(DEMO) --resume

demo: $(DEMO_WEIGHTS)  ## draw road scenes, train on them, print the score, write pictures
	$(BIN)/python tools/predict.py configs/ddf_demo.py $(DEMO_WEIGHTS) \
	  data/demo/leftImg8bit/val --out-dir $(DEMO)/predictions
	$(BIN)/python tools/visualize_filters.py configs/ddf_demo.py $(DEMO_WEIGHTS) $(DEMO_SCENE) \
	  --html --out-dir $(DEMO)/filters
	$(BIN)/python tools/test.py configs/ddf_demo.py $(DEMO_WEIGHTS) --work-dir $(DEMO)
	@echo "  network:     $(DEMO_WEIGHTS)"
	@echo "  pictures:    $(DEMO)/predictions"
	@echo "  filters:     $(DEMO)/filters, to explore in a browser:"
	@echo "               file://$(CURDIR)/$(DEMO)/filters/$(basename $(notdir $(DEMO_SCENE)))/explorer.html"

lint: $(STAMP)  ## ruff (lint, format), mypy, imports, torch headers, clang-format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo --no-cache
	$(BIN)/python dev/check_torch_headers.py
	@$(if $(CXX_FILES),$(BIN)/clang-format --dry-run --Werror $(CXX_FILES))

format: $(STAMP)  ## let ruff and clang-format write
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	@$(if $(CXX_FILES),$(BIN)/clang-format -i $(CXX_FILES))

DOCS_STAMP := $(VENV)/.docs

$(DOCS_STAMP): setup.cfg constraints.txt | $(STAMP)
	@echo "== $(VENV): what builds the documentation"
	@$(BIN)/pip install --disable-pip-version-check -q -c constraints.txt $(call extras,docs)
	@touch $@

docs: $(STAMP) $(DOCS_STAMP)  ## build the documentation; a warning is an error
	OMP_NUM_THREADS=1 $(BIN)/python -m sphinx -q -W --keep-going -E -d build/docs/doctrees docs build/docs/html
	@echo "  file://$(CURDIR)/build/docs/html/index.html"

# The torches that a wheel is checked under: make check-wheel WHEEL_TORCHES='2.10.0 2.14.1'
WHEEL_TORCHES ?= 2.13.0 2.14.1

wheel: $(STAMP)  ## build a wheel into dist/, for every Python >= 3.10 and torch >= 2.10
	rm -rf build/lib* build/bdist* dist/ddf_seg-*.whl
	DDF_SEG_BUILD_NATIVE=1 $(BIN)/pip wheel --disable-pip-version-check -q --no-build-isolation \
	  --no-deps -w dist .

check-wheel: wheel $(WHEEL_TORCHES:%=check-wheel-%) check-installed  ## audit it, and test it under WHEEL_TORCHES
	$(BIN)/python dev/audit_wheel.py dist/ddf_seg-*.whl

INSTALLED := build/wheel-$(firstword $(WHEEL_TORCHES))

check-installed: check-wheel-$(firstword $(WHEEL_TORCHES))  ## install it with OpenMMLab, and use it in an empty folder
	$(INSTALLED)/bin/pip install --disable-pip-version-check -q -c constraints.txt \
	  "$$(echo dist/ddf_seg-*.whl)[mmseg,demo,visualization]"
	dev/check_installed.sh $(INSTALLED)/bin $(INSTALLED)/empty

# Away from the checkout, whose ddf_seg Python would prefer; the emulation needs the sources.
check-wheel-%: wheel
	$(call environment,build/wheel-$*,torch==$*)
	build/wheel-$*/bin/pip install --disable-pip-version-check -q -c constraints.txt \
	  numpy pytest hypothesis expecttest
	build/wheel-$*/bin/pip install --disable-pip-version-check -q --force-reinstall --no-deps \
	  dist/ddf_seg-*.whl
	rm -rf build/wheel-$*/check && mkdir -p build/wheel-$*/check/tests
	cp pyproject.toml build/wheel-$*/check
	cp -r tests/__init__.py tests/conftest.py tests/test_ops build/wheel-$*/check/tests
	cd build/wheel-$*/check && OMP_NUM_THREADS=1 ../bin/python -m pytest -q tests/test_ops \
	  $(EMULATED:%=--ignore=tests/test_ops/test_cuda_%.py) $(PYTEST_ARGS)

SANITIZED := build/sanitized/lib
SANITIZERS := -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
# libstdc++ too, or AddressSanitizer misses the exceptions that libraries loaded later throw.
SANITIZER_LIBRARIES = $(shell for name in libasan libubsan libstdc++; do \
  gcc -print-file-name=$$name.so; done)

sanitize: $(STAMP)  ## run the native tests under AddressSanitizer and UBSan
	DDF_SEG_BUILD_NATIVE=1 FORCE_CUDA=0 DDF_SEG_BUILD_FLAGS='$(SANITIZERS) -g1 -O1' \
	  $(BIN)/python setup.py -q build --build-base build/sanitized --build-lib $(SANITIZED)
	LD_PRELOAD='$(SANITIZER_LIBRARIES)' PYTHONPATH='$(CURDIR)/$(SANITIZED):$(CURDIR)' \
	  ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 UBSAN_OPTIONS=print_stacktrace=1 OMP_NUM_THREADS=2 \
	  DDF_SEG_FUZZ_EXAMPLES=$${DDF_SEG_FUZZ_EXAMPLES:-1000} \
	  $(BIN)/pytest -q -p no:cacheprovider tests/test_ops/test_native*.py \
	  tests/test_ops/test_checks.py tests/test_ops/test_filter_norm_op.py \
	  tests/test_ops/test_depthwise_pointwise*.py tests/test_ops/test_interpolation_softmax.py $(PYTEST_ARGS)

# clang for other systems, with their headers
ZIG = PYTHONPATH=build/zig $(BIN)/python -m ziglang c++ -std=c++17 -Wall -Wextra -Wno-psabi
ELEMENT_TYPES = $(or $(shell sed -n 's/^  X.\([a-z0-9]*\), .*/\1/p' ops/kernels/problem.h),$(error ops/kernels/problem.h names no element types))
SYSTEMS ?= aarch64-linux-gnu aarch64-macos x86_64-windows-gnu

compile-elsewhere: $(STAMP) $(SYSTEMS:%=compile-for-%)  ## compile the CPU operators for 64-bit ARM, macOS and Windows

build/zig/ziglang: | $(STAMP)
	$(BIN)/pip install --disable-pip-version-check -q --target build/zig ziglang

compile-for-%: build/zig/ziglang
	mkdir -p build/elsewhere/$*
	for d in $(ELEMENT_TYPES); do \
	  $(ZIG) -target $* -DDDF_DTYPE=$$d -c ops/kernels/cpu/kernels.cpp -o build/elsewhere/$*/kernels-$$d.o; done
	$(ZIG) -target $* -c ops/kernels/cpu/capability.cpp -o build/elsewhere/$*/capability.o
	$(ZIG) -target $* -DTORCH_TARGET_VERSION=0x020A000000000000 -c ops/binding/ddf_cpu.cpp \
	  -isystem $$($(BIN)/python -c 'import importlib.util as u; print(u.find_spec("torch").submodule_search_locations[0])')/include \
	  -o build/elsewhere/$*/ddf_cpu.o

# Where CUDA's toolkit has its headers
CUDA_INCLUDE ?= /usr/local/cuda/include
# The oldest that the package runs beside: its headers have less than those of the torch at hand.
OLDEST_TORCH := torch==2.10.0

build/oldest/torch: | $(STAMP)
	rm -rf build/oldest
	$(BIN)/pip download --disable-pip-version-check -q --no-deps -d build/oldest '$(OLDEST_TORCH)'
	$(BIN)/python -m zipfile -e build/oldest/torch-*.whl build/oldest
	rm build/oldest/torch-*.whl

compile-oldest: build/oldest/torch  ## compile the bindings beside the oldest torch (a large download)
	for binding in ops/binding/*.cpp; do \
	  $(CXX) -std=c++17 -fsyntax-only -DTORCH_TARGET_VERSION=0x020A000000000000 -DUSE_CUDA \
	    -DDDF_CUDA_ARCHITECTURES=9.0 -isystem build/oldest/torch/include \
	    -isystem $(CUDA_INCLUDE) $$binding || exit 1; \
	done

clean:  ## remove environments and build outputs (not data, not runs)
	rm -rf $(VENV) $(ONEDL_VENV) $(HOSTS_VENV) $(CUDA_VENV) build dist *.egg-info ddf_seg/*.so
