/* nfc - see nfc.h. Not libunistring, which knows it as well: each user's process would load that whole library at its
 * start, for names that few have. */
#include "imapd/nfc.h"

#include "imapd/nfc-table.h"
#include "common/utf8.h"

#define N_ROWS(table) (sizeof(table) / sizeof((table)[0]))

/* All below are one character, and stand alone. */
#define FIRST_TO_COMPOSE 0x300u

/* Hangul syllables come apart and together by arithmetic (Unicode 3.12). */
#define HANGUL_FIRST 0xac00u
#define HANGUL_LEAD 0x1100u
#define HANGUL_VOWEL 0x1161u
#define HANGUL_TAIL 0x11a7u          /* this one is none */
#define HANGUL_LEADS 19u
#define HANGUL_VOWELS 21u
#define HANGUL_TAILS 28u
#define HANGUL_BLOCK (HANGUL_VOWELS * HANGUL_TAILS)
#define HANGUL_COUNT (HANGUL_LEADS * HANGUL_BLOCK)

struct characters {
	uint32_t at[MOST_NFC_CHARACTERS];
	size_t count;
	bool failed;
};

static void
add(struct characters *c, uint32_t code)
{
	c->failed |= c->count == MOST_NFC_CHARACTERS;
	if (!c->failed)
		c->at[c->count++] = code;
}

/* --- tables --- */

static const struct nfc_part *
find_part(uint32_t code)
{
	size_t low = 0, high = N_ROWS(nfc_parts);

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (nfc_parts[middle].code < code)
			low = middle + 1;
		else
			high = middle;
	}
	return low < N_ROWS(nfc_parts) && nfc_parts[low].code == code ? &nfc_parts[low] : NULL;
}

static uint32_t
class_of(uint32_t code)
{
	size_t low = 0, high = N_ROWS(nfc_classes);

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (nfc_classes[middle].to < code)
			low = middle + 1;
		else
			high = middle;
	}
	return low < N_ROWS(nfc_classes) && nfc_classes[low].from <= code ? nfc_classes[low].kind : 0;
}

/* What two characters become, or 0. */
static uint32_t
join(uint32_t first, uint32_t second)
{
	size_t low = 0, high = N_ROWS(nfc_pairs);
	const struct nfc_pair *p;

	if (first - HANGUL_LEAD < HANGUL_LEADS && second - HANGUL_VOWEL < HANGUL_VOWELS)
		return HANGUL_FIRST + (first - HANGUL_LEAD) * HANGUL_BLOCK +
			(second - HANGUL_VOWEL) * HANGUL_TAILS;
	if (first - HANGUL_FIRST < HANGUL_COUNT && (first - HANGUL_FIRST) % HANGUL_TAILS == 0 &&
		second > HANGUL_TAIL && second - HANGUL_TAIL < HANGUL_TAILS)
		return first + (second - HANGUL_TAIL);
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		p = &nfc_pairs[middle];
		if (p->first < first || (p->first == first && p->second < second))
			low = middle + 1;
		else
			high = middle;
	}
	p = &nfc_pairs[low];
	return low < N_ROWS(nfc_pairs) && p->first == first && p->second == second ? p->code : 0;
}

/* --- the form --- */

/* A character's parts, of which only the first can have parts again: they come apart from the right. */
static void
take_apart(struct characters *c, uint32_t code)
{
	const struct nfc_part *p = find_part(code);
	uint32_t at = code - HANGUL_FIRST;

	if (at < HANGUL_COUNT) {
		add(c, HANGUL_LEAD + at / HANGUL_BLOCK);
		add(c, HANGUL_VOWEL + at % HANGUL_BLOCK / HANGUL_TAILS);
		if (at % HANGUL_TAILS > 0)
			add(c, HANGUL_TAIL + at % HANGUL_TAILS);
	} else if (p == NULL) {
		add(c, code);
	} else {
		take_apart(c, p->first);     /* at most 4 deep, as the table is */
		if (p->second != 0)
			take_apart(c, p->second);
	}
}

/* Marks that follow a character go into the order of their classes; equal ones stay as they are. */
static void
put_in_order(struct characters *c)
{
	for (size_t i = 1; i < c->count; i++) {
		uint32_t code = c->at[i], kind = class_of(code);
		size_t to = i;

		while (kind != 0 && to > 0 && class_of(c->at[to - 1]) > kind) {
			c->at[to] = c->at[to - 1];
			to--;
		}
		c->at[to] = code;
	}
}

/* Each mark joins the character before it, unless one of its class or of a higher one stands between. */
static void
put_together(struct characters *c)
{
	size_t starter = SIZE_MAX, to = 0;
	uint32_t last = 0;           /* the class of what stands before, behind the starter */

	for (size_t i = 0; i < c->count; i++) {
		uint32_t code = c->at[i], kind = class_of(code), joined = 0;
		bool adjacent = starter != SIZE_MAX && to == starter + 1;

		if (starter != SIZE_MAX && (adjacent || (last != 0 && last < kind)))
			joined = join(c->at[starter], code);
		if (joined != 0) {
			c->at[starter] = joined;
			continue;
		}
		if (kind == 0)
			starter = to;
		last = kind;
		c->at[to++] = code;
	}
	c->count = to;
}

bool
nfc_add(struct text *out, struct span in)
{
	struct characters c = { .count = 0 };
	struct text form = TEXT_UP_TO(4 * MOST_NFC_CHARACTERS);
	struct span rest = in;
	bool plain = true, good;
	uint32_t code;

	while (rest.len > 0 && !c.failed && utf8_take(&rest, &code) == UTF8_CHARACTER) {
		plain &= code < FIRST_TO_COMPOSE;
		take_apart(&c, code);
	}
	good = rest.len == 0 && !c.failed;
	if (good && plain) {
		text_add(out, in);
		return !out->failed;
	}
	if (good) {
		put_in_order(&c);
		put_together(&c);
	}
	for (size_t i = 0; i < c.count && good; i++)
		utf8_add(&form, c.at[i]);
	if (good)
		text_add(out, text_span(&form));
	text_clear(&form);
	return good && !out->failed;
}
