# make run, make test: all that a newcomer needs. make help lists the rest.
GO      ?= go
BIN     ?= bin
SHARED  ?= ../shared
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -X github.com/waybill-network/waybill/node/telemetry.version=$(VERSION)
export GOFLAGS += -buildvcs=false

.DEFAULT_GOAL := help
.PHONY: help run test race bench generate lint vulncheck latest build install release dist package packaged fuzz vectors outsider crash keep signer seats doors route faults thieves browser site sdk matrix variants emulate peers circuits lies simulate rotate join virtual prove solidity

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: build ## the main job: five nodes deliver files to clients (of LOG=file, gzip too), one is killed; settled, reconciled and verified (SEATS=16: eight nodes share so many seats, and hand over three times)
	$(BIN)/waybill devnet --job $(if $(LOG),--log $(LOG)) $(if $(REQUESTS),--requests $(REQUESTS)) $(if $(SEATS),--nodes 8 --serving 5 --seats $(SEATS))

test: ## every test that needs nothing but Go
	$(GO) test -timeout 9m ./...

# TestRotate's epochs are seconds of real time, which a loaded machine does not keep under the detector;
# make test and make rotate run it without.
race: ## the concurrent rooms under the race detector
	$(GO) test -race -timeout 20m -skip '^TestRotate$$' ./pipeline/... ./node/...

OUT ?= $(BIN)/bench
bench: ## measured ratios and OUT/report.html (BENCH=name for one suite, QUICK=1; BENCH=network loads a network of NODES=8 processes, BENCH=delivery compares with nginx for CLIENTS=64); against blst too where a C compiler is, with gas after make solidity
	@args="$(if $(QUICK),--quick) --out $(abspath $(OUT)) $(if $(wildcard $(BIN)/gas.json),--gas $(abspath $(BIN))/gas.json) $(BENCH)"; \
	if [ -n "$(filter network delivery,$(BENCH))" ]; \
	then $(MAKE) build && $(BIN)/waybill bench $(if $(NODES),--nodes $(NODES)) $(if $(CLIENTS),--clients $(CLIENTS)) $$args; \
	elif [ "$$($(GO) env CGO_ENABLED)" = 1 ] && command -v $$($(GO) env CC) >/dev/null; \
	then $(GO) build -C bench/peers -ldflags "-X main.version=$(VERSION)" -o $(abspath $(BIN))/peers . && $(BIN)/peers $$args; \
	else $(MAKE) build && $(BIN)/waybill bench $$args; fi

peers: ## this program and blst on the same valid, invalid and malformed batches; needs a C compiler
	cd bench/peers && $(GO) vet ./... && $(GO) test -count=1 -timeout 5m ./...

circuits: ## constraints of every circuit against the golden file (WRITE=1 writes it)
	WAYBILL_CIRCUITS=$(if $(WRITE),write,check) $(GO) test -count=1 -timeout 20m -run 'Circuits' ./proofs/circuit

LIES ?= 5000
lies: ## LIES windows (default 5000) that lie in one thing, as many disturbed at random: one verdict on rungs 2 and 3
	WAYBILL_LIES=$(LIES) WAYBILL_WINDOWS=$(LIES) $(GO) test -count=1 -v -timeout 60m -run 'LyingWindows|DisturbedWindows' ./proofs/circuit

EPOCHS ?= 20000
simulate: ## the committee's rotation under attack, EPOCHS (default 20000) of each; a table, bin/simulate/report.html; then the ledger's
	$(GO) run ./internal/simulate -epochs $(EPOCHS) -out $(abspath $(BIN))/simulate
	$(GO) test -count=1 -run 'TestManyEpochs$$' ./rollup/ledger -histories 10

TERMS ?= 20
KILLS ?= 24
rotate: ## six nodes that share sixteen seats through TERMS (default 20) hand-overs, members stopped and started around them; KILLS (default 24) members killed before and after Commit of the blocks around a hand-over; two who withhold what they should propose
	REQUIRE_ROTATE=1 WAYBILL_ROTATE_TERMS=$(TERMS) WAYBILL_ROTATE_KILLS=$(KILLS) $(GO) test -count=1 -v -timeout 60m \
	-run '^(TestRotate|TestWithheld|TestKillAtHandOver)$$' ./node/committee

join: ## a seventh node joins six that share sixteen seats, from an empty folder and a snapshot until it has one; what stops it; evidence from before the snapshot
	JOIN=1 $(GO) test -count=1 -v -timeout 20m -run 'TestJoin' ./node/committee ./internal/cli

SEEDS ?= 20
FIRST ?= 1
virtual: ## real nodes in virtual time, on made hosts, disks and network: hand-overs with faults of SEEDS (default 20) seeds (FIRST=n SEEDS=1 LOGS=folder for one; UNTIL=265 makes some 200 hand-overs of each)
	WAYBILL_VIRTUAL_UNTIL=$(UNTIL) WAYBILL_VIRTUAL_SEEDS=$(SEEDS) WAYBILL_VIRTUAL_FIRST=$(FIRST) WAYBILL_VIRTUAL_LOGS=$(if $(LOGS),$(abspath $(LOGS))) \
	$(GO) test -count=1 -v -timeout 48h ./internal/virtual

SIZES ?= 1024
prove: ## a proof of every circuit in SIZES (default 1024), in a child process; what it costs (the first makes a development key)
	WAYBILL_PROVE="$(SIZES)" $(GO) test -count=1 -v -timeout 60m -run 'TestSizes$$' ./proofs/prover

solidity: ## verifier contracts, compiled by solc, on a simulated chain; needs node and npm
	mkdir -p $(BIN) && cd proofs/solidity && npm ci --ignore-scripts --no-fund --no-audit && $(GO) vet ./... && \
	WAYBILL_GAS=$(abspath $(BIN))/gas.json $(GO) test -count=1 -v -timeout 10m ./...

generate: ## everything that is generated, again (needs protoc)
	$(GO) generate ./...

MODULES := . asm bench/peers internal/openapi internal/outsider internal/package proofs/solidity
lint: ## gofmt, go.mod files, vet, staticcheck, govulncheck; assembly is what its generators print
	@files=$$(gofmt -l $$(git ls-files '*.go')); test -z "$$files" || { echo "gofmt would change:"; echo "$$files"; exit 1; }
	@for m in $(MODULES); do \
	  (cd $$m && $(GO) mod tidy -diff) || { echo "$$m: go mod tidy changes go.mod"; exit 1; }; done
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	@GO="$(GO)" .ci/vulncheck
	cd asm && $(GO) vet ./... && $(GO) test -count=1 ./...

vulncheck: ## known vulnerabilities that the program reaches
	@GO="$(GO)" .ci/vulncheck

latest: ## the newest versions of all dependencies into go.mod, to try them
	$(GO) get -u ./... && $(GO) mod tidy

build: ## bin/waybill
	$(GO) build -ldflags '$(LDFLAGS)' -o $(BIN)/waybill ./cmd/waybill

install: ## waybill into GOBIN
	$(GO) install -ldflags '$(LDFLAGS)' ./cmd/waybill

TARGETS ?= linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 freebsd/amd64
release: ## archives of VERSION for TARGETS, and SHA256SUMS, in bin/release: the same bytes for everyone
	$(GO) run ./internal/release -version $(VERSION) -out $(BIN)/release $(TARGETS)

dist: ## go install through a module proxy, and a release built twice (QUICK=1: with one compiler cache)
	WAYBILL_DIST=$(if $(QUICK),quick,full) $(GO) test -count=1 -v -timeout 30m ./internal/release

PACKAGES := $(abspath $(BIN))/package
package: ## Debian packages, a container image and bills of materials of VERSION in bin/package: the same bytes for everyone
	rm -rf $(PACKAGES)
	$(GO) run ./internal/release -version $(VERSION) -out $(PACKAGES)/archives linux/amd64 linux/arm64
	$(GO) run -C internal/package . -version $(VERSION) -archives $(PACKAGES)/archives -source $(CURDIR) -out $(PACKAGES) amd64 arm64

packaged: package ## the packages made again, installed into a bare system, run there as the service does; alert rules; needs root, debootstrap, promtool
	cd internal/package && $(GO) vet ./... && REQUIRE_ROOT=1 REQUIRE_PROMTOOL=1 WAYBILL_PACKAGES=$(PACKAGES) WAYBILL_RELEASE=$(PACKAGES)/archives \
	WAYBILL_VERSION=$(VERSION) $(GO) test -count=1 -v -timeout 15m ./...
	if command -v lintian >/dev/null; then lintian --fail-on error,warning $(PACKAGES)/*.deb; else echo "no lintian here"; fi

FUZZTIME ?= 10s
fuzz: ## every fuzz target for FUZZTIME (default 10s)
	@GO="$(GO)" .ci/fuzz $(FUZZTIME)

vectors: ## published test vectors, inputs that readers get wrong and the real log, from SHARED
	REQUIRE_VECTORS=1 WAYBILL_VECTORS=$(abspath $(SHARED))/vectors $(GO) test -count=1 ./kernels/...
	REQUIRE_CASES=1 WAYBILL_CASES=$(abspath $(SHARED))/cases $(GO) test -count=1 ./bench/workload ./node/keys
	$(MAKE) run LOG=$(abspath $(SHARED))/data/access.log.gz REQUESTS=2000

outsider: build ## the independent verifier against files that this build exports from a committee that rotates, and files that lie
	rm -rf $(BIN)/exports && $(BIN)/waybill devnet --job --requests 2000 --nodes 8 --serving 5 --seats 16 --exports $(BIN)/exports
	rm -rf $(BIN)/lies && WAYBILL_LIES=1000 WAYBILL_LIES_DIR=$(CURDIR)/$(BIN)/lies \
	$(GO) test -count=1 -run TestLyingFiles ./proofs/prooftest
	REQUIRE_OUTSIDER=1 $(GO) test -count=1 -run 'TestLyingNode|TestTwoOffers' ./client
	cd internal/outsider && OUTSIDER_REQUIRE=1 OUTSIDER_FILES=$(CURDIR)/$(BIN)/exports \
	OUTSIDER_LIES=$(CURDIR)/$(BIN)/lies $(GO) test -count=1 ./...

crash: build ## a network of processes: killed under load (ROUNDS times, default 10), flooded, fed bad input
	WAYBILL=$(CURDIR)/$(BIN)/waybill CRASH_ROUNDS=$(or $(ROUNDS),10) $(GO) test -count=1 -v -timeout 30m -skip '^(TestKeep|TestFullDisk|TestRecover|TestSigner|TestSeats)$$' ./internal/crash

keep: build ## homes that are backed up, restored, copied and moved under load, a full disk (as root), a network that goes on as another one; with processes
	WAYBILL=$(CURDIR)/$(BIN)/waybill REQUIRE_WAYBILL=1 $(GO) test -count=1 -v -timeout 10m -run '^(TestKeep|TestFullDisk|TestRecover)$$' ./internal/crash

thieves: ## thieves, payers without money and nodes that fail their clients, on real networks in a process (40 s)
	WAYBILL_THIEVES=1 $(GO) test -count=1 -v -timeout 10m -run '^Test(Thief|PoorPayers|Visits)Live$$' ./node

signer: build ## a member's keys in a signer process that is killed under load, with processes (20 s)
	WAYBILL=$(CURDIR)/$(BIN)/waybill REQUIRE_WAYBILL=1 $(GO) test -count=1 -v -timeout 10m -run '^TestSigner$$' ./internal/crash

seats: build ## members whose seats are dealt anew: keys in a signer that is killed through hand-overs, one that leaves and gets its stake back, with processes (60 s)
	WAYBILL=$(CURDIR)/$(BIN)/waybill REQUIRE_WAYBILL=1 $(GO) test -count=1 -v -timeout 10m -run '^TestSeats$$' ./internal/crash

doors: build ## attack x port against a real node: honest calls, memory; a table (QUICK=1 for the short form)
	WAYBILL=$(CURDIR)/$(BIN)/waybill DOORS=$(if $(QUICK),quick,full) REQUIRE_DOORS=1 REQUIRE_WAYBILL=1 \
	$(GO) test -count=1 -v -timeout 30m -run 'Doors|Attacks' ./internal/crash

route: ## nodes at 5, 40 and 120 ms in network namespaces: the near one, one that vanishes, round trips; needs root (QUICK=1 in short)
	WAYBILL_ROUTE=$(if $(QUICK),quick,full) REQUIRE_NETNS=1 $(GO) test -count=1 -v -timeout 10m \
	-run 'TestNearNode|TestKilledFar|TestRoundTrips' ./node/serve

faults: build ## ten nodes in network namespaces, through ROUNDS (default 1) of hand-overs under partitions, loss, a third cut off, a clone; needs root (QUICK=1 in short; ROUNDS=25 makes some 200 hand-overs)
	WAYBILL=$(CURDIR)/$(BIN)/waybill FAULTS=$(if $(QUICK),quick,full) CRASH_ROUNDS=$(or $(ROUNDS),1) REQUIRE_NETNS=1 REQUIRE_WAYBILL=1 \
	$(GO) test -count=1 -v -timeout 0 -run '^TestFaults$$' ./internal/crash

browser: ## the dashboard in headless Chromium
	REQUIRE_CHROMIUM=1 $(GO) test -count=1 ./node/web/...

site: ## the documentation as a site, in bin/site; a dead link fails
	cd docs/site && npm ci --no-progress --no-audit --no-fund --ignore-scripts && npx vitepress build .

sdk: build ## the client in TypeScript: types, and tests in Node.js, and pages in headless Chromium, against real nodes
	cd sdk/ts && npm ci --no-progress && npm run check && npm test
	WAYBILL=$(CURDIR)/$(BIN)/waybill REQUIRE_SDK=1 REQUIRE_CHROMIUM=1 $(GO) test -count=1 -v ./sdk/...

# What make emulate runs on a CPU that this machine is not: the kernels, and the protocol over them.
EMULATED := ./kernels/cpu/... ./kernels/fp381 ./kernels/blake3 ./kernels/sha256 ./kernels/poseidon2 ./kernels/ed25519 ./rollup
CPU ?= haswell
haswell := amd64 avx2 qemu-x86_64 -cpu Haswell
x86-64  := amd64 generic qemu-x86_64 -cpu qemu64
arm64   := arm64 neon qemu-aarch64
s390x   := s390x generic qemu-s390x

# With QUICK=1, what an emulated CPU is spared: tests that count operations or mix the same faults in
# many ways, or change a file byte by byte and decode its keys anew for each, which the tests on this
# machine's CPU cover. Vectors of doubles are emulated in software: on haswell the arithmetic has its
# tests, and of the curve what shows that the kernels fit together.
SPARED := WorstCase|BatchAttacks|BatchRandomSubsets|BatchAllocations|FewEntries|OneBadIsCheap|WorkIsCounted|EveryByteCounts|BytesMean|BadExports|ProofExport|BadProofs
# Generic code runs the protocol on s390x, and need not on x86-64 as well.
SPARED_haswell := |TestExtension|TestLazyExtension|FuzzField
CURVE_haswell := WideIsogeny|WideClearCofactors|CancellingAggregate|SignVerify
EMULATE = GOARCH=$(word 1,$($(CPU))) CGO_ENABLED=0 REQUIRE_KERNELS=$(word 2,$($(CPU))) $(GO) test -short -timeout 60m \
  -exec '$(wordlist 3,9,$($(CPU)))' $(if $(QUICK),-skip '$(SPARED)$(SPARED_$(CPU))')

emulate: ## kernels and rollup on an emulated CPU: haswell (AVX2), x86-64 (generic), arm64, s390x (big-endian); QUICK=1 in short
	$(EMULATE) $(if $(QUICK),$(filter-out $(if $(filter x86-64,$(CPU)),./rollup),$(EMULATED)),$(EMULATED))
	$(EMULATE) $(if $(QUICK),-run '$(CURVE_$(CPU))') ./kernels/bls

variants: ## builds and short tests of other builds: purego, invariants, GOAMD64=v3, arm64
	$(GO) test -short -tags purego ./kernels/...
	$(GO) test -short -tags invariants ./kernels/fp381 ./kernels/poseidon2
	$(GO) test -short -tags invariants -run Wide ./kernels/bls
	WAYBILL_KERNELS=fp381=avx2 $(GO) test -short -tags invariants -run Wide ./kernels/bls
	GOAMD64=v3 $(GO) test -short ./kernels/... ./rollup/...
	GOARCH=arm64 CGO_ENABLED=0 $(GO) build ./...

matrix: variants ## variants, and every CPU of emulate
	@for cpu in haswell x86-64 arm64 s390x; do $(MAKE) emulate CPU=$$cpu || exit 1; done
