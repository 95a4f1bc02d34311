# The front door. `make help` lists what there is.
# Windows without make: README.md gives the same as cargo lines.

INFO     = tracker_info.txt
N        = 1
PEER     = 127.0.0.1:7600
UPLOAD   = upload
DOWNLOAD = download
# The folder of a batch run, and where the page about it goes, if it is wanted.
DIR     ?=
REPORT  ?=
# Debian's packages of whom `make bench` compares with, and of what it needs itself.
BENCH_TOOLS = aria2 transmission-daemon opentracker mktorrent iproute2
# A look instead of the whole `make bench`; which scenarios, if not all.
QUICK   ?=
ONLY    ?=
# Clients of the batch run that `make bench-batch` measures.
CLIENTS  = 200
# What of the upload folder is shared with everybody: off, files or folders.
WATCH    = files
# Inputs for each decoder in `make fuzz`.
INPUTS   = 1000000
# How long `make torture` lasts, and the seed of what is drawn at random.
SECONDS ?= 600
SEED    ?=

# Which tests run under Wine: those with one of these words in their names; all, if there are none.
TESTS   ?=
# How many times in a row `make test-mixed` runs.
ROUNDS   = 10

BIN = $(or $(CARGO_TARGET_DIR),target)/release

.PHONY: help tracker peer menu demo swarm test check fuzz torture bench bench-tools bench-hot bench-noise bench-sync bench-batch windows test-windows test-mixed build cargo

help:
	@echo "make tracker   build the tracker and start it     INFO=$(INFO) N=$(N)"
	@echo "make peer      build a peer and start it          PEER=$(PEER) INFO=$(INFO) UPLOAD=$(UPLOAD) WATCH=$(WATCH) DOWNLOAD=$(DOWNLOAD)"
	@echo "make menu      the same, and it asks what to seed and what to download"
	@echo "make demo      a tracker and four peers at work, in under a minute"
	@echo "make swarm     run the batch of a folder: a tracker, and a peer for each in1.txt ...   DIR=$(DIR) REPORT=$(REPORT)"
	@echo "make test      every test"
	@echo "make check     every test, and: format, clippy, docs, $(INPUTS) hostile inputs to each decoder"
	@echo "make fuzz      the hostile inputs alone            INPUTS=$(INPUTS)"
	@echo "make windows   tracker.exe and peer.exe, into target/windows: on Debian, which needs packages for it"
	@echo "make test-windows   the tests as Windows programs, under Wine   TESTS=$(TESTS)"
	@echo "make test-mixed     swarms of Linux's and Windows' programs together   ROUNDS=$(ROUNDS)"
	@echo "make torture   several trackers killed, paused and cut off at random, then a proof that nothing is lost   SECONDS=$(SECONDS) SEED=$(SEED)"
	@echo "make bench     ours beside aria2, Transmission, opentracker and mktorrent; writes docs/BENCHMARKS.md: half an hour"
	@echo "               QUICK=1: a look, two minutes; ONLY='small-files idle': these alone; neither writes"
	@echo "make bench-tools   installs those four, on Debian"
	@echo "make bench-hot     the functions that run most often, each by itself"
	@echo "make bench-noise   how fast a group's file travels, compared with a public one"
	@echo "make bench-sync    how fast a tracker catches up with 100,000 facts"
	@echo "make bench-batch   how long a batch run of many clients takes, and its memory   CLIENTS=$(CLIENTS)"

tracker: build
	@$(BIN)/tracker $(INFO) $(N)

peer: build
	@$(BIN)/peer $(PEER) $(INFO) --upload $(UPLOAD) --watch $(WATCH) --download $(DOWNLOAD)

menu: build
	@$(BIN)/peer $(PEER) $(INFO) --upload $(UPLOAD) --watch $(WATCH) --download $(DOWNLOAD) --menu

demo: build
	@$(BIN)/peer --demo

swarm: build
	@test -n "$(DIR)" || { echo "Say in which folder in1.txt, in2.txt ... are: make swarm DIR=..."; exit 1; }
	@$(BIN)/peer --batch "$(DIR)" $(if $(REPORT),--report "$(REPORT)")

test: cargo
	cargo test --locked

check: cargo
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --quiet
	cargo test --locked
	$(MAKE) fuzz
	$(MAKE) demo

fuzz: cargo
	MINI_FUZZ_INPUTS=$(INPUTS) cargo test --locked --release --test fuzz

torture: cargo
	MINI_TORTURE_SECONDS=$(SECONDS) MINI_TORTURE_SEED=$(SEED) cargo test --locked --test suite torture:: -- --nocapture

windows:
	@.ci/windows build

test-windows:
	@.ci/windows test $(TESTS)

test-mixed:
	@.ci/windows mixed $(ROUNDS)

bench: cargo
	cargo bench --locked --bench compare -- $(if $(QUICK),--quick,$(if $(ONLY),,--write)) $(ONLY)

bench-tools:
	apt-get update -qq
	apt-get install -y --no-install-recommends $(BENCH_TOOLS)

bench-hot: cargo
	cargo bench --locked --bench hot

bench-noise: cargo
	cargo bench --locked --bench noise

bench-sync: cargo
	cargo bench --locked --bench catch_up

bench-batch: cargo
	MINI_BENCH_CLIENTS=$(CLIENTS) cargo bench --locked --bench batch

build: cargo
	@test -x $(BIN)/peer || echo "Building. The first time this takes a minute or two."
	@cargo build --locked --release

cargo:
	@command -v cargo >/dev/null || { echo "cargo is missing: get Rust from https://rustup.rs, then open a new terminal"; exit 1; }
