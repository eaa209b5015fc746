# The two commands that matter: `make demo` and `make test`. Both set up what
# they need (root, apt and Go are enough) and may be repeated at any time.

SHELL := bash
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
export CGO_ENABLED = 0
GOBUILD = go build -trimpath -buildvcs=false -ldflags '-s -w -X main.version=$(VERSION)'

.DEFAULT_GOAL := help

.PHONY: demo
demo: ## Install on this machine, next to another Matrix server, and show a conversation (HOMESERVER=synapse)
	@started=$$(date +%s) && $(MAKE) --no-print-directory setup images build && \
	bin/demo -appliance bin/appliance -homeserver "$(HOMESERVER)" $(if $(REPLICAS),-replicas $(REPLICAS)) -started $$started up

.PHONY: demo-down
demo-down: build ## Remove everything that make demo made
	@bin/demo -appliance bin/appliance down

.PHONY: test
test: setup images ## Run all tests, also those against real servers
	@compose/stage/test.sh

.PHONY: test-swarm
test-swarm: setup images ## Let three Docker Engines form a Swarm, and break it while people talk
	APPLIANCE_TEST_SWARM=1 APPLIANCE_MUST_RUN=TestSwarm go test -v -count=1 -timeout 30m -run '^TestSwarm$$' ./provision/swarm

.PHONY: simulate
simulate: setup images ## Measure what 1, 2 and 4 bridge processes carry (PEOPLE=5000 ROOMS=1000 MESSAGES=6000 RATE=20)
	@APPLIANCE_SIMULATE_PEOPLE=$(PEOPLE) APPLIANCE_SIMULATE_ROOMS=$(ROOMS) APPLIANCE_SIMULATE_MESSAGES=$(MESSAGES) APPLIANCE_SIMULATE_RATE=$(RATE) compose/stage/simulate.sh

.PHONY: test-real
test-real: setup images ## Run the suites on the Rocket.Chat that ROCKETCHAT_URL names, which they empty (else on rocketsim)
	@compose/stage/real.sh

.PHONY: test-homeservers
test-homeservers: setup images ## Run all tests of the bridge with a real Dendrite and a real Synapse (make test runs a selection)
	@compose/stage/homeservers.sh

.PHONY: test-kubernetes
test-kubernetes: setup images ## Check the Helm chart with Helm and a real API server, then run its pods on three kubelets and break those
	@compose/stage/kubernetes.sh

.PHONY: life
life: setup images build ## Install on a fresh Debian, reboot, back up, lose the host, restore on another, remove
	@compose/stage/life.sh

# Four packages at a time: they wait more than they work.
.PHONY: unit
unit: ## Run the tests that need nothing but Go
	go test -p 4 ./...

.PHONY: race
race: ## Run the same tests under the race detector (needs a C compiler), which leaves out SQLite: see docs/testing.md
	CGO_ENABLED=1 go test -race -gcflags=modernc.org/sqlite/lib=-race=false ./...

.PHONY: check
check: lint test reproducible ## What CI runs

.PHONY: build
build: ## Build the programs into bin/
	@$(GOBUILD) -o bin/ ./cmd/...

.PHONY: release
release: ## Make everything that is published, in dist/ (VERSION=v1.2.3 KEY=FILE, see docs/release.md)
	@VERSION="$(VERSION)" KEY="$(KEY)" PUBLIC_KEY="$(PUBLIC_KEY)" NEXT_KEY="$(NEXT_KEY)" RELEASE_URL="$(RELEASE_URL)" compose/stage/release.sh

.PHONY: setup
setup: ## Install what is missing: Docker Engine, Compose, tools of the local images
	@compose/stage/setup.sh

.PHONY: images
images: ## Pull the images of the stack, or build them where no registry answers
	@compose/stage/images.sh

.PHONY: bench
bench: $(if $(OTHER),$(if $(PARTS),setup images),setup images) ## Measure, and write one table: dist/bench.md, dist/bench.json (PARTS="rooms dendrite ..." OTHER="ROOM ROOM")
	@PARTS="$(PARTS)" compose/stage/bench.sh

.PHONY: chaos
chaos: demo ## Break things under load in the demo, and compare both sides at the end (SEED=1 FOR=10m ROOMS=50 REPLICAS=2 DOCKER=1)
	@bin/demo $(if $(SEED),-seed $(SEED)) -for $(or $(FOR),2m) -rooms $(or $(ROOMS),50) $(if $(DOCKER),-docker) chaos

.PHONY: lint
lint: ## Check the source without running it: formatting, go.mod, go vet, golangci-lint, dead code
	@compose/stage/lint.sh

.PHONY: golden
golden: ## Rewrite the golden files; read the diff before committing
	APPLIANCE_TEST_FULL=1 UPDATE_GOLDEN=1 go test ./...

.PHONY: fuzz
fuzz: ## Fuzz every target for FUZZTIME (default 30s)
	@for p in $$(go list ./...); do \
		for f in $$(go test -list '^Fuzz' $$p | grep '^Fuzz'); do \
			go test -run='^$$' -fuzz="^$$f$$" -fuzztime=$(or $(FUZZTIME),30s) $$p || exit 1; \
		done; \
	done

.PHONY: crash
crash: ## Let the bridge die at each write of a conversation with every kind of event, and compare both sides
	APPLIANCE_TEST_CRASH=all go test -v -count=1 -timeout 60m -run '^TestTheBridgeMayDieAtAnyWrite$$' ./bridge

.PHONY: soak
soak: ## Talk through the bridge for a long time, and check that it uses no more resources than at first (FOR=2h)
	APPLIANCE_SOAK_FOR=$(or $(FOR),2h) go test -v -count=1 -timeout 24h -run '^TestSoak$$' ./bridge

.PHONY: reproducible
reproducible: ## Build everything that is published twice, from different directories, and compare
	@compose/stage/reproducible.sh

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
