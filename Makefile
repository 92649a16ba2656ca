# Targets for people; each says what it does in `make help`.
# Everything needed on a fresh Debian 12 machine is installed by `setup`, which every target calls.

export PATH := $(PATH):$(HOME)/.cargo/bin
CARGO ?= cargo
TARGET_DIR := $(if $(CARGO_TARGET_DIR),$(CARGO_TARGET_DIR),target)

.DEFAULT_GOAL := help
.PHONY: help setup build run test lint conformance scenarios counts bench demo fuzz clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## Install Debian packages, the test guest and the controller; reserve hugepages
	@scripts/setup.sh "$(TARGET_DIR)"

build: setup ## Build the release binaries vswitchd and vsctl
	$(CARGO) build --release --bin vswitchd --bin vsctl

run: build ## Start the switch on its built-in default and say what to type next
	@scripts/run.sh "$(TARGET_DIR)"

test: setup lint ## Pass every test: unit, property, text, namespaces, guests, foreign tools
	@# With other targets cargo would choose other features, and build the half of it twice.
	$(CARGO) build --workspace --all-targets
	$(CARGO) build --release -p perf --bin counts
	$(CARGO) test --workspace

lint: setup ## Formatting, clippy and documentation without warnings, licences of dependencies
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --quiet
	$(CARGO) test --quiet -p tests --test tidy

conformance: setup ## Run the 991 OpenFlow 1.3 patterns of os-ken's switch test tool beside Open vSwitch: OPTIONS=--alone
	$(CARGO) build --release --bin vswitchd --bin vsctl --bin conformance
	@"$(TARGET_DIR)/release/conformance" $(OPTIONS)

scenarios: setup ## Run the scenarios of a cloud and make docs/scenarios.md of what they showed
	@scripts/scenarios.sh "$(TARGET_DIR)"

counts: setup ## Count the instructions of the packet path and compare with perf/counts.json; OPTIONS=--renew keeps them
	$(CARGO) build --release -p perf --bin counts
	@"$(TARGET_DIR)/release/counts" $(OPTIONS)

bench: setup ## Measure beside OVS-DPDK and testpmd: all, or SCENARIO=NAME (SCENARIO=list says which); OPTIONS=--quick
	$(CARGO) build --release --workspace
	@scripts/bench.sh "$(TARGET_DIR)" "$(or $(SCENARIO),all)" $(OPTIONS)

demo: setup ## Two QEMU guests, a controller and a file between them, with nothing else at hand
	$(CARGO) build --release --bin vswitchd --bin vsctl --bin demo
	@"$(TARGET_DIR)/release/demo"

fuzz: setup ## Fuzz one target: FUZZ=parse RUNS=10000000
	@scripts/fuzz.sh "$(FUZZ)" "$(RUNS)"

clean: ## Remove what was built
	$(CARGO) clean
