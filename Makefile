# make demo       everything from nothing to the fitted law of the demo study
# make test       everything that the tests need, and the tests, on all cores
# make test-long  the long campaigns that back up the shorter tests of `make test`
# make lint       what has to hold for the text of every file
# make keys       the schema and the table of keys, after a setting was added or changed
# All create .venv where there is none; repeated, they do only what is missing.
PYTHON ?= python3
VENV := .venv
ENVS := $(wildcard envs/*.txt) envs/install.py pyproject.toml
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

.PHONY: demo test test-long lint keys

demo: $(VENV)/.flops-fit
	snakemake --cores all
	@echo
	@cat results/demo/table.md
	@echo
	@echo "Table:   results/demo/table.md, results/demo/table.csv"
	@echo "Figures: results/demo/figures/"
	@echo "Laws:    results/demo/fit.json"
	@echo "Runs:    results/demo/runs.csv, results/demo/runs/"

test: $(VENV)/.flops-fit-tests
	pytest -n auto

test-long: $(VENV)/.flops-fit-tests
	pytest -m "long or hypothesis" --hypothesis-profile=long

lint: $(VENV)/.flops-fit-tests
	ruff check .
	ruff format --check .
	snakefmt --check Snakefile workflow
	snakemake --lint
	snakemake --lint --configfile config/studies/demo_grid.yaml
	PYTHONPATH=workflow lint-imports --no-cache

keys: $(VENV)/.flops-fit-tests
	PYTHONPATH=workflow python -m flops_fit.study.document_keys

# The stamps lie inside the environment: they go when it goes.
$(VENV)/.flops-fit: $(ENVS)
	$(PYTHON) envs/install.py --venv $(VENV)
	@touch $@

$(VENV)/.flops-fit-tests: $(ENVS)
	$(PYTHON) envs/install.py --venv $(VENV) --tests
	@touch $(VENV)/.flops-fit $@
