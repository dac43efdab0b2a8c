# Targets with a "##" line are shown by plain "make".

GO        ?= go
TEST      ?= ./...
# A package at a time per core; what runs within it decides for itself (t.Parallel).
TESTFLAGS ?= -race -timeout 15m
TOOL       = $(GO) tool -modfile=tools/go.mod

.DEFAULT_GOAL := help
.PHONY: help build test check lint fmt generate bench cover demo vuln clean

help:
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## the binary: bin/countersign, static
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-s -w" -o bin/ ./cmd/countersign

test: ## all tests, on SQLite and PostgreSQL, with the race detector (installs what they need)
	scripts/install-test-tools
	scripts/with-postgres $(GO) test $(TESTFLAGS) $(TEST)

check: lint generated test ## what CI runs

lint: ## format and style
	$(GO) vet ./...
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

bench: ## benchmarks
	scripts/with-postgres $(GO) test -run '^$$' -bench . -benchmem $(TEST)

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
	rm -rf bin test/browser/node_modules
