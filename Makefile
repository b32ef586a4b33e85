# The commands that stay stable; each is described in README.md.
SHELL := /bin/bash
PREFIX ?= /usr/local
DESTDIR ?=
RUN_DIR ?= .run
SWIFT_FLAGS := -c release --static-swift-stdlib --explicit-target-dependency-import-check error
export RUN_DIR HTTPS_PORT HTTP_PORT MODELS_DIR MODEL DETACH CONFIG

.PHONY: run stop test bench build deps lint install clean

deps:
	@scripts/deps.sh

build: deps
	@scripts/build-cuda.sh
	swift build $(SWIFT_FLAGS)

run: build
	@scripts/run.sh

stop:
	@scripts/stop.sh

test: deps
	@scripts/build-cuda.sh
	@scripts/test.sh

bench: build
	@scripts/bench.sh

lint: deps
	@scripts/lint.sh

install: build
	@scripts/install.sh "$(DESTDIR)" "$(PREFIX)"

clean:
	rm -rf .build .build-tests
