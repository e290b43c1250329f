# What a newcomer types: `make demo`, `make test`. Both install what they lack, and say so first.
# Every part of `make test` is a target of its own and prints how long it took.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:

# The client that nobody here wrote lives in a virtual environment under target/.
PEERS_PYTHON := $(CURDIR)/target/peers/bin/python
# Kills of `make soak-kill`, and histories of the soaks that play some.
ROUNDS ?= 1000
soak-simulation: HISTORIES ?= 20000
# Of `make soak-model`: an hour.
MINUTES ?= 60
# Of `make soak-night`; under ten minutes on two cores.
DISTRICTS ?= 600
# Of `make soak-serve`: half an hour.
SECONDS ?= 1800
# Of `make bench`: short, normal (about ten minutes) or long, and which scenarios; none for all, whose
# table then goes into docs/performance.md.
SIZE ?= normal
SCENARIOS ?=
# Of `make soak-fuzz`, for each target.
SECONDS_EACH ?= 60

.PHONY: help demo test test-lint test-engine test-peers test-kills test-demo test-instructions \
        test-otlp test-chart test-monitoring test-console test-image sbom dashboards chart-readme \
        bench soak-fuzz soak-kill soak-simulation soak-model soak-night soak-serve ablations \
        needs needs-console needs-fuzz needs-image needs-instructions needs-lint needs-monitoring \
        needs-operate \
        needs-peers

help: ## This list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

demo: needs ## The whole job on this machine: builds, then publishes between sandboxes and compares
	@cargo build --locked --bin tidemark
	@target/debug/tidemark demo

test: ## Everything; each part has a target of its own
	@tools/part.sh begin
	@$(MAKE) --no-print-directory test-lint test-engine test-otlp test-peers test-kills test-demo \
		test-instructions test-chart test-monitoring test-console test-image
	@tools/part.sh end

test-lint: needs-lint ## Formatting, lints, documentation, licences of what we depend on
	@tools/part.sh run lint tools/lint.sh

test-engine: needs ## Everything that needs no other program and kills nothing
	@tools/part.sh tests engine

test-otlp: needs ## Traces, in a program that is built with them
	@tools/part.sh run otlp cargo test --locked --features otlp --test it -- otlp::

test-peers: needs-peers ## Clients that nobody here wrote, against the sandbox
	@TIDEMARK_EDFI_CLIENT_PYTHON=$(PEERS_PYTHON) tools/part.sh tests peers

test-kills: needs ## Real processes that are killed in the middle of their work
	@tools/part.sh tests kills

test-demo: needs ## `make demo` as a script would run it
	@tools/part.sh run demo $(MAKE) --no-print-directory demo </dev/null

test-chart: needs-operate ## The Helm chart: both Helms, schemas, a policy checker, what it renders
	@cargo build --locked --bin tidemark
	@tools/part.sh pytest chart

test-monitoring: needs-monitoring ## Alerts and dashboards, against a Prometheus that scrapes a daemon
	@cargo build --locked --bin tidemark
	@tools/part.sh pytest monitoring

test-console: needs-console ## The console in a real browser, over a daemon that publishes between sandboxes
	@cargo build --locked --bin tidemark
	@tools/part.sh node console

test-image: needs-operate needs-image ## The container image: built from scratch, started, looked into
	@tools/part.sh pytest image

sbom: needs ## Writes what the program is made of to target/tidemark.cdx.json
	@tools/sbom.py target/tidemark.cdx.json

dashboards: needs-operate ## Makes the dashboards of the chart from monitoring/dashboards.py
	@target/operate/bin/python monitoring/dashboards.py helm/tidemark/files/dashboards

chart-readme: ## Makes the table in the chart's README.md from its values.yaml
	@python3 tools/chart-readme.py

test-instructions: needs-instructions ## What the inner loops cost, counted, against the baseline
	@tools/part.sh run instructions tools/instructions.py

bench: needs ## Figures with goals; SIZE=short|normal|long, SCENARIOS="bare-loop memory"
	@cargo bench --locked --bench speed -- $(SIZE) $(or $(SCENARIOS),--keep)

soak-kill: needs ## Kills real processes, ROUNDS times; leaves its account in docs/samples/
	@TIDEMARK_KILLS=$(ROUNDS) tools/soak.sh kill kills $(ROUNDS)

soak-simulation: needs ## Plays random histories, HISTORIES of them; leaves its account in docs/samples/
	@TIDEMARK_HISTORIES=$(HISTORIES) TIDEMARK_SEED=$(or $(SEED),$(shell date +%s)) \
		tools/soak.sh simulation simulation $(HISTORIES)

soak-fuzz: needs-fuzz ## Fuzzes every reader of foreign bytes, SECONDS_EACH; leaves its account in docs/samples/
	@tools/soak-fuzz.sh $(SECONDS_EACH)

soak-model: needs ## Plays the model for MINUTES; leaves its account, with how many histories, in docs/samples/
	@TIDEMARK_MINUTES=$(MINUTES) TIDEMARK_SEED=$(or $(SEED),$(shell date +%s)) \
		tools/soak.sh model model $(MINUTES) minutes soak

soak-night: needs ## A night with DISTRICTS districts; leaves its account in docs/samples/
	@TIDEMARK_DISTRICTS=$(DISTRICTS) tools/soak.sh night night $(DISTRICTS) districts

soak-serve: needs ## A daemon serves for SECONDS while all happens to it; leaves its account in docs/samples/
	@TIDEMARK_SERVE_SECONDS=$(SECONDS) tools/soak.sh serve long_service $(SECONDS) seconds

ablations: needs ## Removes pieces of the engine one by one; prints which the model misses
	@tools/ablations.py

needs:
	@tools/needs.sh build

needs-lint:
	@tools/needs.sh build lint

needs-fuzz:
	@tools/needs.sh build fuzz

needs-operate: needs
	@tools/needs.sh operate

needs-monitoring: needs-operate
	@tools/needs.sh prometheus

needs-console: needs
	@tools/needs.sh console

needs-image:
	@tools/needs.sh image

needs-instructions:
	@tools/needs.sh build instructions

needs-peers:
	@tools/needs.sh build peers
