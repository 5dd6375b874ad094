# Everything that a person or the CI calls. `make help` lists it. The work is done by the scripts in
# image/ and by the programs of qemu-tests; each phase is named and timed by image/phase.

SHELL := /bin/bash
.DEFAULT_GOAL := help
export PATH := $(PATH):$(HOME)/.cargo/bin
export WARDER_CACHE ?= $(HOME)/.cache/warder
phase := image/phase
vm := cargo run --locked --release --quiet --package qemu-tests --bin
# One name, or all VM tests.
T ?=

# The image's kernel: vm or server (ours, docs/kernel.md), or debian, which is the default.
KERNEL ?=
export KERNEL

.PHONY: kernel kernel-check kernel-bump help setup setup-clients setup-test image run stop shell test test-long check unit-test vm-test bench clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## install and cache what building and running needs (root, Debian 12 or 13)
	@$(phase) setup image/setup run

setup-clients: setup ## the same, and the client programs that the VM tests put to work
	@$(phase) setup-clients image/setup clients

setup-test: ## the same, and what checking needs (cargo-deny, taplo)
	@$(phase) setup image/setup test

image: setup ## build all images: production, debug, nginx jail, all example jails (two disks), the peers' disk
	@$(phase) image image/build production debug jails examples runtimes peers weak

kernel: setup ## build our kernel into the cache (KERNEL=vm, the default, or server); 20 minutes or more
	@$(phase) kernel kernel-config/build $(or $(KERNEL),vm)

kernel-check: setup ## check both kernels' configuration, in seconds (UPDATE=1 takes over a reviewed change)
	@$(phase) kernel-check kernel-config/check

kernel-bump: setup ## go to another linux-source of Debian: VERSION=6.12.NNN-N (docs/kernel.md)
	@$(phase) kernel-bump kernel-config/bump $(VERSION)

run: setup ## build and boot the production image; the nginx jail answers on http://127.0.0.1:8080/ (PORT=)
	@$(phase) image image/build production jails
	@$(phase) runner cargo build --locked --release --quiet --package qemu-tests --bin vm
	@$(vm) vm -- run

stop: ## power the guest of `make run` off
	@$(vm) vm -- stop

shell: setup ## boot the debug image and type commands to its host: jailctl, busybox (Ctrl-D ends it)
	@$(phase) image image/build debug jails
	@$(vm) vm -- shell

test: ## all checks and all tests, as the CI runs them
	@$(MAKE) --no-print-directory setup-test check unit-test image vm-test
	@grep -h '^test result:' target/log/unit-test.log target/log/vm-test.log | grep -v ' 0 passed; 0 failed'

test-long: image setup-clients ## the VM tests that take long, too
	@$(phase) test-long cargo test --locked --package qemu-tests -- --include-ignored

check: setup-test ## formatting, lints, dependencies' licences and sources, schemas, layout, the kernel's configuration
	@$(phase) check-format cargo fmt --all --check
	@$(phase) check-lints cargo clippy --locked --workspace --all-targets --quiet -- -D warnings
	@$(phase) check-lints-weak cargo clippy --locked -p jailsupd --features weaken --bin jailsupd-weak --quiet -- -D warnings
	@$(phase) check-lints-weak-init cargo clippy --locked -p init --features weaken --bin init-weak --quiet -- -D warnings
	@$(phase) check-dependencies image/deny
	@$(phase) check-schemas image/taplo
	@$(phase) check-layout cargo test --locked --quiet --package jailsupd --test layout
	@$(phase) kernel-check kernel-config/check

unit-test: ## all tests that need no VM
	@$(phase) unit-test cargo test --locked --workspace --exclude qemu-tests

vm-test: image setup-clients ## the VM tests on the real image; T=NAME runs those whose name holds NAME
	@$(phase) vm-test $(if $(T),cargo test --locked --no-fail-fast --package qemu-tests $(T),qemu-tests/in-two-rows)

bench: image ## measure the image; a table, and target/bench/results.json
	@$(phase) setup image/setup bench
	@$(phase) bench-programs cargo build --locked --release --quiet --package qemu-tests --bins
	@$(phase) bench-floor cargo build --locked --release --quiet --package sys --examples
	@$(phase) bench-filters cargo run --locked --release --quiet --package jailsupd --example filters -- target/bench/filters
	@$(phase) bench $(vm) bench

clean: ## remove what was built here; the cache ($WARDER_CACHE) stays
	rm -rf target
