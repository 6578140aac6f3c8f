# stead: Linux machines, checked in. The targets that people use come first.

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
PREFIX  ?= /usr/local
GO      ?= go
RUN     ?=
BINARY  ?= bin/stead
# On macOS, only signed programs may use Virtualization.framework. The identity "-" is an
# ad-hoc signature, which is enough for your own Mac.
IDENTITY ?= -
ifeq ($(shell uname -s),Darwin)
SIGN := codesign --force --sign "$(IDENTITY)" --entitlements provider/hypervisor/vz/stead.entitlements $(BINARY)
EXEC := -exec $(CURDIR)/.ci/signed
# The oldest macOS that the program supports; the default is that of the Mac that builds it.
export MACOSX_DEPLOYMENT_TARGET := 13.0
else
SIGN := @:
endif
CACHE   := $(CURDIR)/.cache
IMAGES  := $(CACHE)/images
AGENTS  := provider/guest/embedded/bin
ARCHS   := amd64 arm64
LDFLAGS := -s -w -X main.buildVersion=$(VERSION)
LINT    := $(CACHE)/golangci-lint
DARWIN  := $(CACHE)/darwin

.PHONY: build sign test lint bench demo install clean help deps test-deps bench-deps unit vm agents images darwin

help: ## Show this help
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-9s %s\n", $$1, $$2}'

build: agents ## Build bin/stead
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/stead ./cmd/stead
	$(SIGN)

demo: deps build ## Build an image and a machine, and run commands in it
	./examples/quickstart/demo.sh $(IMAGES)

test: test-deps lint unit vm ## Run the linters and every test

bench: bench-deps build images ## Measure stead beside machines made by hand
	STEAD_BENCH=1 STEAD_TEST_IMAGES=$(IMAGES) $(GO) test -count=1 -run TestBench$(RUN) -v -timeout 90m -p 1 ./cmd/stead ./provider/local

install: build ## Install to $(PREFIX)/bin (signed, on macOS)
	install -d $(DESTDIR)$(PREFIX)/bin
	install -m 0755 bin/stead $(DESTDIR)$(PREFIX)/bin/stead

clean: ## Remove build results; machines stay
	rm -rf bin $(CACHE) $(AGENTS)/stead-agent-*

# Parts of the targets above.

sign:
	$(SIGN)

agents: $(ARCHS:%=agent-%)

agent-%:
	CGO_ENABLED=0 GOOS=linux GOARCH=$* $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(CACHE)/stead-agent-$* ./cmd/stead-agent
	gzip -9 -n -c $(CACHE)/stead-agent-$* >$(AGENTS)/stead-agent-linux-$*.gz

deps:
	@./.ci/packages run

test-deps:
	@./.ci/packages test

bench-deps:
	@./.ci/packages bench

images: $(IMAGES)/debian-systemd/index.json $(IMAGES)/small/index.json $(IMAGES)/arm64/index.json

$(IMAGES)/debian-systemd/index.json: examples/images/debian-systemd.sh examples/images/common.sh
	./examples/images/debian-systemd.sh $(IMAGES)/debian-systemd

$(IMAGES)/small/index.json: examples/images/small.sh examples/images/common.sh
	./examples/images/small.sh $(IMAGES)/small

$(IMAGES)/arm64/index.json: examples/images/arm64.sh examples/images/common.sh
	./examples/images/arm64.sh $(IMAGES)/arm64

$(LINT): .ci/tools/go.mod
	cd .ci/tools && $(GO) build -o $@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint

lint: $(LINT) agents darwin
	$(LINT) run ./... ./.ci/darwin/... ./.ci/workflows

# Every check of the macOS code that needs no Mac: see CONTRIBUTING.md.
STUBBED := GOWORK=$(DARWIN)/go.work GOOS=darwin CGO_ENABLED=0
darwin: $(LINT) agents
	$(GO) run ./.ci/darwin/typecheck ./...
	$(GO) run ./.ci/darwin/stub $(DARWIN)
	$(STUBBED) GOARCH=arm64 $(GO) vet ./...
	$(STUBBED) GOARCH=amd64 $(GO) vet ./...
	$(STUBBED) GOARCH=arm64 $(LINT) run ./...
	$(STUBBED) GOARCH=amd64 $(LINT) run ./provider/hypervisor/vz
	$(STUBBED) GOARCH=arm64 $(GO) build -o $(DARWIN)/stead-arm64 ./cmd/stead
	$(STUBBED) GOARCH=amd64 $(GO) build -o $(DARWIN)/stead-amd64 ./cmd/stead
	$(GO) test -count=1 ./.ci/darwin

unit: agents
	$(GO) test -race -timeout 15m $(EXEC) ./... ./.ci/workflows

vm: agents images
	STEAD_TEST_VM=1 STEAD_TEST_IMAGES=$(IMAGES) $(GO) test -count=1 -timeout 30m -parallel 2 -run TestMachines/$(RUN) ./cmd/stead
	[ -n "$(RUN)" ] || STEAD_TEST_VM=1 STEAD_TEST_IMAGES=$(IMAGES) $(GO) test -count=1 -timeout 10m -run 'Translat' ./provider/local
