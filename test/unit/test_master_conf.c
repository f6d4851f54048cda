/*
 * valija.conf: what is good, what is wrong, and on which line.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/program.h"
#include "master/conf-names.h"
#include "master/conf-text.h"
#include "master/conf.h"
#include "master/log-setting.h"

static char directory[] = "/tmp/valija-conf-XXXXXX";
static struct paths paths;

/* Reads `text` as the configuration; complaints, without the name of the file, go to *errors. */
static struct settings *
read_conf(const char *text, bool files, struct text *errors)
{
	struct text raw = TEXT_UP_TO(MOST_CONF_ERRORS);
	FILE *file = fopen(paths.conf, "w");
	struct settings *s;
	struct span left, line;
	size_t prefix = strlen(paths.conf) + 1;

	assert_non_null(file);
	fputs(text, file);
	fclose(file);
	s = conf_read(&paths, 7, files, &raw);
	left = text_span(&raw);
	while (span_take_until(&left, '\n', &line)) {
		assert_true(line.len > prefix && memcmp(line.at, paths.conf, prefix - 1) == 0);
		text_add(errors, span_part(line, prefix, line.len));
		text_add_byte(errors, '\n');
	}
	assert_int_equal(left.len, 0);
	text_clear(&raw);
	return s;
}

static void
expect_errors(const char *text, const char *expected)
{
	struct text errors = TEXT_UP_TO(MOST_CONF_ERRORS);
	struct settings *s = read_conf(text, false, &errors);

	assert_null(s);
	assert_string_equal(text_str(&errors), expected);
	text_clear(&errors);
}

static struct settings *
expect_good(const char *text)
{
	struct text errors = TEXT_UP_TO(MOST_CONF_ERRORS);
	struct settings *s = read_conf(text, false, &errors);

	assert_string_equal(text_str(&errors), "");
	assert_non_null(s);
	text_clear(&errors);
	return s;
}

#define EXPECT_SPAN(s, literal) assert_true(span_equal((s), SPAN(literal)))

static void
test_three_lines(void **state)
{
	struct settings *s =
		expect_good("hostname = mail.example.org\n"
			    "domains = {example.org, \"example.net\"}\nport_base = 10000\n");

	(void)state;
	EXPECT_SPAN(s->hostname, "mail.example.org");
	assert_int_equal(s->domains.count, 2);
	EXPECT_SPAN(s->domains.at[1], "example.net");
	assert_int_equal(s->port_base, 10000);
	assert_int_equal(s->generation, 7);
	/* The rest is as the rows say. */
	assert_int_equal(s->services.count, 6);
	assert_int_equal(s->listen.count, 2);
	assert_int_equal(s->recipients, 1000);
	assert_true(s->tls_key.count == 1 && s->tls_certificate.count == 1 && s->log.len > 0);
	settings_free(&s);
}

static void
test_forms_of_lists(void **state)
{
	static const char *const forms[] = {
		"listen = {\"127.0.0.1\", \"::1\"}",
		"listen = \"127.0.0.1, ::1\"",
		"listen = {127.0.0.1,\n  '::1'}",
		"listen = {\"127.0.0.1,::1\"}",
	};

	(void)state;
	for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
		struct text conf = TEXT_UP_TO(1000);
		struct settings *s;

		text_printf(&conf, "hostname = h.example\n%s\n", forms[i]);
		s = expect_good(text_str(&conf));
		assert_int_equal(s->listen.count, 2);
		EXPECT_SPAN(s->listen.at[0], "127.0.0.1");
		EXPECT_SPAN(s->listen.at[1], "::1");
		settings_free(&s);
		text_clear(&conf);
	}
}

static void
test_own_name(void **state)
{
	struct text errors = TEXT_UP_TO(MOST_CONF_ERRORS);
	struct settings *s = read_conf("", false, &errors);

	(void)state;
	/* A machine whose name is no host name is told so; any other has one. */
	if (s)
		assert_true(s->hostname.len > 0);
	else
		assert_non_null(strstr(text_str(&errors), "hostname is not set"));
	settings_free(&s);
	text_clear(&errors);
}

static void
test_lines_are_right_behind_comments(void **state)
{
	(void)state;
	expect_errors(
		"# one\n// two\n/* three\n   four */ hostname = h.example # five\n\nsmtp_errors = x\n",
		"6: smtp_errors needs a whole number, not \"x\"\n");
	expect_errors(
		"hostname = \"h.example\" # \"\nlog = '/var/log/#not//a comment'\nsmtp_errors = 0\n",
		"3: smtp_errors = 0 is out of range: from 1 to 1000\n");
}

static void
test_lists_that_are_set_twice(void **state)
{
	(void)state;
	expect_errors("listen = {}\nlisten = {\"127.0.0.1\"}\n", "2: listen is set twice: first in line 1\n");
	expect_errors("listen = {\"127.0.0.1\"}\nlisten = {}\n", "2: listen is set twice: first in line 1\n");
}

static void
test_families_of_sending(void **state)
{
	(void)state;
	expect_errors("relay_source_ipv4 = none\nrelay_source_ipv6 = \"192.0.2.1\"\n",
		"2: relay_source_ipv6 \"192.0.2.1\" is neither an IPv6 address nor none\n");
	expect_errors("relay_source_ipv4 = none\nrelay_source_ipv6 = none\n",
		"2: relay_source_ipv4 and relay_source_ipv6 are both none: mail can be sent by one of them only\n");
}

static void
test_classes_of_solicitations(void **state)
{
	struct text conf = TEXT_UP_TO(4096), errors = TEXT_UP_TO(MOST_CONF_ERRORS);
	struct settings *s;

	(void)state;
	expect_errors("no_soliciting = {\"net.example:ADV\", \"a b\"}\n",
		"1: \"a b\" in no_soliciting is not a keyword such as org.example:ADV (letters, digits, . - _ : and at most 255 of them)\n");
	/* Two of 239 fill a line of EHLO, with their commas. */
	for (int more = 0; more < 2; more++) {
		text_reset(&conf);
		text_reset(&errors);
		text_printf(&conf, "hostname = h.example\nno_soliciting = {\"a%0238d\", \"b%0*d\"}\n", 0, 238 + more, 0);
		s = read_conf(text_str(&conf), false, &errors);
		assert_int_equal(s == NULL, more);
		assert_string_equal(text_str(&errors), more ? "2: no_soliciting has more than 480 characters\n" : "");
		settings_free(&s);
	}
	text_clear(&conf);
	text_clear(&errors);
}

static void
test_all_errors_at_once(void **state)
{
	(void)state;
	expect_errors(
		"hostname = \"a b\"\nfoo = {1, 2}\nsmtpd_processes = 65\nrecipients = 99\nbar = 1\n"
		"services = \"smtp, pop3, ftp\"\nlisten = 300.1.2.3\ndomains = \"exam ple\"\nlog_level = loud\n"
		"log = relative/name\n",
		"1: hostname \"a b\" is not a host name: letters, digits and hyphens, with dots between\n"
		"2: there is no option \"foo\"\n"
		"3: smtpd_processes = 65 is out of range: from 1 to 64\n"
		"4: recipients = 99 is out of range: from 100 to 100000\n"
		"5: there is no option \"bar\"\n"
		"6: \"pop3\" in services is not one of smtp, submission, submissions, lmtp, imap, imaps, local\n"
		"6: \"ftp\" in services is not one of smtp, submission, submissions, lmtp, imap, imaps, local\n"
		"7: \"300.1.2.3\" in listen is not an IPv4 or IPv6 address (without a port), nor the name of a network interface\n"
		"8: \"exam ple\" in domains is not a domain\n"
		"9: log_level must be debug, info, notice, warning or error, not \"loud\"\n"
		"10: log must be syslog, stderr, or the absolute name of a file, not \"relative/name\"\n");
}

static void
test_numbers(void **state)
{
	static const char *const wrong[] = { "-1", "99999999999999999999", "1e3", "0x10", "\"\"",
		"\"1 \"", "yes" };

	(void)state;
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		struct text conf = TEXT_UP_TO(1000), errors = TEXT_UP_TO(MOST_CONF_ERRORS);

		text_printf(&conf, "hostname = h.example\nconnections = %s\n", wrong[i]);
		assert_null(read_conf(text_str(&conf), false, &errors));
		assert_non_null(strstr(text_str(&errors), "2: connections needs a whole number"));
		text_clear(&conf);
		text_clear(&errors);
	}
}

static void
test_set_twice(void **state)
{
	(void)state;
	expect_errors(
		"hostname = h.example\ndomains = {a.example}\nhostname = i.example\ndomains = {b.example}\n",
		"3: hostname is set twice: first in line 1\n4: domains is set twice: first in line 2\n");
}

static void
test_syntax(void **state)
{
	static const char *const wrong[] = { "hostname hostname\n", "hostname = \"open\n",
		"domains = {a, b\n", "= 5\n", "hostname = {a}\n", "section { a = 5 }\n" };

	(void)state;
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		struct text errors = TEXT_UP_TO(MOST_CONF_ERRORS);

		assert_null(read_conf(wrong[i], false, &errors));
		assert_true(errors.len > 0);
		text_clear(&errors);
	}
	expect_errors(
		"hostname = h.example\nlog log\n", "2: missing equal sign after option 'log'\n");
	expect_errors("hostname = \"h.\\\nexample\"\n# \"\nlog = \"syslog\nlog_level = info\n",
		"4: the quotation mark that opens here is not closed\n");
#define BRACE "the brace that opens here is not closed (a member with = in it needs quotation marks)\n"
	expect_errors("hostname = h.example\ndomains = {\"a.example\",\n  b.example\nport_base = 1\n",
		"2: " BRACE);
	expect_errors("hostname = h.example\ndomains =\n {a.example", "3: " BRACE);
	expect_errors("tls_default = {\n smtp=a.example}\n", "1: " BRACE);
}

/* The file that other packages write to counts in the system's instance, unless the option says otherwise. */
static void
test_aliases_of_the_system(void **state)
{
	char *dir = paths.dir;

	(void)state;
	for (int system = 0; system < 2; system++) {
		struct settings *s;

		paths.dir = system ? NULL : directory;
		s = expect_good("hostname = h.example\n");
		assert_int_equal(s->aliases.count, 1 + system);
		EXPECT_SPAN(s->aliases.at[0], "aliases");
		if (system)
			EXPECT_SPAN(s->aliases.at[1], "/etc/aliases");
		settings_free(&s);
		s = expect_good("hostname = h.example\naliases = mine\n");
		assert_int_equal(s->aliases.count, 1);
		EXPECT_SPAN(s->aliases.at[0], "mine");
		settings_free(&s);
	}
	paths.dir = dir;
}

/* A brace in a text, a text of several lines, and an equal sign beside its brace are nobody's mistake. */
static void
test_open_brace(void **state)
{
	(void)state;
	assert_int_equal(conf_text_open_brace(SPAN("a = \"{\"\nb = 1\n")), 0);
	assert_int_equal(conf_text_open_brace(SPAN("a = {\n\"x\\\"}\n=\"\n}\nb = {1}\n")), 0);
	assert_int_equal(conf_text_open_brace(SPAN("s {\n a = 1\n}\n")), 0);
	assert_int_equal(conf_text_open_brace(SPAN("a = {b = c}\n")), 0);
	assert_int_equal(conf_text_open_brace(SPAN("a = {\"\\")), 1);
	assert_int_equal(conf_text_open_brace(SPAN("a = {'\n\n'\nb = {x\nc=")), 1);
	assert_int_equal(conf_text_open_brace(SPAN("")), 0);
}

/* helo_checks = {} means none, not the default. */
static void
test_empty_lists(void **state)
{
	struct settings *s = expect_good("hostname = h.example helo_checks = { \n }\nservices = {smtp}\n");
	struct span text = SPAN("a = 'x = {}' b={} c = {d}\ne=\n{\n\n}f"), name;
	unsigned int line = 1;

	(void)state;
	assert_int_equal(s->helo_checks.count, 0);
	assert_int_equal(s->listen.count, 2);
	settings_free(&s);
	expect_errors("hostname = h.example\nhelo_checks = {own}\nhelo_checks = {}\n",
		"3: helo_checks is set twice: first in line 2\n");
	assert_true(conf_text_take_empty_list(&text, &name, &line) && line == 1);
	EXPECT_SPAN(name, "b");
	assert_true(conf_text_take_empty_list(&text, &name, &line) && line == 5);
	EXPECT_SPAN(name, "e");
	assert_false(conf_text_take_empty_list(&text, &name, &line));
	text = SPAN("{}");
	assert_false(conf_text_take_empty_list(&text, &name, &line));
	text = SPAN("a = {");
	assert_false(conf_text_take_empty_list(&text, &name, &line));
}

static void
test_meant(void **state)
{
	static const char *const known[][2] = { { "listn", "listen" }, { "domain", "domains" }, { "hostnmae", "hostname" },
		{ "myhostname", "hostname" }, { "ssl_cert", "tls_certificate" }, { "queue_day", "queue_days" } };
	static const char *const strange[] = { "", "x", "lo", "colour", "smtpd_banner" };

	(void)state;
	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
		assert_string_equal(conf_meant(known[i][0]), known[i][1]);
	for (size_t i = 0; i < sizeof strange / sizeof strange[0]; i++)
		assert_null(conf_meant(strange[i]));
	expect_errors("hostname = h.example\nlistn = any\n", "2: there is no option \"listn\"; is \"listen\" meant?\n");
}

static void
test_delays_fit(void **state)
{
	(void)state;
	expect_errors("hostname = h.example\nauth_delay_seconds = 20\n",
		"2: auth_delay_seconds is above auth_delay_most_seconds (16)\n");
}

static void
test_files(void **state)
{
	struct text errors = TEXT_UP_TO(MOST_CONF_ERRORS);

	(void)state;
	assert_null(read_conf("hostname = h.example\ntls_certificate = /nonexistent/c.pem\n"
			      "log = /nonexistent/valija.log\n",
		true, &errors));
	assert_non_null(
		strstr(text_str(&errors), "2: tls_certificate: /nonexistent/c.pem is not there"));
	assert_non_null(strstr(text_str(&errors), "tls_key: "));
	assert_non_null(strstr(text_str(&errors), "3: log: there is no directory /nonexistent\n"));
	text_clear(&errors);
}

static void
test_not_a_file(void **state)
{
	struct text errors = TEXT_UP_TO(MOST_CONF_ERRORS);

	(void)state;
	unlink(paths.conf);
	assert_null(conf_read(&paths, 1, false, &errors));
	assert_non_null(strstr(text_str(&errors), "is not there; `valija init` makes one"));
	text_reset(&errors);
	assert_int_equal(mkdir(paths.conf, 0700), 0);
	assert_null(conf_read(&paths, 1, false, &errors));
	assert_non_null(strstr(text_str(&errors), "is not a regular file"));
	rmdir(paths.conf);
	text_clear(&errors);
}

static void
test_blanking(void **state)
{
	static const struct {
		const char *before, *after;
	} cases[] = {
		{ "", "" },
		{ "a # b\nc", "a    \nc" },
		{ "#", " " },
		{ "a=/x//y", "a=/x//y" },
		{ "// x\n/* y\n */z", "    \n    \n   z" },
		{ "\"# \\\" #\" # x", "\"# \\\" #\"    " },
		{ "'//' /* x */ # y\n", "'//'            \n" },
		{ "a /* open", "a /* open" },
		{ "\"open # x", "\"open # x" },
		{ "\\", "\\" },
		{ "/", "/" },
		{ "/**//**/a", "        a" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct text t = TEXT_UP_TO(100);

		text_add_str(&t, cases[i].before);
		conf_text_blank(&t);
		assert_string_equal(text_str(&t), cases[i].after);
		text_clear(&t);
	}
}

static void
test_log_words(void **state)
{
	(void)state;
	assert_int_equal(log_setting_target(SPAN("syslog")), LOG_TO_SYSLOG);
	assert_int_equal(log_setting_target(SPAN("stderr")), LOG_TO_STDERR);
	assert_int_equal(log_setting_target(SPAN("/var/log/valija.log")), LOG_TO_FILE);
	assert_int_equal(log_setting_target(SPAN("/var/log/")), LOG_TO_NOWHERE);
	assert_int_equal(log_setting_target(SPAN("/")), LOG_TO_NOWHERE);
	assert_int_equal(log_setting_target(SPAN("")), LOG_TO_NOWHERE);
	assert_int_equal(log_setting_level(SPAN("warning")), 3);
	assert_int_equal(log_setting_level(SPAN("Warning")), -1);
}

static int
set_up(void **state)
{
	struct text why = TEXT_UP_TO(1000);

	(void)state;
	if (!mkdtemp(directory) || !paths_init(&paths, directory, &why))
		return -1;
	return mkdir(paths.conf_dir, 0700);
}

static int
tear_down(void **state)
{
	(void)state;
	unlink(paths.conf);
	rmdir(paths.conf_dir);
	rmdir(directory);
	paths_clear(&paths);
	return 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_three_lines),
		cmocka_unit_test(test_forms_of_lists),
		cmocka_unit_test(test_own_name),
		cmocka_unit_test(test_lines_are_right_behind_comments),
		cmocka_unit_test(test_all_errors_at_once),
		cmocka_unit_test(test_classes_of_solicitations),
		cmocka_unit_test(test_families_of_sending),
		cmocka_unit_test(test_lists_that_are_set_twice),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_set_twice),
		cmocka_unit_test(test_syntax),
		cmocka_unit_test(test_open_brace),
		cmocka_unit_test(test_empty_lists),
		cmocka_unit_test(test_aliases_of_the_system),
		cmocka_unit_test(test_meant),
		cmocka_unit_test(test_delays_fit),
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_not_a_file),
		cmocka_unit_test(test_blanking),
		cmocka_unit_test(test_log_words),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
