# Everything is done by Go and the scripts in .ci; tools are installed into .tools, nothing outside this folder (but see `test`).
# TEST_PKGS and LINT_PKGS narrow the packages: make unit TEST_PKGS=./proto/...

.DEFAULT_GOAL := help
export TEST_PKGS LINT_PKGS TEST_FLAGS FUZZTIME

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' Makefile

.PHONY: test
test: ## everything: lint, generated code, all tests; as root on Debian it installs the packages the tests need
	@.ci/everything.sh

.PHONY: unit
unit: ## the tests alone: race detector on, then those of memory and speed without it
	@.ci/test.sh

.PHONY: lint
lint: ## gofumpt, go vet, staticcheck, buf lint, buf breaking
	@.ci/lint.sh

.PHONY: fmt
fmt: ## format the Go code and the .proto files
	@.ci/fmt.sh

.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME (10s)
	@.ci/fuzz.sh

.PHONY: build
build: ## bin/sluice
	go build -trimpath -o bin/sluice ./cmd/sluice

.PHONY: demo
demo: ## the main job on this machine: simulator, plugin, files in ./sluice-demo
	go run ./cmd/sluice demo

.PHONY: bench
bench: ## throughput, CPU and memory beside curl, pyarrow, DuckDB and Kafka's tool, into bench/RESULTS.md (a quarter of an hour)
	bash bench/run.sh

.PHONY: bench-memory
bench-memory: ## peak memory of each case at 2 and 20 GB, into bench/MEMORY.md (an hour)
	bash bench/run.sh --memory

.PHONY: bench-profiles
bench-profiles: ## where the CPU of each case goes, by perf, into bench/profiles.md
	bash bench/profiles.sh

.PHONY: chaos
chaos: ## hit runs into each exactly-once sink 100 times (ROUNDS) with all that can happen, from SEED on; compare with what was served
	bash bench/chaos.sh

.PHONY: bench-sinks
bench-sinks: ## throughput, CPU and memory of each sink against its real server, into bench/SINKS.md
	bash bench/sinks.sh

.PHONY: soak
soak: ## the tests of memory and speed at full size (SLUICE_SOAK=1)
	@.ci/test.sh soak

.PHONY: mutants
mutants: ## break one rule of the program at a time and require that a named test fails (a quarter of an hour)
	go run ./internal/mutants

.PHONY: tools
tools: ## install the pinned tools into .tools
	@.ci/tools.sh

.PHONY: parts
parts: ## install the servers and readers that tests run against into .tools/parts
	@.ci/parts.sh

.PHONY: generate
generate: ## write the Go code of the .proto files
	@.ci/proto.sh generate

.PHONY: check-generated
check-generated: ## fail when the Go code of the .proto files is stale
	@.ci/proto.sh check

.PHONY: freeze
freeze: ## at a release: make the plugin protocol as it is now the one that may not break
	@.ci/proto.sh freeze

.PHONY: clean
clean: ## remove builds and tools
	rm -rf bin dist .tools
