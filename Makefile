# Thin: every target installs what it needs, then calls `repro`, pytest or the linters.
#   make reproduce-all PROFILE=quick REPORT=chen2024 EXPERIMENT=resnet68 SEEDS=0-2 DEVICE=cuda:0 VENV=~/venv
#   make reproduce-all DEVICES=cuda:0,cuda:1
PYTHON  ?= python3
VENV    ?= .venv
PROFILE ?= auto
SEEDS   ?= 0
TIERS    = --tier headline --tier core
TARGET   = $(if $(EXPERIMENT),$(or $(REPORT),$(error EXPERIMENT needs REPORT))/$(EXPERIMENT),$(or $(REPORT),--all) $(TIERS))
PLACE    = $(if $(DEVICE),--device $(DEVICE)) $(if $(DEVICES),--devices $(DEVICES))
BIN      = $(VENV)/bin

.PHONY: reproduce-all reports mlflow-ui server test test-faults test-faults-long test-cluster lint install

reproduce-all: install
	$(BIN)/repro run $(TARGET) --profile $(PROFILE) --seeds $(SEEDS) $(PLACE) --pages

reports: install
	$(BIN)/repro report

mlflow-ui: install
	$(BIN)/repro ui

server: $(VENV)/.installed-server
	$(BIN)/repro server

test: $(VENV)/.installed-test
	$(BIN)/python -m pytest -n $(or $(JOBS),4) --dist loadfile --no-loadscope-reorder

# Kills, full disks, outages, races: a quarter of an hour on two cores, -long about an hour. With SAVE=1 the figures go to
# reports/reliability.json, which `repro report` makes a page of.
FAULTS   = $(CURDIR)/.repro/faults.jsonl
SAVED    = $(if $(SAVE),--out reports/reliability.json)

test-faults: $(VENV)/.installed-test $(VENV)/.installed-fuzz
	mkdir -p .repro && rm -f $(FAULTS)
	REPRO_FAULTS=full REPRO_FAULTS_LOG=$(FAULTS) $(BIN)/python -m pytest tests/faults -n $(or $(JOBS),2) --dist loadfile; \
		held=$$?; $(BIN)/python tests/faults/gather.py $(FAULTS) $(SAVED) && exit $$held

test-faults-long: $(VENV)/.installed-test $(VENV)/.installed-fuzz
	mkdir -p .repro && rm -f $(FAULTS)
	REPRO_FAULTS=long REPRO_FAULTS_LOG=$(FAULTS) $(BIN)/python -m pytest tests/faults -n $(or $(JOBS),2) --dist loadfile; \
		held=$$?; $(BIN)/python tests/faults/gather.py $(FAULTS) $(SAVED) && exit $$held

# Two Ray nodes on this machine's loopback and MLflow on PostgreSQL: a node is killed, and so are commands and servers.
test-cluster: $(VENV)/.installed-test $(VENV)/.installed-ray $(VENV)/.installed-server
	REPRO_CLUSTER=1 $(BIN)/python -m pytest tests/cluster tests/test_fence.py tests/test_cluster_examples.py

lint: $(VENV)/.installed-lint
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

install: $(VENV)/.installed

# An environment made here gets the tested versions. One that was there already (VENV=PATH) keeps what it holds, and
# only what it lacks is added.
PIP      = $(BIN)/python -m pip install --quiet --disable-pip-version-check $$(test -f $(VENV)/.made && echo -c constraints.txt)

$(VENV)/.installed: setup.cfg constraints.txt
	test -x $(BIN)/python || { $(PYTHON) -m venv $(VENV) && touch $(VENV)/.made; }
	$(PIP) -e .
	touch $@

$(VENV)/.installed-%: $(VENV)/.installed
	$(PIP) -e '.[$*]'
	touch $@
