# The ways in: `make help` lists them. POSIX sh and GNU make 3.81 or later; BUILD.md tells the whole story.

VENV    := .venv
STAMP   := $(VENV)/.installed
PACKAGE := $(VENV)/.package
RUN     := $(VENV)/bin/python
# The environment of the process that runs users' work on accelerators, with a current JAX. DEVICE says for which.
ACCELERATOR_VENV := .venv-accelerator
ACCELERATOR      := $(ACCELERATOR_VENV)/.installed-
DEVICE           ?= $(or $(patsubst $(ACCELERATOR)%,%,$(firstword $(wildcard $(ACCELERATOR)*))),cpu)
# The environment of what builds the site: it imports nothing of this project, so it needs nothing of the lock.
DOCS_VENV  := .venv-docs
DOCS_STAMP := $(DOCS_VENV)/.installed
# Likewise of what draws mutants; their tests run in $(VENV).
MUTATION_VENV  := .venv-mutation
MUTATION_STAMP := $(MUTATION_VENV)/.installed
# And of the fuzzer that looks which code a case reaches, which $(VENV) imports.
FUZZING_VENV  := .venv-fuzzing
FUZZING_STAMP := $(FUZZING_VENV)/.installed
# How many mutants of each area, the areas (all, if none is named), and the seed of the draw.
MUTANTS ?= 120
AREAS   ?=
SEED    ?= 1

.PHONY: help setup demo accelerator test test-all test-times test-shuffled mutants fuzz fuzz-guided faults lint docs screenshots clean

help:
	@echo 'make setup   install the locked environment into $(VENV), and this package with its command fedrec'
	@echo 'make demo    train a private recommender, measure it and show what it recommends'
	@echo 'make accelerator DEVICE=cuda12|cuda13|tpu|cpu  install what --execution=pjrt needs into $(ACCELERATOR_VENV)'
	@echo 'make test    lint, then run the tests but for the slow ones'
	@echo 'make test-all  the same, with the slow ones'
	@echo 'make test-times  what make test runs, and then its seconds by file and its slowest tests'
	@echo 'make test-shuffled SEED=1  what make test runs, in an order of chance'
	@echo 'make mutants MUTANTS=120 SEED=1  break the privacy, the sums and the metrics on purpose, and tell what no test notices'
	@echo 'make fuzz    try bad files, flags and calls by a new FUZZ_SEED, at least 10,000 cases'
	@echo 'make fuzz-guided FUZZ_SECONDS=60  try bad files that are changed by the code they reach, so long for each reader'
	@echo 'make faults KILLS=50 SEED=1  kill runs, fill disks, damage files, and look that each run ends as if nothing had been'
	@echo 'make lint    check style and format, change nothing'
	@echo 'make docs    build the site of the docs into build/docs, with what $(DOCS_VENV) holds'
	@echo 'make screenshots  take the pictures of TensorBoard in the docs anew; needs Chromium'
	@echo 'make clean   remove caches and build output; keeps $(VENV) and runs/'
	@echo
	@echo 'Needs Linux x86_64 and Python 3.11; name another one with PYTHON=/path/to/python3.11.'

setup: $(PACKAGE)

accelerator: $(ACCELERATOR)$(DEVICE)

demo: $(STAMP)
	@$(RUN) -m experiments.demo

PYTEST := $(RUN) -m pytest -n 2 --dist loadfile

test: lint accelerator
	@$(PYTEST) -m 'not slow'

test-all: lint accelerator
	@$(PYTEST)

# Of tests that fail too, which is how it ends then.
test-times: accelerator
	@mkdir -p build; status=0; \
	$(PYTEST) -m 'not slow' --junitxml=build/test-times.xml || status=$$?; \
	$(RUN) tests/durations.py build/test-times.xml; exit $$status

test-shuffled: accelerator
	@$(PYTEST) -m 'not slow' --shuffle=$(SEED)

# Goes on where it was interrupted; takes hours of one core's time for thousands, not for hundreds.
mutants: $(MUTATION_STAMP) accelerator
	@mkdir -p build/mutants/$(SEED)
	@$(MUTATION_VENV)/bin/python tests/mutation/draw_mutants.py --seed=$(SEED) --mutants=$(MUTANTS) --areas $(AREAS) \
	  > build/mutants/$(SEED)/drawn.jsonl
	@$(RUN) tests/mutation/run_mutants.py build/mutants/$(SEED)
# Property-based tests with cases that nobody has seen; `make fuzz FUZZ_SEED=...` tries those of a seed again.
FUZZ_SEED ?= $(shell od -An -N4 -tu4 /dev/urandom | tr -d ' ')

fuzz: $(STAMP)
	@FEDREC_TFF_FUZZ=nightly $(RUN) -m pytest tests/fuzzing --hypothesis-seed=$(FUZZ_SEED)

FUZZ_SECONDS ?= 60

fuzz-guided: $(STAMP) $(FUZZING_STAMP)
	@mkdir -p build/fuzzing
	@PYTHONPATH=$(FUZZING_VENV)/lib/python3.11/site-packages $(RUN) tests/fuzzing/guided.py build/fuzzing $(FUZZ_SECONDS)

# One process, which says what it did: sessions of a traced process stand still while they are looked at.
KILLS ?= 50
faults: accelerator
	@FEDREC_TFF_FAULTS_KILLS='$(KILLS)' FEDREC_TFF_FAULTS_SEED='$(SEED)' $(RUN) -m pytest tests/faults -s --durations=0

lint: $(STAMP)
	@$(RUN) -m ruff check
	@$(RUN) -m ruff format --check

docs: $(DOCS_STAMP)
	@NO_MKDOCS_2_WARNING=1 $(DOCS_VENV)/bin/mkdocs build --strict --quiet
	@echo 'Open build/docs/index.html, or see it at an address, with its search: $(DOCS_VENV)/bin/mkdocs serve'

screenshots: $(STAMP)
	@$(RUN) docs/images/take_screenshots.py

clean:
	@rm -rf build .ruff_cache .pytest_cache .hypothesis *.egg-info
	@find fedrec_tff experiments examples tests -name __pycache__ -type d -prune -exec rm -rf {} +

# Prints the real interpreter behind a Python 3.11, and fails for everything else. The real one, because $(VENV) may be the
# active environment, and is about to be replaced.
IS_PYTHON_311 := import sys; sys.version_info[:2] == (3, 11) or sys.exit(1); print(sys._base_executable)

# Sets $python, or ends with a line. Every folder of PATH is tried, not only the first hit: the `python3.11` of a version manager may
# be a shim that fails.
define FIND_PYTHON
python=; \
try() { [ -n "$$python" ] || python="$$("$$1" -c '$(IS_PYTHON_311)' 2>/dev/null </dev/null)" || python=; }; \
if [ -n '$(PYTHON)' ]; then \
  try '$(PYTHON)'; \
  if [ -z "$$python" ]; then echo 'PYTHON=$(PYTHON) is not a Python 3.11 that runs.' >&2; exit 1; fi; \
else \
  for name in python3.11 python3 python; do \
    old_ifs=$$IFS; IFS=:; \
    for folder in $$PATH; do [ ! -x "$$folder/$$name" ] || try "$$folder/$$name"; done; \
    IFS=$$old_ifs; \
  done; \
  if [ -z "$$python" ] && command -v uv >/dev/null 2>&1; then \
    try "$$(uv python find --system 3.11 2>/dev/null || :)"; \
  fi; \
fi; \
if [ -z "$$python" ]; then \
  echo 'No Python 3.11 found: install one (uv python install 3.11, or your system'"'"'s python3.11), or name one: make setup PYTHON=/path/to/python3.11' >&2; \
  exit 1; \
fi
endef

# The stamp is written last: an environment without it, or older than the lock, is made again from nothing.
$(STAMP): requirements.txt
	@set -eu; \
	system="$$(uname -s) $$(uname -m)"; \
	if [ "$$system" != 'Linux x86_64' ]; then \
	  echo "This needs Linux x86_64, and this is $$system: TensorFlow Federated has no wheels for it (BUILD.md)." >&2; \
	  exit 1; \
	fi; \
	$(FIND_PYTHON); \
	echo 'Installing the locked environment into $(VENV) (0.8 GB to download, 3.0 GiB on disk: a few minutes)'; \
	rm -rf $(VENV); \
	if command -v uv >/dev/null 2>&1; then \
	  uv venv --quiet --python "$$python" $(VENV); \
	  uv pip install --quiet --compile-bytecode --python $(RUN) --no-deps --require-hashes -r requirements.txt; \
	else \
	  "$$python" -m venv $(VENV); \
	  $(RUN) -m pip install --quiet --disable-pip-version-check --no-input --use-pep517 \
	    --no-deps --require-hashes -r requirements.txt; \
	fi; \
	touch $@

# The base of the lock has hashes. What a kind of accelerator needs beside it is chosen by JAX's own wheel of that version.
$(ACCELERATOR)$(DEVICE): requirements-accelerator.txt $(STAMP)
	@set -eu; \
	case '$(DEVICE)' in \
	  cpu) extra= ;; \
	  cuda12|cuda13|tpu) extra="$$(sed -n 's/^jax==\([0-9.]*\).*/jax[$(DEVICE)]==\1/p' requirements-accelerator.txt)" ;; \
	  *) echo 'DEVICE=$(DEVICE): choose cuda12, cuda13, tpu or cpu.' >&2; exit 1 ;; \
	esac; \
	echo 'Installing JAX for $(DEVICE) into $(ACCELERATOR_VENV) (0.6 GB on disk, with CUDA some GB more)'; \
	rm -rf $(ACCELERATOR_VENV); \
	python="$$($(RUN) -c '$(IS_PYTHON_311)')"; \
	if command -v uv >/dev/null 2>&1; then \
	  uv venv --quiet --python "$$python" $(ACCELERATOR_VENV); \
	  install="uv pip install --quiet --python $(ACCELERATOR_VENV)/bin/python"; \
	else \
	  "$$python" -m venv $(ACCELERATOR_VENV); \
	  install="$(ACCELERATOR_VENV)/bin/python -m pip install --quiet --no-compile --disable-pip-version-check --no-input"; \
	fi; \
	$$install --no-deps --require-hashes -r requirements-accelerator.txt; \
	if [ -n "$$extra" ]; then $$install "$$extra"; fi; \
	touch $@

# Installs a lock into an environment of its own: $(call INSTALL_BESIDE,what,environment,lock).
define INSTALL_BESIDE
set -eu; \
$(FIND_PYTHON); \
echo 'Installing what $(1) into $(2)'; \
rm -rf $(2); \
if command -v uv >/dev/null 2>&1; then \
  uv venv --quiet --python "$$python" $(2); \
  uv pip install --quiet --python $(2)/bin/python --no-deps --require-hashes -r $(3); \
else \
  "$$python" -m venv $(2); \
  $(2)/bin/python -m pip install --quiet --disable-pip-version-check --no-input \
    --no-deps --require-hashes -r $(3); \
fi; \
touch $(2)/.installed
endef

$(DOCS_STAMP): requirements-docs.txt
	@$(call INSTALL_BESIDE,builds the site,$(DOCS_VENV),requirements-docs.txt)

$(MUTATION_STAMP): requirements-mutation.txt
	@$(call INSTALL_BESIDE,draws mutants,$(MUTATION_VENV),requirements-mutation.txt)

$(FUZZING_STAMP): requirements-fuzzing.txt
	@$(call INSTALL_BESIDE,leads the fuzzer,$(FUZZING_VENV),requirements-fuzzing.txt)

# The package as it stands here, importable from anywhere, and the command `fedrec`: links, no copies. All that it needs, and
# what builds it, is in the environment already, so this asks no network.
$(PACKAGE): $(STAMP) pyproject.toml
	@set -eu; \
	if command -v uv >/dev/null 2>&1; then \
	  uv pip install --quiet --offline --python $(RUN) --no-deps --no-build-isolation --editable .; \
	else \
	  $(RUN) -m pip install --quiet --disable-pip-version-check --no-input --no-index \
	    --no-deps --no-build-isolation --editable .; \
	fi; \
	touch $@
