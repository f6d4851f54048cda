/*
 * cmd-status - every process of the suite: what master knows of it, and what the kernel says.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "common/settings.h"
#include "master/client.h"
#include "master/control.h"
#include "master/json.h"
#include "master/proc.h"
#include "tlsproxy/certificate.h"

#define MOST_ROWS	     100000
#define MOST_CAPABILITY_TEXT 2048
#define MOST_CERTIFICATES_TOLD 64
#define SECONDS_A_DAY 86400

static const struct option_row options[] = {
	{ "--json", NULL, "as JSON", false },
	{ NULL, NULL, NULL, false },
};

struct row {
	struct msg_command_process said;
	char user[MOST_ADDRESS + 1];
	bool there; /* the kernel knows it */
	struct proc_facts kernel;
};

/* An address of the machine, as master watches it. */
struct address_row {
	char link[17], address[MOST_IP + 1], kind[17], life[17];
	uint8_t prefix;
	uint32_t seconds;
	bool up, usable;
};

/* A port that the router was asked to forward. */
struct mapping_row {
	char service[17], address[MOST_IP + 1], protocol[9], fault[101];
	uint16_t outside, inside;
	uint32_t seconds;
};

/* A certificate in service, as tls-key reads it. */
struct certificate_row {
	char name[MOST_HOST + 1], file[MOST_PATH_FIELD + 1];
	int64_t not_after;
	uint8_t revocation;          /* enum revocation */
	int64_t answer_until;        /* with REVOCATION_GOOD */
};

/* An address at which the world reaches us, and how that is known. */
struct public_row {
	char address[MOST_IP + 1], source[33];
};

struct listing {
	struct certificate_row certificates[MOST_CERTIFICATES_TOLD];
	size_t certificate_count;
	struct public_row publics[MOST_PUBLIC];
	size_t public_count;
	struct mapping_row mappings[SERVICE_COUNT];
	size_t mapping_count;
	struct row *rows;
	size_t count;
	struct address_row addresses[MOST_ADDRESSES_TOLD];
	size_t address_count;
	uint64_t changed; /* when an address changed last; 0: not since the start */
	char old[MOST_IP + 1], new[MOST_IP + 1];
	uint32_t generation;
	uint64_t since;
	bool complete;
};

static void
on_command_process(void *me, struct channel *from, uint64_t id, const struct msg_command_process *m,
	const int *fd)
{
	struct listing *l = ((struct client *)me)->me;
	struct row *row;

	(void)from;
	(void)id;
	(void)fd;
	if (l->count == MOST_ROWS || m->program >= PROGRAM_COUNT)
		return;
	l->rows = must_realloc(l->rows, (l->count + 1) * sizeof *l->rows);
	row = &l->rows[l->count++];
	memset(row, 0, sizeof *row);
	row->said = *m;
	span_copy(m->user, row->user, sizeof row->user);
	row->said.user = SPAN_NONE;
	row->there = m->pid != 0 && proc_read(m->pid, &row->kernel);
}

static void
on_command_address(void *me, struct channel *from, uint64_t id, const struct msg_command_address *m,
	const int *fd)
{
	struct listing *l = ((struct client *)me)->me;
	struct address_row *row;

	(void)from;
	(void)id;
	(void)fd;
	if (l->address_count == MOST_ADDRESSES_TOLD)
		return;
	row = &l->addresses[l->address_count++];
	span_copy(m->link, row->link, sizeof row->link);
	span_copy(m->address, row->address, sizeof row->address);
	span_copy(m->kind, row->kind, sizeof row->kind);
	span_copy(m->life, row->life, sizeof row->life);
	row->prefix = m->prefix;
	row->seconds = m->seconds;
	row->up = m->up;
	row->usable = m->usable;
}

static void
on_command_mapping(void *me, struct channel *from, uint64_t id, const struct msg_command_mapping *m,
	const int *fd)
{
	struct listing *l = ((struct client *)me)->me;
	struct mapping_row *row;

	(void)from;
	(void)id;
	(void)fd;
	if (l->mapping_count == SERVICE_COUNT)
		return;
	row = &l->mappings[l->mapping_count++];
	span_copy(m->service, row->service, sizeof row->service);
	span_copy(m->address, row->address, sizeof row->address);
	span_copy(m->protocol, row->protocol, sizeof row->protocol);
	span_copy(m->fault, row->fault, sizeof row->fault);
	row->outside = m->outside;
	row->inside = m->inside;
	row->seconds = m->seconds;
}

static void
on_command_public(void *me, struct channel *from, uint64_t id, const struct msg_command_public *m,
	const int *fd)
{
	struct listing *l = ((struct client *)me)->me;
	struct public_row *row;

	(void)from;
	(void)id;
	(void)fd;
	if (l->public_count == MOST_PUBLIC)
		return;
	row = &l->publics[l->public_count++];
	span_copy(m->address, row->address, sizeof row->address);
	span_copy(m->source, row->source, sizeof row->source);
}

static void
on_command_address_change(void *me, struct channel *from, uint64_t id,
	const struct msg_command_address_change *m, const int *fd)
{
	struct listing *l = ((struct client *)me)->me;

	(void)from;
	(void)id;
	(void)fd;
	l->changed = m->when;
	span_copy(m->gone, l->old, sizeof l->old);
	span_copy(m->came, l->new, sizeof l->new);
}

static void
on_command_certificate(void *me, struct channel *from, uint64_t id,
	const struct msg_command_certificate *m, const int *fd)
{
	struct listing *l = ((struct client *)me)->me;
	struct certificate_row *row;

	(void)from;
	(void)id;
	(void)fd;
	if (l->certificate_count == MOST_CERTIFICATES_TOLD)
		return;
	row = &l->certificates[l->certificate_count++];
	span_copy(m->name, row->name, sizeof row->name);
	span_copy(m->file, row->file, sizeof row->file);
	row->not_after = (int64_t)m->not_after;
	row->revocation = m->word;
	row->answer_until = (int64_t)m->until;
}

static void
on_command_end(
	void *me, struct channel *from, uint64_t id, const struct msg_command_end *m, const int *fd)
{
	struct client *c = me;
	struct listing *l = c->me;

	(void)from;
	(void)id;
	(void)fd;
	l->generation = m->generation;
	l->since = m->since;
	l->complete = c->over = true;
}

static const char *
seccomp_word(unsigned int mode)
{
	return mode == 2 ? "filter" : mode == 1 ? "strict" : "none";
}

static bool
is_chrooted(const struct row *row)
{
	return row->there && row->kernel.root_known && strcmp(row->kernel.root, "/") != 0;
}

/* Whole days until it ends; negative when it has. */
static int
days_left(const struct certificate_row *row)
{
	int64_t left = row->not_after - (int64_t)time(NULL);

	return left < 0 ? -1 : (int)(left / SECONDS_A_DAY);
}

/* Days until the first of the certificates in service ends. False when tls-key has told of none. */
static bool
certificate_days(const struct listing *l, int *days)
{
	for (size_t i = 0; i < l->certificate_count; i++)
		if (i == 0 || days_left(&l->certificates[i]) < *days)
			*days = days_left(&l->certificates[i]);
	return l->certificate_count != 0;
}

/* Who makes the records of TLS; the workers hand them to the kernel where it has the module. */
static const char *
records_by(const struct settings *s)
{
	char names[256];
	struct span left, one;
	int fd = open("/proc/sys/net/ipv4/tcp_available_ulp", O_RDONLY | O_CLOEXEC);
	ssize_t got = fd < 0 ? -1 : read(fd, names, sizeof names);

	if (fd >= 0)
		close(fd);
	if (s == NULL || !s->tls_kernel || got <= 0)
		return "workers";
	for (left = span_trim(span_of(names, (size_t)got)); span_take_until(&left, ' ', &one);)
		if (span_equal(one, SPAN("tls")))
			return "kernel";
	while (left.len > 0 && left.at[left.len - 1] == '\n')
		left.len--;
	return span_equal(left, SPAN("tls")) ? "kernel" : "workers";
}

/* --- as JSON --- */

static void
json_row(struct json *j, const struct row *row)
{
	struct text names = TEXT_UP_TO(MOST_CAPABILITY_TEXT);
	struct span left, one;

	json_open(j, NULL, '{');
	json_text(j, "program", span_str(program_name(row->said.program)));
	json_number(j, "index", row->said.index);
	json_number(j, "pid", row->said.pid);
	json_number(j, "restarts", row->said.restarts);
	json_number(j, "connections", row->said.connections);
	json_number(j, "served", (int64_t)row->said.served);
	json_number(j, "since", (int64_t)row->said.since);
	json_number(j, "landlock", row->said.landlock);
	if (row->there) {
		json_number(j, "uid", (int64_t)row->kernel.uid);
		json_number(j, "gid", (int64_t)row->kernel.gid);
		json_number(j, "seccomp", row->kernel.seccomp);
		json_flag(j, "no_new_privs", row->kernel.no_new_privs);
		json_open(j, "capabilities", '[');
		if (row->kernel.capabilities) {
			proc_capability_names(row->kernel.capabilities, &names);
			left = text_span(&names);
			while (span_take_until(&left, ',', &one))
				json_text(j, NULL, one);
			json_text(j, NULL, left);
		}
		json_close(j, ']');
		if (is_chrooted(row))
			json_text(j, "chroot", span_str(row->kernel.root));
		else
			json_null(j, "chroot");
	}
	if (row->user[0])
		json_text(j, "user", span_str(row->user));
	json_close(j, '}');
	text_clear(&names);
}

static void
json_addresses(struct json *j, const struct listing *l)
{
	json_open(j, "addresses", '[');
	for (size_t i = 0; i < l->address_count; i++) {
		const struct address_row *row = &l->addresses[i];

		json_open(j, NULL, '{');
		json_text(j, "interface", span_str(row->link));
		json_text(j, "address", span_str(row->address));
		json_number(j, "prefix", row->prefix);
		json_text(j, "kind", span_str(row->kind));
		json_text(j, "life", span_str(row->life));
		if (row->seconds == UINT32_MAX)
			json_null(j, "seconds_left");
		else
			json_number(j, "seconds_left", row->seconds);
		json_flag(j, "interface_up", row->up);
		json_flag(j, "usable", row->usable);
		json_close(j, '}');
	}
	json_close(j, ']');
	json_open(j, "public_addresses", '[');
	for (size_t i = 0; i < l->public_count; i++) {
		json_open(j, NULL, '{');
		json_text(j, "address", span_str(l->publics[i].address));
		json_text(j, "source", span_str(l->publics[i].source));
		json_close(j, '}');
	}
	json_close(j, ']');
	json_open(j, "port_mappings", '[');
	for (size_t i = 0; i < l->mapping_count; i++) {
		json_open(j, NULL, '{');
		json_text(j, "service", span_str(l->mappings[i].service));
		json_number(j, "outside", l->mappings[i].outside);
		json_number(j, "inside", l->mappings[i].inside);
		json_number(j, "seconds", l->mappings[i].seconds);
		json_text(j, "public", span_str(l->mappings[i].address));
		json_text(j, "protocol", span_str(l->mappings[i].protocol));
		json_text(j, "fault", span_str(l->mappings[i].fault));
		json_close(j, '}');
	}
	json_close(j, ']');
	if (!l->changed)
		return;
	json_open(j, "address_change", '{');
	json_number(j, "when", (int64_t)l->changed);
	json_text(j, "old", span_str(l->old));
	json_text(j, "new", span_str(l->new));
	json_close(j, '}');
}

/* What authorities say of certificates (enum revocation). */
static const char *const revocation_words[REVOCATION_COUNT] = {
	[REVOCATION_UNKNOWN] = "no answer",
	[REVOCATION_GOOD] = "good",
	[REVOCATION_REVOKED] = "revoked",
};

static void
json_certificates(struct json *j, const struct listing *l)
{
	json_open(j, "certificates", '[');
	for (size_t i = 0; i < l->certificate_count; i++) {
		const struct certificate_row *row = &l->certificates[i];

		json_open(j, NULL, '{');
		json_text(j, "name", span_str(row->name));
		json_text(j, "file", span_str(row->file));
		json_number(j, "not_after", row->not_after);
		json_number(j, "days_left", days_left(row));
		json_flag(j, "ends_soon", days_left(row) < WARN_DAYS);
		if (row->revocation < REVOCATION_COUNT && revocation_words[row->revocation] != NULL)
			json_text(j, "ocsp", span_str(revocation_words[row->revocation]));
		else
			json_null(j, "ocsp");
		if (row->revocation == REVOCATION_GOOD)
			json_number(j, "ocsp_until", row->answer_until);
		json_close(j, '}');
	}
	json_close(j, ']');
}

static void
tell_json(const struct listing *l, const struct settings *s)
{
	struct json j = { .to = stdout };
	int days;

	json_open(&j, NULL, '{');
	json_number(&j, "generation", l->generation);
	json_number(&j, "since", (int64_t)l->since);
	json_number(&j, "uptime_seconds", (int64_t)time(NULL) - (int64_t)l->since);
	if (certificate_days(l, &days))
		json_number(&j, "certificate_days", days);
	else
		json_null(&j, "certificate_days");
	json_text(&j, "tls_records", span_str(records_by(s)));
	json_open(&j, "processes", '[');
	for (size_t i = 0; i < l->count; i++)
		json_row(&j, &l->rows[i]);
	json_close(&j, ']');
	json_certificates(&j, l);
	json_addresses(&j, l);
	json_close(&j, '}');
	putchar('\n');
}

/* --- as a table --- */

static void
table_row(const struct row *row)
{
	struct text names = TEXT_UP_TO(MOST_CAPABILITY_TEXT);
	char name[40];

	snprintf(name, sizeof name, "%s/%u", program_name(row->said.program), row->said.index);
	if (!row->there) {
		printf("%-14s %7s  is away; it will be started again (restarts: %u)\n", name, "-",
			row->said.restarts);
		return;
	}
	proc_capability_names(row->kernel.capabilities, &names);
	printf("%-14s %7u %6llu %6llu  %-7s %4s  %2u  %-6s %5u %8llu %4u  %s%s%s\n", name,
		row->said.pid, (unsigned long long)row->kernel.uid,
		(unsigned long long)row->kernel.gid, seccomp_word(row->kernel.seccomp),
		row->kernel.no_new_privs ? "yes" : "no", row->said.landlock,
		is_chrooted(row)		 ? "yes"
			: row->kernel.root_known ? "no"
						 : "-",
		row->said.connections, (unsigned long long)row->said.served, row->said.restarts,
		text_str(&names), row->user[0] ? "  user=" : "", row->user);
	text_clear(&names);
}

static void
table_mappings(const struct listing *l)
{
	if (l->mapping_count)
		printf("\n%-14s %7s %7s  %s\n", "MAPPED PORT", "OUTSIDE", "INSIDE", "BY THE ROUTER");
	for (size_t i = 0; i < l->mapping_count; i++) {
		const struct mapping_row *row = &l->mappings[i];

		printf("%-14s %7u %7u  ", row->service, row->outside, row->inside);
		if (row->seconds)
			printf("at %s, for %u s, renewed (%s)\n", row->address, row->seconds, row->protocol);
		else
			printf("not mapped: %s\n", row->fault);
	}
}

static void
table_addresses(const struct listing *l)
{
	char address[MOST_IP + 8];
	time_t when = (time_t)l->changed;
	struct tm at;
	char date[32] = "";

	printf("\n%-14s %-43s %-13s %s\n", "INTERFACE", "ADDRESS", "KIND", "LIFE");
	for (size_t i = 0; i < l->address_count; i++) {
		const struct address_row *row = &l->addresses[i];

		snprintf(address, sizeof address, "%s/%u", row->address, row->prefix);
		printf("%-14s %-43s %-13s %s", row->link, address, row->kind, row->life);
		if (row->seconds != UINT32_MAX)
			printf(", %u s left", row->seconds);
		printf("%s%s\n", row->up ? "" : ", interface is down",
			row->usable ? "" : ", not usable yet");
	}
	for (size_t i = 0; i < l->public_count; i++)
		printf("%s%s (%s)", i ? ", " : "the world reaches this server at ", l->publics[i].address,
			strcmp(l->publics[i].source, "dns") == 0	? "by the DNS"
				: strcmp(l->publics[i].source, "router") == 0 ? "as the router says"
									     : l->publics[i].source);
	if (l->public_count)
		putchar('\n');
	if (l->changed && localtime_r(&when, &at) &&
		strftime(date, sizeof date, "%Y-%m-%d %H:%M:%S", &at))
		printf("last change %s: %s -> %s\n", date, l->old[0] ? l->old : "none",
			l->new[0] ? l->new : "none");
}

static void
table_revocation(const struct certificate_row *row)
{
	time_t until = (time_t)row->answer_until;
	char date[32] = "?";
	struct tm at;

	if (row->revocation == REVOCATION_REVOKED)
		printf("  REVOKED by its authority");
	else if (row->revocation == REVOCATION_UNKNOWN)
		printf("  no answer of its authority (OCSP)");
	else if (row->revocation == REVOCATION_GOOD && gmtime_r(&until, &at) && strftime(date, sizeof date, "%Y-%m-%d %H:%M", &at))
		printf("  OCSP: good until %s", date);
}

static void
table_certificates(const struct listing *l)
{
	if (l->certificate_count)
		printf("\n%-30s %-17s %9s\n", "CERTIFICATE", "ENDS (UTC)", "DAYS LEFT");
	for (size_t i = 0; i < l->certificate_count; i++) {
		const struct certificate_row *row = &l->certificates[i];
		time_t when = (time_t)row->not_after;
		char date[32] = "?";
		struct tm at;
		int days = days_left(row);

		if (gmtime_r(&when, &at))
			strftime(date, sizeof date, "%Y-%m-%d %H:%M", &at);
		printf("%-30s %-17s %9d%s", row->name, date, days,
			days < 0 ? "  EXPIRED" : days < WARN_DAYS ? "  WARNING: it ends soon" : "");
		table_revocation(row);
		putchar('\n');
	}
}

static void
tell_table(const struct listing *l, const struct settings *s)
{
	long long up = (long long)time(NULL) - (long long)l->since;
	int days;

	printf("%-14s %7s %6s %6s  %-7s %4s  %2s  %-6s %5s %8s %4s  %s\n", "PROGRAM", "PID", "UID",
		"GID", "SECCOMP", "NNP", "LL", "CHROOT", "CONN", "SERVED", "RST", "CAPABILITIES");
	for (size_t i = 0; i < l->count; i++)
		table_row(&l->rows[i]);
	table_addresses(l);
	table_mappings(l);
	table_certificates(l);
	printf("\ngeneration %u, up %lld d %02lld:%02lld:%02lld", l->generation, up / 86400,
		up / 3600 % 24, up / 60 % 60, up % 60);
	if (certificate_days(l, &days))
		printf(", certificate ends in %d days", days);
	printf(", TLS records by %s", records_by(s));
	printf("\nNNP: no_new_privs. LL: version of Landlock in force. RST: restarts. "
	       "CONN, SERVED: now, and ever.\n");
}

static int
run(struct invocation *v)
{
	struct hearing h = client_hearing();
	struct listing l = { 0 };
	struct client c = { .me = &l };
	struct settings *s;

	h.on_command_process = on_command_process;
	h.on_command_end = on_command_end;
	h.on_command_address = on_command_address;
	h.on_command_mapping = on_command_mapping;
	h.on_command_certificate = on_command_certificate;
	h.on_command_public = on_command_public;
	h.on_command_address_change = on_command_address_change;
	if (!client_open(&c, &v->paths, &h))
		return client_absent(v);
	send_command_status(c.channel, 0, &(struct msg_command_status){}, NULL);
	client_wait(&c, ANSWER_MILLISECONDS);
	client_close(&c);
	if (!l.complete) {
		free(l.rows);
		return cmd_fail(EX_TEMPFAIL, "no answer from master");
	}
	s = cmd_settings(v, false);
	if (cmd_option(v, "--json"))
		tell_json(&l, s);
	else
		tell_table(&l, s);
	settings_free(&s);
	free(l.rows);
	return EX_OK;
}

const struct command cmd_status = {
	.words = "status",
	.arguments = "",
	.help = "show every process: identity and confinement, connections, restarts",
	.options = options,
	.run = run,
};
