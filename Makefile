# The commands of this repository. `make` lists them.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready
CHARTS := charts/igpo-operator charts/igpo-operator/charts/igpo-crds
RESULTS := --results benchmarks/RESULTS.md
GROWN := --vocabulary 4096 --hidden 64 --intermediate 172 --layers 2 --prompt 64 --canvas 64 --block 16 --steps 8 --group 4
CLUSTER := PYTHONPATH=tests/cluster $(BIN)/python -m igpo_cluster
PICTURES := monitoring/pictures
MONITORING := PYTHONPATH=monitoring $(BIN)/python -m igpo_monitoring

.DEFAULT_GOAL := help
.PHONY: help demo demo-arms ablations test kill-test speed check generate pictures
.PHONY: images cluster cluster-down cluster-images cluster-packages cluster-demo e2e e2e-smoke

help: ## list these targets
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/\1	\2/p' $(MAKEFILE_LIST) | expand -t 18

demo: $(READY) ## SFT from scratch, then IGPO, on this machine; writes runs/
	$(BIN)/igpo run -f examples/igpo-run.yaml

demo-arms: $(READY) ## IGPO, Resample and GRPO from the same SFT checkpoints, three seeds
	$(BIN)/python benchmarks/arms.py

ablations: $(READY) ## rewritten and original traces, η, τ, Resample, GRPO: three seeds, hours; writes docs/ablations.md
	$(BIN)/python benchmarks/ablations.py

test: $(READY) ## every test, with line coverage of the trainer
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist worksteal --cov --cov-report=term --cov-fail-under=90

speed: $(READY) ## update, samplers, RL step against plain ones: an hour of a quiet core; writes benchmarks/RESULTS.md
	$(BIN)/python benchmarks/update_step.py --shape builtin $(RESULTS)
	$(BIN)/python benchmarks/sampler.py --shape builtin $(RESULTS)
	$(BIN)/python benchmarks/rl_step.py --shape builtin $(RESULTS)
	$(BIN)/python benchmarks/update_step.py --shape small $(RESULTS)
	$(BIN)/python benchmarks/sampler.py --shape small --group 2 $(RESULTS)
	$(BIN)/python benchmarks/rl_step.py --shape small --steps 16 $(RESULTS)
	$(BIN)/python benchmarks/rl_step.py --growth 1 2 4 $(GROWN) $(RESULTS)

kill-test: $(READY) ## kill -9 a run 50 times at random and before every rename and fsync; it ends bit-identical
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/kill_test.py

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
	diff -r crds charts/igpo-operator/charts/igpo-crds/files/crds
	PYTHONPATH=tools $(BIN)/python -m igpo_charts --check $(CHARTS)
	$(MONITORING) build/dashboards
	diff -r charts/igpo-operator/files/dashboards build/dashboards

generate: $(READY) ## write the files that are generated from the code
	$(BIN)/python -m igpo_trainer.spec.reference docs/manifest.md
	$(BIN)/python -m igpo_trainer.observe.metrics_page > docs/metrics.md
	$(BIN)/python -m igpo_operator.api.reference docs/api.md
	$(BIN)/python -m igpo_operator.api.crd crds
	cp crds/*.yaml charts/igpo-operator/charts/igpo-crds/files/crds/
	$(BIN)/python benchmarks/sizing.py --page docs/sizing.md
	PYTHONPATH=tools $(BIN)/python -m igpo_charts $(CHARTS)
	$(MONITORING) charts/igpo-operator/files/dashboards

pictures: $(READY) $(PICTURES)/dist/index.html ## draw the dashboards into docs/images (node ≥ 20, npm, chromium)
	PYTHONPATH=tests/cluster:tests/monitoring $(BIN)/python $(PICTURES)/draw.py docs/images

$(PICTURES)/dist/index.html: $(PICTURES)/node_modules/.package-lock.json $(wildcard $(PICTURES)/*.html $(PICTURES)/*.js $(PICTURES)/src/*)
	cd $(PICTURES) && npm run build

$(PICTURES)/node_modules/.package-lock.json: $(PICTURES)/package-lock.json
	cd $(PICTURES) && npm ci

cluster: $(READY) ## a throw-away Kubernetes with one node that stays up (root); says how to use and stop it
	$(CLUSTER) up

cluster-down: $(READY) ## stop it and remove every trace, also of clusters whose harness was killed
	$(CLUSTER) down

cluster-images: $(READY) ## build the images of this tree and give them to the node of `make cluster`
	$(CLUSTER) images

images: $(READY) cluster-packages ## build both images by buildah, without a cluster (root); docker can do it, too: docs/install.md
	$(CLUSTER) build

cluster-packages: $(READY) ## install the system packages that the node and the images need (root, apt)
	$(CLUSTER) packages

cluster-demo: $(READY) cluster-packages ## the demo on a throw-away Kubernetes, every step explained (root)
	PYTHONPATH=tests/cluster:tests/e2e $(BIN)/python -m igpo_e2e.demo

e2e: $(READY) cluster-packages ## end-to-end tests on a throw-away Kubernetes, faults and all (root)
	$(BIN)/pytest -m e2e tests/cluster
	$(BIN)/pytest -m e2e tests/monitoring
	$(BIN)/pytest -m e2e tests/e2e

e2e-smoke: $(READY) cluster-packages ## the shortest of them: install the chart, train the tiny chain (root)
	$(BIN)/pytest -m e2e tests/e2e/test_smoke.py

$(READY): pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --editable '.[operator,trainer,dev]'
	@touch $@
