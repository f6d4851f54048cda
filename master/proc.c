/*
 * proc - what the kernel says about a process.
 */
#include "master/proc.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/capability.h>
#include <unistd.h>

#define MOST_STATUS_FILE 16384
#define MOST_CAPABILITY	 63

/* Takes a number in hexadecimal. */
static bool
take_hex(struct span *in, uint64_t *number)
{
	uint64_t n = 0;
	size_t digits = 0;

	for (; digits < in->len && digits < 16; digits++) {
		unsigned char c = in->at[digits];

		if (c >= '0' && c <= '9')
			n = n << 4 | (uint64_t)(c - '0');
		else if (c >= 'a' && c <= 'f')
			n = n << 4 | (uint64_t)(c - 'a' + 10);
		else
			break;
	}
	if (digits == 0)
		return false;
	*in = span_part(*in, digits, in->len);
	*number = n;
	return true;
}

/* "Uid:	real	effective	saved	fs" */
static void
take_effective(struct span rest, uint64_t *id)
{
	struct span real;

	rest = span_trim(rest);
	if (span_take_until(&rest, '\t', &real))
		span_take_number(&rest, UINT32_MAX, id);
}

static void
take_line(struct span line, struct proc_facts *f)
{
	struct span word;
	uint64_t n;

	if (!span_take_until(&line, ':', &word))
		return;
	line = span_trim(line);
	if (span_equal(word, SPAN("Uid")))
		take_effective(line, &f->uid);
	else if (span_equal(word, SPAN("Gid")))
		take_effective(line, &f->gid);
	else if (span_equal(word, SPAN("CapEff")))
		take_hex(&line, &f->capabilities);
	else if (span_equal(word, SPAN("Seccomp")) && span_take_number(&line, 9, &n))
		f->seccomp = (unsigned int)n;
	else if (span_equal(word, SPAN("NoNewPrivs")) && span_take_number(&line, 9, &n))
		f->no_new_privs = n == 1;
}

bool
proc_read(uint32_t pid, struct proc_facts *f)
{
	char name[40], text[MOST_STATUS_FILE];
	struct span in, line;
	ssize_t n;
	int fd;

	memset(f, 0, sizeof *f);
	snprintf(name, sizeof name, "/proc/%u/status", (unsigned int)pid);
	if ((fd = open(name, O_RDONLY | O_CLOEXEC)) < 0)
		return false;
	n = read(fd, text, sizeof text);
	close(fd);
	if (n <= 0)
		return false;
	in = span_of(text, (size_t)n);
	while (span_take_until(&in, '\n', &line))
		take_line(line, f);
	snprintf(name, sizeof name, "/proc/%u/root", (unsigned int)pid);
	n = readlink(name, f->root, sizeof f->root - 1);
	f->root_known = n > 0;
	f->root[n > 0 ? n : 0] = '\0';
	return true;
}

void
proc_capability_names(uint64_t capabilities, struct text *to)
{
	bool first = true;

	for (int i = 0; i <= MOST_CAPABILITY; i++) {
		char *name;

		if ((capabilities & UINT64_C(1) << i) == 0)
			continue;
		if (!first)
			text_add_byte(to, ',');
		first = false;
		if ((name = cap_to_name(i)) && strncmp(name, "cap_", 4) == 0)
			text_add_str(to, name + 4);
		else
			text_add_number(to, (uint64_t)i);
		cap_free(name);
	}
	if (first)
		text_add_str(to, "none");
}
