# `make` or `make help` lists what there is. The first target that needs it makes .venv.
PYTHON ?= python3
BIN := .venv/bin
.DEFAULT_GOAL := help

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.venv/ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Lacak needs Python 3.11 or newer; name one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@echo "Installing into .venv (once)..."
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@$(BIN)/python -m lacak.warm
	@touch $@

venv: .venv/ready ## Make .venv

.venv/bench-ready: requirements-bench.lock .venv/ready
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-bench.lock
	@touch $@

demo: .venv/ready ## Run a small city through the whole pipeline and look at what comes out
	@$(BIN)/lacak demo

test: .venv/ready ## Run the tests, on the embedded servers
	@$(BIN)/python -m pytest -m "not kafka"

KAFKA_TESTS = kafka_server pipeline traces status_pipeline hops standing clusters_pipeline door_pipeline gateway_brokers \
	heartbeats metrics crash stopping security security_database flood plain_topics late_topics

test-kafka: .venv/ready ## Run the integration and crash tests on Apache Kafka (needs Java and Maven)
	@LACAK_TEST_BROKER=kafka $(BIN)/python -m pytest $(KAFKA_TESTS:%=tests/test_%.py)

sight: .venv/ready ## Raise each alert by its fault on a running Lacak, and see it end (needs Prometheus; a quiet quarter of an hour)
	@LACAK_TEST_SIGHT=1 $(BIN)/python -m pytest tests/test_sight.py

lint: .venv/ready ## Check style and who imports whom
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/lint-imports --no-cache

types: .venv/ready ## Check types, strictly
	@$(BIN)/mypy

metrics-page: .venv/ready ## Write docs/metrics.md anew from the catalogues
	@$(BIN)/python -m lacak.metrics_page
audit: .venv/ready ## Look up every pinned dependency in the advisory database (75: it cannot be reached)
	@$(BIN)/python .ci/audit

contracts: .venv/ready ## Write the published contracts anew from the message types
	@$(BIN)/python -m schemas.contracts

chaos: .venv/ready ## Faults under load on Apache Kafka, judged by the oracle; writes docs/reliability.md (an hour or so; SEEDS=50 JOBS=2)
	@$(BIN)/python -m tests.chaos --seeds $(or $(SEEDS),50) --jobs $(or $(JOBS),2) --write docs/reliability.md

bench-stream: .venv/ready ## Measure CPU per scan of the whole chain, and of a stock Faust agent
	@$(BIN)/python -m bench.stream

bench-metrics: .venv/bench-ready ## Measure what metrics cost: two agents with and without, and the whole chain, sampled (as root)
	@$(BIN)/python -m bench.measuring
	@$(BIN)/python -m bench.stream --sample --output build/bench-metrics.json

bench-visits: .venv/ready ## Measure what a scan costs the visits role, stage by stage, without a broker
	@$(BIN)/python -m bench.visits

bench-colours: .venv/ready ## Measure what a person's colour costs when a health record comes
	@$(BIN)/python -m bench.colours

bench-status: .venv/ready ## Measure what a health event costs the status agent, and the time from a positive test to black
	@$(BIN)/python -m bench.status

bench-trace: .venv/ready ## Measure the time from a positive test to the report
	@$(BIN)/python -m bench.trace

bench-index: .venv/ready ## Measure the visit index at 112 million visits: build, memory, open, one hop and two
	@$(BIN)/python -m bench.index

bench-door: .venv/ready ## Measure what a gateway on one core decides and publishes a second, over HTTP
	@$(BIN)/python -m bench.door

bench-recovery: .venv/ready ## Measure how soon a places worker is level again, with and without its snapshot
	@$(BIN)/python -m bench.recovery

bench-endurance: .venv/bench-ready ## Load the whole pipeline for an hour, then ten times as much: make bench-endurance MINUTES=5
	@$(BIN)/python -m bench.endurance --minutes $(or $(MINUTES),60); code=$$?; $(BIN)/python -m bench.endurance_page && exit $$code

bench-reach: .venv/ready ## Measure reach over a dated contact list
	@$(BIN)/python -m bench.reach

sizing: .venv/ready ## Write docs/sizing.md anew from docs/figures
	@$(BIN)/python -m bench.sizing

bench-peers: .venv/bench-ready ## Ask Lacak, PostgreSQL, DuckDB, polars, networkx and numpy for the same contacts
	@$(BIN)/python -m bench.peers

validation: .venv/ready ## Hold shared stays against who was face to face: make validation SCANS=file FACES=file
	@$(BIN)/python -m bench.validation "$(or $(SCANS),$(error Name the files: make validation SCANS=scans.csv.gz FACES=faces.csv.gz))" "$(FACES)"

pictures: .venv/ready ## Draw the example traces in docs/pictures anew
	@$(BIN)/python -m bench.pictures

dashboards: .venv/ready ## Write Grafana's dashboards anew, ask a running Lacak all they ask, and write docs/dashboards.md (needs Prometheus)
	@$(BIN)/python -m deploy.grafana
	@$(BIN)/python -m bench.dashboards

flood: .venv/ready ## Send a million bad inputs to every topic and endpoint on Apache Kafka, in parts (again to go on)
	@$(BIN)/python -m tests.flood

COMPILE = $(BIN)/python -m uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet

lock: ## Pin every dependency anew, with hashes
	@$(BIN)/pip install --quiet --disable-pip-version-check uv
	@$(COMPILE) pyproject.toml --extra dev -o requirements.lock
	@$(COMPILE) pyproject.toml --extra bench --constraint requirements.lock -o requirements-bench.lock

clean: ## Remove what was made here
	rm -rf .venv .lacak .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis demo-report build *.egg-info

.PHONY: audit bench-colours bench-door bench-endurance bench-index bench-metrics bench-peers bench-reach bench-recovery bench-status bench-stream bench-trace bench-visits chaos clean contracts dashboards demo flood help lint lock metrics-page pictures sight sizing test test-kafka types validation venv
