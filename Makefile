# SallieFS. `make` or `make help` says what there is.

PREFIX  ?= /usr/local
# mount(8) looks for its helpers in /sbin only; a private PREFIX gets a private one.
SBINDIR ?= $(if $(filter /usr /usr/local,$(PREFIX)),/sbin,$(PREFIX)/sbin)
DESTDIR ?=
GO      ?= go

BIN      := bin/salliefs
DEMO     := demo
STATIC   := honnef.co/go/tools/cmd/staticcheck@v0.8.2
FUZZTIME ?= 1m
STRESS   ?= 5m
CUTS     ?= 10000
KILLS    ?= 200
BITS     ?= 1000000
VERSION  := $(shell git describe --tags --always --dirty 2>/dev/null)
LDFLAGS  := $(if $(VERSION),-X main.release=$(VERSION))

# What the integration tests drive, as program:package of Debian. Only fuse3 is needed to mount;
# tests of programs that are missing are skipped by name.
TOOLS := rsync:rsync fio:fio sqlite3:sqlite3 setfattr:attr setfacl:acl git:git strace:strace \
         mkfs.ext4:e2fsprogs unshare:util-linux

# Packages whose tests mount take turns: a mount namespace that one makes would hold the mounts of another.
WITH_MOUNT    := ./fs/fuse ./cmd/salliefs
WITHOUT_MOUNT  = $$($(GO) list ./... | grep -vE '^salliefs/(integration|fs/fuse|cmd/salliefs)$$')

.DEFAULT_GOAL := help
.PHONY: help all build run stop demo test test-unit test-integration test-long crash kill stress race lint fmt bench million fuzz bits \
        install uninstall clean fuse3 tools

help: ## say what can be made
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

all: build

build: $(BIN) ## build bin/salliefs

# Go knows best what is out of date.
.PHONY: $(BIN)
$(BIN):
	@mkdir -p bin
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN) ./cmd/salliefs

run: fuse3 $(BIN) ## make a demo store under ./demo, mount it, write and show some keys
	@sh integration/demo.sh $(BIN) $(DEMO)

stop: ## unmount the demo store
	@if grep -q " $(CURDIR)/$(DEMO)/mnt fuse.salliefs " /proc/mounts; then $(BIN) umount $(DEMO)/mnt && echo "unmounted, and everything is durable"; \
	else echo "the demo store is not mounted"; fi

# Both halves run even if the first fails, and the last lines are go test's own.
test: tools ## run all tests (about 10 minutes)
	@rc=0; \
	$(MAKE) --no-print-directory test-unit || rc=1; \
	$(MAKE) --no-print-directory test-integration || rc=1; \
	exit $$rc

test-unit: ## run the tests of the packages
	$(GO) vet ./...
	@rc=0; set -x; \
	$(GO) test -timeout 15m $(WITHOUT_MOUNT) || rc=1; \
	$(GO) test -p 1 -timeout 15m $(WITH_MOUNT) || rc=1; \
	exit $$rc

test-integration: fuse3 ## run the tests of a mounted store, by name
	$(GO) test -count=1 -v -timeout 25m ./integration 2>&1 | grep -v '^=== '; test $${PIPESTATUS[0]} -eq 0

test-long: tools ## run the long share of the integration tests (hours)
	SALLIEFS_TEST_LONG=1 $(GO) test -count=1 -v -timeout 12h ./integration

crash: ## cut the power CUTS (10000) times while random operations change a tree; compare with a model (about 5 minutes)
	SALLIEFS_CRASH_CUTS=$(CUTS) $(GO) test -count=1 -v -timeout 2h -run '^TestCrash' ./fs

kill: tools ## kill the daemon KILLS (200) times while programs work in the mount; check all (about 20 minutes; `make test` does 6)
	SALLIEFS_TEST_KILLS=$(KILLS) $(GO) test -count=1 -v -timeout 3h -run '^TestKill$$' ./integration

stress: fuse3 ## change a tree from 8 goroutines, and a mount from 8 processes, for STRESS (5m) each; compare what files hold
	SALLIEFS_STRESS=$(STRESS) $(GO) test -count=1 -v -timeout 24h -run '^TestStress$$' ./fs ./integration

race: tools ## run the tests with the race detector, in the daemon too (needs a C compiler)
	@command -v $${CC:-gcc} >/dev/null || { echo "the race detector needs a C compiler: apt-get install gcc libc6-dev" >&2; exit 1; }
	$(GO) test -race -timeout 30m $(WITHOUT_MOUNT)
	$(GO) test -race -p 1 -timeout 30m $(WITH_MOUNT)
	SALLIEFS_TEST_RACE=1 $(GO) test -count=1 -timeout 60m ./integration

lint: ## gofmt, go vet, staticcheck
	@bad=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$bad" ] || { echo "gofmt has changes for:"; echo "$$bad"; exit 1; }
	$(GO) vet ./...
	$(GO) run $(STATIC) ./...

fmt: ## format the Go files
	gofmt -w $$(git ls-files '*.go')

bench: fuse3 $(BIN) ## compare with other encrypted filesystems (BENCH="gocryptfs securefs salliefs", BENCHFLAGS="-d DIR -n 3")
	SALLIEFS=$(CURDIR)/$(BIN) bash integration/bench/bench.sh $(BENCHFLAGS) $(or $(BENCH),gocryptfs securefs salliefs)

million: fuse3 ## make, list and remove a million files; memory, cost per file, and mounting after a kill
	SALLIEFS_TEST_LONG=1 $(GO) test -count=1 -v -timeout 3h -run 'TestMillionFiles' ./integration

fuzz: ## run every fuzz target for FUZZTIME (1m) each
	@set -e; for pkg in $$($(GO) list ./...); do \
	  for target in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
	    echo "$$pkg $$target"; $(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$pkg; \
	  done; done

bits: ## damage a small store in BITS (1000000) ways and read it; no wrong answer (an hour or more)
	SALLIEFS_TEST_BITS=$(BITS) $(GO) test -count=1 -v -timeout 12h -run '^TestEveryBit$$' ./fs

install: $(BIN) ## install the command, the helper of mount(8) and the completions (PREFIX, DESTDIR)
	install -D -m 755 $(BIN) $(DESTDIR)$(PREFIX)/bin/salliefs
	install -d $(DESTDIR)$(SBINDIR)
	ln -sf $(PREFIX)/bin/salliefs $(DESTDIR)$(SBINDIR)/mount.fuse.salliefs
	install -d $(DESTDIR)$(PREFIX)/share/bash-completion/completions $(DESTDIR)$(PREFIX)/share/zsh/site-functions $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d
	$(BIN) completion bash >$(DESTDIR)$(PREFIX)/share/bash-completion/completions/salliefs
	$(BIN) completion zsh >$(DESTDIR)$(PREFIX)/share/zsh/site-functions/_salliefs
	$(BIN) completion fish >$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/salliefs.fish
	@[ "$(SBINDIR)" = /sbin ] || echo "mount -t fuse.salliefs finds its helper in /sbin only: ln -s $(PREFIX)/bin/salliefs /sbin/mount.fuse.salliefs"

uninstall: ## remove what install put there
	rm -f $(DESTDIR)$(PREFIX)/bin/salliefs $(DESTDIR)$(SBINDIR)/mount.fuse.salliefs \
	  $(DESTDIR)$(PREFIX)/share/bash-completion/completions/salliefs $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_salliefs \
	  $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/salliefs.fish

clean: stop ## remove what was built, and the demo store
	rm -rf bin $(DEMO)

# Mounting needs fusermount3 for ordinary users, which reads /etc/mtab; the barest of containers have neither.
fuse3:
	@[ -e /etc/mtab ] || [ "$$(id -u)" != 0 ] || ln -s /proc/self/mounts /etc/mtab; \
	command -v fusermount3 >/dev/null && exit 0; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends fuse3 >/dev/null; \
	else echo "fusermount3 is missing: sudo apt-get install fuse3 (or your system's package of FUSE 3)" >&2; exit 1; fi

tools: fuse3
	@missing=; for pair in $(TOOLS); do command -v $${pair%%:*} >/dev/null || missing="$$missing $${pair##*:}"; done; \
	[ -n "$$missing" ] || exit 0; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	else echo "not installed, so that some tests will be skipped:$$missing" >&2; fi

SHELL := /bin/bash
