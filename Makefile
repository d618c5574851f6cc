# Prytany. `make help` lists the targets.

GO          ?= go
# Pinned: another version finds other things.
STATICCHECK ?= $(GO) run honnef.co/go/tools/cmd/staticcheck@v0.8.2
VERSION     ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
# For `make sim`: the first seed and how many.
SEED        ?= 1
N           ?= 500
# For `make fuzz`: how long each target runs.
FUZZTIME    ?= 20s

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## build static binaries into bin/
	@mkdir -p bin
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o bin/ ./cmd/...

.PHONY: test
test: ## run all tests
	$(GO) test ./...

.PHONY: check
check: ## gofmt, go vet, staticcheck, go mod tidy -diff
	@unformatted=$$(gofmt -l .) || exit 1; \
		if [ -n "$$unformatted" ]; then echo "not formatted:"; echo "$$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(STATICCHECK) ./...
	$(GO) mod tidy -diff

# -short leaves out what only searches more of the same: the largest scope of
# the exhaustive search and most seeds of the simulator. The race detector makes
# those many times slower, and single-threaded searches have no races.
.PHONY: race
race: ## run the tests under the race detector, long searches left out
	$(GO) test -race -short ./...

.PHONY: sim
sim: ## simulate N clusters, from seed SEED on
	$(GO) test ./internal/sim -count=1 -timeout=0 -from=$(SEED) -seeds=$(N)

.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZTIME
	@set -e; for file in $$(grep -rl --include='*_test.go' '^func Fuzz' .); do \
		for target in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\).*/\1/p' $$file); do \
			echo "$$(dirname $$file) $$target"; \
			$(GO) test $$(dirname $$file) -run='^$$' -fuzz="^$$target\$$" -fuzztime=$(FUZZTIME); \
		done; \
	done

.PHONY: bench
bench: ## run the benchmarks
	$(GO) test -run='^$$' -bench=. -benchmem ./...

.PHONY: demo
demo: build ## start three nodes, take a lock, stop
	.ci/demo

.PHONY: clean
clean: ## remove what was built
	rm -rf bin
