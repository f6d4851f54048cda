/* What was worked out at delivery. As a side file: whatever is taken of it is within its limits, and what is taken for a
 * response is one value that does not end it, by a second opinion. As a message, with the second half as what is asked for:
 * what gist makes is taken by imap, and says what imap itself would. */
#include <stdlib.h>
#include <string.h>

#include "imapd/gist-record.h"
#include "imapd/header.h"

#include "imap_grammar.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
must(bool good)
{
	if (!good)
		abort();
}

static struct cache *
a_cache(unsigned int wanted)
{
	static const char *const fields[] = { "Subject", "From", "X-A" };
	struct cache *c = must_alloc(sizeof(*c));

	c->made = 1;
	c->wanted = wanted;
	while (c->name_count < 3) {
		c->names[c->name_count] = must_copy(span_str(fields[c->name_count]));
		c->name_count++;
	}
	return c;
}

/* Outside of strings: only what atoms, numbers and lists are made of; all that is opened is closed, at the very end. */
static void
second_opinion(struct span in)
{
	int depth = 0;

	while (in.len > 0) {
		if (in.at[0] == '"' || in.at[0] == '{') {
			must(g_string(&in) && depth > 0);
			continue;
		}
		must(in.at[0] >= ' ' && in.at[0] < 0x7f);
		depth += in.at[0] == '(' ? 1 : in.at[0] == ')' ? -1 : 0;
		must(depth > 0 || in.len == 1);
		in = span_part(in, 1, in.len);
	}
	must(depth == 0);
}

static void
judge(struct span gist, const struct cache *c)
{
	struct span payload;
	struct cached got;

	if (!gist_take(gist, c, &payload))
		return;
	must(cache_payload_read(payload, 0, &got) && (got.names & ~cache_all_names(c)) == 0);
	for (unsigned int i = 0; i < CACHE_PREVIEW; i++)
		if (got.has & CACHE_HAS(i))
			second_opinion(got.item[i]);
	must(!(got.has & CACHE_HAS(CACHE_PREVIEW)) || span_is_utf8(got.item[CACHE_PREVIEW]));
}

/* Checksums are made right, or no input would come further. */
static void
as_file(struct span in, const struct cache *c)
{
	struct text all = TEXT_UP_TO(MOST_FILLED);
	struct span rest, gist;
	struct filled f;

	rest = in;
	while (filled_take(&rest, &f))
		must(f.gist.len <= MOST_FILLED_GIST && f.name.len <= MAILDIR_MOST_NAME && rest.len < in.len);
	gist = span_part(in, 0, MOST_FILLED_GIST);
	judge(gist, c);
	if (filled_add(&all, &(struct filled){ SPAN("name"), gist })) {
		rest = text_span(&all);
		must(filled_take(&rest, &f) && span_equal(f.gist, gist) && rest.len == 0);
	}
	text_clear(&all);
}

static void
as_message(struct span message, const struct cache *c)
{
	static const struct index ix;
	struct text wishes = TEXT_UP_TO(CACHE_HEADER_BYTES), gist = TEXT_UP_TO(MOST_FILLED_GIST), own = TEXT_UP_TO(SIZE_MAX / 2);
	struct span payload, in;
	struct cached got;

	cache_header_write(c, &ix, &wishes);
	if (gist_make(text_span(&wishes), message, &gist)) {
		must(gist_take(text_span(&gist), c, &payload) && cache_payload_read(payload, 0, &got));
		cache_payload_write(c, 0, got.has, message, span_part(message, 0, header_length(message)), &own);
		must(span_equal(text_span(&own), payload));
		in = got.item[CACHE_ENVELOPE];
		must(!(got.has & CACHE_HAS(CACHE_ENVELOPE)) || (g_envelope(&in) && in.len == 0));
		judge(text_span(&gist), c);
	}
	text_clear(&wishes);
	text_clear(&gist);
	text_clear(&own);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cache *c;

	if (size == 0)
		return 0;
	c = a_cache(data[0] & (CACHE_HAS(CACHE_ITEMS) - 1));
	if (data[0] & 0x80)
		as_file(span_of(data + 1, size - 1), c);
	else
		as_message(span_of(data + 1, size - 1), c);
	cache_forget_wishes(c);
	free(c);
	return 0;
}
