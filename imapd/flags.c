/* flags - see flags.h. */
#include "imapd/flags.h"

#include "imapd/imap-parse.h"

#include <string.h>

static const struct {
	uint8_t flag;
	uint8_t letter;
	struct span name;
} system_flags[] = {
	{ FLAG_ANSWERED, LETTER_R, { (const unsigned char *)"\\Answered", 9 } },
	{ FLAG_FLAGGED,  LETTER_F, { (const unsigned char *)"\\Flagged", 8 } },
	{ FLAG_DELETED,  LETTER_T, { (const unsigned char *)"\\Deleted", 8 } },
	{ FLAG_SEEN,     LETTER_S, { (const unsigned char *)"\\Seen", 5 } },
	{ FLAG_DRAFT,    LETTER_D, { (const unsigned char *)"\\Draft", 6 } },
};
#define FEW_KEYWORDS 4u
#define SYSTEM_FLAGS (sizeof(system_flags) / sizeof(system_flags[0]))

/* In ASCII order, as the Maildir page wants them in a name. */
static const char letter_names[] = "DFPRST";

uint8_t
flag_of_name(struct span name)
{
	for (size_t i = 0; i < SYSTEM_FLAGS; i++) {
		if (span_equal_nocase(name, system_flags[i].name))
			return system_flags[i].flag;
	}
	return 0;
}

static bool
has_keyword(const struct flag_list *list, struct span keyword)
{
	for (size_t i = 0; i < list->keyword_count; i++) {
		if (span_equal_nocase(list->keywords[i], keyword))
			return true;
	}
	return false;
}

/* For one more: a command may have ten thousand lists of one or two. */
static void
make_room(struct flag_list *list, struct arena *arena)
{
	size_t count = list->keyword_count, most = count == 0 ? FEW_KEYWORDS : 2 * count;
	struct span *more;

	if (count % FEW_KEYWORDS != 0 || (count & (count - 1)) != 0)     /* it is full at 0, 4, 8, 16, ... */
		return;
	more = arena_alloc(arena, most * sizeof(*more));
	if (count > 0)
		memcpy(more, list->keywords, count * sizeof(*more));
	list->keywords = more;
}

bool
flag_take(struct span *in, struct arena *arena, struct flag_list *list, const char **wrong)
{
	struct span rest = *in, atom;
	uint8_t flag;

	*wrong = "a flag";
	if (span_take(&rest, '\\')) {
		if (!imap_take_atom(&rest, &atom))
			return false;
		flag = flag_of_name(span_of(atom.at - 1, atom.len + 1));
		if (flag == 0) {
			*wrong = "a system flag that can be set (not \\Recent)";
			return false;
		}
		list->system |= flag;
		*in = rest;
		return true;
	}
	if (!imap_take_atom(&rest, &atom))
		return false;
	if (atom.len > MOST_KEYWORD || list->keyword_count == MOST_FLAGS_IN_LIST) {
		*wrong = "fewer and shorter keywords";
		return false;
	}
	*in = rest;
	if (has_keyword(list, atom))
		return true;
	make_room(list, arena);
	list->keywords[list->keyword_count++] = atom;
	return true;
}

bool
flag_list_take(struct span *in, struct arena *arena, bool bare, struct flag_list *list,
	const char **wrong)
{
	struct span rest = *in;
	bool open = span_take(&rest, '(');

	*list = (struct flag_list){ 0, NULL, 0 };
	*wrong = "a list of flags";
	if (!open && !bare)
		return false;
	if (!open || !span_take(&rest, ')')) {
		do {
			if (!flag_take(&rest, arena, list, wrong))
				return false;
		} while (imap_take_space(&rest));
		if (open && !span_take(&rest, ')')) {
			*wrong = "a closing parenthesis behind the flags";
			return false;
		}
	}
	*in = rest;
	return true;
}

void
flags_write(uint8_t flags, struct text *out)
{
	bool first = true;

	for (size_t i = 0; i < SYSTEM_FLAGS; i++) {
		if (!(flags & system_flags[i].flag))
			continue;
		if (!first)
			text_add_byte(out, ' ');
		text_add(out, system_flags[i].name);
		first = false;
	}
}

uint8_t
flags_of_letters(uint8_t letters)
{
	uint8_t flags = 0;

	for (size_t i = 0; i < SYSTEM_FLAGS; i++) {
		if (letters & system_flags[i].letter)
			flags |= system_flags[i].flag;
	}
	return flags;
}

uint8_t
letters_of_flags(uint8_t flags)
{
	uint8_t letters = 0;

	for (size_t i = 0; i < SYSTEM_FLAGS; i++) {
		if (flags & system_flags[i].flag)
			letters |= system_flags[i].letter;
	}
	return letters;
}

/* "S=" or "W=" and digits between commas (Maildir++). */
static bool
name_number(struct span base, unsigned char key, uint64_t *n)
{
	struct span rest = base;

	for (;;) {
		size_t comma = span_index(rest, ',');

		if (comma == rest.len)
			return false;
		rest = span_part(rest, comma + 1, SIZE_MAX);
		if (rest.len > 2 && rest.at[0] == key && rest.at[1] == '=') {
			struct span digits = span_part(rest, 2, SIZE_MAX);

			return span_take_number(&digits, INT64_MAX, n) &&
				(digits.len == 0 || digits.at[0] == ',');
		}
	}
}

/* The letters behind ":2,"; false when there is anything else. */
static bool
take_letters(struct span info, uint8_t *letters, uint32_t *lower)
{
	*letters = 0;
	*lower = 0;
	for (size_t i = 0; i < info.len; i++) {
		unsigned char c = info.at[i];
		size_t k = 0;

		if (c >= 'a' && c <= 'z') {
			*lower |= 1u << (c - 'a');
			continue;
		}
		while (letter_names[k] != '\0' && (unsigned char)letter_names[k] != c)
			k++;
		if (letter_names[k] == '\0')
			return false;
		*letters |= (uint8_t)(1u << k);
	}
	return true;
}

void
mail_name_split(struct span name, struct mail_name *parts)
{
	size_t colon = span_rindex(name, ':');

	*parts = (struct mail_name){ .base = name, .letters = LETTER_BARE };
	if (colon + 3 <= name.len && name.at[colon + 1] == '2' && name.at[colon + 2] == ',' &&
		take_letters(span_part(name, colon + 3, SIZE_MAX), &parts->letters, &parts->lower))
		parts->base = span_part(name, 0, colon);
	else {
		parts->letters = LETTER_BARE;
		parts->lower = 0;
	}
	parts->has_size = name_number(parts->base, 'S', &parts->size);
	parts->has_vsize = name_number(parts->base, 'W', &parts->vsize);
}

bool
mail_name_join(struct span base, uint8_t letters, uint32_t lower, char *to, size_t room)
{
	size_t len = base.len;

	if (!span_copy(base, to, room))
		return false;
	if (letters & LETTER_BARE)
		return true;
	if (len + 3 + (size_t)__builtin_popcount(letters) + (size_t)__builtin_popcount(lower) + 1 > room)
		return false;
	to[len++] = ':';
	to[len++] = '2';
	to[len++] = ',';
	for (unsigned int k = 0; letter_names[k] != '\0'; k++) {
		if (letters & (1u << k))
			to[len++] = letter_names[k];
	}
	for (unsigned int k = 0; k < 26; k++) {
		if (lower & (1u << k))
			to[len++] = (char)('a' + k);
	}
	to[len] = '\0';
	return true;
}
