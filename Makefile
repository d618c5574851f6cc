# Prytany. `make help` lists the targets.

GO          ?= go
# Pinned: another version finds other things.
STATICCHECK ?= $(GO) run honnef.co/go/tools/cmd/staticcheck@v0.8.2
VERSION     ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
# For `make sim`: the first seed and how many.
SEED        ?= 1
N           ?= 500
# For `make crash-states`: how many scripts for each kind of log, from seed SEED on.
SCRIPTS     ?= 2
# Where campaigns note what they have run.
LEDGER      ?= $(CURDIR)/docs/evidence-campaigns.ndjson
# For `make stalls`: the packages.
PKG         ?= ./...
# For `make fuzz`: how long each target runs.
FUZZTIME    ?= 20s
# For `make fuzz-campaign`: how long all of them together run.
FUZZCAMPAIGN ?= 60m

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
	$(GO) test -timeout=25m ./...

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
# those many times slower, and single-threaded searches have no races. So of the
# simulator, which has one goroutine for all nodes, it sees only as much as would
# show what two clusters in one process share.
# Every program of it would sleep for a second at its end, in case another goroutine
# has a race to report, and the scripts of cmd/prytany start hundreds.
.PHONY: race
race: export GORACE = atexit_sleep_ms=100
race: ## run the tests under the race detector, long searches left out
	$(GO) test -race -short -timeout=25m $$($(GO) list ./... | grep -v '/internal/sim$$')
	$(GO) test -race -short -timeout=25m -run='TestSeeds$$|TestRegressions/a_renewal|TestLostDisks' ./internal/sim

# Not everything stands it: tests that judge one deadline by another fail now and then.
.PHONY: stalls
stalls: ## run the tests of PKG under a Go runtime whose threads stand still now and then
	$(GO) run ./internal/stalls -short -count=1 -timeout=60m $(PKG)

.PHONY: sim
sim: ## simulate N clusters, from seed SEED on
	$(GO) test ./internal/sim -count=1 -timeout=0 -from=$(SEED) -seeds=$(N)

.PHONY: crash-states
crash-states: ## try all states that crashes may leave of data directories, by SCRIPTS scripts from seed SEED on
	REQUIRE_FUSE=1 $(GO) test ./internal/storage/crashstates -count=1 -timeout=0 -v -run=TestCrashStates -from=$(SEED) -seeds=$(SCRIPTS) -ledger=$(LEDGER)

.PHONY: sim-long
sim-long: ## simulate N clusters for ten minutes of their time each, from seed SEED on
	$(GO) test ./internal/sim -run TestSeeds -v -count=1 -timeout=0 -long -from=$(SEED) -seeds=$(N) -ledger=$(LEDGER)

.PHONY: sabotage
sabotage: ## show that the tests of the checkers in jepsen/ notice weakened ones
	$(GO) test -tags sabotage ./jepsen/check -count=1 -run=Sabotage -v

.PHONY: mutants
mutants: ## plant known bugs, show that each is found, and write docs/mutants.md
	$(GO) run ./internal/mutant/board -doc docs/mutants.md

.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZTIME
	$(GO) run ./internal/fuzzboard -time $(FUZZTIME)

.PHONY: fuzz-campaign
fuzz-campaign: ## share FUZZCAMPAIGN among all fuzz targets, and add it to the sums in docs
	$(GO) run ./internal/fuzzboard -campaign $(FUZZCAMPAIGN) -ledger docs/evidence-fuzz.json -doc docs/evidence.md

.PHONY: bench
bench: ## run the benchmarks
	$(GO) test -run='^$$' -bench=. -benchmem ./...

.PHONY: scale
scale: build ## measure many sessions, waiters and watchers on three nodes
	$(GO) run ./internal/scale -prytany bin/prytany

.PHONY: bench-groups
bench-groups: build ## measure a thousand groups on three nodes, and write the table into docs/performance.md
	$(GO) run ./internal/scale/groups -prytany bin/prytany -doc docs/performance.md

# The module in bench/ has its own requirements, etcd among them: building it needs a
# module proxy. BENCH passes flags, such as BENCH='-rounds 3 -clients 64'.
BENCH       ?=

.PHONY: bench-peers
bench-peers: ## measure Prytany and etcd side by side, and write the table into docs/performance.md
	cd bench && $(GO) run . -doc ../docs/performance.md -json peers.json $(BENCH)

.PHONY: bench-check
bench-check: ## go vet, staticcheck and the tests of bench/; builds etcd
	cd bench && $(GO) vet ./... && $(STATICCHECK) ./... && $(GO) mod tidy -diff && $(GO) test ./...

# For `make bench-compare`: the commit to compare with, and what to run.
BASE        ?= HEAD~1
WHAT        ?= .

.PHONY: bench-compare
bench-compare: ## compare the micro-benchmarks WHAT with those of commit BASE, by benchstat
	bench/compare $(BASE) '$(WHAT)'

.PHONY: failover
failover: build ## measure leader failures with real processes in network namespaces
	$(GO) run ./internal/failover -prytany bin/prytany

# For `make soak`: how long, and further flags, such as SOAK='-parts slow -slow 10000'.
SOAKTIME    ?= 10m
SOAK        ?=

.PHONY: soak
soak: build ## work on five nodes for SOAKTIME under mild faults, then overload three, and judge what is left
	$(GO) run ./internal/soak -prytany bin/prytany -for $(SOAKTIME) $(SOAK)

# Where runs of `make jepsen` leave their histories and reports, and the binary that
# they test: as released, but for clocks that can be broken.
JEPSEN_OUT  ?= jepsen-out
JEPSEN_RUN  = bin/prytany-jepsen run --prytany $(JEPSEN_OUT)/prytany --seed $(SEED)

.PHONY: jepsen-build
jepsen-build: build
	@mkdir -p $(JEPSEN_OUT)
	CGO_ENABLED=0 $(GO) build -trimpath -tags clockfault -ldflags '-s -w -X main.version=$(VERSION)' -o $(JEPSEN_OUT)/prytany ./cmd/prytany

.PHONY: jepsen
jepsen: jepsen-build ## break real clusters for five minutes while clients work, and check what they were told
	$(JEPSEN_RUN) --out $(JEPSEN_OUT) --runs 3 --time 75s --keep-going
	$(JEPSEN_RUN) --out $(JEPSEN_OUT)/control --time 30s --nemesis pause-client --workload lock-unfenced,register --must-lose

.PHONY: jepsen-ci
jepsen-ci: jepsen-build ## the same for less than four minutes, where networks must be had
	REQUIRE_NETNS=1 $(JEPSEN_RUN) --out $(JEPSEN_OUT) --runs 3 --time 40s
	REQUIRE_NETNS=1 $(JEPSEN_RUN) --out $(JEPSEN_OUT)/control --time 25s --nemesis pause-client --workload lock-unfenced,register --must-lose

.PHONY: jepsen-campaign
jepsen-campaign: jepsen-build ## N runs of 14 s, all kinds of faults in turn from seed SEED on, summed up with those made before
	@code=0; REQUIRE_NETNS=1 $(JEPSEN_RUN) --out $(JEPSEN_OUT)/campaign --runs $(N) --time 14s --keep-going --discard || code=$$?; \
		bin/prytany-jepsen sum --ledger $(LEDGER) $(JEPSEN_OUT)/campaign || code=$$?; exit $$code

.PHONY: demo
demo: build ## start three nodes, take a lock, stop
	.ci/demo

.PHONY: groups-demo
groups-demo: build ## grow a cluster to five nodes, use many groups, replace, move, remove
	.ci/groups-demo

.PHONY: clean
clean: ## remove what was built
	rm -rf bin
