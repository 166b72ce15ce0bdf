# All that make adds to cargo are names for the usual commands, and the installation. GNU make.

PREFIX  ?= /usr/local
BINDIR  ?= $(PREFIX)/bin
MANDIR  ?= $(PREFIX)/share/man
DESTDIR ?=
CARGO   ?= cargo
SEEDS   ?= 100000

CARGO_TARGET_DIR ?= target
BINARY  := $(CARGO_TARGET_DIR)/release/millipede
SOURCES := Cargo.toml Cargo.lock $(shell find src -name '*.rs')
MAN     := $(wildcard man/millipede.1)

.PHONY: all demo test check sim bench install uninstall clean

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

# Many more seeds than the tests play: make sim SEEDS=1000000. A failing one is printed, with how to replay it.
sim:
	SEEDS=$(SEEDS) $(CARGO) test --release --locked --test sim

# The parts one by one, then the race against other programs. ROUNDS=5 MEGABYTES=4000 for the race.
bench:
	$(CARGO) bench --locked --benches
	$(CARGO) build --release --locked --bins --example ends
	benches/peers $(ROUNDS) $(MEGABYTES)

install: all
	install -d $(DESTDIR)$(BINDIR)
	install -m 755 $(BINARY) $(DESTDIR)$(BINDIR)/millipede
ifneq ($(MAN),)
	install -d $(DESTDIR)$(MANDIR)/man1
	install -m 644 $(MAN) $(DESTDIR)$(MANDIR)/man1/millipede.1
endif

uninstall:
	rm -f $(DESTDIR)$(BINDIR)/millipede $(DESTDIR)$(MANDIR)/man1/millipede.1

clean:
	$(CARGO) clean
