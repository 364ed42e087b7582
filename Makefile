# Everything here sets itself up: a virtual environment in .venv, with the versions of constraints.txt.
#
#   make demo      train on the shipped word list and show new words
#   make test      run the tests
#   make lint      ruff and mypy
#   make frameworks run the tests of lettrine.integrations against the real frameworks, trackers and clusters, all offline
#   make cuda      the tests that need a GPU, where there is one
#   make docs      build the site into build/site, strictly; the programs of its pages are run
#   make bench     measure what the README claims
#   make bench-scale  of these, big lists and wide networks alone
#   make fuzz      feed the readers of files whatever Atheris thinks of, for SECONDS=60 each
#   make long      watch two trainings for two million steps, some minutes
#   make sanitize  run the tests of all compiled code under AddressSanitizer and UndefinedBehaviorSanitizer
#   make slow      the tests of torch/ with the fast path of watching off; TESTS= names others
#   make matrix    the tests of torch/ that are not slow on the oldest torch that is claimed, the pinned and the newest one;
#                  VERSIONS= names others.
#                  CUDA_BUILDS=local or =yes allows a build for graphics cards where there is no other (5 GB), see scripts/matrix.py
#   make dist      build the source distribution and a wheel into dist/, and check them
#   make native    compile native/ anew into the module that .venv imports, and print where that is

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
SOURCES := pyproject.toml constraints.txt $(wildcard CMakeLists.txt native/*)

.PHONY: demo test slow matrix lint frameworks cuda docs bench bench-scale sanitize fuzz long dist native clean

# As many tests run at once as there are cores: threads of their own would only wait for one another.
test slow matrix frameworks sanitize docs: export OMP_NUM_THREADS := 1

demo: .venv/demo
	$(BIN)/lettrine train

test: .venv/test
	$(BIN)/python -m pytest -n 2 --dist worksteal --durations 15 --durations-min 5

TESTS ?= tests/torch --ignore tests/torch/checkup
slow: .venv/test
	LETTRINE_FAST=0 $(BIN)/python -m pytest -n 2 --dist worksteal $(TESTS)

VERSIONS ?=
CUDA_BUILDS ?= no
MISSING ?= fail
MATRIX_TESTS ?= tests/torch
matrix: .venv/test
	$(BIN)/python scripts/matrix.py $(VERSIONS) --cuda $(CUDA_BUILDS) --missing $(MISSING) --tests $(MATRIX_TESTS)

lint: .venv/lint .venv/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

frameworks: .venv-frameworks/made
	.venv-frameworks/bin/python -m pytest -n 2 --dist worksteal tests/integrations

cuda: .venv/test
	$(BIN)/python -m pytest -m cuda tests/torch

# The builder's notice about its own successor is not about this site.
docs: .venv/docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

bench: .venv/test
	$(BIN)/python -m benchmarks

bench-scale: .venv/test
	$(BIN)/python -m benchmarks scale

# The runtime of the sanitizers has to be loaded before Python itself; what Python and torch leak is not ours to count.
# The editable install's finder would hand out the plain build, so it is taken off the path first.
sanitize: .venv/test
	rm -rf build/sanitize
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target build/sanitize \
		-C cmake.define.LETTRINE_SANITIZE=ON -C build-dir=build/sanitize-objects .
	ls build/sanitize/lettrine/_native.*.so
	LD_PRELOAD="$$($(CXX) -print-file-name=libasan.so) $$($(CXX) -print-file-name=libubsan.so)" \
	ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 PYTHONPATH=build/sanitize $(BIN)/python -c "import sys, pytest; \
		sys.meta_path[:] = [f for f in sys.meta_path if 'ScikitBuild' not in type(f).__name__]; \
		sys.exit(pytest.main(['-q', '-p', 'no:cacheprovider', '-m', 'not slow', \
			'tests/engine/test_native_agreement.py', 'tests/engine/test_native_engine.py', 'tests/engine/test_native_random.py', \
			'tests/health/test_health_measure.py', 'tests/torch/test_torch_counting.py', 'tests/torch/test_torch_in_place.py', \
			'tests/torch/test_torch_loops_in_place.py']))"

SECONDS ?= 60
SEED ?= 0
fuzz: .venv/fuzz
	for target in words arrays description run terminal; do $(BIN)/python -m fuzz $$target $(SECONDS) $(SEED) || exit 1; done

long: .venv/test
	LETTRINE_LONG_STEPS=2000000 $(BIN)/python -m pytest -s --timeout 14400 tests/reliability/test_long.py

dist: .venv/release
	rm -rf dist
	$(BIN)/python -m build
	$(BIN)/twine check --strict dist/*
	$(BIN)/check-wheel-contents dist/*.whl
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml

# Compiles into build/native, step by step, and puts the module where .venv imports it from; renews the committed stub as well.
native:
	test -e .venv/test || $(MAKE) .venv/test
	$(BIN)/python -m cmake -S . -B build/native -G Ninja -DPython_EXECUTABLE=$(CURDIR)/$(BIN)/python \
		-DCMAKE_MAKE_PROGRAM=$(CURDIR)/$(BIN)/ninja $(CMAKE_ARGS)
	$(BIN)/python -m cmake --build build/native
	$(BIN)/python -m cmake --install build/native --prefix src --component stub
	$(BIN)/python scripts/place_native.py build/native
	touch .venv/test .venv/demo

clean:
	rm -rf .venv .venvs .venv-frameworks build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

.venv/made:
	$(PYTHON) -m venv .venv
	touch $@

.venv/demo: .venv/made $(SOURCES)
	@echo "setting up .venv (once, about a minute) ..."
	$(PIP) -e '.[report]'
	touch $@

# What is there already satisfies "lettrine": only what the extras need is installed, and nothing is compiled a second time.
.venv/test: .venv/demo
	@echo "setting up .venv with torch and the test tools (once, a few minutes) ..."
	$(PIP) 'lettrine[torch,live,corpora,tune,tables,test]'
	touch $@

# Beside .venv, whose torch and test tools it uses. fastai is installed without what only its pictures and texts need: torchvision
# must be built for the very torch that is there, or neither it nor Lightning can be imported.
FASTAI := requests fastcore fastdownload fastprogress fasttransform plum-dispatch matplotlib pandas pillow scikit-learn scipy
.venv-frameworks/made: .venv/test
	@echo "setting up .venv-frameworks (once, some minutes) ..."
	$(PYTHON) -m venv .venv-frameworks
	.venv/bin/python -c "import sysconfig; print('import site; site.addsitedir(\'' + sysconfig.get_path('purelib') + '\')')" \
		> "$$(.venv-frameworks/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")/beside.pth"
	.venv-frameworks/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt \
		lightning transformers accelerate peft keras pytorch-ignite skorch $(FASTAI) \
		tensorboard wandb mlflow-skinny trackio 'dask[distributed]' 'ray[tune,data,client]' pyspark
	.venv-frameworks/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --no-deps fastai
	touch $@

.venv/docs: .venv/demo
	@echo "setting up .venv with the tools of the site (once, a few minutes) ..."
	$(PIP) 'lettrine[torch,docs]'
	touch $@

.venv/fuzz: .venv/test
	$(PIP) 'atheris>=3'
	touch $@

.venv/release: .venv/made $(SOURCES)
	$(PIP) 'build' 'twine' 'check-wheel-contents' 'check-jsonschema'
	touch $@

.venv/lint: .venv/made $(SOURCES)
	$(PIP) 'ruff' 'mypy'
	touch $@
