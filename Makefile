# Valija: one Makefile for everything. `make` builds, `make run` starts a suite to try, `make check`
# proves it. `make help` lists the rest.
#
# Every .c of a room except the programs' main files is archived into $(B)/lib/libROOM.a, so a new
# file needs no change here. Variants (sanitizers, fuzzing) are the same rules in another directory
# $(B), made by calling this file again with another BUILD and VARIANT.

MAKEFLAGS += --no-builtin-rules
.SUFFIXES:
.SECONDARY:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := all

BUILD ?= build
VARIANT ?=
B := $(BUILD)

ROOMS := master smtpd imapd delivery auth tlsproxy common
MAINS := master/master.c master/log.c master/valija.c master/portmap.c smtpd/smtpd.c smtpd/policy.c imapd/imap-login.c imapd/imap.c imapd/gist.c \
	delivery/queue.c delivery/spool.c delivery/local.c delivery/local-home.c delivery/dns.c delivery/relay.c delivery/fetch.c delivery/sts.c \
	auth/auth.c auth/auth-hash.c auth/auth-pam.c auth/auth-token.c \
	tlsproxy/tls-key.c tlsproxy/tls.c tlsproxy/ocsp.c
MAINS += delivery/pipe.c smtpd/sendmail.c smtpd/pickup.c smtpd/milter.c

# ---- What configure found ------------------------------------------------------------------------

# These goals do not need (or cannot yet have) a configured tree; run, check and the packages first see
# to it that what they need is installed, then call this file again.
UNCONFIGURED := clean distclean maintainer-clean help run check check-long bootstrap stop deb rpm configure config.h.in
ifneq ($(filter-out $(UNCONFIGURED),$(or $(MAKECMDGOALS),all)),)
include config.mk
endif

# A clone has neither of the two; the tar file of `make dist` has.
configure config.h.in &: configure.ac
	@command -v autoconf >/dev/null || { echo "autoconf is missing: 'make bootstrap' installs it" >&2; exit 1; }
	autoconf
	autoheader
	@touch configure config.h.in
config.status: configure config.h.in
	@if test -x config.status; then ./config.status --recheck; else ./configure; fi
	@touch $@
config.mk: config.mk.in config.status
	./config.status --quiet config.mk
	@touch $@
config.h: config.h.in config.status
	./config.status --quiet config.h
	@touch $@

# ---- Flags ---------------------------------------------------------------------------------------

WARNINGS := -Wall -Wextra -Wshadow -Wconversion -Wformat=2 -Wmissing-prototypes -Wvla
ifneq ($(WERROR),)
WARNINGS += -Werror
endif

V_CPPFLAGS = -D_GNU_SOURCE -I. -Icommon $(CFLAGS_LIBS) $(CPPFLAGS)
V_CFLAGS = -std=gnu11 $(WARNINGS) $(CFLAGS)
V_LDFLAGS = -Wl,--as-needed $(LDFLAGS)

ifeq ($(VARIANT),fuzz)
CC := $(CLANG)
V_CFLAGS = -std=gnu11 $(WARNINGS) -O1 -g -fno-omit-frame-pointer -fsanitize=fuzzer-no-link,address,undefined \
	-fno-sanitize-recover=all -DVALIJA_FUZZING
V_LDFLAGS += -fsanitize=address,undefined
else ifneq ($(or $(filter san,$(VARIANT)),$(SANITIZE)),)
V_CFLAGS = -std=gnu11 $(WARNINGS) -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined \
	-fno-sanitize-recover=all
V_LDFLAGS += -fsanitize=address,undefined
else ifneq ($(COVERAGE),)
V_CFLAGS = -std=gnu11 $(WARNINGS) -O0 -g --coverage
V_LDFLAGS += --coverage
else
V_CFLAGS += $(HARDEN_CFLAGS)
V_CPPFLAGS += $(FORTIFY)
V_LDFLAGS += $(HARDEN_LDFLAGS)
endif

COMPILE = $(CC) $(V_CPPFLAGS) $(V_CFLAGS) -MMD -MP -c
LINK = $(CC) $(V_CFLAGS) $(V_LDFLAGS)
# Short lines unless V=1.
Q := $(if $(V),,@)
say = $(if $(V),,@printf '  %-6s %s\n' '$(1)' '$@')

# ---- Files ---------------------------------------------------------------------------------------

# Mains that exist; a room's programs; what belongs to its archive.
mains := $(wildcard $(MAINS))
sources = $(filter-out $(MAINS),$(wildcard $(1)/*.c))
objects = $(patsubst %.c,$(B)/obj/%.o,$(1))
archive = $(B)/lib/lib$(1).a
ARCHIVES := $(foreach r,$(ROOMS),$(call archive,$(r)))

program_of = $(if $(filter master/valija.c,$(1)),$(B)/bin/valija,$(if $(filter smtpd/sendmail.c,$(1)),$(B)/bin/sendmail,$(B)/libexec/valija-$(notdir $(basename $(1)))))
PROGRAMS := $(foreach m,$(mains),$(call program_of,$(m)))

UNIT_SOURCES := $(wildcard test/unit/test_*.c)
UNIT_TESTS := $(patsubst test/unit/%.c,$(B)/test/unit/%,$(UNIT_SOURCES))
FUZZ_SOURCES := $(wildcard test/fuzz/fuzz_*.c)
FUZZ_TARGETS := $(patsubst test/fuzz/%.c,$(B)/test/fuzz/%,$(FUZZ_SOURCES))
BENCH_SOURCES := $(wildcard test/bench/bench_*.c)
BENCHES := $(patsubst test/bench/%.c,$(B)/test/bench/%,$(BENCH_SOURCES))

# Other names of the sendmail command.
LINKS := $(B)/bin/mailq $(B)/bin/newaliases
# The same program for another purpose, told by its name.
TWINS := $(B)/libexec/valija-auth-fetch

all: $(PROGRAMS) $(LINKS) $(TWINS) $(ARCHIVES) $(if $(FUZZING),fuzz)

# ---- Which libraries a program may have ----------------------------------------------------------

# Nothing else is on the link line: a program that begins to need more says so by not linking. A
# daemon's loop is event, its room seccomp and cap.
LIBS_DAEMON = $(LIBS_EVENT) $(LIBS_SECCOMP) $(LIBS_CAP)
LIBS_of_master = $(LIBS_DAEMON) $(LIBS_CONFUSE) $(LIBS_DB) $(LIBS_UNISTRING)
LIBS_of_log = $(LIBS_DAEMON)
LIBS_of_portmap = $(LIBS_DAEMON) $(LIBS_NATPMP)
LIBS_of_valija = $(LIBS_DAEMON) $(LIBS_CONFUSE) $(LIBS_DB) $(LIBS_GNUTLS) $(LIBS_CRYPT) $(LIBS_ARGON2) $(LIBS_PWQUALITY) $(LIBS_NETTLE) $(LIBS_GSASL) $(LIBS_UNISTRING) $(LIBS_UNBOUND)
LIBS_of_smtpd = $(LIBS_DAEMON) $(LIBS_NETTLE) $(LIBS_UNISTRING)
LIBS_of_policy = $(LIBS_DAEMON) $(LIBS_DB) $(LIBS_NETTLE)
LIBS_of_sendmail =
LIBS_of_pipe =
LIBS_of_milter = $(LIBS_DAEMON) $(LIBS_NETTLE)
LIBS_of_pickup = $(LIBS_DAEMON)
LIBS_of_imap-login = $(LIBS_DAEMON)
LIBS_of_imap = $(LIBS_DAEMON) $(LIBS_ZLIB)
LIBS_of_gist = $(LIBS_DAEMON)
LIBS_of_queue = $(LIBS_DAEMON) $(LIBS_NETTLE) $(LIBS_DB) $(LIBS_UNISTRING)
LIBS_of_spool = $(LIBS_DAEMON)
LIBS_of_local = $(LIBS_DAEMON)
LIBS_of_relay = $(LIBS_DAEMON) $(LIBS_GSASL)
LIBS_of_local-home = $(LIBS_DAEMON)
LIBS_of_dns = $(LIBS_DAEMON) $(LIBS_UNBOUND) $(LIBS_IDN2)
LIBS_of_fetch = $(LIBS_DAEMON) $(LIBS_CURL)
LIBS_of_sts = $(LIBS_DAEMON) $(LIBS_DB) $(LIBS_ZLIB)
LIBS_of_auth = $(LIBS_DAEMON) $(LIBS_GSASL) $(LIBS_NETTLE) $(LIBS_DB) $(LIBS_UNISTRING)
LIBS_of_auth-pam = $(LIBS_DAEMON) $(LIBS_PAM)
LIBS_of_auth-token = $(LIBS_DAEMON) $(LIBS_GNUTLS) $(LIBS_JANSSON)
LIBS_of_auth-hash = $(LIBS_DAEMON) $(LIBS_CRYPT) $(LIBS_ARGON2) $(LIBS_NETTLE)
LIBS_of_tls-key = $(LIBS_DAEMON) $(LIBS_GNUTLS) $(LIBS_HOGWEED) $(LIBS_NETTLE)
LIBS_of_ocsp = $(LIBS_DAEMON) $(LIBS_GNUTLS)
LIBS_of_tls = $(LIBS_DAEMON) $(LIBS_GNUTLS) $(LIBS_NETTLE)

LIBS_ALL = $(LIBS_DAEMON) $(LIBS_ZLIB) $(LIBS_CONFUSE) $(LIBS_DB) $(LIBS_GNUTLS) $(LIBS_HOGWEED) $(LIBS_NETTLE) $(LIBS_GSASL) $(LIBS_CRYPT) $(LIBS_UNISTRING) \
	$(LIBS_UNBOUND) $(LIBS_IDN2) $(LIBS_CURL) $(LIBS_NATPMP) $(LIBS_ARGON2) $(LIBS_PWQUALITY) $(LIBS_PAM) $(LIBS_JANSSON)

# What may not creep into the program that is executed for each user.
UNLINKED_imap := gnutls gsasl confuse nettle

# ---- Rules ---------------------------------------------------------------------------------------

# Flags are a file, touched only when they change: everything is built anew then.
FLAGS_NOW = $(COMPILE) | $(LINK) | $(LIBS_ALL)
$(B)/flags: FORCE
	@mkdir -p $(@D)
	@printf '%s\n' '$(FLAGS_NOW)' | cmp -s - $@ || printf '%s\n' '$(FLAGS_NOW)' >$@
FORCE:

$(B)/obj/%.o: %.c $(B)/flags | config.h
	$(call say,CC)
	@mkdir -p $(@D)
	$(Q)$(COMPILE) $< -o $@

# The list of a room's objects is a prerequisite too: an archive forgets a file that was removed.
define room_rules
$(call archive,$(1)): $(call objects,$(call sources,$(1))) $(B)/lib/$(1).list
	$$(call say,AR)
	$$(Q)rm -f $$@
	$$(Q)$$(AR) rcs $$@ $$(filter %.o,$$^)
$(B)/lib/$(1).list: FORCE
	@mkdir -p $$(@D)
	@echo '$(call sources,$(1))' | cmp -s - $$@ || echo '$(call sources,$(1))' >$$@
endef
$(foreach r,$(ROOMS),$(eval $(call room_rules,$(r))))

define program_rules
$(call program_of,$(1)): $(call objects,$(1)) $(call archive,$(patsubst %/,%,$(dir $(1)))) \
		$(call program_archives,$(1)) $(call archive,common)
	$$(call say,LINK)
	@mkdir -p $$(@D)
	$$(Q)$$(LINK) $$(filter %.o,$$^) $$(filter %.a,$$^) $$(LIBS_of_$(notdir $(basename $(1)))) -o $$@
endef
# valija (the command) makes certificates, which is the trade of tlsproxy, and password hashes (auth), and
# tells where addresses lead (delivery).
program_archives = $(if $(filter master/valija.c,$(1)),$(call archive,tlsproxy) $(call archive,auth) $(call archive,delivery))
$(foreach m,$(mains),$(eval $(call program_rules,$(m))))

$(TWINS): $(B)/libexec/valija-fetch
	$(call say,LN)
	$(Q)ln -f $< $@

$(LINKS): $(B)/bin/sendmail
	$(call say,LN)
	$(Q)ln -sf sendmail $@

# A unit test test_ROOM_THING.c sees its own room first, then common, then the others.
define unit_rules
$(B)/test/unit/$(1): $(B)/obj/test/unit/$(1).o $(ARCHIVES)
	$$(call say,LINK)
	@mkdir -p $$(@D)
	$$(Q)$$(LINK) $$< -Wl,--start-group $(filter $(B)/lib/lib$(word 2,$(subst _, ,$(1))).a,$(ARCHIVES)) \
		$(call archive,common) $(ARCHIVES) -Wl,--end-group $$(LIBS_ALL) $$(LIBS_CMOCKA) -o $$@
endef
$(foreach t,$(UNIT_SOURCES),$(eval $(call unit_rules,$(notdir $(basename $(t))))))

$(B)/test/bench/%: $(B)/obj/test/bench/%.o $(ARCHIVES)
	$(call say,LINK)
	@mkdir -p $(@D)
	$(Q)$(LINK) $< -Wl,--start-group $(ARCHIVES) -Wl,--end-group $(LIBS_ALL) -o $@

# With libFuzzer the targets fuzz; without, a small main replays the corpus.
# Names of IMAP are looked for in its own room first: rooms may use one name for different things.
$(B)/test/fuzz/fuzz_imap%: FIRST = $(call archive,imapd)
FUZZ_MAIN := $(if $(filter fuzz,$(VARIANT)),-fsanitize=fuzzer,$(B)/obj/test/fuzz/replay.o)
$(B)/test/fuzz/%: $(B)/obj/test/fuzz/%.o $(if $(filter fuzz,$(VARIANT)),,$(B)/obj/test/fuzz/replay.o) $(ARCHIVES)
	$(call say,LINK)
	@mkdir -p $(@D)
	$(Q)$(LINK) $< $(FUZZ_MAIN) -Wl,--start-group $(FIRST) $(ARCHIVES) -Wl,--end-group $(LIBS_ALL) -o $@

-include $(wildcard $(B)/obj/*/*.d $(B)/obj/*/*/*.d)

unit: $(UNIT_TESTS)
fuzz-targets: $(FUZZ_TARGETS)
benches: $(BENCHES)

# `make fuzz` builds the fuzz targets under build/fuzz (build/fuzz/test/fuzz/fuzz_*): libFuzzer where
# clang has it, else programs that replay files, under sanitizers.
fuzz:
	+$(Q)$(MAKE) --no-print-directory BUILD=build/fuzz VARIANT=$(if $(LIBFUZZER),fuzz,san) fuzz-targets

# ---- Proof ---------------------------------------------------------------------------------------

.PHONY: all unit fuzz fuzz-targets benches check check-long check-built bench run stop bootstrap help \
	install uninstall dist clean distclean maintainer-clean deb rpm package-deb package-rpm FORCE

bootstrap:
	@sh contrib/bootstrap.sh build

# The packages first; then, configured, what test/run needs; then test/run.
check: WHAT = quick
check-long: WHAT = long
check check-long:
	@sh contrib/bootstrap.sh $@
	+$(Q)$(MAKE) --no-print-directory check-built
	$(Q)test/run $(WHAT)

check-built: all unit fuzz
	+$(Q)$(MAKE) --no-print-directory BUILD=build-asan VARIANT=san all unit
	$(Q)for library in $(UNLINKED_imap); do \
		if test -x $(B)/libexec/valija-imap && \
		   readelf -d $(B)/libexec/valija-imap | grep -q "NEEDED.*lib$$library\."; then \
			echo "valija-imap is linked with $$library: it is executed for each user and must not be" >&2; \
			exit 1; \
		fi; \
	done

bench: all benches
	$(Q)test/bench/run

# ---- A suite to try ------------------------------------------------------------------------------

run:
	@sh contrib/bootstrap.sh run
	+$(Q)$(MAKE) --no-print-directory all
	@sh contrib/run.sh start

stop:
	@sh contrib/run.sh stop

help:
	@echo 'make             build into build/'
	@echo 'make run         install what is missing, build, start a suite in run/ and say how to use it'
	@echo 'make stop        stop that suite'
	@echo 'make bootstrap   install what is missing to build'
	@echo 'make configure   make ./configure, which a clone does not have'
	@echo 'make check       unit, fuzz-regression and end-to-end tests (check-long: all, for longer)'
	@echo 'make bench       measurements'
	@echo 'make fuzz        fuzz targets, in build/fuzz/test/fuzz/'
	@echo 'make install     below $$(DESTDIR) and the prefix of ./configure; uninstall takes it away'
	@echo 'make deb | rpm   packages, in build/'
	@echo 'make dist        the sources, as a tar file'
	@echo 'make clean | distclean | maintainer-clean'

# ---- Installing ----------------------------------------------------------------------------------

MAN_PAGES := $(wildcard man/*.[1-8])
unitdir = $(if $(filter /usr,$(prefix)),/lib/systemd/system,$(prefix)/lib/systemd/system)

# What @...@ in contrib/*.in stands for.
PLACES = -e 's|@sbindir@|$(sbindir)|g' -e 's|@sysconfdir@|$(sysconfdir)|g' -e 's|@runstatedir@|$(runstatedir)|g'

PAM_SERVICE = $(if $(wildcard /etc/pam.d/common-auth),contrib/debian/valija.pam,contrib/valija.pam)

# The sample configuration goes to the documentation: the real one is made by `valija init`.
install: all
	install -d $(DESTDIR)$(sbindir) $(DESTDIR)$(libexecdir)/valija $(DESTDIR)$(docdir) \
		$(DESTDIR)$(sysconfdir)/valija $(DESTDIR)$(sysconfdir)/init.d $(DESTDIR)$(unitdir)
	install -m 755 $(filter $(B)/bin/%,$(PROGRAMS)) $(DESTDIR)$(sbindir)/
	install -m 755 $(filter-out $(B)/bin/%,$(PROGRAMS)) $(TWINS) $(DESTDIR)$(libexecdir)/valija/
	install -d $(DESTDIR)$(bindir) $(DESTDIR)$(prefix)/lib
	ln -sf $(sbindir)/sendmail $(DESTDIR)$(prefix)/lib/sendmail
	for name in $(notdir $(LINKS)); do ln -sf $(sbindir)/sendmail $(DESTDIR)$(bindir)/$$name; done
	set -e; for page in $(MAN_PAGES); do \
		install -d $(DESTDIR)$(mandir)/man$${page##*.}; \
		install -m 644 $$page $(DESTDIR)$(mandir)/man$${page##*.}/; \
	done
	install -d $(DESTDIR)$(docdir)/acme
	install -m 755 contrib/acme/valija-deploy-hook $(DESTDIR)$(docdir)/acme/
	install -m 644 README ARCHITECTURE contrib/valija.conf $(DESTDIR)$(docdir)/
	install -d $(DESTDIR)$(datadir)/valija/hooks
	install -m 755 contrib/hooks/* $(DESTDIR)$(datadir)/valija/hooks/
	sed $(PLACES) contrib/valija.service.in >$(DESTDIR)$(unitdir)/valija.service
	sed $(PLACES) contrib/valija.init.in >$(DESTDIR)$(sysconfdir)/init.d/valija
	install -d $(DESTDIR)$(sysconfdir)/pam.d
	test -e $(DESTDIR)$(sysconfdir)/pam.d/valija || \
		install -m 644 $(PAM_SERVICE) $(DESTDIR)$(sysconfdir)/pam.d/valija
	chmod 644 $(DESTDIR)$(unitdir)/valija.service
	chmod 755 $(DESTDIR)$(sysconfdir)/init.d/valija

# Configuration, mail, spool and state stay.
uninstall:
	rm -f $(addprefix $(DESTDIR)$(bindir)/,$(notdir $(LINKS))) $(DESTDIR)$(sbindir)/sendmail $(DESTDIR)$(prefix)/lib/sendmail
	rm -f $(DESTDIR)$(sbindir)/valija $(DESTDIR)$(unitdir)/valija.service $(DESTDIR)$(sysconfdir)/init.d/valija
	rm -rf $(DESTDIR)$(libexecdir)/valija $(DESTDIR)$(datadir)/valija
	rm -rf $(DESTDIR)$(docdir)/acme
	rm -f $(addprefix $(DESTDIR)$(docdir)/,README ARCHITECTURE valija.conf)
	rmdir $(DESTDIR)$(docdir) || :
	for page in $(notdir $(MAN_PAGES)); do rm -f $(DESTDIR)$(mandir)/man$${page##*.}/$$page; done

# ---- Packages ------------------------------------------------------------------------------------

DIST = $(PACKAGE)-$(VERSION)

# What git knows, and the generated configure, so that the tar file builds without autoconf.
dist: configure config.h.in
	git archive --prefix=$(DIST)/ HEAD -o $(DIST).tar
	tar --append -f $(DIST).tar --owner=0 --group=0 --transform='s|^|$(DIST)/|' configure config.h.in
	gzip -9nf $(DIST).tar

# The packages first; then, configured, the work.
deb rpm:
	@sh contrib/bootstrap.sh $@
	+$(Q)$(MAKE) --no-print-directory package-$@

package-deb: dist
	rm -rf build/deb
	mkdir -p build/deb
	tar -xzf $(DIST).tar.gz -C build/deb
	cd build/deb/$(DIST) && dpkg-buildpackage -b -us -uc
	mv build/deb/*.deb build/

package-rpm: dist
	rm -rf build/rpm
	mkdir -p build/rpm/SOURCES
	cp $(DIST).tar.gz build/rpm/SOURCES/
	rpmbuild -bb --define '_topdir $(CURDIR)/build/rpm' --define 'valija_version $(VERSION)' contrib/valija.spec
	find build/rpm/RPMS -name '*.rpm' -exec mv {} build/ ';'

clean:
	rm -rf build build-asan

distclean: clean
	rm -rf config.mk config.h config.status config.log autom4te.cache configure~ config.h.in~ valija-*.tar.gz

# And what the tar file of `make dist` has, but a clone has not.
maintainer-clean: distclean
	rm -f configure config.h.in
