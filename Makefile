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
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

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
	$(GO) vet -tags mutants ./...
	$(STATICCHECK) ./...
	$(GO) mod tidy -diff

# -short leaves out what only searches more of the same: the largest scope of
# the exhaustive search and most seeds of the simulator. The race detector makes
# those many times slower, and single-threaded searches have no races.
.PHONY: race
race: ## run the tests under the race detector, long searches left out
	$(GO) test -race -short -timeout=25m ./...

.PHONY: sim
sim: ## simulate N clusters, from seed SEED on
	$(GO) test ./internal/sim -count=1 -timeout=0 -from=$(SEED) -seeds=$(N)

.PHONY: sabotage
sabotage: ## show that the tests of the checkers in jepsen/ notice weakened ones
	$(GO) test -tags sabotage ./jepsen/check -count=1 -run=Sabotage -v

.PHONY: mutants
mutants: ## plant known bugs, show that each is found, and write docs/mutants.md
	$(GO) run ./internal/mutant/board -doc docs/mutants.md

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

.PHONY: scale
scale: build ## measure many sessions, waiters and watchers on three nodes
	$(GO) run ./internal/scale -prytany bin/prytany

.PHONY: bench-groups
bench-groups: build ## measure a thousand groups on three nodes, and write the table into docs/performance.md
	$(GO) run ./internal/scale/groups -prytany bin/prytany -doc docs/performance.md

.PHONY: failover
failover: build ## measure leader failures with real processes in network namespaces
	$(GO) run ./internal/failover -prytany bin/prytany

# Where runs of `make jepsen` leave their histories and reports.
JEPSEN_OUT  ?= jepsen-out

.PHONY: jepsen
jepsen: build ## break real clusters for five minutes while clients work, and check what they were told
	bin/prytany-jepsen run --prytany bin/prytany --out $(JEPSEN_OUT) --seed $(SEED) --runs 3 --time 75s --keep-going
	bin/prytany-jepsen run --prytany bin/prytany --out $(JEPSEN_OUT)/control --seed $(SEED) --time 30s --nemesis pause-client --workload lock-unfenced,register --must-lose

.PHONY: jepsen-ci
jepsen-ci: build ## the same for less than four minutes, with nothing left out
	REQUIRE_NETNS=1 bin/prytany-jepsen run --prytany bin/prytany --out $(JEPSEN_OUT) --seed $(SEED) --runs 3 --time 40s
	REQUIRE_NETNS=1 bin/prytany-jepsen run --prytany bin/prytany --out $(JEPSEN_OUT)/control --seed $(SEED) --time 25s --nemesis pause-client --workload lock-unfenced,register --must-lose

.PHONY: demo
demo: build ## start three nodes, take a lock, stop
	.ci/demo

.PHONY: groups-demo
groups-demo: build ## grow a cluster to five nodes, use many groups, replace, move, remove
	.ci/groups-demo

.PHONY: clean
clean: ## remove what was built
	rm -rf bin
