# All that make adds to cargo are names for the usual commands, and the installation. GNU make.

PREFIX  ?= /usr/local
BINDIR  ?= $(PREFIX)/bin
MANDIR  ?= $(PREFIX)/share/man
SHARE   := $(DESTDIR)$(PREFIX)/share
# Where each shell looks, below share; the files are named as they must be there.
BASH    := bash-completion/completions
ZSH     := zsh/site-functions
FISH    := fish/vendor_completions.d
DESTDIR ?=
CARGO   ?= cargo
SEEDS   ?= 100000

CARGO_TARGET_DIR ?= target
BINARY  := $(CARGO_TARGET_DIR)/release/millipede
SOURCES := Cargo.toml Cargo.lock $(shell find src -name '*.rs')

.PHONY: all demo test check sim bench install uninstall deb clean

all: $(BINARY)

# A file, so that "make install" as root builds nothing that has been built.
$(BINARY): $(SOURCES)
	$(CARGO) build --release --locked
	@touch $@

# Send a file over loopback and compare.
demo: all
	MILLIPEDE=$(BINARY) ./demo.sh

test:
	$(CARGO) test --locked

# All that a change must pass.
check:
	.ci/run

# Many more seeds than the tests play, of each kind: make sim SEEDS=1000000. A failing one is printed, with how to
# replay it.
sim:
	SEEDS=$(SEEDS) $(CARGO) test --release --locked --test sim -- --nocapture

# The parts one by one, then the race against other programs. ROUNDS=5 MEGABYTES=4000 for the race.
bench:
	$(CARGO) bench --locked --benches
	$(CARGO) build --release --locked --bins --example ends
	benches/peers $(ROUNDS) $(MEGABYTES)

install: all
	install -d $(DESTDIR)$(BINDIR) $(DESTDIR)$(MANDIR)/man1 $(SHARE)/$(BASH) $(SHARE)/$(ZSH) $(SHARE)/$(FISH)
	install -m 755 $(BINARY) $(DESTDIR)$(BINDIR)/millipede
	install -m 644 man/millipede.1 $(DESTDIR)$(MANDIR)/man1/millipede.1
	install -m 644 completions/millipede.bash $(SHARE)/$(BASH)/millipede
	install -m 644 completions/_millipede $(SHARE)/$(ZSH)/_millipede
	install -m 644 completions/millipede.fish $(SHARE)/$(FISH)/millipede.fish

uninstall:
	rm -f $(DESTDIR)$(BINDIR)/millipede $(DESTDIR)$(MANDIR)/man1/millipede.1
	rm -f $(SHARE)/$(BASH)/millipede $(SHARE)/$(ZSH)/_millipede $(SHARE)/$(FISH)/millipede.fish

# A Debian package, below target/debian. Needs cargo-deb: cargo install cargo-deb
deb:
	$(CARGO) deb --locked

clean:
	$(CARGO) clean
