# What a developer does here. Nothing but Go, a POSIX machine and make is needed to build; `make test`
# installs what else its tests drive (Chromium, npm, xmlsec1, pip) where it may, and says what is missing where not.
#
#   make test       everything: formatting, vet, all tests in real browsers, short fuzzing, -race; about 20 minutes
#                   on two cores. Pages are looked at in the most telling widths, themes and schemes
#   make quick      all tests but those that drive a browser or other people's software (-tags quick)
#   make test-long  everything, pages in every way there is, fuzzing for $(LONG) a target, -race over all tests, and
#                   the tests that take hours (-tags long)
#   make golden     rewrites the golden files of pages; read the diff
#   make bench      Go benchmarks of all packages, briefly, then whole logins on all databases (BENCH are its flags)
#   make lint       golangci-lint, where it is installed
#   make build      one static binary: bin/vestibule
#   make demo       the demonstration on this machine

SHELL       := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := test
.PHONY: backends test quick test-long golden bench lint build demo tools check unit race fuzz

FUZZTIME ?= 2s
LONG     ?= 10m
TIMEOUT  ?= 45m
# Where the runs of one make write how many tests passed, failed and were skipped; .ci/run reads it.
COUNTS   ?= .test/counts
TALLY    := go run .ci/tally.go -counts $(COUNTS)

# What tests start, as command:package. The first command of a line that is there will do.
TOOLS := chromium,chromium-browser,google-chrome-stable,google-chrome:chromium npm:npm redis-server,valkey-server:redis-server xmlsec1:xmlsec1 pip3:python3-pip initdb:postgresql

# What the long tests start besides: Java for Spring, and Rails with OmniAuth, of which Debian's packages are libraries.
test-long: TOOLS += javac:default-jdk-headless mvn:maven $(shell ruby -rrails -raction_controller/railtie -romniauth_openid_connect -romniauth/rails_csrf_protection -e '' 2>/dev/null || \
	echo no-rails:ruby-rails no-rails:ruby-omniauth-openid-connect no-rails:ruby-omniauth-rails-csrf-protection)

# The race detector needs a C compiler and takes three to ten times as long, so it runs without browsers,
# without packages that make RSA keys all day or only read files (RACE_NOT), and in `make test` without the
# tests whose work is done in other processes, which it does not watch, or which compare times or files, or
# ask one thing after the other (RACE_SKIP). What broker, store, flows, delivery and upstream do at once is
# all watched. `make test-long` races the rest.
CCOMPILER := $(shell command -v "$$(go env CC)" || command -v gcc || command -v clang || true)
RACE_NOT  := /internal/(fakeidp|archtest|browsertest)$$|/templatestest$$
RACE_SKIP ?= ^(TestS16KilledAtAnyMoment|TestS16AfterAKill|TestAfterACleanStop|TestKilledBefore|TestTwoNodesAreOneService|TestTheComposeFile|TestServeAndApply|TestTheExamplesApply|TestARunningServiceFollows|TestServeRefuses|TestADirectoryThat|TestS31.*TakesOneTime|TestTheManual|TestDoctor|TestS43TheRecordIsVerified|TestBasicOP|TestConfigOP|TestFormPostOP|TestConformanceOfLogout|TestTheDemonstration|TestTwoDemonstrations|TestADatabaseOfAnother|TestAStartFinds|TestTheCommandTells|TestAProviderOfTheDemonstration|TestABackupThatCannot|TestABackupRestores|TestABackupOfAnOlder|TestARestored|TestEveryTableIsInTheBackup|TestNoStatementScans)
RACE      ?= $(shell go list -tags quick ./... 2>/dev/null | grep -vE '$(RACE_NOT)')

test: tools check
	@mkdir -p $(dir $(COUNTS)); rm -f $(COUNTS)
	@$(MAKE) --no-print-directory unit backends race fuzz
	@$(TALLY) -sum

quick: check
	@go vet -tags quick ./...
	@go test -tags quick -timeout $(TIMEOUT) ./...

test-long: tools check
	@mkdir -p $(dir $(COUNTS)); rm -f $(COUNTS)
	@$(MAKE) --no-print-directory unit TAGS=long TIMEOUT=4h
	@$(MAKE) --no-print-directory backends BACKENDS="postgres postgres+redis"
	@$(MAKE) --no-print-directory race RACE_SKIP='^$$$$'
	@$(MAKE) --no-print-directory fuzz FUZZTIME=$(LONG)
	@$(TALLY) -sum

# Installs what is missing (Debian keeps PostgreSQL off the PATH), on Debian and Ubuntu, as root or by sudo that asks nothing.
tools:
	@missing=; \
	for dir in /usr/lib/postgresql/*/bin; do PATH="$$PATH:$$dir"; done; \
	for tool in $(TOOLS); do \
		found=; for command in $$(echo "$${tool%%:*}" | tr , ' '); do command -v "$$command" >/dev/null && found=yes; done; \
		[ -n "$$found" ] || missing="$$missing $${tool##*:}"; \
	done; \
	[ -n "$$missing" ] || exit 0; \
	as=; [ "$$(id -u)" = 0 ] || as="sudo -n"; \
	if command -v apt-get >/dev/null && $$as true 2>/dev/null; then \
		echo "Installing$$missing, which tests drive."; \
		$$as env DEBIAN_FRONTEND=noninteractive apt-get -qq update >/dev/null; \
		$$as env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $$missing fonts-liberation >/dev/null; \
	else \
		echo "Tests drive programs that are missing here:$$missing. Install them with your package manager, or run \`make quick\`, which does without browsers." >&2; \
		exit 1; \
	fi

check:
	@unformatted=$$(gofmt -l $$(git ls-files '*.go' 2>/dev/null || find . -name '*.go')); \
	if [ -n "$$unformatted" ]; then echo "Not formatted; run gofmt -w on:"; echo "$$unformatted"; exit 1; fi
	@go vet ./... && go vet .ci/*.go && go test .ci/*.go >/dev/null

TAGS ?=
unit:
	@echo "== tests"
	@go test -json -tags "$(TAGS)" -timeout $(TIMEOUT) ./... | $(TALLY)

# The stories of cmd/vestibule once more, on the databases of an installation of many machines.
BACKENDS ?= postgres+redis
backends:
	@for backend in $(BACKENDS); do \
		echo "== stories on $$backend"; \
		VESTIBULE_TEST_BACKEND=$$backend go test -json -tags quick -timeout 30m ./cmd/vestibule | $(TALLY) -name "cmd/vestibule on $$backend" || exit 1; \
	done

race:
ifeq ($(CCOMPILER),)
	@echo "== race detector: left out, because there is no C compiler here (install gcc to have it)"
else
	@echo "== race detector (C compiler: $(CCOMPILER)), without packages that match $(RACE_NOT) and the tests of RACE_SKIP"
	@CGO_ENABLED=1 go test -race -json -tags quick -skip '$(RACE_SKIP)' -timeout $(TIMEOUT) $(RACE) | $(TALLY)
endif

# Every fuzz target for a moment: enough to run its seeds and to notice a target that broke.
fuzz:
	@echo "== fuzzing, $(FUZZTIME) a target"
	@grep -rlE '^func Fuzz' --include='*_test.go' . | xargs -r -n1 dirname | sort -u | while read -r dir; do \
		grep -hoE '^func Fuzz[A-Za-z0-9_]+' "$$dir"/*_test.go | cut -c6- | sort | while read -r target; do \
			go test -json -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -timeout 0 "$$dir" </dev/null | $(TALLY) -name $$target || exit 1; \
		done || exit 1; \
	done

golden:
	@go test $$(go list -f '{{.ImportPath}} {{join .TestImports " "}} {{join .XTestImports " "}}' ./... | grep /templatestest | cut -d' ' -f1) -update

BENCH     ?= -organizations 10,10000
BENCHTIME ?= 200ms
bench:
	@go test -run '^$$' -bench . -benchmem -benchtime $(BENCHTIME) $$(go list ./... | grep -v /cmd/)
	@CGO_ENABLED=0 go run ./bench $(BENCH)

lint:
	@command -v golangci-lint >/dev/null || { echo "golangci-lint is not installed: see golangci-lint.run, or leave it; make test does without." >&2; exit 1; }
	@golangci-lint run

build:
	@CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o bin/vestibule ./cmd/vestibule

demo:
	@go run ./cmd/vestibule demo
