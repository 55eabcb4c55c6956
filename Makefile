# Two commands matter: `make demo` and `make test`. The logic is in scripts/.

.DEFAULT_GOAL := help
.PHONY: help demo test test-long bench check fmt

help: ## Show this list
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## Build the release binary and watch the whole job live (ARGS=--keep leaves it running)
	@scripts/demo.sh $(ARGS)

test: ## Every check and test; says what it left out and why
	@scripts/test.sh

test-long: ## As `test`, with the long forms of the kill and load tests, and three brokers
	@POSTRIDER_LONG=1 scripts/test.sh

bench: ## Measure throughput, latency, CPU and memory against targets (ARGS='--seconds 30', ARGS=--help)
	@scripts/bench.sh $(ARGS)

check: ## Fast: format, lints, unit tests
	@scripts/check.sh

fmt: ## Format the sources
	@cargo fmt --all
