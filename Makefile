# Everything runs in .venv, made from the tested set in constraints.txt.
#   make study   the default study, from the text to the site        make test    the whole test suite
#   make check   formatting, lint, types, workflows                  make bench   the figures of docs/log.md, as JSON
#   make mutants SEED=1    do the tests notice? 100 small changes of the code, drawn at random
#   make hindsight   after the study: what the gates stopped, trained at the last budget (never part of make study)
#   make screen      the screen that chose the study's candidates, once more, in a clone of its own in scratch/screen
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PATH := $(abspath $(BIN)):$(PATH)

.PHONY: study hindsight screen test check bench mutants clean

# Cells side by side where the cores allow it, with the same bytes; `dvc repro` alone does it all in one lane.
study: $(VENV)/ready
	$(BIN)/promotion dispatch
	$(BIN)/dvc repro
	$(BIN)/promotion status
	@echo "open site/index.html, or: $(BIN)/promotion serve"

hindsight: $(VENV)/ready
	$(BIN)/python -m stages.rungs --hindsight
	$(BIN)/dvc repro stages/ladder/hindsight/dvc.yaml
	$(BIN)/dvc repro

# By the code of its own commit, which params.yaml names under study.from; the study here stays as it is.
screen: $(VENV)/ready
	rm -rf scratch/screen
	git clone --quiet . scratch/screen
	git -C scratch/screen checkout --quiet `sed -n 's/^    commit: //p' params.yaml`
	cd scratch/screen && python -m stages.cli dispatch && dvc repro && python -m stages.cli status

test: $(VENV)/ready
	$(BIN)/python -m pytest -n logical --dist worksteal

check: $(VENV)/ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/zizmor --offline --no-progress --strict-collection .github/workflows verify/action.yml
	$(BIN)/python -m bench.workflows

bench: $(VENV)/ready
	$(BIN)/python -m bench

SEED ?= 0
mutants: $(VENV)/ready
	$(BIN)/python -m bench.mutants --seed $(SEED)

$(VENV)/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev]"
	@touch $@

clean:
	rm -rf $(VENV) artifacts site scratch
