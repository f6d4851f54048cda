/* dns-files - see dns-files.h. */
#include "dns-files.h"

#include "common/server-address.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_HOST_ENTRIES 100000
#define MOST_OF_ONE_NAME 64
#define NAME_SERVER_PORT 53

/* --- lines and words --- */

static struct span
take_line(struct span *in)
{
	struct span line = *in;

	if (!span_take_until(in, '\n', &line))
		*in = SPAN_NONE;
	line.len = span_index(line, '#');
	return line;
}

static struct span
take_word(struct span *line)
{
	size_t from = 0, to;

	while (from < line->len && strchr(" \t\r\f\v", line->at[from]) != NULL)
		from++;
	for (to = from; to < line->len && strchr(" \t\r\f\v", line->at[to]) == NULL;)
		to++;
	struct span word = span_part(*line, from, to - from);

	*line = span_part(*line, to, line->len);
	return word;
}

/* --- servers --- */

bool
name_server_read(struct span given, char to[MOST_SERVER_TEXT])
{
	struct server_address a;

	if (!server_address_read(given, NAME_SERVER_PORT, &a) || !a.literal)
		return false;
	snprintf(to, MOST_SERVER_TEXT, "%.*s@%u", SPAN_ARG(a.host), (unsigned int)a.port);
	return true;
}

void
resolv_conf_read(struct span file, struct name_servers *to)
{
	to->count = 0;
	while (file.len > 0 && to->count < MOST_NAME_SERVERS) {
		struct span line = take_line(&file);

		line.len = span_index(line, ';');
		if (span_equal_nocase(take_word(&line), SPAN("nameserver")) &&
			name_server_read(take_word(&line), to->at[to->count]))
			to->count++;
	}
}

/* --- hosts --- */

struct entry {
	uint16_t type;
	char *name;
	unsigned char data[16];          /* A, AAAA */
	char *target;                    /* PTR */
};

struct hosts {
	struct entry *at;
	size_t count, room;
};

static char *
lower_copy(struct span s)
{
	char *to = must_copy(s);

	for (char *c = to; *c != '\0'; c++)
		if (*c >= 'A' && *c <= 'Z')
			*c = (char)(*c + 32);
	return to;
}

static struct entry *
add(struct hosts *h, uint16_t type, char *name)
{
	if (h->count == h->room) {
		h->room = h->room == 0 ? 16 : h->room * 2;
		h->at = must_realloc(h->at, h->room * sizeof(*h->at));
	}
	h->at[h->count] = (struct entry){ .type = type, .name = name };
	return &h->at[h->count++];
}

static void
read_line(struct hosts *h, struct span line)
{
	struct span address = take_word(&line), name;
	char text[INET6_ADDRSTRLEN + 1], reverse[DNS_REVERSE_ROOM];
	unsigned char bytes[16];
	size_t len = 0;
	bool first = true;

	if (!span_copy(address, text, sizeof(text)))
		return;
	if (inet_pton(AF_INET, text, bytes) == 1)
		len = 4;
	else if (inet_pton(AF_INET6, text, bytes) == 1)
		len = 16;
	while (len > 0 && (name = take_word(&line)).len > 0 && h->count + 2 < MOST_HOST_ENTRIES) {
		if (name.at[name.len - 1] == '.')
			name.len--;
		if (name.len == 0 || name.len > MOST_DNS_NAME || span_has(name, 0))
			continue;
		memcpy(add(h, len == 4 ? DNS_A : DNS_AAAA, lower_copy(name))->data, bytes, len);
		if (first && dns_reverse(span_of(bytes, len), NULL, reverse, sizeof(reverse)))
			add(h, DNS_PTR, must_copy(span_str(reverse)))->target = lower_copy(name);
		first = false;
	}
}

static int
by_name(const void *a, const void *b)
{
	const struct entry *one = a, *other = b;

	return one->type != other->type ? (one->type < other->type ? -1 : 1)
					: strcmp(one->name, other->name);
}

struct hosts *
hosts_read(struct span file)
{
	struct hosts *h = must_alloc(sizeof(*h));

	while (file.len > 0)
		read_line(h, take_line(&file));
	if (h->count > 0)
		qsort(h->at, h->count, sizeof(*h->at), by_name);
	return h;
}

void
hosts_free(struct hosts **h)
{
	if (*h == NULL)
		return;
	for (size_t i = 0; i < (*h)->count; i++) {
		free((*h)->at[i].name);
		free((*h)->at[i].target);
	}
	free((*h)->at);
	free(*h);
	*h = NULL;
}

bool
hosts_find(const struct hosts *h, struct span name, uint16_t type, struct text *answers)
{
	char text[MOST_DNS_NAME + 1];
	struct entry key = { .type = type, .name = text };
	size_t low = 0, high = h->count, added = 0;

	if (!span_copy(name, text, sizeof(text)))
		return false;
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (by_name(&h->at[middle], &key) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	for (; low < h->count && by_name(&h->at[low], &key) == 0 && added < MOST_OF_ONE_NAME; low++) {
		const struct entry *e = &h->at[low];
		struct span data = type == DNS_PTR ? span_str(e->target)
						   : span_of(e->data, type == DNS_A ? 4 : 16);

		text_add_byte(answers, 0);
		text_add_byte(answers, (unsigned char)data.len);
		text_add(answers, data);
		added++;
	}
	return added > 0;
}
