/*
 * conf-reception - see conf-reception.h.
 */
#include "master/conf-reception.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/access.h"
#include "common/block-list.h"
#include "common/text.h"

#define LINE(d, field) conf_line(d, offsetof(struct settings, field))

/* A list that grows: `at` on the heap, as the draft's lists are. */
static void
list_add(struct list *l, struct span member)
{
	l->at = must_realloc(l->at, (l->count + 1) * sizeof(l->at[0]));
	l->at[l->count++] = member;
}

/* The whole file in `to`. False with errno. */
static bool
read_file(const char *name, struct text *to)
{
	struct stat st;
	int fd = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	char piece[4096];
	ssize_t got = 0;
	int error = 0;

	if (fd < 0)
		return false;
	if (fstat(fd, &st) == 0 && !S_ISREG(st.st_mode))
		error = EINVAL;
	while (!error && !to->failed && (got = read(fd, piece, sizeof piece)) > 0)
		text_add(to, span_of(piece, (size_t)got));
	if (!error)
		error = to->failed ? EFBIG : got < 0 ? errno : 0;
	close(fd);
	errno = error;
	return error == 0;
}

struct rules {
	const char *option;
	struct list *list;
	enum access_kind kind;
	unsigned int line;
};

static void
check_rule(struct conf_draft *d, const struct rules *r, const char *file, unsigned int number, struct span row)
{
	struct access_rule rule;
	const char *why;

	if (access_parse(row, r->kind, &rule, &why))
		return;
	if (file)
		conf_complain(d, r->line, "%s: %s:%u: \"%.*s\": %s", r->option, file, number,
			SPAN_ARG(conf_printable(d, row)), why);
	else
		conf_complain(d, r->line, "%s: \"%.*s\": %s", r->option, SPAN_ARG(conf_printable(d, row)), why);
}

static void
take_file(struct conf_draft *d, const struct rules *r, struct span name, struct list *to)
{
	struct text content = TEXT_UP_TO(MOST_RULES_FILE);
	char *file = must_copy(name);
	struct span left, line;
	unsigned int number = 0;

	if (!read_file(file, &content)) {
		conf_complain(d, r->line, "%s: %s: %s", r->option, file, strerror(errno));
		goto out;
	}
	text_add_byte(&content, '\n');
	left = text_span(&content);
	while (span_take_until(&left, '\n', &line)) {
		number++;
		line = span_trim(span_part(line, 0, span_index(line, '#')));
		if (line.len == 0)
			continue;
		check_rule(d, r, file, number, line);
		if (to->count < MOST_LIST)
			list_add(to, conf_keep(d, line));
		else if (to->count == MOST_LIST)
			conf_complain(d, r->line, "%s: more than %d rules", r->option, MOST_LIST);
	}
out:
	text_clear(&content);
	free(file);
}

static void
check_rules(struct conf_draft *d, const struct rules *r)
{
	struct list whole = { NULL, 0 };

	for (size_t i = 0; i < r->list->count; i++) {
		struct span member = r->list->at[i];

		if (member.len > 0 && member.at[0] == '/') {
			take_file(d, r, member, &whole);
			continue;
		}
		check_rule(d, r, NULL, 0, member);
		list_add(&whole, member);
	}
	free(r->list->at);
	*r->list = whole;
}

static void
check_block_lists(struct conf_draft *d, const struct list *l, const char *option, unsigned int line)
{
	struct block_list entry;

	for (size_t i = 0; i < l->count; i++)
		if (!block_list_parse(l->at[i], &entry))
			conf_complain(d, line,
				"\"%.*s\" in %s is not ZONE or ZONE=127.0.0.2-11",
				SPAN_ARG(conf_printable(d, l->at[i])), option);
}

static void
check_quota_warnings(struct conf_draft *d)
{
	const struct list *l = &d->s.quota_warnings;

	for (size_t i = 0; i < l->count; i++) {
		struct span s = l->at[i];
		uint64_t percent;

		if (!span_take_number(&s, 100, &percent) || s.len > 0 || percent == 0)
			conf_complain(d, LINE(d, quota_warnings),
				"\"%.*s\" in quota_warnings is not a number from 1 to 100", SPAN_ARG(l->at[i]));
	}
}

static void
check_helo_checks(struct conf_draft *d)
{
	static const char *const words[] = { "own", "literal", "full", "known" };
	const struct list *l = &d->s.helo_checks;

	for (size_t i = 0; i < l->count; i++) {
		size_t j = 0;

		while (j < 4 && !span_equal(l->at[i], span_str(words[j])))
			j++;
		if (j == 4)
			conf_complain(d, LINE(d, helo_checks),
				"\"%.*s\" in helo_checks is not one of own, literal, full, known",
				SPAN_ARG(conf_printable(d, l->at[i])));
	}
}

void
conf_check_reception(struct conf_draft *d)
{
	const struct rules rules[] = {
		{ "access_client", &d->s.access_client, ACCESS_CLIENT, LINE(d, access_client) },
		{ "access_helo", &d->s.access_helo, ACCESS_HOST, LINE(d, access_helo) },
		{ "access_sender", &d->s.access_sender, ACCESS_ADDRESS, LINE(d, access_sender) },
		{ "access_recipient", &d->s.access_recipient, ACCESS_ADDRESS, LINE(d, access_recipient) },
	};

	for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++)
		check_rules(d, &rules[i]);
	check_block_lists(d, &d->s.dns_block_lists, "dns_block_lists", LINE(d, dns_block_lists));
	check_block_lists(d, &d->s.dns_allow_lists, "dns_allow_lists", LINE(d, dns_allow_lists));
	check_helo_checks(d);
	check_quota_warnings(d);
}
