# The commands of this repository. `make` lists them.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready

.DEFAULT_GOAL := help
.PHONY: help demo demo-arms test check generate

help: ## list these targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1	\2/p' $(MAKEFILE_LIST) | expand -t 14

demo: $(READY) ## SFT from scratch, then IGPO, on this machine; writes runs/
	$(BIN)/igpo run -f examples/igpo-run.yaml

demo-arms: $(READY) ## IGPO, Resample and GRPO from the same SFT checkpoints, three seeds
	$(BIN)/python benchmarks/arms.py

test: $(READY) ## every test, with line coverage of the trainer
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist worksteal --cov --cov-report=term --cov-fail-under=90

check: $(READY) ## style, types, layers, generated files
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m igpo_trainer.spec.reference /dev/stdout | diff docs/manifest.md -
	$(BIN)/python -m igpo_trainer.observe.metrics_page | diff docs/metrics.md -
	$(BIN)/python -m igpo_operator.api.reference /dev/stdout | diff docs/api.md -
	$(BIN)/python -m igpo_operator.api.crd build/crds
	diff -r crds build/crds

generate: $(READY) ## write the files that are generated from the code
	$(BIN)/python -m igpo_trainer.spec.reference docs/manifest.md
	$(BIN)/python -m igpo_trainer.observe.metrics_page > docs/metrics.md
	$(BIN)/python -m igpo_operator.api.reference docs/api.md
	$(BIN)/python -m igpo_operator.api.crd crds

$(READY): pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --editable '.[operator,trainer,dev]'
	@touch $@
