# Targets with a "##" line are shown by plain "make".

GO        ?= go
TEST      ?= ./...
# Three packages at a time on two cores: each waits for PostgreSQL now and then. What runs within one decides for itself (t.Parallel).
# SQLite, which is C translated to Go, is left out of the race detector: a third of the time was its. The driver around it is not: it has generic
# types of the standard library's (sync.Map), which the linker would take from there for everybody, and races would be reported that are none.
TESTFLAGS ?= -race '-gcflags=modernc.org/sqlite/lib=-race=false' -timeout 15m
LEAK_PAIRS ?= 10000
# What measures times runs alone.
TIMED      = 'TestTimes|TestALeakInTime'
# Thousands of the same, which other tests do a few times under the race detector.
MANY       = 'TestOfAThousand(Uses|Redemptions)|TestAPump$$'
PACKAGES   = $(shell $(GO) list $(TEST))
# What keeps nothing in memory from one call to the next, and so has nothing to race for: of two calls at once the database decides, and that
# is tested the same without the race detector, in a third of the time. What oidc and guard keep, the server's tests use at once with it.
CALM       = $(foreach p,account profile protect recovery registration seconddoor passkey totp backup onetime notice message transfer arch oidc guard,%/internal/$(p)) \
             %/internal/password/foreign %/internal/web/pages %/cmd/countersign %/test/story
ALONE      = %/test/browser %/test/leak %/test/fault
WITH       = TMPDIR=$$(scripts/roomy-tmp) scripts/with-postgres
TOOL       = $(GO) tool -modfile=tools/go.mod

.DEFAULT_GOAL := help
.PHONY: help build test fault check lint fmt generate bench leak cover demo vuln clean

help:
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## the binary: bin/countersign, static
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-s -w" -o bin/ ./cmd/countersign

# The browser's and the leaks' tests take one step after another, and those of faults kill a server that is built without it: the race detector finds
# nothing in them, and makes them four times as long. Those of faults wait for most of their time, so all three run at once.
test: ## all tests, on SQLite and PostgreSQL, with the race detector where several things happen at once (installs what they need)
	scripts/install-test-tools
	$(WITH) $(GO) test -p 3 $(TESTFLAGS) -skip $(MANY) $(filter-out $(CALM) $(ALONE),$(PACKAGES))
	$(WITH) $(GO) test -timeout 15m -skip $(MANY) $(filter $(CALM),$(PACKAGES))
	$(WITH) $(GO) test -p 3 -timeout 25m -skip $(TIMED) ./test/browser ./test/leak ./test/fault
	$(WITH) $(GO) test -timeout 15m -run $(MANY) ./internal/signin ./internal/oidc ./internal/server
	$(WITH) $(GO) test -timeout 15m -run $(TIMED) ./test/leak

fault: ## kill the server 100 times under load, on each database, and see that nothing is lost (five minutes)
	FAULT_ROUNDS=100 scripts/with-postgres $(GO) test -count=1 -timeout 30m -run Kills -v ./test/fault

check: lint generated test ## what CI runs

lint: ## format and style
	$(TOOL) golangci-lint fmt --diff
	$(TOOL) golangci-lint run ./...

fmt: ## write the format
	$(TOOL) golangci-lint fmt

.PHONY: generated
generated:
	scripts/check-generated

generate: ## write the generated files and go.mod anew
	$(GO) generate ./...
	$(GO) mod tidy

# BENCH=--quick takes two minutes; the first full run takes some more to fill a database.
bench: ## speed, as ratios of this machine's own ceilings (BENCH=--quick)
	$(GO) run ./bench $(BENCH)

# One process and no race detector: nothing else should run on the machine. docs/leak.md has the numbers.
leak: ## times of known against unknown names, 10,000 pairs a step (20 minutes)
	LEAK_PAIRS=$(LEAK_PAIRS) $(WITH) $(GO) test -count=1 -timeout 60m -v -run $(TIMED) ./test/leak

cover: ## which lines the tests reach: bin/cover.html
	@mkdir -p bin
	scripts/with-postgres $(GO) test -coverpkg=./internal/...,./cmd/... -coverprofile=bin/cover.out $(TEST)
	$(GO) tool cover -html=bin/cover.out -o bin/cover.html
	$(GO) tool cover -func=bin/cover.out | tail -n 1

demo: build ## a server to try, with people in it, that forgets everything
	bin/countersign demo

vuln: ## known faults in what we use (asks vuln.go.dev)
	$(TOOL) govulncheck ./...

clean: ## remove what was built
	rm -rf bin test/browser/node_modules test/smsc/node_modules test/oidc/node_modules clients/js/node_modules examples/express/node_modules
