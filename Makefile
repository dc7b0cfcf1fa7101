# Everything a person or a machine does with this project. Two commands do all the set-up:
# `make demo` shows it, `make test` proves it. Both want root and a Debian with Rust.

CARGO ?= cargo
# What building and testing need beyond Rust; `deps` installs only what is missing.
BUILD_PACKAGES = gcc libc6-dev
DEMO_PACKAGES = $(BUILD_PACKAGES) busybox-static debootstrap curl
# libFuzzer is C++.
FUZZ_PACKAGES = $(BUILD_PACKAGES) g++
TEST_PACKAGES = $(DEMO_PACKAGES) docker-registry git iproute2 nftables openssl python3 skopeo strace

export DEBIAN_FRONTEND = noninteractive
install = @missing=; for package in $(1); do \
		dpkg-query --show --showformat '$${Status}' $$package 2>/dev/null | grep -q 'install ok installed' || missing="$$missing $$package"; \
	done; \
	[ -z "$$missing" ] || { echo "installing$$missing"; apt-get update -qq && apt-get install -y -qq --no-install-recommends $$missing >/dev/null; }

.PHONY: all demo test check unit e2e corpus fuzz sim vm bench deny deps-demo deps-test docker-client kubectl images clean

all: ## Builds orc in release mode: target/release/orc
	$(call install,$(BUILD_PACKAGES))
	$(CARGO) build --release --locked --bin orc

deps-demo:
	$(call install,$(DEMO_PACKAGES))

deps-test:
	$(call install,$(TEST_PACKAGES))
	@command -v docker >/dev/null || $(MAKE) --no-print-directory docker-client
	@command -v kubectl >/dev/null || $(MAKE) --no-print-directory kubectl

# The tests want Docker's command line only: in runlevel 1 no package starts its daemon.
docker-client:
	apt-get update -qq && RUNLEVEL=1 apt-get install -y -qq --no-install-recommends docker.io >/dev/null

# Debian's may be old: the tests are written for 1.32.
kubectl:
	apt-get update -qq && apt-get install -y -qq --no-install-recommends kubernetes-client >/dev/null

images: ## Makes the example images' root file systems: target/images/*.tar
	@images/build.sh

demo: deps-demo all images ## Runs compose-examples/counter and visits on this machine
	@compose-examples/demo.sh

test: deps-test images check unit e2e ## All that `.ci/run` runs

check: ## Format and lints
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --all-features --locked -- -D warnings

unit: ## Tests of single layers
	$(CARGO) test --workspace --exclude orc --all-features --locked

e2e: deps-test images ## Tests of the whole program, as root
	$(CARGO) test -p orc --locked

corpus: deps-test images ## All hostile archives through all readers, and all mutated ones through three
	CORPUS=all $(CARGO) test -p orc-image --lib --locked unpack:: -- --include-ignored
	CORPUS=all $(CARGO) test -p orc --test orc --locked e2e::hostile

# Which seeds: a thousand from the first on. One alone: `SIM_SEED=n cargo test -p orc-store --lib sim::seeds`.
SIM_SEEDS ?= 1000
SIM_FIRST ?= 1

sim: ## The cluster's store under faults, in simulated time, from a thousand seeds
	SIM_SEEDS=$(SIM_SEEDS) SIM_FIRST=$(SIM_FIRST) $(CARGO) test -p orc-store --lib --profile ci --locked sim::seeds -- --nocapture

# How long each target runs, and which. Wants the nightly toolchain and `cargo install cargo-fuzz --locked`.
FUZZ_SECONDS ?= 300
FUZZ_TARGETS ?= tar pax manifest config reference dockerfile ignore words compose
DOCKERFILES = src/image/testdata/dockerfile/plans src/image/testdata/dockerfile/instructions

fuzz: ## Each reader of foreign text and bytes under libFuzzer; docs/fuzzing.md says what came of it
	$(call install,$(FUZZ_PACKAGES))
	$(CARGO) run --quiet --package orc-hostile --bin hostile-seeds --locked -- target/fuzz/seeds/tar tar
	$(CARGO) run --quiet --package orc-hostile --bin hostile-seeds --locked -- target/fuzz/seeds/pax pax
	@mkdir -p target/fuzz/seeds/compose; awk '/^=== /{close(file); file=sprintf("target/fuzz/seeds/compose/%04d", ++cases); next} \
		/^>>>/{file=""} file != "" && !/^[$$] /{print > file}' src/compose/testdata/config/*.txt
	@for target in $(FUZZ_TARGETS); do \
		mkdir -p target/fuzz/corpus/$$target target/fuzz/artifacts/$$target; \
		seeds=; for seed in fuzz/seeds/$$target target/fuzz/seeds/$$target; do \
			[ ! -d $$seed ] || seeds="$$seeds $$seed"; \
		done; \
		[ $$target != dockerfile ] || seeds="$$seeds $(DOCKERFILES)"; \
		$(CARGO) +nightly fuzz run --sanitizer none --target-dir target/fuzz $$target \
			target/fuzz/corpus/$$target $$seeds -- -max_total_time=$(FUZZ_SECONDS) -rss_limit_mb=2048 \
			-artifact_prefix=target/fuzz/artifacts/$$target/ -print_final_stats=1 || exit 1; \
	done

# Which tests of the whole program run there. It is a machine without hardware: they take ten times as long.
VM_TESTS ?= e2e::confine e2e::network e2e::compose:: e2e::daemon e2e::mounts e2e::attributes e2e::storage

vm: deps-test images all ## The runtime's and the program's tests on Debian's own kernel with cgroup v2 alone, in qemu
	$(call install,kmod qemu-system-x86)
	@tests/vm/tests.sh $(VM_TESTS)

bench: deps-test images ## Prints the measured ratios
	$(CARGO) bench --bench start --bench pull --bench build --bench compose --locked
	$(CARGO) bench -p orc-store --bench store --features fake --profile ci --locked

deny: ## Licences, sources and bans of all dependencies (needs `cargo install cargo-deny`)
	$(CARGO) deny check bans licenses sources

clean:
	$(CARGO) clean
